# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adaptation: without effect at first, by hand, and without us."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_partial.learning import lora
from tff_partial.learning import stock_layers


class LoraTest(parameterized.TestCase):

  @parameterized.parameters([[2, 5]], [[2, 3, 5]])
  def test_new_matrices_change_nothing(self, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    layer = lora.LoraDense(4, rank=2, alpha=4.0, activation='relu')
    plain = tf.keras.layers.Dense(4, activation='relu')
    outputs = layer(x)
    plain.build(x.shape)
    plain.set_weights([layer.kernel.numpy(), layer.bias.numpy()])
    np.testing.assert_array_equal(outputs, plain(x))
    self.assertLessEqual(np.abs(layer.lora_a).max(), 5**-0.5)
    self.assertGreater(np.abs(layer.lora_a).min(), 0)

  def test_by_hand(self):
    layer = lora.LoraDense(2, rank=1, alpha=3.0)
    layer(np.zeros([1, 2]))
    layer.kernel.assign([[1, 0], [0, 2]])
    layer.bias.assign([0.5, -1])
    layer.lora_a.assign([[1], [-1]])
    layer.lora_b.assign([[2, 10]])
    # x W = (4, 2), x A = 3, three times 3 B = (18, 90).
    np.testing.assert_array_equal(layer(np.array([[4.0, 1.0]])), [[22.5, 91]])

  def test_at_first_only_b_has_a_gradient(self):
    layer = lora.LoraDense(2, rank=1, alpha=3.0)
    layer(np.zeros([1, 2]))
    layer.lora_a.assign([[1], [-1]])
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(layer(np.array([[4.0, 1.0]])) * [[1.0, 2.0]])
    a, b = tape.gradient(loss, [layer.lora_a, layer.lora_b])
    np.testing.assert_array_equal(a, [[0], [0]])
    # (alpha / rank) x A = 9, times the gradient of the outputs.
    np.testing.assert_array_equal(b, [[9, 18]])

  @parameterized.parameters(True, False)
  def test_a_dense_layer_with_the_product_in_its_kernel(self, use_bias):
    inputs = tf.keras.Input([3])
    layer = lora.LoraDense(
        4, rank=2, alpha=5.0, use_bias=use_bias, activation='relu', name='dense'
    )
    model = tf.keras.Model(inputs, layer(inputs))
    for i, variable in enumerate(model.variables):
      variable.assign(np.random.default_rng(i).normal(size=variable.shape))
    stock = stock_layers.replace(model)
    self.assertEmpty(stock_layers.foreign(stock_layers.config_of(stock)))
    self.assertLen(stock.variables, 1 + use_bias)
    x = np.random.default_rng(9).normal(size=[5, 3]).astype(np.float32)
    np.testing.assert_allclose(stock(x), model(x), rtol=1e-4, atol=1e-5)
    self.assertGreater(np.abs(stock(x)).max(), 0)

  def test_targets(self):
    targets = lora.Lora(rank=3, targets='query')
    found = targets.dense(2, path='block/query', name='query')
    self.assertEqual(found.get_config()['rank'], 3)
    self.assertEqual(found.get_config()['alpha'], 6.0)
    self.assertIs(
        type(targets.dense(2, path='block/key')), tf.keras.layers.Dense
    )
    self.assertIs(type(lora.NONE.dense(2, path='head')), tf.keras.layers.Dense)

  @parameterized.parameters(
      ({'rank': 0}, '`lora_rank` of at least 1, found 0'),
      ({'targets': '('}, "expression as `lora_targets`, found '\\('"),
  )
  def test_refused(self, values, message):
    with self.assertRaisesRegex(ValueError, message):
      lora.Lora(**values)


if __name__ == '__main__':
  absltest.main()
