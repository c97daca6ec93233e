# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A transformer block: self-attention and a feed-forward network [1].

With adapters, each of the two sublayers is followed by a bottleneck before its
output is added to its input, as in [2, Figure 2] and [3]. With
low-rank matrices, those dense layers have them that are among the targets.

[1] Vaswani et al. NeurIPS 2017. https://arxiv.org/abs/1706.03762
[2] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
[3] Houlsby et al. ICML 2019. https://arxiv.org/abs/1902.00751
"""

import dataclasses
from typing import Any, Optional

import tensorflow as tf

from tff_partial import errors
from tff_partial.learning import adapters
from tff_partial.learning import lora as lora_lib

_MASKED = -1e9  # Added to a score: its weight is exactly 0 in float32.


@tf.keras.saving.register_keras_serializable('tff_partial')
class TransformerBlock(tf.keras.layers.Layer):
  """Self-attention and a feed-forward network, each added to its input.

  The layer norms come after the sums (post-LN, as in [1]) or, with
  `norm_first`, before each sublayer (pre-LN).
  """

  def __init__(
      self,
      *,
      num_heads: int,
      feedforward_width: int,
      causal: bool,
      norm_first: bool = False,
      attention_bias: bool = True,
      adapter_width: Optional[int] = None,
      init_stddev: float = 0.02,
      lora: Any = lora_lib.NONE,
      **kwargs,
  ):
    """Makes the layer.

    Args:
      num_heads: Attention heads; must divide the width of the inputs.
      feedforward_width: Hidden width of the feed-forward network.
      causal: Whether a position attends only to itself and earlier ones.
      norm_first: Whether layer norms come before the sublayers.
      attention_bias: Whether the attention's four projections have a bias.
      adapter_width: Bottleneck width of the two adapters; `None` means no
        adapters.
      init_stddev: Standard deviation of the initial kernels.
      lora: Which dense layers have low-rank matrices, as for
        `lora_lib.from_config`.
      **kwargs: Arguments of every Keras layer, such as `name`.
    """
    super().__init__(**kwargs)
    self._num_heads = num_heads
    self._feedforward_width = feedforward_width
    self._causal = causal
    self._norm_first = norm_first
    self._attention_bias = attention_bias
    self._adapter_width = adapter_width
    self._init_stddev = init_stddev
    self._lora = lora_lib.from_config(lora)
    self.attention = SelfAttention(
        num_heads=num_heads,
        causal=causal,
        use_bias=attention_bias,
        init_stddev=init_stddev,
        lora=self._lora,
        path=f'{self.name}/attention',
        name='attention',
    )

  def build(self, input_shape):
    kernel = lambda: tf.keras.initializers.RandomNormal(
        stddev=self._init_stddev
    )
    norm = lambda name: tf.keras.layers.LayerNormalization(
        epsilon=1e-5, name=name
    )
    self.feedforward_in = self._lora.dense(
        self._feedforward_width,
        path=f'{self.name}/feedforward_in',
        activation='relu',
        kernel_initializer=kernel(),
        name='feedforward_in',
    )
    self.feedforward_out = self._lora.dense(
        input_shape[-1],
        path=f'{self.name}/feedforward_out',
        kernel_initializer=kernel(),
        name='feedforward_out',
    )
    self.norm1, self.norm2 = norm('norm1'), norm('norm2')
    self.adapter1 = self.adapter2 = tf.identity
    if self._adapter_width is not None:
      self.adapter1, self.adapter2 = (
          adapters.BottleneckAdapter(self._adapter_width, name=name)
          for name in ('adapter1', 'adapter2')
      )
    super().build(input_shape)

  def call(self, inputs, padding_mask=None):
    """Applies the block.

    Args:
      inputs: float32 [batch, time, width].
      padding_mask: bool [batch, time], False for padding; `None` means no
        padding. With `causal`, padding at the end needs no mask.
    """
    attend = lambda x: self.adapter1(self.attention(x, padding_mask))
    feed = lambda x: self.adapter2(self.feedforward_out(self.feedforward_in(x)))
    if self._norm_first:
      x = inputs + attend(self.norm1(inputs))
      return x + feed(self.norm2(x))
    x = self.norm1(inputs + attend(inputs))
    return self.norm2(x + feed(x))

  def get_config(self):
    return {
        **super().get_config(),
        'num_heads': self._num_heads,
        'feedforward_width': self._feedforward_width,
        'causal': self._causal,
        'norm_first': self._norm_first,
        'attention_bias': self._attention_bias,
        'adapter_width': self._adapter_width,
        'init_stddev': self._init_stddev,
        'lora': dataclasses.asdict(self._lora),
    }


@tf.keras.saving.register_keras_serializable('tff_partial')
class SelfAttention(tf.keras.layers.Layer):
  """Multi-head self-attention, with heads of width `width / num_heads`."""

  def __init__(
      self,
      *,
      num_heads: int,
      causal: bool,
      use_bias: bool = True,
      init_stddev: float = 0.02,
      lora: Any = lora_lib.NONE,
      path: str = 'attention',
      **kwargs,
  ):
    super().__init__(**kwargs)
    self._num_heads = num_heads
    self._causal = causal
    self._use_bias = use_bias
    self._init_stddev = init_stddev
    self._lora = lora_lib.from_config(lora)
    self._path = path

  def build(self, input_shape):
    width = input_shape[-1]
    if width % self._num_heads:
      raise errors.SettingsError(
          f'Expected a width that {self._num_heads} heads divide, found'
          f' {width}.'
      )
    self._head_width = width // self._num_heads
    self.query, self.key, self.value, self.out = (
        self._lora.dense(
            width,
            path=f'{self._path}/{name}',
            use_bias=self._use_bias,
            kernel_initializer=tf.keras.initializers.RandomNormal(
                stddev=self._init_stddev
            ),
            name=name,
        )
        for name in ('query', 'key', 'value', 'out')
    )
    super().build(input_shape)

  def call(self, inputs, padding_mask=None):
    shape = tf.shape(inputs)
    split = lambda x: tf.transpose(
        tf.reshape(x, [shape[0], shape[1], self._num_heads, self._head_width]),
        [0, 2, 1, 3],
    )
    query, key, value = (
        split(layer(inputs)) for layer in (self.query, self.key, self.value)
    )
    scores = tf.matmul(query * self._head_width**-0.5, key, transpose_b=True)
    if self._causal:
      seen = tf.linalg.band_part(tf.ones(tf.repeat(shape[1], 2)), -1, 0)
      scores += _MASKED * (1 - seen)
    if padding_mask is not None:
      hidden = 1 - tf.cast(padding_mask, scores.dtype)
      # In two steps, since TensorFlow Lite cannot add two axes by indexing.
      hidden = tf.expand_dims(tf.expand_dims(hidden, 1), 1)
      scores += _MASKED * hidden
    mixed = tf.matmul(tf.nn.softmax(scores), value)
    return self.out(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), shape))

  def get_config(self):
    return {
        **super().get_config(),
        'num_heads': self._num_heads,
        'causal': self._causal,
        'use_bias': self._use_bias,
        'init_stddev': self._init_stddev,
        'lora': dataclasses.asdict(self._lora),
        'path': self._path,
    }
