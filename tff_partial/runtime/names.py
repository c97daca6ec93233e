# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of what can compute clients, known without importing TensorFlow."""

IN_PROCESS, WORKER = RUNTIMES = ('in_process', 'worker')
