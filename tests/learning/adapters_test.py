# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Adapters: exactly the identity at first, and trainable."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_partial.learning import adapters

ADAPTERS = (
    ('bottleneck', lambda: adapters.BottleneckAdapter(2), [5, 8]),
    ('conv', lambda: adapters.ConvAdapter(4), [3, 3, 8]),
)


def inputs(shape, batch=2):
  rng = np.random.default_rng(0)
  return tf.constant(rng.normal(3, 10, [batch, *shape]), tf.float32)


class AdapterTest(parameterized.TestCase):

  @parameterized.named_parameters(*ADAPTERS)
  def test_new_adapter_is_exactly_the_identity(self, create, shape):
    x = inputs(shape)
    np.testing.assert_array_equal(create()(x), x)

  @parameterized.named_parameters(*ADAPTERS)
  def test_training_changes_it(self, create, shape):
    adapter, x = create(), inputs(shape)
    adapter(x)
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(tf.square(adapter(x)))
    gradients = tape.gradient(loss, adapter.trainable_variables)
    # In the first step only the last layer, which is zero, has a gradient.
    self.assertGreater(max(np.abs(g).max() for g in gradients), 0)
    for variable, gradient in zip(adapter.trainable_variables, gradients):
      variable.assign_sub(1e-3 * gradient)
    self.assertGreater(np.abs(adapter(x) - x).max(), 0)

  @parameterized.named_parameters(*ADAPTERS)
  def test_can_be_created_from_its_config(self, create, shape):
    adapter = create()
    adapter(inputs(shape))
    copy = type(adapter).from_config(adapter.get_config())
    copy(inputs(shape))
    self.assertEqual(
        [v.shape for v in copy.variables], [v.shape for v in adapter.variables]
    )

  def test_sizes(self):
    bottleneck = adapters.BottleneckAdapter(16)
    bottleneck(inputs([5, 256]))
    # Two matrices of 256 x 16, and biases of size 16 and 256.
    self.assertEqual(bottleneck.count_params(), 2 * 256 * 16 + 16 + 256)
    conv = adapters.ConvAdapter(8)
    conv(inputs([3, 3, 64]))
    # Gamma and beta of the norm, and a 64 x 64 matrix without a bias.
    self.assertEqual(conv.count_params(), 2 * 64 + 64 * 64)

  def test_bottleneck_by_hand(self):
    adapter = adapters.BottleneckAdapter(1)
    x = tf.constant([[1.0, 2.0], [-1.0, -2.0]])
    adapter(x)
    for variable, value in zip(
        adapter.variables, ([[1], [1]], [0.5], [[2, 0]], [0, 1])
    ):
      variable.assign(value)
    # relu(1 + 2 + 0.5) = 3.5 and relu(-2.5) = 0.
    np.testing.assert_allclose(adapter(x), [[1 + 7, 2 + 1], [-1, -2 + 1]])

  def test_conv_sees_normalized_features(self):
    adapter = adapters.ConvAdapter(1)
    # Mean 3, deviation 2: normalized to -1 and 1.
    x = tf.reshape(tf.constant([1.0, 5.0]), [1, 1, 1, 2])
    adapter(x)
    adapter.conv.kernel.assign([[[[0, 1], [2, 0]]]])
    # -1 and 1 times the rows of the matrix: (2, -1).
    np.testing.assert_allclose(np.ravel(adapter(x)), [1 + 2, 5 - 1], rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
