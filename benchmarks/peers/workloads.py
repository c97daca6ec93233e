# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes the work that all libraries do, and what TFF needs to do it."""

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import workload as workload_lib
from benchmarks.peers import work as work_lib
from tasks.emnist import task as emnist
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.training import sampler as sampler_lib

_LEARNING_RATE = 0.05


def _linear() -> tf.keras.Model:
  return tf.keras.Sequential(
      [
          tf.keras.layers.InputLayer([784]),
          tf.keras.layers.Dense(10, name='linear'),
      ]
  )


MODELS: dict[str, Callable[[], tf.keras.Model]] = {
    'LR': _linear,
    'CNN': emnist.create_cnn,
}


def create_lr(
    *,
    num_rounds: int,
    clients: int = 1000,
    clients_per_round: int = 10,
    examples: int = 60,
    batch_size: int = 10,
) -> work_lib.Work:
  """Logistic regression on 784 random floats; 1,000 clients by default."""
  rng = np.random.default_rng(0)
  return _work(
      'LR',
      rng.random((clients, examples, 784), np.float32),
      rng.integers(10, size=(clients, examples), dtype=np.int32),
      num_rounds,
      clients_per_round,
      batch_size,
  )


def create_cnn(
    *,
    num_rounds: int,
    clients: int = 10,
    examples: int = 100,
    batch_size: int = 32,
) -> work_lib.Work:
  """The EMNIST CNN on random images; all clients in every round."""
  rng = np.random.default_rng(0)
  return _work(
      'CNN',
      rng.random((clients, examples, 28, 28, 1), np.float32),
      rng.integers(62, size=(clients, examples), dtype=np.int32),
      num_rounds,
      clients,
      batch_size,
  )


CREATE: dict[str, Callable[..., work_lib.Work]] = {
    'lr': create_lr,
    'cnn': create_cnn,
}


def _work(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    num_rounds: int,
    clients_per_round: int,
    batch_size: int,
) -> work_lib.Work:
  sampler = sampler_lib.UniformSampler(_Numbers(x), clients_per_round)
  cohorts = [list(map(int, sampler.cohort(r))) for r in range(num_rounds)]
  tf.keras.utils.set_random_seed(0)
  return work_lib.Work(
      name,
      x,
      y,
      np.array(cohorts),
      tuple(v.numpy() for v in MODELS[name]().trainable_variables),
      batch_size,
      _LEARNING_RATE,
  )


class _Numbers:
  """Clients whose ids are their positions."""

  def __init__(self, x: np.ndarray):
    self.client_ids = list(map(str, range(len(x))))
    self._x = x

  def num_examples(self, client_id: str) -> int:
    return len(self._x[int(client_id)])

  def read(self, client_id: str) -> Any:
    return self._x[int(client_id)]


def input_spec(work: work_lib.Work) -> Any:
  """The type of a batch."""
  return collections.OrderedDict(
      x=tf.TensorSpec([None, *work.x.shape[2:]], tf.float32),
      y=tf.TensorSpec([None], tf.int32),
  )


def workload(work: work_lib.Work) -> workload_lib.Workload:
  """The work for `library_round.LibraryRound`."""
  people = workload_lib.ClientsInMemory(
      {str(i): {'x': x, 'y': y} for i, (x, y) in enumerate(zip(work.x, work.y))}
  )
  form = examples_lib.Tensors(work.batch_size, shuffle=False)
  return workload_lib.Workload(
      name=work.name,
      model_fn=lambda split: lambda: _partial_model(work),
      split='none',
      clients=people,
      client_examples=form,
      arrays=people,
      tensors=form,
      clients_per_round=work.cohorts.shape[1],
      learning_rate=work.learning_rate,
  )


def _partial_model(work: work_lib.Work) -> partial_model.PartialModel:
  return partial_model.PartialModel(
      MODELS[work.name](),
      partition.none,
      loss_fn=lambda y, logits: tf.reduce_mean(_losses(y, logits)),
      metric_fns={
          'loss': lambda y, logits: (_losses(y, logits), tf.ones_like(y))
      },
      input_spec=input_spec(work),
  )


def _losses(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
  return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
