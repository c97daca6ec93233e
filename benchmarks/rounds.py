# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Seconds a round takes, beside stock TFF and beside no framework at all.

  python -m benchmarks.rounds

Two workloads, and for each of them these rounds, of the same clients with the
same examples, the same model and the same optimizer:

*   tff_partial: what `training.train` reports as a round's seconds, which
    includes sampling, reading examples, and reading and writing the store;
*   stock TFF: `build_unweighted_fed_avg`, a `tf.data.Dataset` for each client,
    in the same worker;
*   bare loop: a `tf.function` for a client's steps, called for one client after
    the other in this process, and an average in NumPy; no federation, no
    metrics, no check that values are finite;
*   empty round: shared and personal variables and examples to the worker and
    back, and no training: what TFF takes for itself.

The rounds take turns, so that whatever else the machine does hits all alike:
ratios can be trusted where seconds cannot.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import collections
from collections.abc import Callable, Sequence
import dataclasses
import time
from typing import Any

from absl import app
from absl import flags
from absl import logging
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import algorithms
from tff_partial import clients as clients_lib
from tff_partial import examples as examples_lib
from tff_partial import local_update
from tff_partial import partial_model
from tff_partial import partition
from tff_partial import personal_store
from tff_partial import process as process_lib
from tff_partial import runtime
from tff_partial import training

_LEARNING_RATE = 0.01
_STOCK = 'stock TFF, FedAvg'
_BARE = 'bare loop, FedAvg'
_BARE_ALT = 'bare loop, FedAlt'
_EMPTY = 'empty round'

# Runs round `round_num`, with the cohort that belongs to it; its seconds.
Round = Callable[[int], float]


@dataclasses.dataclass(frozen=True)
class Workload:
  """What is trained, and on how much.

  Attributes:
    name: For the table.
    keras_model_fn: Makes the model; a personal layer is called `head`.
    personal: What FedSim and FedAlt make personal.
    clients: Clients there are.
    clients_per_round: Size of a cohort.
    examples: Examples of each client.
    shape: Of one example.
    batch_size: Examples a gradient step.
    classes: Labels there are.
  """

  name: str
  keras_model_fn: Callable[[], tf.keras.Model]
  personal: partition.Rule
  clients: int
  clients_per_round: int
  examples: int
  shape: tuple[int, ...]
  batch_size: int
  classes: int

  @property
  def input_spec(self) -> Any:
    return collections.OrderedDict(
        x=tf.TensorSpec([None, *self.shape], tf.float32),
        y=tf.TensorSpec([None], tf.int32),
    )

  def create_clients(self) -> '_Clients':
    rng = np.random.default_rng(0)
    return _Clients(
        {
            f'client_{i}': collections.OrderedDict(
                x=rng.random((self.examples, *self.shape), np.float32),
                y=rng.integers(
                    self.classes, size=self.examples, dtype=np.int32
                ),
            )
            for i in range(self.clients)
        }
    )


def logistic_regression(**sizes: Any) -> Workload:
  """1,000 clients x 60 examples of 784 floats; the bias can be personal."""

  def keras_model():
    return tf.keras.Sequential(
        [
            tf.keras.layers.InputLayer([784]),
            tf.keras.layers.Dense(10, name='head'),
        ]
    )

  return dataclasses.replace(
      Workload(
          name='LR',
          keras_model_fn=keras_model,
          personal=partition.matches('/bias$'),
          clients=1000,
          clients_per_round=10,
          examples=60,
          shape=(784,),
          batch_size=10,
          classes=10,
      ),
      **sizes,
  )


def cnn(**sizes: Any) -> Workload:
  """10 clients x 100 images, 62 classes; the last layer can be personal."""

  def keras_model():
    return tf.keras.Sequential(
        [
            tf.keras.layers.InputLayer([28, 28, 1]),
            tf.keras.layers.Conv2D(32, 3, activation='relu'),
            tf.keras.layers.Conv2D(64, 3, activation='relu'),
            tf.keras.layers.MaxPool2D(),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(128, activation='relu'),
            tf.keras.layers.Dense(62, name='head'),
        ]
    )

  return dataclasses.replace(
      Workload(
          name='CNN',
          keras_model_fn=keras_model,
          personal=partition.layers('head'),
          clients=10,
          clients_per_round=10,
          examples=100,
          shape=(28, 28, 1),
          batch_size=20,
          classes=62,
      ),
      **sizes,
  )


class _Clients:
  """Clients in memory."""

  def __init__(self, data: dict[str, Any]):
    self._data = data
    self.client_ids = list(data)

  def num_examples(self, client_id: str) -> int:
    return len(self._data[client_id]['y'])

  def read(self, client_id: str) -> Any:
    return self._data[client_id]

  def cohort(self, size: int, round_num: int) -> list[str]:
    """The same as `training.train` draws."""
    return clients_lib.sample(
        self.client_ids, size, seed=0, round_num=round_num
    )


def create_rounds(workload: Workload, clients: _Clients) -> dict[str, Round]:
  """Everything that is compared, by name, in a `runtime.local_worker`."""
  return {
      'tff_partial, FedAvg': _library(workload, clients, 'fed_avg'),
      'tff_partial, FedSim': _library(workload, clients, 'fed_sim'),
      'tff_partial, FedAlt': _library(workload, clients, 'fed_alt'),
      _STOCK: _stock(workload, clients),
      _BARE: _bare(workload, clients, alternating=False),
      _BARE_ALT: _bare(workload, clients, alternating=True),
      _EMPTY: _empty(workload, clients),
  }


def _library(workload: Workload, clients: _Clients, name: str) -> Round:
  sgd = local_update.GroupTraining(
      tff.learning.optimizers.build_sgdm(_LEARNING_RATE)
  )
  algorithm, rule = {
      'fed_avg': (algorithms.fed_avg(sgd), partition.none),
      'fed_sim': (algorithms.fed_sim(sgd, sgd), workload.personal),
      'fed_alt': (algorithms.fed_alt(sgd, sgd), workload.personal),
  }[name]
  form = examples_lib.Tensors(batch_size=workload.batch_size)
  process = process_lib.build_partial_process(
      _model_fn(workload, rule),
      algorithm,
      client_examples=form,
      client_weighting=tff.learning.ClientWeighting.UNIFORM,
  )
  initial_state = process.initialize()
  initial_personal = process.initialize_personal()
  store = personal_store.PersonalStore(initial_personal)
  last = _Last()

  def run(round_num):
    training.train(
        process,
        clients,
        store,
        training.Settings(
            total_rounds=round_num + 1,
            clients_per_round=workload.clients_per_round,
        ),
        client_examples=form,
        initial_state=initial_state,
        initial_personal=initial_personal,
        release_managers=[last],
        progress=False,
    )
    return last.row['seconds']

  return run


class _Last(tff.program.ReleaseManager):
  """Keeps the metrics of the last round."""

  async def release(self, value, key):
    self.row = value


def _model_fn(
    workload: Workload, rule: partition.Rule
) -> partial_model.ModelFn:

  def right_answers(labels, logits):
    right = tf.equal(tf.argmax(logits, -1, tf.int32), labels)
    return right, tf.ones_like(labels)

  def losses(labels, logits):
    return _cross_entropy(labels, logits), tf.ones_like(labels)

  return lambda: partial_model.PartialModel(
      workload.keras_model_fn(),
      rule,
      loss_fn=lambda *args: tf.reduce_mean(_cross_entropy(*args)),
      metric_fns={'loss': losses, 'accuracy': right_answers},
      input_spec=workload.input_spec,
  )


def _cross_entropy(labels, logits):
  return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _stock(workload: Workload, clients: _Clients) -> Round:
  # Loss and accuracy are measured here too: `from_keras_model` adds the loss.
  process = tff.learning.algorithms.build_unweighted_fed_avg(
      lambda: tff.learning.models.from_keras_model(
          workload.keras_model_fn(),
          loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
          metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
          input_spec=workload.input_spec,
      ),
      client_optimizer_fn=tff.learning.optimizers.build_sgdm(_LEARNING_RATE),
  )
  state = process.initialize()

  def run(round_num):
    nonlocal state
    started_at = time.monotonic()
    datasets = [
        tf.data.Dataset.from_tensor_slices(clients.read(client_id))
        .shuffle(workload.examples)
        .batch(workload.batch_size)
        for client_id in clients.cohort(workload.clients_per_round, round_num)
    ]
    state = process.next(state, datasets).state
    return time.monotonic() - started_at

  return run


def _bare(workload: Workload, clients: _Clients, *, alternating: bool) -> Round:
  keras_model = workload.keras_model_fn()
  by_path = {
      path.replace('.', '/'): variable
      for path, variable in keras_model.get_weight_paths().items()
  }
  shared = [v for p, v in by_path.items() if not workload.personal(p)]
  personal = [v for p, v in by_path.items() if workload.personal(p)]
  phases = [personal, shared] if alternating else [shared + personal]
  averaged = phases[-1]

  # Traced here and now: Keras gives up a model when another is made in a graph.
  @tf.function
  def train(x, y):
    for variables in phases:
      order = tf.random.shuffle(tf.range(workload.examples))
      for start in tf.range(0, workload.examples, workload.batch_size):
        batch = order[start : start + workload.batch_size]
        with tf.GradientTape() as tape:
          logits = keras_model(tf.gather(x, batch), training=True)
          loss = tf.reduce_mean(_cross_entropy(tf.gather(y, batch), logits))
        for v, g in zip(variables, tape.gradient(loss, variables)):
          v.assign_sub(_LEARNING_RATE * g)

  train = train.get_concrete_function(
      *(
          tf.TensorSpec([workload.examples, *spec.shape[1:]], spec.dtype)
          for spec in workload.input_spec.values()
      )
  )
  values = [v.numpy() for v in averaged]
  kept = {}

  def run(round_num):
    nonlocal values
    started_at = time.monotonic()
    sums = [np.zeros_like(value) for value in values]
    cohort = clients.cohort(workload.clients_per_round, round_num)
    for client_id in cohort:
      for variable, value in zip(averaged, values):
        variable.assign(value)
      if alternating:
        for variable, value in zip(personal, kept.get(client_id, ())):
          variable.assign(value)
      examples = clients.read(client_id)
      train(tf.constant(examples['x']), tf.constant(examples['y']))
      for total, variable in zip(sums, averaged):
        total += variable.numpy()
      if alternating:
        kept[client_id] = [v.numpy() for v in personal]
    values = [total / len(cohort) for total in sums]
    return time.monotonic() - started_at

  return run


def _empty(workload: Workload, clients: _Clients) -> Round:
  form = examples_lib.Tensors(batch_size=workload.batch_size)
  model_fn = _model_fn(workload, workload.personal)
  types = process_lib.model_types(model_fn, form)
  shared, personal = process_lib.build_initial_weights(model_fn, seed=0)()

  @tff.tensorflow.computation(types.shared, types.personal, types.examples)
  def client_work(shared, personal, examples):
    del examples  # Received, and that is all.
    return shared, personal

  @tff.federated_computation(
      tff.FederatedType(types.shared, tff.SERVER),
      tff.FederatedType(types.personal, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def next_round(shared, personal, examples):
    output = tff.federated_map(
        client_work, (tff.federated_broadcast(shared), personal, examples)
    )
    return tff.federated_mean(output[0]), output[1]

  def run(round_num):
    started_at = time.monotonic()
    next_round(
        shared,
        [personal] * workload.clients_per_round,
        [
            form.value(clients.read(c), clients_lib.seed_for(0, round_num, c))
            for c in clients.cohort(workload.clients_per_round, round_num)
        ],
    )
    return time.monotonic() - started_at

  return run


def measure(rounds: dict[str, Round], num_rounds: int) -> dict[str, np.ndarray]:
  """Seconds of each round, [num_rounds], after two that warm up."""
  seconds = {name: [] for name in rounds}
  for round_num in range(num_rounds + 2):
    for name, run in rounds.items():
      seconds[name].append(run(round_num))
  return {name: np.array(values[2:]) for name, values in seconds.items()}


def format_table(title: str, seconds: dict[str, np.ndarray]) -> str:
  """Markdown: medians, quartiles, and the median of each turn's ratio.

  A ratio of two rounds of the same turn says more than that of two medians: a
  minute in which the machine was slow is in both.
  """
  lines = [
      f'| {title} | seconds | quartiles | / stock | / bare loop |',
      '| --- | ---: | ---: | ---: | ---: |',
  ]
  for name, values in seconds.items():
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    bare = seconds[_BARE_ALT if name.endswith('FedAlt') else _BARE]
    lines.append(
        f'| {name} | {median:.4f} | {low:.4f} to {high:.4f}'
        f' | {np.median(values / seconds[_STOCK]):.2f}'
        f' | {np.median(values / bare):.2f} |'
    )
  return '\n'.join(lines)


def run(workload: Workload, num_rounds: int) -> dict[str, np.ndarray]:
  """Measures one workload and prints its table."""
  with runtime.local_worker():
    rounds = create_rounds(workload, workload.create_clients())
    seconds = measure(rounds, num_rounds)
  print(format_table(f'{workload.name}, {num_rounds} rounds', seconds))
  print(flush=True)
  return seconds


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)  # TFF tells what it adds and drops.
  for workload in (logistic_regression(), cnn()):
    if workload.name in FLAGS.workload:
      run(workload, FLAGS.rounds)


if __name__ == '__main__':
  flags.DEFINE_integer('rounds', 30, 'Rounds of each kind.', lower_bound=1)
  flags.DEFINE_multi_enum(
      'workload', ['LR', 'CNN'], ['LR', 'CNN'], 'What to measure.'
  )
  FLAGS = flags.FLAGS
  app.run(main)
