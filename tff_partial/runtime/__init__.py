# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where computations run: this process, TFF's worker, or a Ray cluster.

This package knows no model.
"""
