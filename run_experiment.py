# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains and evaluates partially personalized models, and writes a report.

  python run_experiment.py
  python run_experiment.py --task=emnist --algorithm=fed_alt --personal=adapter
  python run_experiment.py --flagfile=tasks/presets/emnist_demo.flags

The same command again goes on where it stopped. Everything is written to
--output_dir; look at report.html.
"""

import tasks
from tff_partial.experiments import program

if __name__ == '__main__':
  program.run(tasks.TASKS)
