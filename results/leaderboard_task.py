# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The task of PFLlib's leaderboard: Fashion-MNIST over 20 clients.

The split is the leaderboard's (Dirichlet, 0.1), as an NPZ archive with `pixels`
(uint8 [examples, 28, 28]), `label`, `client` and `split` ('train' or 'test').
Clients without training examples are left out; this is one of the 20. The
network has two 5x5 convolutions (32 and 64 channels), each with 2x2 pooling, a
dense layer of 512 and one of 10, and initial values as in PyTorch, which the
leaderboard is computed with. Pixels are scaled to -1..1.

  python run_experiment.py --task=results/leaderboard_task.py:create_task \
      --data=fashion_mnist_dir01_20clients.npz
"""

import collections
from collections.abc import Mapping, Sequence
import functools

import numpy as np
import tensorflow as tf

from tasks.networks import additions as additions_lib
from tasks.networks import classification
import tff_partial as tffp
from tff_partial.data import npz
from tff_partial.learning import identity_layers

NUM_CLASSES = 10
_SHAPE = (28, 28)

SPLITS: Mapping[str, tffp.partition.Rule] = {
    'input': tffp.partition.layers('conv1'),
    'output': tffp.partition.layers('head'),
    'adapter': tffp.partition.matches('adapter'),
    'input_norm': tffp.partition.layers('input_norm'),
    **additions_lib.SPLITS,
}


class _Clients:
  """Clients whose examples are in memory."""

  def __init__(self, examples: Mapping[str, Mapping[str, np.ndarray]]):
    self._examples = examples

  @property
  def client_ids(self) -> Sequence[str]:
    return tuple(self._examples)

  def num_examples(self, client_id: str) -> int:
    return len(self._examples[client_id]['y'])

  def read(self, client_id: str) -> Mapping[str, np.ndarray]:
    return self._examples[client_id]


def create_task(
    data: str, *, batch_size: int = 10, mean_regularization: float = 0.0
) -> tffp.Task:
  """Creates the task.

  Args:
    data: The NPZ archive.
    batch_size: Examples per gradient step; 10 is the leaderboard's.
    mean_regularization: The weight of FedDBE's mean regularization, for splits
      with 'bias'; its authors have 50 here.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If it is not such an archive.
  """
  train, test = _read(data)
  return tffp.Task(
      name='fashion',
      data=f'Fashion-MNIST, {len(train.client_ids)} clients of PFLlib',
      model='CNN with 2 convolutions of 5x5',
      model_fn=functools.partial(
          classification.create_model_fn,
          create_cnn,
          (*_SHAPE, 1),
          SPLITS,
          mean_regularization=mean_regularization,
      ),
      splits=SPLITS,
      train=train,
      test=test,
      client_examples=tffp.Tensors(
          batch_size,
          prepare_train=_prepare,
          prepare_test=_prepare,
          element_spec=collections.OrderedDict(
              x=tf.TensorSpec(_SHAPE, tf.uint8), y=tf.TensorSpec([], tf.int32)
          ),
      ),
      metric=tffp.Metric('accuracy', higher_is_better=True),
      labels_fn=lambda examples: examples['y'],
  )


def create_cnn(
    *, additions: additions_lib.Additions = additions_lib.NOTHING
) -> tf.keras.Model:
  """Builds the network.

  Args:
    additions: Layers that are added; an adapter follows each convolution.

  Returns:
    A model from images, float32 [batch, 28, 28, 1], to logits [batch, 10].
  """
  layers = tf.keras.layers
  inputs = tf.keras.Input((*_SHAPE, 1))
  x, fan_in = inputs, 25
  if additions.input_norm:
    x = identity_layers.InputNorm(name='input_norm')(x)
  for i, channels in ((1, 32), (2, 64)):
    x = layers.Conv2D(channels, 5, name=f'conv{i}', **_as_pytorch(fan_in))(x)
    if additions.adapters:
      x = tffp.adapters.ConvAdapter(8, name=f'adapter{i}')(x)
    x = layers.MaxPool2D()(layers.ReLU()(x))
    fan_in = 25 * channels
  x = layers.Flatten()(x)
  dense = additions.lora.dense
  x = dense(
      512,
      path='dense',
      activation='relu',
      name='dense',
      **_as_pytorch(x.shape[-1]),
  )(x)
  x = additions.add_bias(x)
  outputs = dense(NUM_CLASSES, path='head', name='head', **_as_pytorch(512))(x)
  return tf.keras.Model(inputs, additions.add_head(x, outputs))


def _as_pytorch(fan_in: int) -> dict[str, tf.keras.initializers.Initializer]:
  """PyTorch's initial values of kernel and bias."""
  limit = 1 / np.sqrt(fan_in)
  uniform = lambda: tf.keras.initializers.RandomUniform(-limit, limit)
  return {'kernel_initializer': uniform(), 'bias_initializer': uniform()}


def _prepare(batch, seed):
  """Scales pixels to -1..1."""
  del seed  # There is no augmentation.
  return collections.OrderedDict(
      x=tf.cast(batch['x'], tf.float32)[..., tf.newaxis] / 127.5 - 1,
      y=batch['y'],
  )


def _read(path: str) -> tuple[_Clients, _Clients]:
  """Training and test examples of the clients that have both."""
  arrays = npz.load(path, ('pixels', 'label', 'client', 'split'))
  sizes = {name: len(array) for name, array in arrays.items()}
  if len(set(sizes.values())) > 1 or arrays['pixels'].shape[1:] != _SHAPE:
    raise tffp.errors.DataError(
        'Expected pixels [examples, 28, 28] and as many of the others in'
        f' {path}, found {[a.shape for a in arrays.values()]}.'
    )
  parts = {}
  for part in ('train', 'test'):
    found = parts[part] = {}
    for client in np.unique(arrays['client']):
      rows = (arrays['client'] == client) & (arrays['split'] == part)
      if rows.any():
        found[f'client_{client:02}'] = collections.OrderedDict(
            x=arrays['pixels'][rows], y=arrays['label'][rows].astype(np.int32)
        )
  both = [c for c in parts['train'] if c in parts['test']]
  train, test = (_Clients({c: p[c] for c in both}) for p in parts.values())
  return train, test
