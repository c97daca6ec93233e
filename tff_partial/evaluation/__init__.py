# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers about clients: who gains, who is hurt, by how much."""
