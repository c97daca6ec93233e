# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests; before TensorFlow is imported anywhere, it is told to be quiet."""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
