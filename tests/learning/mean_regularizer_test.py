# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""FedDBE's mean regularization: its loss by hand, and the common mean."""

import collections

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.helpers import worker
from tff_partial.evaluation import mean_probe
from tff_partial.evaluation import measurements
from tff_partial.learning import client_work
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import identity_layers
from tff_partial.learning import mean_regularizer
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import stock_layers
from tff_partial.runtime import sharding

_KERNEL = np.array([[1.0, 2.0]], np.float32)
_SHAPE = [None, 1]


def keras_model():
  inputs = tf.keras.Input([1])
  x = tf.keras.layers.Dense(
      2,
      use_bias=False,
      kernel_initializer=tf.keras.initializers.Constant(_KERNEL),
      name='features',
  )(inputs)
  x = mean_regularizer.MeanRegularizer(3.0)(x)
  x = identity_layers.FeatureBias(name='feature_bias')(x)
  x = tf.keras.layers.Dense(1, kernel_initializer='ones', name='head')(x)
  return tf.keras.Model(inputs, x)


def model_fn():
  return partial_model.PartialModel(
      keras_model(),
      partition.layers('feature_bias'),
      loss_fn=lambda labels, outputs: tf.reduce_mean(outputs - labels),
      metric_fns={'loss': lambda labels, outputs: (outputs, outputs)},
      input_spec=collections.OrderedDict(
          x=tf.TensorSpec(_SHAPE), y=tf.TensorSpec(_SHAPE)
      ),
  )


class Clients:
  """Two clients, and one without examples."""

  _EXAMPLES = {'a': [1, 3], 'b': [5], 'c': []}
  client_ids = tuple(_EXAMPLES)

  def num_examples(self, client_id):
    return len(self._EXAMPLES[client_id])

  def read(self, client_id):
    x = np.array(self._EXAMPLES[client_id], np.float32).reshape([-1, 1])
    return collections.OrderedDict(x=x, y=np.zeros_like(x))


class MeanRegularizerTest(absltest.TestCase):

  def test_loss_by_hand(self):
    model = model_fn()
    batch = collections.OrderedDict(
        x=tf.constant([[1.0], [3.0]]), y=tf.zeros([2, 1])
    )
    [mean] = model.shared.non_trainable
    mean.assign([1.0, 1.0])
    # The means of x and 2 x are 2 and 4, and that of their sum is 6.
    losses = {}
    for training in (False, True):
      outputs = model.outputs(batch, training=training)
      losses[training] = float(model.loss(batch, outputs))
    self.assertEqual(losses[False], 6)
    self.assertEqual(
        losses[True], 6 + 3 * ((2 - 1) ** 2 + (4 - 1) ** 2) / 2 / 2
    )

  def test_the_mean_is_a_constant_that_is_shared(self):
    [mean] = [
        v for v in model_fn().variables if v.path == mean_regularizer.PATH
    ]
    self.assertFalse(mean.trainable or mean.personal or mean.moving)
    self.assertEqual(mean.shape, (2,))

  def test_batches_are_not_divided(self):
    self.assertEqual(list(model_fn().batch_layers), [mean_regularizer.NAME])

  def test_common_mean_by_hand(self):
    form = examples_lib.Tensors(batch_size=1)
    probe = mean_probe.build(model_fn, client_examples=form)
    shared, personal = client_work.build_initial_weights(model_fn, seed=0)()
    for size in (None, 1):
      found = measurements.common_mean(
          probe,
          measurements.Point(
              shared=shared,
              personal_fn=lambda client_ids: [personal] * len(client_ids),
              examples=Clients(),
              seed=0,
          ),
          sharding=sharding.Sharding(clients_per_shard=size),
      )
      # Over the examples 1, 3 and 5.
      np.testing.assert_array_equal(found, [3, 6])

  def test_keras_alone_computes_the_same(self):
    model = keras_model()
    stock = stock_layers.replace(model)
    self.assertEmpty(stock_layers.foreign(stock_layers.config_of(stock)))
    x = np.array([[2.0]], np.float32)
    np.testing.assert_array_equal(stock(x), model(x))

  def test_needs_a_vector_for_each_example(self):
    with self.assertRaisesRegex(ValueError, r'found \[1, 2, 3\]'):
      mean_regularizer.MeanRegularizer(3.0)(np.ones([1, 2, 3], np.float32))

  def test_configuration(self):
    layer = mean_regularizer.MeanRegularizer(3.0)
    same = mean_regularizer.MeanRegularizer.from_config(layer.get_config())
    same(np.ones([1, 2], np.float32), training=True)
    self.assertEqual(float(same.losses[0]), 1.5)


setUpModule, tearDownModule = worker.start, worker.stop

if __name__ == '__main__':
  absltest.main()
