# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pages and plots. Nothing here imports TensorFlow."""
