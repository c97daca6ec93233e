# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures a round as the number of registered clients grows.

  python -m benchmarks.population --clients=1000,10000,100000

Time and memory should depend on the cohort, not on the population. Each row is
measured in a process of its own, with a file of this many clients, each with a
few tiny examples, a store in which none or all of them have personal variables,
and some rounds of FedSim with `training.train`. The files are made before
anything is measured.
"""

import collections
from collections.abc import Sequence
import concurrent.futures
import itertools
import multiprocessing
import os
import tempfile
import time
from typing import Any, NamedTuple

from absl import app
from absl import flags
from absl import logging
import numpy as np
import psutil
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.data import sql_clients
from tff_partial.data import sql_writer
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process as process_lib
from tff_partial.runtime import local
from tff_partial.training import personal_store
from tff_partial.training import sampler as sampler_lib
from tff_partial.training import training

_FEATURES = collections.OrderedDict(
    x=tf.TensorSpec([8], tf.float32), y=tf.TensorSpec([1], tf.float32)
)
EXAMPLES = 4  # Per client.
_CLIENTS_PER_WRITE = 1000
_WARM_UP = 2  # Rounds that are not counted.


class Row(NamedTuple):
  """One line of the table.

  Attributes:
    registered: Clients in the client-data file.
    stored: Clients in the store before the first round.
    cohort: Clients in a round.
    open_seconds: Time to open client data and store, once in a program.
    round_seconds: Median of the rounds; includes reading and writing the store.
    commit_seconds: Time to write and commit a cohort after the last round.
    commit_bytes: Bytes that this writes to files.
    store_bytes: Size of the store's file at the end.
    driver_bytes: Resident memory of the process that trains.
    worker_bytes: Resident memory of TFF's worker.
  """

  registered: int
  stored: int
  cohort: int
  open_seconds: float
  round_seconds: float
  commit_seconds: float
  commit_bytes: int
  store_bytes: int
  driver_bytes: int
  worker_bytes: int


def write_clients(path: str, num_clients: int) -> None:
  """Writes a file of clients, all with the same few examples."""
  examples = {
      name: np.zeros([EXAMPLES, *spec.shape], np.float32)
      for name, spec in _FEATURES.items()
  }
  with sql_writer.SqlWriter(path, _FEATURES) as writer:
    for i in range(num_clients):
      writer.write(f'client_{i:09}', examples)


def measure(path: str, cohort: int, all_stored: bool, num_rounds: int) -> Row:
  """Trains for some rounds with the clients of a file, in this process."""
  logging.set_verbosity(logging.WARNING)
  folder = tempfile.TemporaryDirectory()
  with folder as name, local.local_worker():
    form = examples_lib.Tensors(batch_size=EXAMPLES)
    sgd = phase_lib.GroupTraining(tff.learning.optimizers.build_sgdm(0.01))
    process = process_lib.build_partial_process(
        model_fn, algorithms.fed_sim(sgd, sgd), client_examples=form
    )
    state, personal = process.initialize(), process.initialize_personal()
    if all_stored:
      _fill(name, personal, path, state)
    started_at = time.monotonic()
    clients = sql_clients.SqlClients(path)
    with personal_store.PersonalStore(personal, name) as store:
      open_seconds = time.monotonic() - started_at
      stored, last_round = store.num_clients, store.version + num_rounds
      seconds = _Seconds()
      state = training.train(
          process,
          sampler_lib.UniformSampler(clients, cohort),
          store,
          training.Settings(last_round),
          initial_state=state,
          release_managers=[seconds],
          progress=False,
      )
      memory = psutil.Process().memory_info().rss
      worker = max(
          p.memory_info().rss for p in psutil.Process().children(recursive=True)
      )
      written = psutil.Process().io_counters().write_chars
      started_at = time.monotonic()
      store.write(clients.client_ids[:cohort], [personal] * cohort)
      store.commit(last_round + 1, state)
      return Row(
          registered=len(clients.client_ids),
          stored=stored,
          cohort=cohort,
          open_seconds=open_seconds,
          round_seconds=float(np.median(seconds.values[_WARM_UP:])),
          commit_seconds=time.monotonic() - started_at,
          commit_bytes=psutil.Process().io_counters().write_chars - written,
          store_bytes=os.path.getsize(
              os.path.join(name, personal_store.FILE_NAME)
          ),
          driver_bytes=memory,
          worker_bytes=worker,
      )


class _Seconds(tff.program.ReleaseManager):
  """Records the time of each round."""

  def __init__(self):
    self.values = []

  async def release(self, value, key):
    self.values.append(value['seconds'])


def model_fn() -> partial_model.PartialModel:
  """A linear model with 8 shared weights and 1 personal bias."""

  def squared_error(labels, outputs):
    error = tf.squeeze(labels - outputs, -1)
    return tf.square(error), tf.ones_like(error)

  return partial_model.PartialModel(
      tf.keras.Sequential(
          [
              tf.keras.layers.InputLayer([8]),
              tf.keras.layers.Dense(1, name='head'),
          ]
      ),
      partition.matches('/bias$'),
      loss_fn=lambda *args: tf.reduce_mean(squared_error(*args)[0]),
      metric_fns={'squared_error': squared_error},
      input_spec=collections.OrderedDict(
          (name, tf.TensorSpec([None, *spec.shape], spec.dtype))
          for name, spec in _FEATURES.items()
      ),
  )


def _fill(folder: str, personal: Any, path: str, state: Any) -> None:
  """Stores variables for all clients, as if each had trained."""
  client_ids = sql_clients.SqlClients(path).client_ids
  with personal_store.PersonalStore(personal, folder) as store:
    for start in range(0, len(client_ids), _CLIENTS_PER_WRITE):
      some = client_ids[start : start + _CLIENTS_PER_WRITE]
      store.write(some, [personal] * len(some))
    store.commit(1, state)


def format_header() -> str:
  """The header of a Markdown table; MB and kB are powers of ten."""
  return (
      '| registered | stored | per round | open s | round s | commit s |'
      ' commit kB | store MB | driver MB | worker MB |\n'
      + '| ---: ' * len(Row._fields)
      + '|'
  )


def format_row(row: Row) -> str:
  return (
      f'| {row.registered:,} | {row.stored:,} | {row.cohort}'
      f' | {row.open_seconds:.3f} | {row.round_seconds:.3f}'
      f' | {row.commit_seconds:.3f} | {row.commit_bytes / 1e3:,.0f}'
      f' | {row.store_bytes / 1e6:.1f} | {row.driver_bytes / 1e6:.0f}'
      f' | {row.worker_bytes / 1e6:.0f} |'
  )


def run(
    populations: Sequence[int], cohorts: Sequence[int], num_rounds: int
) -> None:
  """Measures and prints every combination, each in a process of its own."""
  local.remove_default_context()  # Nothing is computed in this process.
  spawn = multiprocessing.get_context('spawn')  # Inherits no memory.
  print(format_header(), flush=True)
  with tempfile.TemporaryDirectory() as folder:
    for population in populations:
      path = os.path.join(folder, f'{population}.sqlite')
      write_clients(path, population)
      for all_stored, cohort in itertools.product((False, True), cohorts):
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as process:
          row = process.submit(measure, path, cohort, all_stored, num_rounds)
          print(format_row(row.result()), flush=True)


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  try:
    populations = [int(n) for n in FLAGS.clients]
    cohorts = [int(n) for n in FLAGS.clients_per_round]
  except ValueError as e:
    raise app.UsageError(f'Expected integers, separated by commas: {e}.') from e
  run(populations, cohorts, FLAGS.rounds)


if __name__ == '__main__':
  flags.DEFINE_list(
      'clients', ['1000', '10000', '100000'], 'Numbers of registered clients.'
  )
  flags.DEFINE_list('clients_per_round', ['10', '100'], 'Sizes of cohorts.')
  flags.DEFINE_integer('rounds', 20, 'Number of rounds.', lower_bound=4)
  FLAGS = flags.FLAGS
  app.run(main)
