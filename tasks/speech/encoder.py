# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A transformer from features of speech to logits of characters.

Two convolutions combine four frames of 10 ms into one of 40 ms. Then pre-LN
transformer blocks, which train without a warm-up of thousands of steps, attend
to the whole utterance. The paper [1] trains a transformer of 6 layers and 15 M
parameters and gives no further details.

The outputs for an utterance do not depend on how far its batch is padded.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Mapping
import dataclasses

import numpy as np
import tensorflow as tf

from tff_partial.learning import identity_layers
from tff_partial.learning import partition

from ..networks import additions as additions_lib
from ..networks import transformer

_KERNEL = 5  # Frames that a convolution sees, an odd number.
_STRIDE = 2


@dataclasses.dataclass(frozen=True)
class Size:
  """The size of an encoder.

  Attributes:
    num_blocks: Number of transformer blocks.
    width: Width of the blocks' inputs and outputs.
    num_heads: Attention heads per block.
    feedforward_width: Hidden width of the feed-forward networks.
    adapter_width: Bottleneck width of the adapters, if there are any.
  """

  num_blocks: int
  width: int
  num_heads: int
  feedforward_width: int
  adapter_width: int


# The paper's size, and one for laptops.
BASE = Size(6, 512, 8, 1024, 64)
SMALL = Size(4, 144, 4, 576, 16)


def num_frames(num_frames):
  """The number of output frames for input frames: ints, arrays or tensors."""
  for _ in range(2):
    num_frames = (num_frames + _STRIDE - 1) // _STRIDE
  return num_frames


def splits(size: Size) -> Mapping[str, partition.Rule]:
  """Rules for what is personal, by name."""
  return {
      'input': partition.layers('subsampling', 'block0'),
      'output': partition.layers(f'block{size.num_blocks - 1}', 'norm', 'head'),
      'adapter': partition.matches(r'/adapter\d/|(^|/)norm\d?/'),
      'norm': partition.matches(r'(^|/)norm\d?/'),
      'input_norm': partition.layers('input_norm'),
      **additions_lib.SPLITS,
  }


def create_encoder(
    num_features: int,
    num_classes: int,
    size: Size,
    *,
    additions: additions_lib.Additions = additions_lib.NOTHING,
) -> tf.keras.Model:
  """Builds the network.

  Args:
    num_features: Features per input frame.
    num_classes: Logits per output frame.
    size: The size of the network.
    additions: Layers that are added; the blocks have the adapters.

  Returns:
    A model from `{'features': float32 [batch, frames, num_features],
    'num_frames': int32 [batch]}`, padded with zeros, to `{'logits': float32
    [batch, frames / 4, num_classes], 'num_frames': int32 [batch]}`.
  """
  inputs = {
      'features': tf.keras.Input([None, num_features]),
      'num_frames': tf.keras.Input([], dtype=tf.int32),
  }
  x = inputs['features']
  if additions.input_norm:
    x = FrameNorm(name='input_norm')(x, inputs['num_frames'])
  x, mask, length = Subsampling(size.width, name='subsampling')(
      x, inputs['num_frames']
  )
  for i in range(size.num_blocks):
    x = transformer.TransformerBlock(
        num_heads=size.num_heads,
        feedforward_width=size.feedforward_width,
        causal=False,
        norm_first=True,
        adapter_width=size.adapter_width if additions.adapters else None,
        init_stddev=size.width**-0.5,
        lora=additions.lora,
        name=f'block{i}',
    )(x, padding_mask=mask)
  x = tf.keras.layers.LayerNormalization(epsilon=1e-5, name='norm')(x)
  x = additions.add_bias(x)
  logits = additions.lora.dense(num_classes, path='head', name='head')(x)
  logits = additions.add_head(x, logits)
  return tf.keras.Model(inputs, {'logits': logits, 'num_frames': length})


@tf.keras.saving.register_keras_serializable('tff_partial')
class FrameNorm(identity_layers.InputNorm):
  """A scale and an offset for each feature, of all frames but padding."""

  def call(self, features, num_frames):
    mask = tf.sequence_mask(num_frames, tf.shape(features)[1])
    real = tf.expand_dims(tf.cast(mask, features.dtype), -1)
    return super().call(features) * real


@tf.keras.saving.register_keras_serializable('tff_partial')
class Subsampling(tf.keras.layers.Layer):
  """Two convolutions with stride 2 in time, plus encodings of positions."""

  def __init__(self, width: int, **kwargs):
    super().__init__(**kwargs)
    self._width = width
    self.conv1, self.conv2 = (
        tf.keras.layers.Conv1D(
            width,
            _KERNEL,
            _STRIDE,
            activation='relu',
            kernel_initializer='he_normal',
            name=name,
        )
        for name in ('conv1', 'conv2')
    )

  def call(self, features, num_frames):
    """Returns the frames, a mask that is False for padding, and the lengths."""
    x, length = features, num_frames
    for conv in (self.conv1, self.conv2):
      # Keras would pad an odd frame at the start or at the end, depending on
      # the length of the batch.
      x = conv(tf.pad(x, [[0, 0], [_KERNEL // 2] * 2, [0, 0]]))
      length = (length + _STRIDE - 1) // _STRIDE
      mask = tf.sequence_mask(length, tf.shape(x)[1])
      x *= tf.expand_dims(tf.cast(mask, x.dtype), -1)
    return x + _positions(tf.shape(x)[1], self._width), mask, length

  def get_config(self):
    return {**super().get_config(), 'width': self._width}


def _positions(length: tf.Tensor, width: int) -> tf.Tensor:
  """Sines and cosines of each position, float32 [length, width] [2].

  [2] Vaswani et al. NeurIPS 2017, Section 3.5. https://arxiv.org/abs/1706.03762
  """
  rates = tf.constant(10_000.0 ** -np.linspace(0, 1, width // 2), tf.float32)
  angles = tf.range(tf.cast(length, tf.float32))[:, tf.newaxis] * rates
  return tf.concat([tf.sin(angles), tf.cos(angles)], -1)
