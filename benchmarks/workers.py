# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures how much faster two workers are than one, each pinned to a core.

  python -m benchmarks.workers
  python -m benchmarks.workers --clients_per_shard=2 --examples=100

Runs rounds of FedAlt in shards, with the EMNIST CNN on random data
(`task_workloads.py`). `tff_partial.runtime.serve_worker` is started on two
cores, and rounds on one of the two workers and rounds on both are interleaved.
Efficiency is the time with one worker divided by twice the time with two; 1
would be perfect. The driver is pinned to the same two cores: it shares them
with two workers, and has one to itself if there is a single worker.

Bare loops of the same steps are interleaved with them, on one core and on both
(`pinned_loops.py`). Their efficiency is the best that these two cores allow.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from collections.abc import Callable, Iterator, Sequence
import contextlib
import functools
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags
from absl import logging
import numpy as np

from benchmarks import interleaved
from benchmarks import library_round
from benchmarks import pinned_loops
from benchmarks import task_workloads
from tff_partial.runtime import dispatcher as dispatcher_lib
from tff_partial.runtime import remote
from tff_partial.runtime import serve_worker
from tff_partial.runtime import worker_process

_ONE, _TWO = '1 worker', '2 workers'
_BARE_ONE, _BARE_TWO = 'bare loop, 1 core', 'bare loops, 2 cores'


def _two_cores() -> list[int]:
  cores = sorted(os.sched_getaffinity(0))[:2]
  if len(cores) < 2:
    raise ValueError(f'Expected at least two cores, found {len(cores)}.')
  return cores


@contextlib.contextmanager
def pinned_workers() -> Iterator[list[str]]:
  """Serves workers on the first two cores, and yields their addresses."""
  before = os.sched_getaffinity(0)
  cores = _two_cores()
  with contextlib.ExitStack() as stack:
    addresses = []
    stack.callback(os.sched_setaffinity, 0, before)
    for core in cores:
      port = worker_process.unused_port()
      os.sched_setaffinity(0, {core})  # Inherited by the process started next.
      process = subprocess.Popen(
          [
              sys.executable,
              '-m',
              serve_worker.__name__,
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
    clients: int, examples: int, clients_per_shard: int, num_rounds: int
) -> dict[str, np.ndarray]:
  """Measures the rounds and prints the table."""
  create = functools.partial(task_workloads.create_emnist, examples=examples)
  driver_seconds = {_ONE: [], _TWO: []}
  with contextlib.ExitStack() as stack:
    workload = create(
        stack.enter_context(tempfile.TemporaryDirectory()), clients=clients
    )
    by_one, by_all = stack.enter_context(
        pinned_loops.rounds(
            functools.partial(create, clients=clients // 2), _two_cores()
        )
    )
    addresses = stack.enter_context(pinned_workers())
    workers = stack.enter_context(remote.connect(addresses))

    def create_round(name: str, some: Sequence[remote.RemoteWorker]):
      run_round = library_round.LibraryRound(
          workload,
          'fed_alt',
          sharding=dispatcher_lib.Sharding(
              stack.enter_context(dispatcher_lib.Dispatcher(some)),
              clients_per_shard,
          ),
      )
      return _count_cpu(run_round, driver_seconds[name])

    seconds = interleaved.measure(
        {
            _ONE: create_round(_ONE, workers[:1]),
            _TWO: create_round(_TWO, workers),
            _BARE_ONE: by_one,
            _BARE_TWO: by_all,
        },
        num_rounds,
    )
  print(
      f'| {workload.name}, {clients} clients in shards of {clients_per_shard},'
      f" {num_rounds} rounds | seconds | quartiles | driver's CPU seconds |"
      ' efficiency |\n'
      '| --- | ---: | ---: | ---: | ---: |'
  )
  for one, two in ((_ONE, _TWO), (_BARE_ONE, _BARE_TWO)):
    efficiency = np.median(seconds[one] / seconds[two] / 2)
    for name, value in ((one, 1.0), (two, efficiency)):
      low, median, high = np.quantile(seconds[name], [0.25, 0.5, 0.75])
      cpu = ''
      if name in driver_seconds:
        cpu = f'{np.median(driver_seconds[name][-num_rounds:]):.4f}'
      print(
          f'| {name} | {median:.4f} | {low:.4f} to {high:.4f} | {cpu}'
          f' | {value:.2f} |',
          flush=True,
      )
  return seconds


def _count_cpu(
    run_round: Callable[[int], float], cpu_seconds: list[float]
) -> interleaved.Round:
  """The same round, but records its CPU time in this process."""

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
  run(FLAGS.clients, FLAGS.examples, FLAGS.clients_per_shard, FLAGS.rounds)


if __name__ == '__main__':
  flags.DEFINE_integer('clients', 16, 'Clients in a round.', lower_bound=2)
  flags.DEFINE_integer(
      'clients_per_shard', 4, 'Clients computed at a time.', lower_bound=1
  )
  flags.DEFINE_integer('examples', 400, 'Examples per client.', lower_bound=1)
  flags.DEFINE_integer(
      'rounds', 15, 'Number of rounds of each kind.', lower_bound=1
  )
  FLAGS = flags.FLAGS
  app.run(main)
