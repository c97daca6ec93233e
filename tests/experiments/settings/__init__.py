# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
