# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `tff-partial`, which is run_experiment.py of a checkout."""

from tff_partial.experiments import program

from . import TASKS


def main() -> None:
  """Runs the command with the tasks of this package."""
  program.run(TASKS)


if __name__ == '__main__':
  main()
