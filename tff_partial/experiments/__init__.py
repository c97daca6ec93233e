# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""From settings to a report: the driver, which knows what a task is.

`plan` is what one run does, and `run` does it: `stages` trains it,
`final_evaluation` tests every client, and `notes`, `account`, `leaves` and
`privacy_in_words` are what its report says. `program` and `commands` are the
command line. In packages of their own:

*settings*: what can be set, and the algorithms by name (`methods`).
*estimates*: what is found from clients before training.
*comparisons*: several runs side by side, and searches for rates.
*regime*: what decides between FedAlt and FedSim.
*exports*: models of clients for other programs.
"""
