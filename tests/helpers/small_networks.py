# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks for the package's tasks that are built in a moment.

Programs that run in one process (`programs.run_all`) have them after
`python -m tests.helpers.small_networks`.
"""

import atexit
from collections.abc import Iterator
import contextlib
from unittest import mock

import tensorflow as tf

from tasks.emnist import task as emnist
from tasks.landmarks import task as landmarks
from tasks.speech import task as speech
from tasks.stackoverflow import task as stackoverflow
from tests.helpers import speech_data
from tff_partial.learning import adapters
from tff_partial.learning import group_norm


def _create_cnn(*, additions):
  """The layers that the splits of EMNIST name, on images of 7x7 pixels."""
  inputs = tf.keras.Input((28, 28, 1))
  x = tf.keras.layers.AveragePooling2D(4)(inputs)
  x = tf.keras.layers.Conv2D(4, 3, use_bias=False, name='conv1')(x)
  if additions.adapters:
    x = adapters.ConvAdapter(2, name='adapter1')(x)
  x = group_norm.GroupNorm(2, epsilon=1e-5, name='norm1')(x)
  x = tf.keras.layers.Flatten()(x)
  outputs = tf.keras.layers.Dense(emnist.NUM_CLASSES, name='head')(x)
  return tf.keras.Model(inputs, additions.add_head(x, outputs))


def _create_linear(input_shape, num_classes, *, small_stem, additions):
  """Two layers, of which the second is the output."""
  del small_stem
  inputs = tf.keras.Input(input_shape)
  x = tf.keras.layers.AveragePooling2D(7)(inputs)
  x = tf.keras.layers.Conv2D(2, 1, name='conv')(x)
  x = additions.add_bias(tf.keras.layers.Flatten()(x))
  outputs = tf.keras.layers.Dense(num_classes, name='head')(x)
  return tf.keras.Model(inputs, additions.add_head(x, outputs))


@contextlib.contextmanager
def speech_small() -> Iterator[None]:
  """Makes the model 'small' of speech a tiny one."""
  tiny = (speech_data.TINY, 'transformer of 2 layers')
  with mock.patch.dict(speech.MODELS, small=tiny):
    yield


@contextlib.contextmanager
def of_all_tasks() -> Iterator[None]:
  """Makes the default models of all tasks but tables tiny ones."""
  with (
      mock.patch.object(emnist, 'create_cnn', _create_cnn),
      mock.patch.dict(
          landmarks._MODELS, resnet8=(_create_linear, 56, 'two layers')
      ),
      mock.patch.dict(stackoverflow.SIZES, tiny=stackoverflow.Size(1, 8, 1, 8)),
      speech_small(),
  ):
    yield


if __name__ == '__main__':
  stack = contextlib.ExitStack()
  stack.enter_context(of_all_tasks())
  atexit.register(stack.close)
