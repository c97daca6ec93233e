# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures how much faster two processes are than one, each with a core.

  python -m benchmarks.workers
  python -m benchmarks.workers --clients_per_shard=2 --examples=100
  python -m benchmarks.workers --workload=resnet18 --clients=20 \
      --clients_per_shard=1 --examples=1 --rounds=1

Runs rounds of FedAlt in shards, with the EMNIST CNN or ResNet-18 on random data
(`task_workloads.py`). Two processes of `connect('local')` are pinned to a core
each, and rounds in one of them and rounds in both are interleaved. Efficiency
is the time with one process divided by twice the time with two; 1 would be
perfect. The driver is pinned to the same two cores: it shares them with two
processes, and has one to itself if there is a single one.

Bare loops of the same steps are interleaved with them, on one core and on both
(`pinned_loops.py`). Their efficiency is the best that these two cores allow.

The last column is what the driver and the cluster's store send each other.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import functools
import os
import tempfile
import time
from typing import Any
from unittest import mock

from absl import app
from absl import flags
from absl import logging
import numpy as np
import psutil
import ray

from benchmarks import apart
from benchmarks import interleaved
from benchmarks import library_round
from benchmarks import pinned_loops
from benchmarks import task_workloads
from benchmarks import workload as workload_lib
from tff_partial.runtime import cluster
from tff_partial.runtime import sharding

_ONE, _TWO = '1 process', '2 processes'
_WORKLOADS: dict[str, Callable[..., workload_lib.Workload]] = {
    'emnist': task_workloads.create_emnist,
    # Small pictures: what is sent depends on the variables.
    'resnet18': functools.partial(
        task_workloads.create_landmarks, image_size=28
    ),
}
_BARE_ONE, _BARE_TWO = 'bare loop, 1 core', 'bare loops, 2 cores'


def _two_cores() -> list[int]:
  cores = sorted(os.sched_getaffinity(0))[:2]
  if len(cores) < 2:
    raise ValueError(f'Expected at least two cores, found {len(cores)}.')
  return cores


@contextlib.contextmanager
def pinned_processes() -> Iterator[Sequence[Any]]:
  """Starts a process on each of two cores, and yields Ray's handles."""
  before = os.sched_getaffinity(0)
  cores = _two_cores()
  with contextlib.ExitStack() as stack:
    stack.callback(os.sched_setaffinity, 0, before)
    os.sched_setaffinity(0, cores)
    engine = stack.enter_context(cluster.connect('local', actor_cores=1))
    for handle, core in zip(engine.handles, cores, strict=True):
      _pin(ray.get(handle.describe.remote())['pid'], core)
    yield engine.handles


def _pin(pid: int, core: int) -> None:
  """Moves all threads of a process and of its TFF worker to a core."""
  process = psutil.Process(pid)
  for one in (process, *process.children(recursive=True)):
    for thread in one.threads():
      os.sched_setaffinity(thread.id, {core})


class _Traffic:
  """Counts the bytes that this program puts into and gets from the store."""

  def __init__(self):
    self.num_bytes = 0
    self._put, self._get = ray.put, ray.get

  def put(self, value: Any) -> ray.ObjectRef:
    self._count(value)
    return self._put(value)

  def get(self, references: Any) -> Any:
    value = self._get(references)
    self._count(value)
    return value

  def _count(self, value: Any) -> None:
    if isinstance(value, bytes):
      self.num_bytes += len(value)
    elif isinstance(value, (list, tuple)):
      self.num_bytes += sum(getattr(array, 'nbytes', 0) for array in value)


def run(
    clients: int,
    examples: int,
    clients_per_shard: int,
    num_rounds: int,
    *,
    workload: str = 'emnist',
) -> dict[str, np.ndarray]:
  """Measures the rounds and prints the table."""
  create = functools.partial(_WORKLOADS[workload], examples=examples)
  driver_seconds = {_ONE: [], _TWO: []}
  sent_bytes = {_ONE: [], _TWO: []}
  traffic = _Traffic()
  with contextlib.ExitStack() as stack:
    created = create(
        stack.enter_context(tempfile.TemporaryDirectory()), clients=clients
    )
    by_one, by_all = stack.enter_context(
        pinned_loops.rounds(
            functools.partial(create, clients=clients // 2), _two_cores()
        )
    )
    handles = stack.enter_context(pinned_processes())
    stack.enter_context(
        mock.patch.multiple(ray, put=traffic.put, get=traffic.get)
    )

    def create_round(name: str, some: Sequence[Any]):
      run_round = library_round.LibraryRound(
          created,
          'fed_alt',
          sharding=sharding.Sharding(cluster.Cluster(some), clients_per_shard),
      )
      return _count(run_round, driver_seconds[name], sent_bytes[name], traffic)

    seconds = interleaved.measure(
        {
            _ONE: create_round(_ONE, handles[:1]),
            _TWO: create_round(_TWO, handles),
            _BARE_ONE: by_one,
            _BARE_TWO: by_all,
        },
        num_rounds,
    )
  print(
      f'| {created.name}, {clients} clients in shards of {clients_per_shard},'
      f" {num_rounds} rounds | seconds | quartiles | driver's CPU seconds |"
      " efficiency | driver's MB a round |\n"
      '| --- | ---: | ---: | ---: | ---: | ---: |'
  )
  for one, two in ((_ONE, _TWO), (_BARE_ONE, _BARE_TWO)):
    efficiency = np.median(seconds[one] / seconds[two] / 2)
    for name, value in ((one, 1.0), (two, efficiency)):
      low, median, high = np.quantile(seconds[name], [0.25, 0.5, 0.75])
      cpu = sent = ''
      if name in driver_seconds:
        cpu = f'{np.median(driver_seconds[name][-num_rounds:]):.4f}'
        sent = f'{np.median(sent_bytes[name][-num_rounds:]) / 1e6:.2f}'
      print(
          f'| {name} | {median:.4f} | {low:.4f} to {high:.4f} | {cpu}'
          f' | {value:.2f} | {sent} |',
          flush=True,
      )
  return seconds


def _count(
    run_round: Callable[[int], float],
    cpu_seconds: list[float],
    sent_bytes: list[int],
    traffic: _Traffic,
) -> apart.Round:
  """The same round, but records this process's CPU time and traffic."""

  def run_and_count(round_num):
    before, bytes_before = time.process_time(), traffic.num_bytes
    seconds = run_round(round_num)
    cpu_seconds.append(time.process_time() - before)
    sent_bytes.append(traffic.num_bytes - bytes_before)
    return seconds

  return run_and_count


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)
  run(
      FLAGS.clients,
      FLAGS.examples,
      FLAGS.clients_per_shard,
      FLAGS.rounds,
      workload=FLAGS.workload,
  )


if __name__ == '__main__':
  flags.DEFINE_enum('workload', 'emnist', list(_WORKLOADS), 'What is trained.')
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
