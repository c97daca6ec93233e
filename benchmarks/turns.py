# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds of several kinds that take turns, and the table of their seconds.

Whatever else the machine does hits all kinds alike: ratios can be trusted where
seconds cannot.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tff_partial.runtime import local
from tff_partial.runtime import worker_process

# Runs round `round_num`, with the cohort that belongs to it; its seconds.
Round = Callable[[int], float]

_WARM_UP = 2  # Turns that are not counted.


def measure(
    rounds: Mapping[str, Round], num_rounds: int
) -> dict[str, np.ndarray]:
  """Seconds of each round, [num_rounds], after two that warm up."""
  seconds = {name: [] for name in rounds}
  for round_num in range(num_rounds + _WARM_UP):
    for name, run in rounds.items():
      seconds[name].append(run(round_num))
  return {name: np.array(values[_WARM_UP:]) for name, values in seconds.items()}


def format_table(
    title: str,
    seconds: Mapping[str, np.ndarray],
    columns: Mapping[str, Callable[[str], str]],
) -> str:
  """Markdown: medians, quartiles, and medians of each turn's ratios.

  A ratio of two rounds of the same turn says more than that of two medians: a
  minute in which the machine was slow is in both.

  Args:
    title: What the rounds are of.
    seconds: By kind of round, what `measure` gives.
    columns: By the column's name, kind of round to what it is compared with.
  """
  names = ''.join(f' / {name} |' for name in columns)
  lines = [
      f'| {title} | seconds | quartiles |{names}',
      '| --- | ---: | ---: |' + ' ---: |' * len(columns),
  ]
  for kind, values in seconds.items():
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    ratios = ''.join(
        f' {np.median(values / seconds[other(kind)]):.2f} |'
        for other in columns.values()
    )
    lines.append(f'| {kind} | {median:.4f} | {low:.4f} to {high:.4f} |{ratios}')
  return '\n'.join(lines)


def run(
    name: str,
    create_rounds: Callable[[], Mapping[str, Round]],
    num_rounds: int,
    columns: Mapping[str, Callable[[str], str]],
) -> dict[str, np.ndarray]:
  """Measures in a worker of TFF's, and prints the table.

  Args:
    name: Of what the rounds train.
    create_rounds: Gives the rounds, once there is a worker.
    num_rounds: How many of each are counted.
    columns: As `format_table` takes them.
  """
  with local.local_worker():
    seconds = measure(create_rounds(), num_rounds)
  cores = worker_process.usable_cores()  # `taskset` says which.
  title = f'{name}, {num_rounds} rounds, {cores} cores'
  print(format_table(title, seconds, columns) + '\n', flush=True)
  return seconds
