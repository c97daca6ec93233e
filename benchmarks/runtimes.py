# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares rounds in TFF's worker with rounds in the program itself.

  python -m benchmarks.runtimes
  python -m benchmarks.runtimes --workload=landmarks --rounds=4

Each runtime has a process of its own, because TensorFlow divides its threads
once in a process. Their rounds are interleaved.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from collections.abc import Callable, Iterator, Sequence
import contextlib
import multiprocessing
from multiprocessing import connection
import tempfile
from typing import Any

from absl import app
from absl import flags
from absl import logging
import numpy as np
import psutil

from benchmarks import interleaved
from benchmarks import library_round
from benchmarks import rounds
from benchmarks import task_workloads
from benchmarks import workload as workload_lib
from tff_partial.runtime import in_process
from tff_partial.runtime import local

_RUNTIMES: dict[str, Callable[[], Any]] = {
    'worker': local.local_worker,
    'in_process': in_process.in_process,
}
_LR = 'lr'


def _create(
    name: str, folder: str, sizes: dict[str, int]
) -> workload_lib.Workload:
  if name == _LR:
    return rounds.logistic_regression(**sizes)
  return task_workloads.CREATE[name](folder, **sizes)


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
  cpu: dict[str, list[float]] = {runtime: [] for runtime in _RUNTIMES}
  with contextlib.ExitStack() as stack:

    def start(runtime):
      pipe = stack.enter_context(_process(runtime, name, sizes))

      def run_round(round_num):
        pipe.send(round_num)
        seconds, cpu_seconds = pipe.recv()
        cpu[runtime].append(cpu_seconds)
        return seconds

      return run_round

    seconds = interleaved.measure(
        {runtime: start(runtime) for runtime in _RUNTIMES}, num_rounds
    )
  for runtime in _RUNTIMES:
    seconds[f'{runtime}, CPU'] = np.array(cpu[runtime][-num_rounds:])
  columns = {
      'worker': lambda kind: 'worker, CPU' if 'CPU' in kind else 'worker'
  }
  title = f'{name}, {num_rounds} rounds'
  print(interleaved.format_table(title, seconds, columns) + '\n', flush=True)
  return seconds


@contextlib.contextmanager
def _process(
    runtime: str, name: str, sizes: dict[str, int]
) -> Iterator[connection.Connection]:
  """A process that runs the rounds whose numbers it receives."""
  context = multiprocessing.get_context('spawn')
  pipe, of_process = context.Pipe()
  process = context.Process(
      target=_serve, args=(of_process, runtime, name, sizes), daemon=True
  )
  process.start()
  of_process.close()
  try:
    with pipe:  # Closing it ends the process.
      yield pipe
  finally:
    process.join()


def _serve(
    pipe: connection.Connection, runtime: str, name: str, sizes: dict[str, int]
):
  with (
      pipe,
      tempfile.TemporaryDirectory() as folder,
      _RUNTIMES[runtime](),
      contextlib.suppress(EOFError),
  ):
    round_ = library_round.LibraryRound(_create(name, folder, sizes), 'fed_alt')
    while True:
      round_num = pipe.recv()
      before = _cpu_seconds()
      seconds = round_(round_num)
      pipe.send((seconds, _cpu_seconds() - before))


def _cpu_seconds() -> float:
  """The time that this process and its worker have spent, on all cores."""
  process = psutil.Process()
  return sum(
      sum(p.cpu_times()[:2])
      for p in [process, *process.children(recursive=True)]
  )


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
