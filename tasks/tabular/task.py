# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Classification of table rows by person, with a multilayer perceptron.

Inputs are scaled by the mean and deviation of all training examples, which the
importer writes next to them.
"""

import collections
from collections.abc import Callable, Mapping
import functools
import inspect
import pathlib

import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import cached_folder
from tff_partial.data import client_data
from tff_partial.data import people as people_lib
from tff_partial.data import source
from tff_partial.evaluation import metric as metric_lib
from tff_partial.experiments import task
from tff_partial.experiments import usage as usage_lib
from tff_partial.learning import adapters
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import identity_layers
from tff_partial.learning import lora as lora_lib
from tff_partial.learning import partition

from ..networks import additions as additions_lib
from ..networks import classification
from . import columns as columns_lib
from . import example

SPLITS: Mapping[str, partition.Rule] = {
    'input': partition.layers('dense1'),
    'output': partition.layers('head'),
    'adapter': partition.matches('adapter'),
    'input_norm': partition.layers('input_norm'),
    **additions_lib.SPLITS,
}
_MODELS = {'mlp': 64}  # Units of each hidden layer.
_VERSION = 1  # Must be raised with any change to the made-up data.


def create_task(
    data: str = 'embedded',
    *,
    model: str = 'mlp',
    batch_size: int = 32,
    lora_rank: int = 8,
    lora_targets: str = '.',
    mean_regularization: float = 0.0,
) -> task.Task:
  """Creates the task.

  Args:
    data: 'embedded' for made-up numbers, or a folder made by `python -m
      tasks.import_client_data table`.
    model: 'mlp', a perceptron with two hidden layers.
    batch_size: Examples per gradient step.
    lora_rank: Rank of the matrices of the splits 'lora' and 'lora_b'.
    lora_targets: A regular expression, searched for in the paths of dense
      layers, that says which of them have such matrices.
    mean_regularization: The weight of FedDBE's mean regularization, for splits
      with 'bias'; 0 for none.

  Raises:
    errors.SettingsError: If the model is unknown, or the data are 'tff'.
    errors.DataError: If the data are not as expected.
    errors.FileError: If the data cannot be read.
  """
  if model not in _MODELS:
    raise errors.SettingsError(
        f'Expected `model` of {sorted(_MODELS)}, found {model!r}.'
    )
  opened = source.Source(
      embedded_fn=create_numbers,
      embedded_description='made-up numbers, for demonstration',
      tff_fn=_no_tff_data,
      tff_description='',
  ).open(data)
  columns = columns_lib.load(opened.folder)
  num_inputs = len(columns.features)
  _check(opened.train, num_inputs)
  scale = functools.partial(
      _scale,
      np.array(columns.mean, np.float32),
      np.array(columns.deviation, np.float32),
  )
  prepare = functools.partial(_prepare, scale)
  to_xy = functools.partial(_to_xy, len(columns.classes))
  return task.Task(
      name='tabular',
      data=f'{opened.description}, {len(columns.classes):,} classes',
      model=f'MLP with 2 hidden layers of {_MODELS[model]}',
      model_fn=functools.partial(
          classification.create_model_fn,
          functools.partial(
              create_mlp, num_inputs, len(columns.classes), _MODELS[model]
          ),
          (num_inputs,),
          SPLITS,
          lora=lora_lib.Lora(lora_rank, lora_targets),
          mean_regularization=mean_regularization,
      ),
      splits=SPLITS,
      train=client_data.MappedClients(opened.train, to_xy),
      test=client_data.MappedClients(opened.test, to_xy),
      client_examples=examples_lib.Tensors(
          batch_size,
          prepare_train=prepare,
          prepare_test=prepare,
          element_spec=collections.OrderedDict(
              x=tf.TensorSpec([num_inputs], tf.float32),
              y=tf.TensorSpec([], tf.int32),
          ),
      ),
      head='head',
      metric=metric_lib.Metric('accuracy', higher_is_better=True),
      usage=_usage(opened.folder, columns, scale),
      labels_fn=lambda examples: examples['y'],
      demonstration=opened.demonstration,
  )


def _usage(
    folder: str,
    columns: columns_lib.Columns,
    scale_fn: Callable[[tf.Tensor], tf.Tensor],
) -> usage_lib.Usage:
  text = pathlib.Path(folder, columns_lib.FILE).read_text('utf-8')
  return usage_lib.Usage(
      raw={
          'features': tf.TensorSpec([None, len(columns.features)], tf.float32)
      },
      prepare_fn=scale_fn,
      inputs=(
          f'the features of {columns_lib.FILE} in their order: the number in a'
          ' column, or for column=value 1 where a column of text has this value'
          ' and 0 elsewhere; minus the mean, divided by the deviation in the'
          ' same file'
      ),
      outputs='logits of the classes; their softmax is the probabilities',
      classes=columns.classes,
      files={columns_lib.FILE: text},
      example=inspect.getsource(example),
  )


def create_mlp(
    num_inputs: int,
    num_classes: int,
    units: int,
    *,
    additions: additions_lib.Additions = additions_lib.NOTHING,
) -> tf.keras.Model:
  """Builds a perceptron with two hidden layers.

  Args:
    num_inputs: The number of inputs.
    num_classes: The number of classes.
    units: Units of each hidden layer.
    additions: Layers that are added; an adapter follows each hidden layer.

  Returns:
    A model from float32 [batch, inputs] to logits [batch, classes].
  """
  inputs = tf.keras.Input((num_inputs,))
  x = inputs
  if additions.input_norm:
    x = identity_layers.InputNorm(name='input_norm')(x)
  for i in (1, 2):
    x = additions.lora.dense(
        units, path=f'dense{i}', activation='relu', name=f'dense{i}'
    )(x)
    if additions.adapters:
      x = adapters.BottleneckAdapter(units // 4, name=f'adapter{i}')(x)
  x = additions.add_bias(x)
  outputs = additions.lora.dense(num_classes, path='head', name='head')(x)
  return tf.keras.Model(inputs, additions.add_head(x, outputs))


def create_numbers(num_people: int = 40, num_rows: int = 60) -> str:
  """Makes up people whose rows follow a rule with a threshold of their own.

  Returns:
    A folder in the cache, with `train.sqlite`, `test.sqlite` and the columns.
  """

  def person(number):
    rng = np.random.default_rng([_VERSION, number])
    inputs = rng.normal(size=[num_rows, 4]).astype(np.float32)
    threshold = rng.normal()
    label = (inputs @ [1, -1, 0.5, 0] > threshold).astype(np.int32)
    return f'person_{number:02}', {'features': inputs, 'label': label}

  people = people_lib.ClientSource(
      features=collections.OrderedDict(
          features=tf.TensorSpec([4], tf.float32),
          label=tf.TensorSpec([], tf.int32),
      ),
      num_people=num_people,
      examples=(person(number) for number in range(num_people)),
      finish_fn=functools.partial(
          columns_lib.write, features=('a', 'b', 'c', 'd'), classes=('0', '1')
      ),
  )
  return cached_folder.cached_folder(
      f'numbers-{_VERSION}-{num_people}-{num_rows}',
      lambda folder: people_lib.write_folder(people, folder),
  )


def _no_tff_data() -> str:
  raise errors.SettingsError(
      "Expected 'embedded' or a folder as `data` of the task tabular, found"
      " 'tff'. Import a table with \"python -m tasks.import_client_data"
      ' table".'
  )


def _check(clients, num_inputs: int) -> None:
  """Checks that the examples are rows with as many inputs, and a label."""
  found = {
      name: spec.shape.as_list() for name, spec in clients.features.items()
  }
  if found != {'features': [num_inputs], 'label': []}:
    raise errors.DataError(
        f"Expected 'features' [{num_inputs}] and 'label' [] in {clients.path},"
        f' found {found}. Import the table again.'
    )


def _to_xy(
    num_classes: int, features: Mapping[str, np.ndarray]
) -> collections.OrderedDict[str, np.ndarray]:
  labels = features['label'].astype(np.int32)
  if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
    raise errors.DataError(
        f'Expected labels from 0 to {num_classes - 1}, found {labels.min()} to'
        f' {labels.max()}.'
    )
  return collections.OrderedDict(x=features['features'], y=labels)


def _prepare(scale_fn, batch, seed):
  del seed  # Nothing is random here.
  return collections.OrderedDict(x=scale_fn(batch['x']), y=batch['y'])


def _scale(mean, deviation, features):
  """Scales each input to mean 0 and deviation 1."""
  return (features - mean) / deviation
