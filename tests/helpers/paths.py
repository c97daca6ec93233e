# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the checkout is."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
