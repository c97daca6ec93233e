# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Residual adapters: small layers that are initially the identity.

An adapter computes `x + f(x)`, where the last layer of `f` is initially zero. A
model with new adapters therefore computes exactly what it computed without
them, so that they can be added to a pretrained model. There are two kinds, as
in [1, Figure 2]:

  * for a transformer, a bottleneck after the attention and after the
    feed-forward sublayer, before the residual sum and the layer norm [2];
  * for a residual network, a 1x1 convolution of the normalized features after
    each 3x3 convolution, before its norm [3].

The code published with [1] differs: its transformer adapter is parallel to the
feed-forward sublayer instead of following it, its convolutional adapter is
added to the features twice, and both start close to the identity, not at it.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
[2] Houlsby et al. ICML 2019. https://arxiv.org/abs/1902.00751
[3] Rebuffi et al. CVPR 2018. https://arxiv.org/abs/1803.10082
"""

import tensorflow as tf

from tff_partial.learning import group_norm
from tff_partial.learning import randomness


@tf.keras.saving.register_keras_serializable('tff_partial')
class BottleneckAdapter(tf.keras.layers.Layer):
  """`x + up(relu(down(x)))` on the last axis; `up` is initially zero."""

  def __init__(self, width: int, **kwargs):
    """Creates the layer.

    Args:
      width: Size of the bottleneck.
      **kwargs: Arguments of `tf.keras.layers.Layer`.
    """
    super().__init__(**kwargs)
    self._width = width

  def build(self, input_shape):
    self.down = tf.keras.layers.Dense(
        self._width,
        activation='relu',
        kernel_initializer=tf.keras.initializers.RandomNormal(stddev=0.01),
        name='down',
    )
    self.up = tf.keras.layers.Dense(
        input_shape[-1], kernel_initializer='zeros', name='up'
    )
    super().build(input_shape)

  def call(self, inputs):
    return inputs + randomness.drop_some(self.up(self.down(inputs)))

  def to_stock(self) -> tf.keras.layers.Layer:
    """A model of Keras's own layers, for exports; see `stock_layers.py`."""
    inputs = tf.keras.Input(self.input_shape[1:])
    outputs = inputs
    for layer in (self.down, self.up):
      outputs = layer.from_config(layer.get_config())(outputs)
    outputs = tf.keras.layers.Add(name='sum')([inputs, outputs])
    return tf.keras.Model(inputs, outputs, name=self.name)

  def get_config(self):
    return {**super().get_config(), 'width': self._width}


@tf.keras.saving.register_keras_serializable('tff_partial')
class ConvAdapter(tf.keras.layers.Layer):
  """`x + conv(norm(x))` with a 1x1 convolution that is initially zero."""

  def __init__(self, groups: int, **kwargs):
    """Creates the layer.

    Args:
      groups: Number of groups of the group norm before the convolution.
      **kwargs: Arguments of `tf.keras.layers.Layer`.
    """
    super().__init__(**kwargs)
    self._groups = groups

  def build(self, input_shape):
    self.norm = group_norm.GroupNorm(self._groups, epsilon=1e-5, name='norm')
    self.conv = tf.keras.layers.Conv2D(
        input_shape[-1],
        1,
        use_bias=False,
        kernel_initializer='zeros',
        name='conv',
    )
    super().build(input_shape)

  def call(self, inputs):
    return inputs + randomness.drop_some(self.conv(self.norm(inputs)))

  def to_stock(self) -> tf.keras.layers.Layer:
    """A model of Keras's own layers, for exports; see `stock_layers.py`."""
    inputs = tf.keras.Input(self.input_shape[1:])
    conv = self.conv.from_config(self.conv.get_config())
    outputs = conv(self.norm.to_stock()(inputs))
    outputs = tf.keras.layers.Add(name='sum')([inputs, outputs])
    return tf.keras.Model(inputs, outputs, name=self.name)

  def get_config(self):
    return {**super().get_config(), 'groups': self._groups}
