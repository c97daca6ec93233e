# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The layer computes the values and gradients of Keras's."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_partial.learning import group_norm


class GroupNormTest(parameterized.TestCase):

  @parameterized.parameters(
      (1, 6, 5, 5), (2, 6, 1, 3), (3, 6, 4, 7), (6, 6, 8, 8)
  )
  def test_values_and_gradients_match_keras(
      self, groups, channels, height, width
  ):
    rng = np.random.default_rng(0)
    x = tf.constant(
        3 + 2 * rng.normal(size=[4, height, width, channels]), tf.float32
    )
    target = tf.constant(rng.normal(size=x.shape), tf.float32)
    gamma, beta = (rng.normal(size=[channels]) for _ in range(2))
    results = []
    for layer in (
        group_norm.GroupNorm(groups, epsilon=1e-5),
        tf.keras.layers.GroupNormalization(groups, epsilon=1e-5),
    ):
      layer.build(x.shape)
      layer.set_weights([gamma, beta])
      with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        loss = tf.reduce_sum(y * target)
      results.append([y, *tape.gradient(loss, [x, *layer.trainable_variables])])
    for ours, kerass in zip(*results):
      np.testing.assert_allclose(ours, kerass, rtol=1e-4, atol=1e-4)

  @parameterized.parameters((False, True), (True, False), (False, False))
  def test_without_scale_or_offset(self, scale, center):
    x = tf.random.stateless_normal([2, 3, 3, 4], [0, 1])
    settings = {'epsilon': 1e-5, 'scale': scale, 'center': center}
    np.testing.assert_allclose(
        group_norm.GroupNorm(2, **settings)(x),
        tf.keras.layers.GroupNormalization(2, **settings)(x),
        rtol=1e-4,
        atol=1e-5,
    )

  def test_constant_features_become_the_offset(self):
    layer = group_norm.GroupNorm(2, epsilon=1e-5)
    y = layer(tf.fill([1, 3, 3, 4], 1e3))
    np.testing.assert_allclose(y, np.zeros([1, 3, 3, 4]), atol=1e-2)

  def test_variable_names_match_keras(self):
    layer = group_norm.GroupNorm(2, name='norm')
    layer.build([None, 3, 3, 4])
    self.assertEqual([v.name for v in layer.variables], ['gamma:0', 'beta:0'])


if __name__ == '__main__':
  absltest.main()
