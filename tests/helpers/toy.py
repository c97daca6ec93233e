# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A model whose training can be computed by hand, and clients for it.

The model predicts `w x + b` from one number x, and the loss is half the mean
squared error: with e = w x + b - y, the gradient is mean(e x) for w and mean(e)
for b. Both start at 0. By default, `w` is shared and `b` personal.
"""

import collections

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import phase as phase_lib

B_IS_PERSONAL = partition.matches('/bias$')
ALL_AT_ONCE = examples_lib.Tensors(batch_size=100)
INPUT_SPEC = collections.OrderedDict(
    x=tf.TensorSpec([None, 1], tf.float32),
    y=tf.TensorSpec([None, 1], tf.float32),
)


def keras_model():
  return tf.keras.Sequential(
      [
          tf.keras.layers.InputLayer([1]),
          tf.keras.layers.Dense(1, kernel_initializer='zeros', name='line'),
      ]
  )


def loss(labels, predictions):
  return tf.reduce_mean(tf.square(predictions - labels)) / 2


def squared_error(labels, predictions):
  error = tf.squeeze(predictions - labels, -1)
  return tf.square(error), tf.ones_like(error)


def model_fn(rule=B_IS_PERSONAL):
  return lambda: partial_model.PartialModel(
      keras_model(),
      rule,
      loss_fn=loss,
      metric_fns={'squared_error': squared_error},
      input_spec=INPUT_SPEC,
  )


def loss_terms(labels, predictions):
  total, weight = squared_error(labels, predictions)
  return total / 2, weight


def model_fn_with_loss(rule=B_IS_PERSONAL):
  """The same, with the loss as one of its metrics."""
  return lambda: partial_model.PartialModel(
      keras_model(),
      rule,
      loss_fn=loss,
      metric_fns={'loss': loss_terms, 'squared_error': squared_error},
      input_spec=INPUT_SPEC,
  )


def sgd(learning_rate=1.0, **kwargs):
  return phase_lib.GroupTraining(
      tff.learning.optimizers.build_sgdm(learning_rate), **kwargs
  )


def examples(xs, ys):
  column = lambda values: np.array(values, np.float32).reshape([-1, 1])
  return collections.OrderedDict(x=column(xs), y=column(ys))


def value(xs, ys, seed=0):
  """A client's examples in the form that computations take."""
  return ALL_AT_ONCE.value(examples(xs, ys), np.array([seed, 0], np.int32))


def weights(*values):
  """`ModelWeights` of 1x1 kernels or biases."""
  return tff.learning.models.ModelWeights(
      [np.array(v, np.float32) for v in values], []
  )


class Clients:
  """Clients in memory."""

  def __init__(self, data):
    self._data = data

  @property
  def client_ids(self):
    return list(self._data)

  def num_examples(self, client_id):
    return len(self._data[client_id]['x'])

  def read(self, client_id):
    return self._data[client_id]


def random_clients(num_clients, seed=0):
  """Clients with 1 to 9 examples of y = 2 x + (their own constant) + noise."""
  data = {}
  for i in range(num_clients):
    rng = np.random.default_rng([seed, i])
    x = rng.normal(size=rng.integers(1, 10))
    data[f'client_{i}'] = examples(x, 2 * x + i + 0.1 * rng.normal(size=len(x)))
  return Clients(data)
