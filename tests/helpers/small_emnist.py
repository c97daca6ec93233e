# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""EMNIST with a network of two layers, which is built faster than the CNN.

--task=tests.helpers.small_emnist:create_task
"""

import dataclasses
import functools

import tensorflow as tf

from tasks.emnist import task as emnist
from tasks.networks import classification
from tests.helpers import toy_task
from tff_partial.experiments import task as task_lib
from tff_partial.learning import partition

_SPLITS = {
    'input': partition.layers('dense'),
    'output': partition.layers('head'),
}


_first: dict[int, task_lib.Task] = {}


def create_task(data: str, *, batch_size: int = 4) -> task_lib.Task:
  """All tasks of a process share what their plans have built."""
  whole = emnist.create_task(data, batch_size=batch_size)
  if batch_size in _first:
    return _first[batch_size].with_clients(
        train=whole.train, test=whole.test, data=whole.data
    )
  _first[batch_size] = dataclasses.replace(
      whole,
      model='two dense layers',
      model_fn=functools.partial(
          classification.create_model_fn, _build, (28, 28, 1), _SPLITS
      ),
      splits=_SPLITS,
  )
  toy_task.keep_all_built(_first[batch_size])
  return _first[batch_size]


def _build(*, additions):
  inputs = tf.keras.Input((28, 28, 1))
  x = tf.keras.layers.Flatten()(inputs)
  x = tf.keras.layers.Dense(8, activation='relu', name='dense')(x)
  x = additions.add_bias(x)
  outputs = tf.keras.layers.Dense(emnist.NUM_CLASSES, name='head')(x)
  return tf.keras.Model(inputs, additions.add_head(x, outputs))
