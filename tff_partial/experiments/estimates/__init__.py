# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is found from clients before training: a split, a penalty, a mean."""
