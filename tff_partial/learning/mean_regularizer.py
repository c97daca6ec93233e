# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mean regularization of FedDBE: representations with a common mean [1].

A client's loss gets, for each batch,

    weight * mean_j (m_j - c_j)^2 / 2,

where m [features] is the mean of the batch's representations and c that of all
clients' before training. So the shared layers need not learn what differs from
client to client in the mean, which a personal `identity_layers.FeatureBias`
has. In [1, Section 4.2], m is a moving average over batches; this is the one
with momentum 1, which the authors use for their CNNs, with the weight 50.

[1] Zhang et al. Eliminating Domain Bias for Federated Learning in
Representation Space. NeurIPS 2023. https://arxiv.org/abs/2311.14975
"""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tff_partial.learning import partition

NAME = 'mean_regularizer'
PATH = f'{NAME}/mean'  # Of the common mean, a constant.


def is_in(variables: Iterable[partition.VariableInfo]) -> bool:
  """Whether a model with these variables has a common mean."""
  return any(v.path == PATH for v in variables)


@tf.keras.saving.register_keras_serializable('tff_partial')
class MeanRegularizer(tf.keras.layers.Layer):
  """The identity, with a loss on the mean of each training batch.

  Attributes:
    mean: The common mean, float32 [features], which is not trained.
    measures_batches: Says that a batch's loss is not the mean of those of its
      parts.
  """

  measures_batches = True

  def __init__(self, weight: float, *, name: str = NAME, **others: Any):
    """Initializes the layer.

    Args:
      weight: Of the squared distance, above 0.
      name: The layer's name.
      **others: Arguments of every layer.
    """
    # The mean is a constant for training.
    super().__init__(name=name, **{**others, 'trainable': False})
    self._weight = weight

  def build(self, input_shape):
    if len(input_shape) != 2:
      raise ValueError(
          'Expected representations of shape [batch, features] for a'
          f' MeanRegularizer, found {list(input_shape)}.'
      )
    self.mean = self.add_weight(
        'mean', [input_shape[-1]], initializer='zeros', trainable=False
    )
    super().build(input_shape)

  def call(self, inputs, training=None):
    if training:
      distance = tf.reduce_mean(inputs, axis=0) - self.mean
      self.add_loss(self._weight * tf.reduce_mean(tf.square(distance)) / 2)
    return inputs

  def get_config(self):
    return {**super().get_config(), 'weight': self._weight}

  def to_stock(self) -> tf.keras.layers.Layer:
    """A layer of Keras's own, for exports; see `stock_layers.py`."""
    return tf.keras.layers.Activation('linear', name=self.name)

  def stock_weights(self) -> list[Any]:
    """The values of the variables of `to_stock`, which has none."""
    return []
