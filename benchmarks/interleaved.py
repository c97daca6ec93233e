# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures interleaved rounds of several kinds, and formats their seconds.

Whatever else the machine does slows down all kinds alike, so ratios can be
trusted even if seconds cannot.
"""

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks import apart
from tff_partial.runtime import local
from tff_partial.runtime import worker_process

WARM_UP = 2  # Rounds of each kind that are not counted.


def measure(
    rounds: Mapping[str, apart.Round], num_rounds: int
) -> dict[str, np.ndarray]:
  """Measures the rounds after two warm-up rounds of each kind.

  Args:
    rounds: The kinds of rounds, by name.
    num_rounds: Number of rounds of each kind that are counted.

  Returns:
    Seconds of each round, [num_rounds], by kind.
  """
  seconds = {name: [] for name in rounds}
  for round_num in range(num_rounds + WARM_UP):
    for name, run in rounds.items():
      seconds[name].append(run(round_num))
  return {name: np.array(values[WARM_UP:]) for name, values in seconds.items()}


def format_table(
    title: str,
    seconds: Mapping[str, np.ndarray],
    columns: Mapping[str, Callable[[str], str]],
) -> str:
  """Formats medians, quartiles, and medians of ratios as a Markdown table.

  A ratio compares two rounds of the same number, which says more than a ratio
  of two medians: if the machine is slow for a minute, both are affected.

  Args:
    title: What the rounds train.
    seconds: What `measure` returns.
    columns: By name of the column, a function from a kind of round to the kind
      with which it is compared.
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
    create: apart.Create,
    create_others: Callable[[], Mapping[str, apart.Round]],
    num_rounds: int,
    columns: Mapping[str, Callable[[str], str]],
) -> dict[str, np.ndarray]:
  """Measures rounds of this library and others, and prints the table.

  Args:
    name: What the rounds train.
    create: Creates the rounds of this library, in a process of their own.
    create_others: Creates the others, in this one, with a worker of TFF's.
    num_rounds: Number of rounds of each kind that are counted.
    columns: Passed to `format_table`.

  Returns:
    What `measure` returns.
  """
  with apart.start(create) as library, local.local_worker():
    seconds = measure({**library.rounds, **create_others()}, num_rounds)
  cores = worker_process.usable_cores()  # Respects `taskset`.
  title = f'{name}, {num_rounds} rounds, {cores} cores'
  print(format_table(title, seconds, columns) + '\n', flush=True)
  return seconds
