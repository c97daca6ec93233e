# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Variables without gradients: constants, and moving averages."""

import collections

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import outlines
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import process

setUpModule, tearDownModule = worker.start, worker.stop

_SPEC = collections.OrderedDict(
    x=tf.TensorSpec([None, 2], tf.float32),
    y=tf.TensorSpec([None, 1], tf.float32),
)


def dense(name, units, *, trainable=True):
  return tf.keras.layers.Dense(
      units, kernel_initializer='ones', name=name, trainable=trainable
  )


def frozen_layer():
  return tf.keras.Sequential(
      [
          tf.keras.layers.InputLayer([2]),
          dense('body', 3, trainable=False),
          dense('head', 1),
      ]
  )


def frozen_batch_norm():
  norm = tf.keras.layers.BatchNormalization(name='norm', trainable=False)
  return tf.keras.Sequential(
      [tf.keras.layers.InputLayer([2]), norm, dense('head', 1)]
  )


def adapted_normalization():
  scale = tf.keras.layers.Normalization(
      mean=[1.0, 3.0], variance=[1.0, 4.0], name='scale'
  )
  counted = tf.keras.layers.Normalization(name='counted')
  return tf.keras.Sequential(
      [tf.keras.layers.InputLayer([2]), scale, counted, dense('head', 1)]
  )


def batch_norm():
  norm = tf.keras.layers.BatchNormalization(momentum=0.5, name='norm')
  return tf.keras.Sequential(
      [tf.keras.layers.InputLayer([2]), norm, dense('head', 1)]
  )


class OwnAverage(tf.keras.layers.Layer):
  """Keeps the mean of its inputs, with or without a layer in it."""

  def __init__(self, inner=None):
    super().__init__(name='own')
    self.inner = inner

  def build(self, input_shape):
    self.mean = self.add_weight('mean', [input_shape[-1]], trainable=False)
    super().build(input_shape)

  def call(self, inputs):
    self.mean.assign(tf.reduce_mean(inputs, axis=0))
    return inputs if self.inner is None else self.inner(inputs)


def own_average(inner=None):
  return tf.keras.Sequential(
      [tf.keras.layers.InputLayer([2]), OwnAverage(inner), dense('head', 1)]
  )


class OwnTable(tf.keras.layers.Layer):
  """Scales its inputs by a constant, which it reads in several ways."""

  def __init__(self):
    super().__init__(name='own')

  def build(self, input_shape):
    self.table = self.add_weight(
        'table', [3, input_shape[-1]], initializer='ones', trainable=False
    )
    super().build(input_shape)

  def call(self, inputs):
    scaled = inputs * self.table[0] * tf.gather(self.table, 1)
    if tf.reduce_sum(scaled) > 0:
      scaled *= self.table[2]
    return scaled


def own_table():
  return tf.keras.Sequential(
      [tf.keras.layers.InputLayer([2]), OwnTable(), dense('head', 1)]
  )


class OwnCount(OwnTable):
  """Has a variable that it assigns on a condition, in training only."""

  def call(self, inputs, training=None):
    if training and tf.reduce_sum(inputs) > 0:
      self.table.assign_add(tf.ones_like(self.table))
    return inputs


def own_count():
  return tf.keras.Sequential(
      [tf.keras.layers.InputLayer([2]), OwnCount(), dense('head', 1)]
  )


def model_fn(create_network, rule=partition.none):
  return lambda: partial_model.PartialModel(
      create_network(),
      rule,
      loss_fn=toy.loss,
      metric_fns={'squared_error': toy.squared_error},
      input_spec=_SPEC,
  )


def examples(seed):
  rng = np.random.default_rng(seed)
  return collections.OrderedDict(
      x=(5 + rng.normal(size=[6, 2])).astype(np.float32),
      y=rng.normal(size=[6, 1]).astype(np.float32),
  )


def values(seeds):
  return [
      toy.ALL_AT_ONCE.value(examples(s), np.array([s, 0], np.int32))
      for s in seeds
  ]


class ConstantsTest(parameterized.TestCase):

  @parameterized.parameters(
      (frozen_layer, ['body/kernel', 'body/bias']),
      (
          frozen_batch_norm,
          [
              f'norm/{name}'
              for name in ('gamma', 'beta', 'moving_mean', 'moving_variance')
          ],
      ),
      (
          adapted_normalization,
          [f'counted/{name}' for name in ('mean', 'variance', 'count')],
      ),
      (own_table, ['own/table']),
  )
  def test_are_shared_and_stay(self, create_network, expected):
    make = model_fn(create_network, partition.everything)
    variables = outlines.describe(make)
    self.assertEqual([v.path for v in variables if not v.personal], expected)
    self.assertFalse(any(v.moving for v in variables))
    rounds = process.build_partial_process(
        model_fn(create_network),
        algorithms.fed_avg(toy.sgd(0.01)),
        client_examples=toy.ALL_AT_ONCE,
    )
    state = rounds.initialize()
    before = state.global_model_weights
    state, _, metrics = rounds.next(
        state, [rounds.initialize_personal()] * 2, values([0, 1])
    )
    self.assertEqual(metrics['counts'].non_finite, 0)
    after = state.global_model_weights
    self.assertLen(after.non_trainable, len(expected))
    tf.nest.map_structure(
        np.testing.assert_array_equal, before.non_trainable, after.non_trainable
    )
    self.assertFalse(np.array_equal(before.trainable[0], after.trainable[0]))

  def test_normalization_is_by_the_values_of_the_round(self):
    """Not by those with which Keras built the layer."""
    rounds = process.build_partial_process(
        model_fn(adapted_normalization),
        algorithms.fed_avg(toy.sgd(0.01)),
        client_examples=toy.ALL_AT_ONCE,
    )
    state = rounds.initialize()
    start = state.global_model_weights._replace(
        non_trainable=[np.float32([2, -1]), np.float32([4, 25]), np.int64(9)]
    )
    state = rounds.start_from(state, start, rounds.initialize_personal())
    state, _, _ = rounds.next(
        state, [rounds.initialize_personal()], values([0])
    )
    x, y = examples(0)['x'], examples(0)['y']
    x = ((x - [1, 3]) / [1, 2] - [2, -1]) / [2, 5]
    kernel = np.ones([2, 1])
    np.testing.assert_allclose(
        state.global_model_weights.trainable[0],
        kernel - 0.01 * x.T @ (x @ kernel - y) / len(x),
        rtol=1e-5,
    )

  def test_a_round_is_tffs(self):
    ours = process.build_partial_process(
        model_fn(frozen_layer),
        algorithms.fed_avg(toy.sgd(0.01)),
        client_examples=examples_lib.Sequences(),
    )
    theirs = tff.learning.algorithms.build_weighted_fed_avg(
        lambda: tff.learning.models.from_keras_model(
            frozen_layer(),
            loss=tf.keras.losses.MeanSquaredError(),
            input_spec=_SPEC,
        ),
        # Its loss is without the 1/2.
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.005),
        model_aggregator=tff.aggregators.MeanFactory(),
    )
    data = [
        tf.data.Dataset.from_tensor_slices(examples(s)).batch(2) for s in (0, 1)
    ]
    state, expected = ours.initialize(), theirs.initialize()
    for _ in range(2):
      state, _, _ = ours.next(state, [ours.initialize_personal()] * 2, data)
      expected = theirs.next(expected, data).state
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        list(state.global_model_weights.trainable),
        list(expected.global_model_weights.trainable),
    )

  @parameterized.parameters(
      (algorithms.ditto, {'penalty': 0.1}), (algorithms.apfl, {})
  )
  def test_copies_share_them(self, create, settings):
    rounds = process.build_partial_process(
        model_fn(frozen_layer),
        create(toy.sgd(0.001), toy.sgd(0.001), **settings),
        client_examples=toy.ALL_AT_ONCE,
    )
    personal = rounds.initialize_personal()
    self.assertEmpty(personal.non_trainable)
    _, [personal], metrics = rounds.next(
        rounds.initialize(), [personal], values([0])
    )
    # With a body of zeros the head's kernel would have no gradient.
    self.assertFalse(np.array_equal(personal.trainable[0], np.ones([3, 1])))
    self.assertEqual(metrics['counts'].non_finite, 0)

  def test_normalization_of_copies(self):
    rounds = process.build_partial_process(
        model_fn(adapted_normalization),
        algorithms.apfl(toy.sgd(0.001), toy.sgd(0.001)),
        client_examples=toy.ALL_AT_ONCE,
    )
    _, [personal], _ = rounds.next(
        rounds.initialize(), [rounds.initialize_personal()], values([0])
    )
    x, y = (examples(0)['x'] - [1, 3]) / [1, 2], examples(0)['y']
    kernel = np.ones([2, 1])
    # The mixture weight is 1/2.
    step = 0.001 * 0.5 * x.T @ (x @ kernel - y) / len(x)
    np.testing.assert_allclose(personal.trainable[0], kernel - step, rtol=1e-5)


class MovingAveragesTest(absltest.TestCase):

  def test_shared_ones_are_refused(self):
    with self.assertRaisesRegex(ValueError, 'shares norm/moving_mean'):
      model_fn(batch_norm)()

  def test_shared_ones_of_own_layers_are_refused(self):
    for inner in (None, dense('inner', 2)):
      with self.assertRaisesRegex(ValueError, 'shares own/mean'):
        model_fn(lambda: own_average(inner))()  # pylint: disable=cell-var-from-loop

  def test_shared_ones_that_are_assigned_on_a_condition_are_refused(self):
    with self.assertRaisesRegex(ValueError, 'shares own/table'):
      model_fn(own_count)()

  def test_personal_ones_of_own_layers_follow_the_examples(self):
    rounds = process.build_partial_process(
        model_fn(
            lambda: own_average(dense('inner', 2)), partition.layers('own')
        ),
        algorithms.fed_sim(toy.sgd(0.01), toy.sgd(0.01)),
        client_examples=toy.ALL_AT_ONCE,
    )
    _, [own], _ = rounds.next(
        rounds.initialize(), [rounds.initialize_personal()], values([0])
    )
    np.testing.assert_allclose(
        own.non_trainable[0], examples(0)['x'].mean(axis=0), rtol=1e-5
    )

  def test_personal_ones_follow_the_clients_examples(self):
    rounds = process.build_partial_process(
        model_fn(batch_norm, partition.layers('norm')),
        algorithms.fed_sim(toy.sgd(0.01), toy.sgd(0.01)),
        client_examples=toy.ALL_AT_ONCE,
    )
    initial = rounds.initialize_personal()
    _, personal, _ = rounds.next(
        rounds.initialize(), [initial] * 2, values([0, 1])
    )
    for seed, own in enumerate(personal):
      mean, _ = own.non_trainable
      # One step with momentum 0.5 from the initial mean, 0.
      np.testing.assert_allclose(
          mean, examples(seed)['x'].mean(axis=0) / 2, rtol=1e-5
      )


if __name__ == '__main__':
  absltest.main()
