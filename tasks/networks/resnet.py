# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Residual networks with group norm, and what splits add to them.

ResNet-18 is the network of the paper's two image tasks [1, Section 4]. Group
norm (8, 8, 16, 32 groups in the four stages) replaces batch norm, since
averages of batch statistics over clients mean nothing. ResNet-8 is built from
the same blocks, for laptops.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from tff_partial.learning import adapters
from tff_partial.learning import group_norm
from tff_partial.learning import identity_layers
from tff_partial.learning import partition

from . import additions as additions_lib

# (channels, groups) of a stage.
_RESNET18 = ((64, 8), (128, 8), (256, 16), (512, 32))
_RESNET8 = ((16, 4), (32, 4), (64, 8))

# The split 'adapter' includes the norms of the stem and of the blocks; the
# norms of the shortcuts stay shared [1, Appendix].
SPLITS: Mapping[str, partition.Rule] = {
    'input': partition.layers('stem_conv', 'stem_norm'),
    'output': partition.layers('head'),
    'adapter': partition.matches(
        r'adapter|^stem_norm/|^stage\d_block\d_norm\d/'
    ),
    'norm': partition.matches(r'norm\d?/|_norm/'),
    'input_norm': partition.layers('input_norm'),
    **additions_lib.SPLITS,
}


def create_resnet18(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    small_stem: bool,
    additions: additions_lib.Additions = additions_lib.NOTHING,
) -> tf.keras.Model:
  """Builds the network from images to logits.

  Args:
    input_shape: (height, width, channels) of an image.
    num_classes: The number of logits.
    small_stem: Whether, for small images, a 3x3 convolution with stride 1
      replaces the 7x7 convolution with stride 2 and the max pooling.
    additions: Layers that are added; an adapter follows each 3x3 convolution.
  """
  return _create_resnet(
      input_shape, num_classes, _RESNET18, 2, small_stem, additions
  )


def create_resnet8(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    small_stem: bool,
    additions: additions_lib.Additions = additions_lib.NOTHING,
) -> tf.keras.Model:
  """Builds a network of three blocks; see `create_resnet18` for arguments."""
  return _create_resnet(
      input_shape, num_classes, _RESNET8, 1, small_stem, additions
  )


def _create_resnet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    stages: Sequence[tuple[int, int]],
    blocks_per_stage: int,
    small_stem: bool,
    additions: additions_lib.Additions,
) -> tf.keras.Model:
  """Builds a stem, stages of blocks, an average and a head."""
  inputs = x = tf.keras.Input(input_shape)
  if additions.input_norm:
    x = identity_layers.InputNorm(name='input_norm')(x)
  size, stride = (3, 1) if small_stem else (7, 2)
  channels, groups = stages[0]
  x = _conv(channels, size, stride, 'stem_conv')(x)
  x = tf.keras.layers.ReLU()(_norm(groups, 'stem_norm')(x))
  if not small_stem:
    x = tf.keras.layers.MaxPool2D(3, 2, padding='same')(x)
  for stage, (channels, groups) in enumerate(stages):
    for block in range(blocks_per_stage):
      stride = 2 if stage > 0 and block == 0 else 1
      name = f'stage{stage}_block{block}'
      x = _block(x, channels, groups, stride, name, additions)
  x = tf.keras.layers.GlobalAveragePooling2D()(x)
  x = additions.add_bias(x)
  outputs = additions.lora.dense(num_classes, path='head', name='head')(x)
  return tf.keras.Model(inputs, additions.add_head(x, outputs))


def _block(x, channels, groups, stride, name, additions):
  """Applies two 3x3 convolutions and a shortcut."""
  shortcut = x
  for i, s in ((1, stride), (2, 1)):
    x = _conv(channels, 3, s, f'{name}_conv{i}')(x)
    if additions.adapters:
      x = adapters.ConvAdapter(groups, name=f'{name}_adapter{i}')(x)
    x = _norm(groups, f'{name}_norm{i}')(x)
    if i == 1:
      x = tf.keras.layers.ReLU()(x)
  if stride != 1 or shortcut.shape[-1] != channels:
    shortcut = _conv(channels, 1, stride, f'{name}_shortcut_conv')(shortcut)
    shortcut = _norm(groups, f'{name}_shortcut_norm')(shortcut)
  x = tf.keras.layers.Add()([x, shortcut])
  return tf.keras.layers.ReLU()(x)


def _conv(channels, size, stride, name):
  return tf.keras.layers.Conv2D(
      channels,
      size,
      stride,
      padding='same',
      use_bias=False,
      kernel_initializer='he_normal',
      name=name,
  )


def _norm(groups, name):
  return group_norm.GroupNorm(groups, epsilon=1e-5, name=name)
