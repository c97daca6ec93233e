# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adaptation of dense layers, initially without effect [1].

A dense layer with kernel W of shape [inputs, units] gets two matrices, A of
shape [inputs, rank] and B of shape [rank, units], and computes with

    W + (alpha / rank) A B.

B is initially zero, so that a model with new matrices computes exactly what it
computed without them. In FedSA-LoRA [2], clients share A and keep B, and W is
frozen.

[1] Hu et al. LoRA: Low-Rank Adaptation of Large Language Models. ICLR 2022.
https://arxiv.org/abs/2106.09685
[2] Guo et al. Selective Aggregation for Low-Rank Adaptation in Federated
Learning. ICLR 2025. https://arxiv.org/abs/2410.01463
"""

import dataclasses
import re
from typing import Any

import numpy as np
import tensorflow as tf

from tff_partial import errors


@tf.keras.saving.register_keras_serializable('tff_partial')
class LoraDense(tf.keras.layers.Dense):
  """A dense layer with kernel `W + (alpha / rank) A B`; B is initially zero."""

  def __init__(self, units: int, *, rank: int, alpha: float, **kwargs):
    """Creates the layer.

    Args:
      units: Size of the outputs.
      rank: Columns of A and rows of B.
      alpha: The product of A and B counts `alpha / rank` times.
      **kwargs: Arguments of `tf.keras.layers.Dense`.
    """
    super().__init__(units, **kwargs)
    self._rank = rank
    self._alpha = alpha

  def build(self, input_shape):
    super().build(input_shape)
    # As PyTorch initializes a linear layer, and LoRA's authors do A: uniform
    # between -n and n, where n is 1 / sqrt(inputs).
    self.lora_a = self.add_weight(
        'lora_a',
        [input_shape[-1], self._rank],
        initializer=tf.keras.initializers.VarianceScaling(
            1 / 3, mode='fan_in', distribution='uniform'
        ),
    )
    self.lora_b = self.add_weight(
        'lora_b', [self._rank, self.units], initializer='zeros'
    )

  def call(self, inputs):
    times = lambda x, matrix: tf.tensordot(x, matrix, 1)
    low_rank = times(times(inputs, self.lora_a), self.lora_b)
    outputs = times(inputs, self.kernel) + self._scale * low_rank
    if self.use_bias:
      outputs = tf.nn.bias_add(outputs, self.bias)
    return outputs if self.activation is None else self.activation(outputs)

  def to_stock(self) -> tf.keras.layers.Layer:
    """A dense layer, for exports; see `stock_layers.py`."""
    config = self.get_config()
    del config['rank'], config['alpha']
    return tf.keras.layers.Dense.from_config(config)

  def stock_weights(self) -> list[np.ndarray]:
    """W + (alpha / rank) A B, [inputs, units], and the bias if there is one."""
    low_rank = self.lora_a.numpy() @ self.lora_b.numpy()
    kernel = self.kernel.numpy() + self._scale * low_rank
    return [kernel, self.bias.numpy()] if self.use_bias else [kernel]

  def get_config(self):
    return {**super().get_config(), 'rank': self._rank, 'alpha': self._alpha}

  @property
  def _scale(self) -> float:
    return self._alpha / self._rank


@dataclasses.dataclass(frozen=True)
class Lora:
  """Which dense layers of a network get low-rank matrices, and how large.

  Alpha is twice the rank, as in the experiments of FedSA-LoRA.

  Attributes:
    rank: Columns of A and rows of B, at least 1.
    targets: A regular expression that is searched for in the paths of layers,
      such as `attention/(query|value)`. By default, all dense layers.
  """

  rank: int = 8
  targets: str = '.'

  def __post_init__(self):
    """Checks the values.

    Raises:
      errors.SettingsError: If `rank` is below 1, or `targets` is not a regular
        expression.
    """
    if self.rank < 1:
      raise errors.SettingsError(
          f'Expected `lora_rank` of at least 1, found {self.rank}.'
      )
    try:
      re.compile(self.targets)
    except re.error as e:
      raise errors.SettingsError(
          f'Expected a regular expression as `lora_targets`, found'
          f' {self.targets!r}: {e}.'
      ) from e

  def dense(self, units: int, *, path: str, **kwargs) -> tf.keras.layers.Dense:
    """A dense layer, with matrices if it is among the targets.

    Args:
      units: Size of the outputs.
      path: The path of the layer in the network.
      **kwargs: Arguments of `tf.keras.layers.Dense`.
    """
    if not re.search(self.targets, path):
      return tf.keras.layers.Dense(units, **kwargs)
    return LoraDense(units, rank=self.rank, alpha=2.0 * self.rank, **kwargs)


DEFAULT = Lora()
# Matches no layer.
NONE = Lora(targets=r'$^')


def from_config(config: Any) -> Lora:
  """A `Lora`, or what `dataclasses.asdict` has made of one."""
  return config if isinstance(config, Lora) else Lora(**config)
