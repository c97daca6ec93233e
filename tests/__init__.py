# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests. TensorFlow is silenced here, before anything imports it."""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
