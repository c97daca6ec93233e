# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds of other libraries next to ours, in environments of their own."""
