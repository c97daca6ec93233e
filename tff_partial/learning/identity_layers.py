# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers of a few numbers that are initially the identity.

A model with such a new layer computes what it computed without it, so that it
can be added to a pretrained model, as adapters can. As personal variables they
are the smallest that a client can have:

  * `FeatureBias`, a vector that is added to the representation in front of the
    output layer: the personalized representation bias memory of FedDBE [1,
    Section 4.1]. `mean_regularizer.py` has the regularization that goes with
    it;
  * `InputNorm`, a scale and an offset for each channel of the input.

[1] Zhang et al. Eliminating Domain Bias for Federated Learning in
Representation Space. NeurIPS 2023. https://arxiv.org/abs/2311.14975
"""

import numpy as np
import tensorflow as tf


@tf.keras.saving.register_keras_serializable('tff_partial')
class FeatureBias(tf.keras.layers.Layer):
  """`x + bias` on the last axis; `bias` [features] is initially zero."""

  def build(self, input_shape):
    self.bias = self.add_weight('bias', [input_shape[-1]], initializer='zeros')
    super().build(input_shape)

  def call(self, inputs):
    return inputs + self.bias

  def to_stock(self) -> tf.keras.layers.Layer:
    """A layer of Keras's own, for exports; see `stock_layers.py`."""
    return _batch_norm(self.name, scale=False)

  def stock_weights(self) -> list[np.ndarray]:
    """The values of the variables of `to_stock`, each [features]."""
    return [self.bias.numpy(), *_standard(self.bias)]


@tf.keras.saving.register_keras_serializable('tff_partial')
class InputNorm(tf.keras.layers.Layer):
  """`x * scale + offset` on the last axis, initially by 1 and 0."""

  def build(self, input_shape):
    channels = [input_shape[-1]]
    self.scale = self.add_weight('scale', channels, initializer='ones')
    self.offset = self.add_weight('offset', channels, initializer='zeros')
    super().build(input_shape)

  def call(self, inputs):
    return inputs * self.scale + self.offset

  def to_stock(self) -> tf.keras.layers.Layer:
    """A layer of Keras's own, for exports; see `stock_layers.py`."""
    return _batch_norm(self.name, scale=True)

  def stock_weights(self) -> list[np.ndarray]:
    """The values of the variables of `to_stock`, each [channels]."""
    return [
        self.scale.numpy(),
        self.offset.numpy(),
        *_standard(self.offset),
    ]


def _batch_norm(name: str, *, scale: bool) -> tf.keras.layers.Layer:
  """A frozen batch norm, which Keras has instead of a scale and an offset."""
  return tf.keras.layers.BatchNormalization(
      epsilon=0.0, scale=scale, trainable=False, name=name
  )


def _standard(like: tf.Variable) -> list[np.ndarray]:
  """The moving mean and variance that change nothing."""
  return [np.zeros(like.shape, np.float32), np.ones(like.shape, np.float32)]
