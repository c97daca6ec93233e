# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares rounds in TFF's worker with rounds in the program itself.

  python -m benchmarks.runtimes
  python -m benchmarks.runtimes --workload=landmarks --rounds=4

Each runtime has a process of its own, because TensorFlow divides its threads
once in a process. Their rounds are interleaved.
"""

from collections.abc import Sequence
import contextlib
import functools

from absl import app
from absl import flags
from absl import logging
import numpy as np

from benchmarks import apart
from benchmarks import interleaved
from benchmarks import library_round
from benchmarks import rounds
from benchmarks import task_workloads
from benchmarks import workload as workload_lib
from tff_partial.runtime import names

_RUNTIMES = (names.WORKER, names.IN_PROCESS)
_LR = 'lr'
_ROUND = 'fed_alt'


def _create(
    name: str, folder: str, sizes: dict[str, int]
) -> workload_lib.Workload:
  if name == _LR:
    return rounds.logistic_regression(**sizes)
  return task_workloads.CREATE[name](folder, **sizes)


def create(
    name: str, sizes: dict[str, int], folder: str
) -> dict[str, apart.Round]:
  """The rounds of a workload, for `apart.start`."""
  workload = _create(name, folder, sizes)
  return {_ROUND: library_round.LibraryRound(workload, _ROUND)}


def run(
    name: str, num_rounds: int, sizes: dict[str, int]
) -> dict[str, np.ndarray]:
  """Measures the rounds and prints the table.

  Args:
    name: The workload: 'lr' or a task.
    num_rounds: Number of rounds of each runtime that are counted.
    sizes: Arguments of the function that creates the workload.

  Returns:
    Seconds of each round, [num_rounds], by runtime, and the seconds that all
    cores spent on it, as '<runtime>, CPU'.
  """
  with contextlib.ExitStack() as stack:
    processes = {
        runtime: stack.enter_context(
            apart.start(functools.partial(create, name, sizes), runtime)
        )
        for runtime in _RUNTIMES
    }
    seconds = interleaved.measure(
        {r: process.rounds[_ROUND] for r, process in processes.items()},
        num_rounds,
    )
  for runtime, process in processes.items():
    cpu_seconds = process.cpu_seconds[_ROUND][-num_rounds:]
    seconds[f'{runtime}, CPU'] = np.array(cpu_seconds)
  columns = {
      'worker': lambda kind: 'worker, CPU' if 'CPU' in kind else 'worker'
  }
  title = f'{name}, {num_rounds} rounds'
  print(interleaved.format_table(title, seconds, columns) + '\n', flush=True)
  return seconds


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)
  for name in FLAGS.workload:
    run(name, FLAGS.rounds, {})


if __name__ == '__main__':
  flags.DEFINE_multi_enum(
      'workload',
      [_LR],
      [_LR, *task_workloads.CREATE],
      'What is trained, by FedAlt: logistic regression, whose steps are tiny,'
      ' or the model of a task; repeat the flag for several.',
  )
  flags.DEFINE_integer(
      'rounds', 30, 'Number of rounds of each kind.', lower_bound=1
  )
  FLAGS = flags.FLAGS
  app.run(main)
