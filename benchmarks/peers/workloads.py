# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes the work that all libraries do, and what TFF needs to do it."""

import collections
from collections.abc import Callable
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import workload as workload_lib
from benchmarks.peers import work as work_lib
from tasks.emnist import task as emnist
from tasks.networks import classification
from tasks.networks import resnet
from tasks.stackoverflow import task as stackoverflow
from tasks.stackoverflow import vocabulary as vocabulary_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.training import sampler as sampler_lib

# With 0.05, rounding errors of the ConvNet grow to 3% in two rounds.
_LEARNING_RATE = 0.01
_WORDS = 10_000
_PHOTO = (112, 112, 3)  # The paper's have 224 pixels on a side.
_LANDMARKS = 2028


def _linear() -> tf.keras.Model:
  return tf.keras.Sequential(
      [
          tf.keras.layers.InputLayer([784]),
          tf.keras.layers.Dense(10, name='linear'),
      ]
  )


def _conv_net() -> tf.keras.Model:
  """The small network of the paper's code for EMNIST."""
  layers: list[tf.keras.layers.Layer] = [
      tf.keras.layers.InputLayer([28, 28, 1])
  ]
  for i, channels in ((1, 32), (2, 64)):
    layers += [
        tf.keras.layers.Conv2D(channels, 5, activation='relu', name=f'conv{i}'),
        tf.keras.layers.MaxPool2D(),
    ]
  return tf.keras.Sequential(
      [
          *layers,
          tf.keras.layers.Flatten(),
          tf.keras.layers.Dense(emnist.NUM_CLASSES, name='head'),
      ]
  )


# Networks that several libraries train by FedAvg.
MODELS: dict[str, Callable[[], tf.keras.Model]] = {
    'LR': _linear,
    'CNN': emnist.create_cnn,
}
# What the paper's code trains by FedAlt, too: its own networks.
MODEL_FNS: dict[str, Callable[[str], partial_model.ModelFn]] = {
    'ConvNet': lambda split: classification.create_model_fn(
        lambda additions: _conv_net(),
        (28, 28, 1),
        {'output': partition.layers('head')},
        split,
    ),
    'transformer': functools.partial(
        stackoverflow.create_model_fn,
        stackoverflow.SIZES['mini'],
        vocabulary_lib.Vocabulary(tuple(f'w{i}' for i in range(_WORDS))),
    ),
    'ResNet-18': functools.partial(
        classification.create_model_fn,
        functools.partial(
            resnet.create_resnet18, _PHOTO, _LANDMARKS, small_stem=False
        ),
        _PHOTO,
        resnet.SPLITS,
    ),
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
  return _pictures(
      'CNN', (28, 28, 1), num_rounds, clients, examples, batch_size
  )


def create_conv_net(
    *,
    num_rounds: int,
    clients: int = 10,
    examples: int = 160,
    batch_size: int = 32,
) -> work_lib.Work:
  """The paper's ConvNet with a personal output layer."""
  return _pictures(
      'ConvNet',
      (28, 28, 1),
      num_rounds,
      clients,
      examples,
      batch_size,
      split='output',
  )


def create_transformer(
    *,
    num_rounds: int,
    clients: int = 4,
    examples: int = 128,
    batch_size: int = 64,
) -> work_lib.Work:
  """The paper's transformer with a personal last block.

  All sentences have the greatest length, because the paper's code counts
  padding in the loss and this project does not.
  """
  words = np.random.default_rng(0).integers(
      1,
      _WORDS + 1,
      size=(clients, examples, stackoverflow.LENGTH + 1),
      dtype=np.int32,
  )
  return _work(
      'transformer',
      words[..., :-1],
      words[..., 1:],
      num_rounds,
      clients,
      batch_size,
      split='output',
  )


def create_resnet18(
    *,
    num_rounds: int,
    clients: int = 4,
    examples: int = 32,
    batch_size: int = 16,
) -> work_lib.Work:
  """ResNet-18 with personal adapters, of which the paper's code has others."""
  return _pictures(
      'ResNet-18',
      _PHOTO,
      num_rounds,
      clients,
      examples,
      batch_size,
      split='adapter',
      same_network=False,
  )


CREATE: dict[str, Callable[..., work_lib.Work]] = {
    'lr': create_lr,
    'cnn': create_cnn,
}
CREATE_OF_PAPER: dict[str, Callable[..., work_lib.Work]] = {
    'conv_net': create_conv_net,
    'transformer': create_transformer,
    'resnet18': create_resnet18,
}


def _pictures(
    name: str,
    shape: tuple[int, ...],
    num_rounds: int,
    clients: int,
    examples: int,
    batch_size: int,
    **kwargs: Any,
) -> work_lib.Work:
  """Work on random pictures; all clients are in every round."""
  rng = np.random.default_rng(0)
  return _work(
      name,
      rng.random((clients, examples, *shape), np.float32),
      rng.integers(
          emnist.NUM_CLASSES, size=(clients, examples), dtype=np.int32
      ),
      num_rounds,
      clients,
      batch_size,
      **kwargs,
  )


def _work(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    num_rounds: int,
    clients_per_round: int,
    batch_size: int,
    *,
    split: str = 'none',
    same_network: bool = True,
) -> work_lib.Work:
  sampler = sampler_lib.UniformSampler(_Numbers(x), clients_per_round)
  cohorts = [list(map(int, sampler.cohort(r))) for r in range(num_rounds)]
  tf.keras.utils.set_random_seed(0)
  model = _model_fn(name, split)()
  return work_lib.Work(
      name=name,
      split=split,
      x=x,
      y=y,
      cohorts=np.array(cohorts),
      weights=tuple(v.numpy() for v in model.shared.trainable),
      personal=tuple(v.numpy() for v in model.personal.trainable),
      paths=tuple(
          v.path for v in sorted(model.variables, key=lambda v: v.personal)
      ),
      batch_size=batch_size,
      learning_rate=_LEARNING_RATE,
      same_network=same_network,
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
  return _input_spec(work.x.shape[2:])


def _input_spec(shape: tuple[int, ...]) -> Any:
  return collections.OrderedDict(
      x=tf.TensorSpec([None, *shape], tf.float32),
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
      model_fn=functools.partial(_model_fn, work.name),
      split=work.split,
      clients=people,
      client_examples=form,
      arrays=people,
      tensors=form,
      clients_per_round=work.cohorts.shape[1],
      learning_rate=work.learning_rate,
  )


def _model_fn(name: str, split: str) -> partial_model.ModelFn:
  if name in MODEL_FNS:
    return MODEL_FNS[name](split)
  return lambda: _fed_avg_model(MODELS[name]())


def _fed_avg_model(keras_model: tf.keras.Model) -> partial_model.PartialModel:
  return partial_model.PartialModel(
      keras_model,
      partition.none,
      loss_fn=lambda y, logits: tf.reduce_mean(_losses(y, logits)),
      metric_fns={
          'loss': lambda y, logits: (_losses(y, logits), tf.ones_like(y))
      },
      input_spec=_input_spec(keras_model.input_shape[1:]),
  )


def _losses(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
  return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
