# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Character recognition by writer: EMNIST and data like it.

The paper's task [1, Section 4] uses TFF's federated EMNIST: 62 classes, and
writers with at least 100 training and 25 test examples. The test examples are
other characters by the same writers, so they measure what a writer's personal
variables are worth.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

import collections
from collections.abc import Mapping
import functools
import inspect
import string

import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import client_data
from tff_partial.data import source
from tff_partial.evaluation import metric as metric_lib
from tff_partial.experiments import task
from tff_partial.experiments import usage as usage_lib
from tff_partial.learning import adapters
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import group_norm
from tff_partial.learning import identity_layers
from tff_partial.learning import lora as lora_lib
from tff_partial.learning import partition

from ..networks import additions as additions_lib
from ..networks import classification
from ..networks import resnet
from . import example
from . import glyphs

NUM_CLASSES = 62  # 0-9, A-Z, a-z.
_SHAPE = (28, 28)
_SOURCE = source.Source(
    embedded_fn=glyphs.create_glyphs,
    embedded_description='characters drawn from fonts, for demonstration',
    tff_fn=client_data.download_emnist,
    tff_description='federated EMNIST',
    open_tff_fn=functools.partial(
        client_data.open_emnist, min_train=100, min_test=25  # As in the paper.
    ),
)

# The splits of the small network; ResNet-18 has `resnet.SPLITS`.
SPLITS: Mapping[str, partition.Rule] = {
    'input': partition.layers('conv1', 'norm1'),
    'output': partition.layers('head'),
    'adapter': partition.matches(r'adapter|^norm\d/'),
    'norm': partition.matches(r'norm\d?/'),
    'input_norm': partition.layers('input_norm'),
    **additions_lib.SPLITS,
}


def create_task(
    data: str = 'embedded',
    *,
    model: str = 'cnn',
    batch_size: int = 32,
    lora_rank: int = 8,
    lora_targets: str = '.',
    mean_regularization: float = 0.0,
) -> task.Task:
  """Creates the task.

  Args:
    data: 'embedded' for characters drawn from fonts, 'tff' for federated
      EMNIST, or a folder made by `tasks.import_client_data`.
    model: 'cnn', a small network for laptops, or 'resnet18', the paper's.
    batch_size: Examples per gradient step.
    lora_rank: Rank of the matrices of the splits 'lora' and 'lora_b'.
    lora_targets: A regular expression, searched for in the paths of dense
      layers, that says which of them have such matrices.
    mean_regularization: The weight of FedDBE's mean regularization, for splits
      with 'bias'; 0 for none.

  Raises:
    errors.SettingsError: If the model is unknown.
    errors.DataError: If the data are not as expected.
    errors.FileError: If the data cannot be read or downloaded.
  """
  builders = {
      'cnn': (create_cnn, SPLITS, 'CNN with 2 convolutions and group norm'),
      'resnet18': (
          functools.partial(
              resnet.create_resnet18,
              (*_SHAPE, 1),
              NUM_CLASSES,
              small_stem=True,
          ),
          resnet.SPLITS,
          'ResNet-18 with group norm',
      ),
  }
  if model not in builders:
    raise errors.SettingsError(
        f'Expected `model` of {sorted(builders)}, found {model!r}.'
    )
  build, splits, description = builders[model]
  opened = _SOURCE.open(data)
  return task.Task(
      name='emnist',
      data=opened.description,
      model=description,
      model_fn=functools.partial(
          classification.create_model_fn,
          build,
          (*_SHAPE, 1),
          splits,
          lora=lora_lib.Lora(lora_rank, lora_targets),
          mean_regularization=mean_regularization,
      ),
      splits=splits,
      train=client_data.MappedClients(opened.train, _to_xy),
      test=client_data.MappedClients(opened.test, _to_xy),
      client_examples=examples_lib.Tensors(
          batch_size,
          prepare_train=_prepare,
          prepare_test=_prepare,
          element_spec=collections.OrderedDict(
              x=tf.TensorSpec(_SHAPE, tf.uint8), y=tf.TensorSpec([], tf.int32)
          ),
      ),
      metric=metric_lib.Metric('accuracy', higher_is_better=True),
      labels_fn=lambda examples: examples['y'],
      head='head',
      usage=_USAGE,
      demonstration=opened.demonstration,
  )


def create_cnn(
    *, additions: additions_lib.Additions = additions_lib.NOTHING
) -> tf.keras.Model:
  """Builds a small network that a laptop trains in minutes.

  Args:
    additions: Layers that are added; an adapter follows each convolution.

  Returns:
    A model from images, float32 [batch, 28, 28, 1], to logits [batch, 62].
  """
  inputs = tf.keras.Input((*_SHAPE, 1))
  x = inputs
  if additions.input_norm:
    x = identity_layers.InputNorm(name='input_norm')(x)
  for i, channels in ((1, 16), (2, 32)):
    x = tf.keras.layers.Conv2D(channels, 3, use_bias=False, name=f'conv{i}')(x)
    if additions.adapters:
      x = adapters.ConvAdapter(8, name=f'adapter{i}')(x)
    x = group_norm.GroupNorm(8, epsilon=1e-5, name=f'norm{i}')(x)
    x = tf.keras.layers.ReLU()(x)
    x = tf.keras.layers.MaxPool2D()(x)
  x = tf.keras.layers.Flatten()(x)
  x = additions.lora.dense(128, path='dense', activation='relu', name='dense')(
      x
  )
  x = additions.add_bias(x)
  outputs = additions.lora.dense(NUM_CLASSES, path='head', name='head')(x)
  return tf.keras.Model(inputs, additions.add_head(x, outputs))


def _prepare(batch, seed):
  """Scales pixels to 0..1 in the computation, which receives fewer bytes so."""
  del seed  # There is no augmentation.
  return collections.OrderedDict(x=_to_input(batch['x']), y=batch['y'])


def _to_input(pixels):
  return tf.cast(pixels, tf.float32)[..., tf.newaxis] / 255.0


_USAGE = usage_lib.Usage(
    raw={'pixels': tf.TensorSpec([None, *_SHAPE], tf.uint8)},
    prepare_fn=_to_input,
    inputs=(
        'pixels of a character, ink 255 on background 0; divided by 255, with a'
        ' last dimension for the only channel'
    ),
    outputs='logits of the classes; their softmax is the probabilities',
    classes=tuple(
        string.digits + string.ascii_uppercase + string.ascii_lowercase
    ),
    example=inspect.getsource(example),
)


def _to_xy(
    features: Mapping[str, np.ndarray],
) -> collections.OrderedDict[str, np.ndarray]:
  """Converts stored features to examples with ink 255 on background 0."""
  pixels = features['pixels']
  if pixels.dtype != np.uint8:  # Federated EMNIST: background 1.0, ink 0.0.
    pixels = np.round(255 * (1 - pixels)).astype(np.uint8)
  labels = features['label'].astype(np.int32)
  if labels.size and not 0 <= labels.min() <= labels.max() < NUM_CLASSES:
    raise errors.DataError(
        f'Expected labels from 0 to {NUM_CLASSES - 1}, found'
        f' {labels.min()} to {labels.max()}.'
    )
  return collections.OrderedDict(x=pixels, y=labels)
