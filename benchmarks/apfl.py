# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures the rounds of FedJAX's experiment with APFL.

  python -m benchmarks.apfl
  python -m benchmarks.apfl --runtime=worker

The definition is that of experiments/apfl in FedJAX [1]: 340 of the 3,400
writers of EMNIST in a round, a network with two hidden layers of 200, one epoch
in batches of 20, SGD with rate 0.001 on clients and Adam on the server. FedJAX
published 4.99 s a round on a laptop with four cores, and 2.52 GB for a
checkpoint, which has the models of all clients.

Images and labels are random here, and every client has 198 of them, the mean of
EMNIST, so that its steps are as many on average. A client has one mixture
weight; in FedJAX it has one for each variable. Cohorts take turns, so that all
clients have a model after ten rounds.

[1] https://github.com/google/fedjax/tree/main/experiments/apfl
"""

import collections
from collections.abc import Sequence
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

from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process as process_lib
from tff_partial.runtime import names
from tff_partial.runtime import runtimes
from tff_partial.training import personal_store
from tff_partial.training import sampler as sampler_lib
from tff_partial.training import training

_IMAGES = 100_000  # In memory. Clients share them, which takes as much time.
_PIXELS = 784
_CLASSES = 62
_WARM_UP = 2  # Rounds that are not counted.


class Row(NamedTuple):
  """A row of the table.

  Attributes:
    rounds: Counted rounds.
    round_seconds: Their median; includes reading and writing the store.
    commit_seconds: Time to write and commit a cohort after the last round.
    commit_bytes: Bytes that this writes to files.
    stored: Clients in the store at the end.
    store_bytes: Size of the store's file at the end.
    driver_bytes: Resident memory of the process that trains, after the rounds.
    worker_bytes: That of TFF's worker; 0 without one.
  """

  rounds: int
  round_seconds: float
  commit_seconds: float
  commit_bytes: int
  stored: int
  store_bytes: int
  driver_bytes: int
  worker_bytes: int


class _Writers:
  """Clients with as many examples each, cut out of the same images."""

  def __init__(self, clients: int, examples: int):
    rng = np.random.default_rng(0)
    size = max(_IMAGES, examples + clients)
    self._x = rng.integers(0, 256, (size, _PIXELS), np.uint8)
    self._y = rng.integers(0, _CLASSES, size, np.int32)
    self._examples = examples
    self.client_ids = [f'writer_{i:04}' for i in range(clients)]

  def num_examples(self, client_id: str) -> int:
    del client_id  # All have as many.
    return self._examples

  def read(self, client_id: str) -> Any:
    start = int(client_id.rpartition('_')[2])
    chosen = slice(start, start + self._examples)
    return collections.OrderedDict(x=self._x[chosen], y=self._y[chosen])


def _create_model() -> partial_model.PartialModel:

  def losses(labels, logits):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

  return partial_model.PartialModel(
      tf.keras.Sequential(
          [
              tf.keras.layers.InputLayer([_PIXELS]),
              tf.keras.layers.Dense(200, activation='relu', name='hidden1'),
              tf.keras.layers.Dense(200, activation='relu', name='hidden2'),
              tf.keras.layers.Dense(_CLASSES, name='head'),
          ]
      ),
      partition.none,
      loss_fn=lambda y, logits: tf.reduce_mean(losses(y, logits)),
      metric_fns={
          'loss': lambda y, logits: (losses(y, logits), tf.ones_like(y))
      },
      input_spec=collections.OrderedDict(
          x=tf.TensorSpec([None, _PIXELS], tf.float32),
          y=tf.TensorSpec([None], tf.int32),
      ),
  )


def _create_process() -> process_lib.PartialProcess:
  sgd = phase_lib.GroupTraining(tff.learning.optimizers.build_sgdm(0.001))

  def to_floats(batch, seed):
    del seed  # There is no augmentation.
    return {**batch, 'x': tf.cast(batch['x'], tf.float32) / 255.0}

  return process_lib.build_partial_process(
      _create_model,
      algorithms.apfl(sgd, sgd),
      client_examples=examples_lib.Tensors(
          batch_size=20,
          prepare_train=to_floats,
          element_spec=collections.OrderedDict(
              x=tf.TensorSpec([_PIXELS], tf.uint8),
              y=tf.TensorSpec([], tf.int32),
          ),
      ),
      server_optimizer=tff.learning.optimizers.build_adam(
          1.0, beta_1=0.9, beta_2=0.99, epsilon=0.01
      ),
  )


def measure(
    runtime: str,
    *,
    num_rounds: int,
    clients: int = 3400,
    clients_per_round: int = 340,
    examples: int = 198,
) -> Row:
  """Trains for some rounds in this process, and measures them.

  Args:
    runtime: One of `names.RUNTIMES`.
    num_rounds: Number of rounds that are counted.
    clients: Clients in the population.
    clients_per_round: Clients in a round.
    examples: Examples of a client.
  """
  folder = tempfile.TemporaryDirectory()
  with folder as path, runtimes.start(runtime):
    process = _create_process()
    personal = process.initialize_personal()
    writers = _Writers(clients, examples)
    sampler = sampler_lib.CyclicSampler(writers, clients_per_round)
    seconds = _Seconds()
    last_round = num_rounds + _WARM_UP
    with personal_store.PersonalStore(personal, path) as store:
      state = training.train(
          process,
          sampler,
          store,
          training.Settings(last_round),
          release_managers=[seconds],
          progress=False,
      )
      this = psutil.Process()
      workers = [
          p.memory_info().rss
          for p in this.children(recursive=True)
          if p.name() == 'worker_binary'
      ]
      driver = this.memory_info().rss
      cohort = sampler.cohort(last_round - 1)
      # Others, because SQLite writes nothing that stays as it is.
      values = tf.nest.map_structure(
          lambda value: np.add(value, np.float32(1)), store.read(cohort)
      )
      written = this.io_counters().write_chars
      started_at = time.monotonic()
      store.write(cohort, values)
      store.commit(last_round + 1, state)
      return Row(
          rounds=num_rounds,
          round_seconds=float(np.median(seconds.values[_WARM_UP:])),
          commit_seconds=time.monotonic() - started_at,
          commit_bytes=this.io_counters().write_chars - written,
          stored=store.num_clients,
          store_bytes=os.path.getsize(
              os.path.join(path, personal_store.FILE_NAME)
          ),
          driver_bytes=driver,
          worker_bytes=max(workers, default=0),
      )


class _Seconds(tff.program.ReleaseManager):
  """Records the time of each round."""

  def __init__(self):
    self.values = []

  async def release(self, value, key):
    self.values.append(value['seconds'])


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)
  row = measure(FLAGS.runtime, num_rounds=FLAGS.rounds)
  print(
      '| runtime | rounds | round s | commit s | commit GB | stored |'
      ' store GB | driver GB | worker GB |'
  )
  print('| --- |' + ' ---: |' * 8)
  print(
      f'| {FLAGS.runtime} | {row.rounds} | {row.round_seconds:.2f} |'
      f' {row.commit_seconds:.2f} | {row.commit_bytes / 1e9:.2f} |'
      f' {row.stored:,} | {row.store_bytes / 1e9:.2f} |'
      f' {row.driver_bytes / 1e9:.2f} | {row.worker_bytes / 1e9:.2f} |'
  )


if __name__ == '__main__':
  flags.DEFINE_enum(
      'runtime', names.IN_PROCESS, names.RUNTIMES, 'Where clients train.'
  )
  flags.DEFINE_integer(
      'rounds', 10, 'Number of rounds that are counted.', lower_bound=1
  )
  FLAGS = flags.FLAGS
  app.run(main)
