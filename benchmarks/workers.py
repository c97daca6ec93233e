# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much faster two workers are than one, each kept to a core of its own.

  python -m benchmarks.workers
  python -m benchmarks.workers --clients_per_shard=2 --examples=100

Rounds of FedAlt of the EMNIST CNN on made-up data (`task_workloads.py`), in
shards. `tff_partial.serve_worker` is started on two cores; rounds with one of
the two and rounds with both take turns. Efficiency is the time with one over
twice the time with two, and 1 would be perfect. The driver is kept to the same
two cores: beside one worker it has a core to itself, beside two it has not.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from collections.abc import Callable, Iterator, Sequence
import contextlib
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags
from absl import logging
import numpy as np

from benchmarks import library_round
from benchmarks import task_workloads
from benchmarks import turns
from benchmarks import workload as workload_lib
from tff_partial import dispatcher as dispatcher_lib
from tff_partial import remote_workers
from tff_partial import worker_process

_ONE, _TWO = '1 worker', '2 workers'


@contextlib.contextmanager
def pinned_workers() -> Iterator[list[str]]:
  """Serves workers on the first two cores; their addresses."""
  before = os.sched_getaffinity(0)
  cores = sorted(before)[:2]
  if len(cores) < 2:
    raise ValueError(f'Expected two cores or more, found {len(cores)}.')
  with contextlib.ExitStack() as stack:
    addresses = []
    stack.callback(os.sched_setaffinity, 0, before)
    for core in cores:
      port = worker_process.unused_port()
      os.sched_setaffinity(0, {core})  # What is started now inherits it.
      process = subprocess.Popen(
          [
              sys.executable,
              '-m',
              'tff_partial.serve_worker',
              f'--port={port}',
          ],
          stdin=subprocess.DEVNULL,
          stdout=subprocess.DEVNULL,
      )
      stack.callback(process.wait)
      stack.callback(process.terminate)
      addresses.append(f'localhost:{port}')
    os.sched_setaffinity(0, cores)
    yield addresses


def run(
    workload: workload_lib.Workload, clients_per_shard: int, num_rounds: int
) -> dict[str, np.ndarray]:
  """Measures, and prints the table."""
  driver_seconds = {_ONE: [], _TWO: []}
  with contextlib.ExitStack() as stack:
    addresses = stack.enter_context(pinned_workers())
    workers = stack.enter_context(remote_workers.connect(addresses))

    def create(name: str, some: Sequence[remote_workers.RemoteWorker]):
      run_round = library_round.LibraryRound(
          workload,
          'fed_alt',
          clients_per_shard=clients_per_shard,
          dispatcher=stack.enter_context(dispatcher_lib.Dispatcher(some)),
      )
      return _count_cpu(run_round, driver_seconds[name])

    seconds = turns.measure(
        {_ONE: create(_ONE, workers[:1]), _TWO: create(_TWO, workers)},
        num_rounds,
    )
  print(
      f'| {workload.name}, {workload.clients_per_round} clients in shards of'
      f' {clients_per_shard}, {num_rounds} rounds | seconds | quartiles |'
      " driver's CPU seconds | efficiency |\n"
      '| --- | ---: | ---: | ---: | ---: |'
  )
  for name, values in seconds.items():
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    workers_there = 1 if name == _ONE else 2
    efficiency = np.median(seconds[_ONE] / values) / workers_there
    cpu = np.median(driver_seconds[name][-num_rounds:])
    print(
        f'| {name} | {median:.4f} | {low:.4f} to {high:.4f} | {cpu:.4f}'
        f' | {efficiency:.2f} |',
        flush=True,
    )
  return seconds


def _count_cpu(
    run_round: Callable[[int], float], cpu_seconds: list[float]
) -> turns.Round:
  """The same round, whose CPU time in this process is noted."""

  def run_and_count(round_num):
    before = time.process_time()
    seconds = run_round(round_num)
    cpu_seconds.append(time.process_time() - before)
    return seconds

  return run_and_count


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)
  with tempfile.TemporaryDirectory() as folder:
    workload = task_workloads.create_emnist(
        folder, clients=FLAGS.clients, examples=FLAGS.examples
    )
    run(workload, FLAGS.clients_per_shard, FLAGS.rounds)


if __name__ == '__main__':
  flags.DEFINE_integer('clients', 16, 'In a round.', lower_bound=1)
  flags.DEFINE_integer(
      'clients_per_shard', 4, 'Computed at a time.', lower_bound=1
  )
  flags.DEFINE_integer('examples', 400, 'Of each client.', lower_bound=1)
  flags.DEFINE_integer('rounds', 15, 'With each, in turns.', lower_bound=1)
  FLAGS = flags.FLAGS
  app.run(main)
