# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `tff-partial`, which is run_experiment.py of a checkout."""

import os

# Before TensorFlow is imported: it would print notes about GPUs.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from tff_partial.experiments import program

from . import TASKS


def main() -> None:
  """Runs the command with the four tasks of this package."""
  program.run(TASKS)


if __name__ == '__main__':
  main()
