# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares the seconds of a round with stock TFF and with a bare loop.

  python -m benchmarks.rounds

The model is logistic regression, whose steps are so small that everything
around them matters. The following rounds have the same clients, examples, model
and optimizer, and are interleaved:

*   tff_partial (`library_round.py`);
*   stock TFF: `build_unweighted_fed_avg`, a `tf.data.Dataset` for each client,
    in TFF's worker, while tff_partial computes in the program;
*   bare loop (`bare_loop.py`);
*   empty round (`empty_round.py`).

`task_rounds.py` measures the tasks.
"""

import collections
from collections.abc import Sequence
import functools
import time

from absl import app
from absl import flags
from absl import logging
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from benchmarks import apart
from benchmarks import bare_loop
from benchmarks import empty_round
from benchmarks import interleaved
from benchmarks import library_round
from benchmarks import workload as workload_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition

_FEATURES = 784
_CLASSES = 10
_ALGORITHMS = {'FedAvg': 'fed_avg', 'FedSim': 'fed_sim', 'FedAlt': 'fed_alt'}
_STOCK = 'stock TFF, FedAvg'
_BARE = 'bare loop, FedAvg'
_BARE_ALT = 'bare loop, FedAlt'
_INPUT_SPEC = collections.OrderedDict(
    x=tf.TensorSpec([None, _FEATURES], tf.float32),
    y=tf.TensorSpec([None], tf.int32),
)


def logistic_regression(
    *,
    clients: int = 1000,
    clients_per_round: int = 10,
    examples: int = 60,
    batch_size: int = 10,
) -> workload_lib.Workload:
  """Logistic regression on 784 random floats; the bias can be personal."""
  rng = np.random.default_rng(0)
  people = workload_lib.ClientsInMemory(
      {
          f'client_{i}': {
              'x': rng.random((examples, _FEATURES), np.float32),
              'y': rng.integers(_CLASSES, size=examples, dtype=np.int32),
          }
          for i in range(clients)
      }
  )
  tensors = examples_lib.Tensors(batch_size=batch_size)
  return workload_lib.Workload(
      name='LR',
      model_fn=_model_fn,
      split='bias',
      clients=people,
      client_examples=tensors,
      arrays=people,
      tensors=tensors,
      clients_per_round=clients_per_round,
  )


def _model_fn(split: str) -> partial_model.ModelFn:

  def right_answers(labels, logits):
    right = tf.equal(tf.argmax(logits, -1, tf.int32), labels)
    return right, tf.ones_like(labels)

  def losses(labels, logits):
    return _cross_entropy(labels, logits), tf.ones_like(labels)

  rules = {'none': partition.none, 'bias': partition.matches('/bias$')}
  return lambda: partial_model.PartialModel(
      _keras_model(),
      rules[split],
      loss_fn=lambda *args: tf.reduce_mean(_cross_entropy(*args)),
      metric_fns={'loss': losses, 'accuracy': right_answers},
      input_spec=_INPUT_SPEC,
  )


def _cross_entropy(labels, logits):
  return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _keras_model() -> tf.keras.Model:
  return tf.keras.Sequential(
      [
          tf.keras.layers.InputLayer([_FEATURES]),
          tf.keras.layers.Dense(_CLASSES),
      ]
  )


def _create_stock(workload: workload_lib.Workload) -> apart.Round:
  # Measures loss and accuracy too: `from_keras_model` adds the loss.
  process = tff.learning.algorithms.build_unweighted_fed_avg(
      lambda: tff.learning.models.from_keras_model(
          _keras_model(),
          loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
          metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
          input_spec=_INPUT_SPEC,
      ),
      client_optimizer_fn=tff.learning.optimizers.build_sgdm(
          workload.learning_rate
      ),
  )
  state = process.initialize()

  def run_round(round_num):
    nonlocal state
    started_at = time.monotonic()
    datasets = [
        tf.data.Dataset.from_tensor_slices(workload.clients.read(client_id))
        .shuffle(workload.clients.num_examples(client_id))
        .batch(workload.tensors.batch_size)
        for client_id in workload.cohort(round_num)
    ]
    state = process.next(state, datasets).state
    return time.monotonic() - started_at

  return run_round


def create(sizes: dict[str, int], folder: str) -> dict[str, apart.Round]:
  """The rounds of this library, for `apart.start`."""
  del folder  # Everything is in memory.
  workload = logistic_regression(**sizes)
  rounds: dict[str, apart.Round] = {
      f'tff_partial, {name}': library_round.LibraryRound(workload, algorithm)
      for name, algorithm in _ALGORITHMS.items()
  }
  return {**rounds, 'empty round': empty_round.create(workload)}


def run(sizes: dict[str, int], num_rounds: int) -> dict[str, np.ndarray]:
  """Measures the rounds and prints the table.

  Args:
    sizes: Arguments of `logistic_regression`.
    num_rounds: Number of rounds of each kind that are counted.
  """
  workload = logistic_regression(**sizes)
  return interleaved.run(
      workload.name,
      functools.partial(create, sizes),
      lambda: {
          _STOCK: _create_stock(workload),
          _BARE: bare_loop.BareLoop(workload, alternating=False),
          _BARE_ALT: bare_loop.BareLoop(workload, alternating=True),
      },
      num_rounds,
      {
          'stock': lambda kind: _STOCK,
          'bare loop': lambda kind: (
              _BARE_ALT if kind.endswith('FedAlt') else _BARE
          ),
      },
  )


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)  # TFF logs what it adds and drops.
  run({}, FLAGS.rounds)


if __name__ == '__main__':
  flags.DEFINE_integer(
      'rounds', 30, 'Number of rounds of each kind.', lower_bound=1
  )
  FLAGS = flags.FLAGS
  app.run(main)
