# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures whether memory grows over many rounds.

  python -m benchmarks.long_run --rounds=2000

Trains FedSim on a tiny model and fits a line to the resident memory of the
driver and of TFF's worker. The first quarter of the rounds is left out, because
caches fill then.
"""

from collections.abc import Sequence
import os
import tempfile
from typing import NamedTuple, Optional

from absl import app
from absl import flags
from absl import logging
import numpy as np
import psutil
import tensorflow_federated as tff

from benchmarks import population
from tff_partial.data import sql_clients
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process as process_lib
from tff_partial.runtime import local
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import personal_store
from tff_partial.training import sampler as sampler_lib
from tff_partial.training import training

_CLIENTS = 1000
_ROUNDS_PER_SAMPLE = 10


class Growth(NamedTuple):
  """Growth of one process's resident memory.

  Attributes:
    first_bytes: Memory after the rounds that are left out.
    last_bytes: Memory after the last round.
    bytes_per_round: Slope of the line that is fitted in between.
  """

  first_bytes: int
  last_bytes: int
  bytes_per_round: float


class _Memory(tff.program.ReleaseManager):
  """Records the memory of this process and its children after rounds."""

  def __init__(self):
    self.rounds, self.driver, self.worker = [], [], []

  async def release(self, value, key):
    if key % _ROUNDS_PER_SAMPLE:
      return
    this = psutil.Process()
    self.rounds.append(key)
    self.driver.append(this.memory_info().rss)
    self.worker.append(sum(c.memory_info().rss for c in this.children()))


def measure(
    num_rounds: int, cohort: int, clients_per_shard: Optional[int] = None
) -> dict[str, Growth]:
  """Trains for some rounds and returns the growth of each process.

  Args:
    num_rounds: Number of rounds.
    cohort: Clients per round.
    clients_per_shard: Clients that are computed at a time; by default all.
  """
  memory = _Memory()
  with tempfile.TemporaryDirectory() as folder, local.local_worker():
    path = os.path.join(folder, 'clients.sqlite')
    population.write_clients(path, _CLIENTS)
    form = examples_lib.Tensors(batch_size=population.EXAMPLES)
    sgd = phase_lib.GroupTraining(tff.learning.optimizers.build_sgdm(0.01))
    process = process_lib.build_partial_process(
        population.model_fn, algorithms.fed_sim(sgd, sgd), client_examples=form
    )
    personal = process.initialize_personal()
    with personal_store.PersonalStore(personal, folder) as store:
      training.train(
          process,
          sampler_lib.UniformSampler(sql_clients.SqlClients(path), cohort),
          store,
          training.Settings(num_rounds),
          sharding=sharding_lib.Sharding(clients_per_shard=clients_per_shard),
          release_managers=[memory],
          progress=False,
      )
  return {
      'driver': fit(memory.rounds, memory.driver),
      'worker': fit(memory.rounds, memory.worker),
  }


def fit(rounds: Sequence[int], num_bytes: Sequence[int]) -> Growth:
  """Fits a line to the memory after rounds, without their first quarter."""
  start = len(rounds) // 4
  slope, _ = np.polyfit(rounds[start:], num_bytes[start:], 1)
  return Growth(num_bytes[start], num_bytes[-1], float(slope))


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)
  local.remove_default_context()
  found = measure(
      FLAGS.rounds, FLAGS.clients_per_round, FLAGS.clients_per_shard
  )
  print(
      '| process | MB after a quarter | MB at the end | MB per 1,000 rounds |'
  )
  print('| --- | ---: | ---: | ---: |')
  for name, growth in found.items():
    print(
        f'| {name} | {growth.first_bytes / 1e6:.1f}'
        f' | {growth.last_bytes / 1e6:.1f}'
        f' | {growth.bytes_per_round * 1000 / 1e6:.2f} |'
    )


if __name__ == '__main__':
  flags.DEFINE_integer('rounds', 2000, 'Number of rounds.', lower_bound=80)
  flags.DEFINE_integer('clients_per_round', 10, 'Clients in a round.')
  flags.DEFINE_integer(
      'clients_per_shard', None, 'Clients computed at a time. Default: all.'
  )
  FLAGS = flags.FLAGS
  app.run(main)
