# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras's group norm, computed in fewer passes over the features."""

import tensorflow as tf


@tf.keras.saving.register_keras_serializable('tff_partial')
class GroupNorm(tf.keras.layers.GroupNormalization):
  """`tf.keras.layers.GroupNormalization` for images with channels last.

  It computes the same function of the same variables. Keras computes moments
  over strided axes of a five-dimensional view, where a small network on a CPU
  spends most of its time. This layer reduces height and width for each channel,
  works on groups with tensors `[batch, channels]`, and then needs a single
  multiplication and addition for each feature.
  """

  def call(self, inputs):
    channels = inputs.shape[-1]
    grouped = lambda t: tf.reshape(
        t, [-1, self.groups, channels // self.groups]
    )
    mean_over_group = lambda t: tf.reduce_mean(
        grouped(tf.reduce_mean(t, axis=[1, 2])), axis=-1, keepdims=True
    )
    mean = mean_over_group(inputs)
    # Rounding can make the difference negative where a group is constant.
    variance = tf.nn.relu(mean_over_group(tf.square(inputs)) - tf.square(mean))
    gamma = tf.ones([channels]) if self.gamma is None else self.gamma
    beta = tf.zeros([channels]) if self.beta is None else self.beta
    scale = grouped(gamma) * tf.math.rsqrt(variance + self.epsilon)
    shift = grouped(beta) - mean * scale
    spread = lambda t: tf.reshape(t, [-1, 1, 1, channels])
    return inputs * spread(scale) + spread(shift)

  def to_stock(self) -> tf.keras.layers.Layer:
    """Keras's own layer, for exports; see `stock_layers.py`."""
    return tf.keras.layers.GroupNormalization.from_config(self.get_config())
