# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A campaign that tries to break runs, their files and the importers."""
