# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests. TensorFlow starts as for experiments, which `tasks` sees to."""

import tasks  # noqa: F401
