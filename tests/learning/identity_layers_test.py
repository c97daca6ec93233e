# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers of a few numbers: the identity at first, by hand, and without us."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_partial.learning import identity_layers
from tff_partial.learning import stock_layers

X = np.array([[1, -2, 3], [0.1, 5, -0.7]], np.float32)


class IdentityLayersTest(parameterized.TestCase):

  @parameterized.parameters(
      identity_layers.FeatureBias, identity_layers.InputNorm
  )
  def test_new_layer_is_exactly_the_identity(self, layer):
    np.testing.assert_array_equal(layer()(X), X)

  def test_feature_bias_by_hand(self):
    layer = identity_layers.FeatureBias()
    layer(X)
    layer.bias.assign([1, 2, -3])
    np.testing.assert_array_equal(layer(X[:1]), [[2, 0, 0]])

  def test_input_norm_by_hand(self):
    layer = identity_layers.InputNorm()
    layer(X)
    layer.set_weights([np.array([2, 0, -1]), np.array([0, 1, 5])])
    np.testing.assert_array_equal(layer(X[:1]), [[2, 1, 2]])

  def test_the_gradient_of_the_bias_is_the_sum_over_examples(self):
    layer = identity_layers.FeatureBias()
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(layer(X) * [[1.0, 2, 3], [10, 20, 30]])
    np.testing.assert_array_equal(tape.gradient(loss, layer.bias), [11, 22, 33])

  def test_keras_has_a_layer_that_computes_the_same(self):
    inputs = tf.keras.Input([3])
    x = identity_layers.InputNorm(name='input_norm')(inputs)
    x = tf.keras.layers.Dense(3, name='dense')(x)
    x = identity_layers.FeatureBias(name='feature_bias')(x)
    model = tf.keras.Model(inputs, x)
    for i, variable in enumerate(model.variables):
      variable.assign(np.random.default_rng(i).normal(size=variable.shape))
    stock = stock_layers.replace(model)
    self.assertEmpty(stock_layers.foreign(stock_layers.config_of(stock)))
    for training in (False, True):
      np.testing.assert_allclose(
          stock(X, training=training), model(X), rtol=1e-5
      )


if __name__ == '__main__':
  absltest.main()
