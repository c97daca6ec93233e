# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task whose rounds take milliseconds, on people of a folder of data."""

import collections
import os

import numpy as np
import tensorflow as tf

from tff_partial.data import client_data
from tff_partial.data import sql_clients
from tff_partial.data import sql_writer
from tff_partial.evaluation import metric
from tff_partial.experiments import task as task_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition

FEATURES = collections.OrderedDict(
    x=tf.TensorSpec([2], tf.float32), y=tf.TensorSpec([], tf.float32)
)
SPLITS = {'output': partition.matches('^line/bias$')}


def write_data(folder: str, num_clients: int = 8) -> None:
  """Writes people, each with a line of its own, to a folder."""
  for name, size in (('train', 6), ('test', 4)):
    path = os.path.join(folder, f'{name}.sqlite')
    with sql_writer.SqlWriter(path, FEATURES) as writer:
      for i in range(num_clients):
        rng = np.random.default_rng([i, size])
        x = rng.normal(size=[size, 2]).astype(np.float32)
        y = (x @ [1, 2] + i).astype(np.float32)
        writer.write(f'person {i}', {'x': x, 'y': y})


def create(data: str) -> task_lib.Task:
  """Each person's line through the points of a folder."""
  train, test = (
      client_data.MappedClients(
          sql_clients.SqlClients(os.path.join(data, f'{name}.sqlite')),
          _to_column,
      )
      for name in ('train', 'test')
  )
  return task_lib.Task(
      name='line',
      data=data,
      model='a line',
      model_fn=_create_model_fn,
      splits=SPLITS,
      train=train,
      test=test,
      client_examples=examples_lib.Tensors(batch_size=3),
      metric=metric.Metric('squared_error', higher_is_better=False),
  )


def _to_column(features):
  return collections.OrderedDict(x=features['x'], y=features['y'][:, None])


def _create_model_fn(split: str) -> partial_model.ModelFn:
  rule = partition.rule_by_name(split, SPLITS)
  return lambda: partial_model.PartialModel(
      tf.keras.Sequential(
          [
              tf.keras.layers.InputLayer([2]),
              tf.keras.layers.Dense(1, kernel_initializer='zeros', name='line'),
          ]
      ),
      rule,
      loss_fn=lambda y, z: tf.reduce_mean(tf.square(z - y)) / 2,
      metric_fns={'squared_error': _squared_error},
      input_spec=collections.OrderedDict(
          x=tf.TensorSpec([None, 2], tf.float32),
          y=tf.TensorSpec([None, 1], tf.float32),
      ),
  )


def _squared_error(labels, predictions):
  error = tf.squeeze(predictions - labels, -1)
  return tf.square(error), tf.ones_like(error)
