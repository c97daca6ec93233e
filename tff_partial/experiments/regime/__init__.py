# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What decides between FedAlt and FedSim, measured and rehearsed."""
