# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Photo classification by photographer: Google Landmarks and data like it.

The paper's task [1, Section 4] uses TFF's federated Google Landmarks v2: 2,028
landmarks, and photographers with at least 50 photos, half of which are for
testing. Photos are decoded and scaled to one size once, when the data are
fetched or imported. They stay bytes until a computation prepares them.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

import collections
from collections.abc import Mapping, Sequence
import functools
import inspect
from typing import Any, Optional

import tensorflow as tf

from tff_partial import errors
from tff_partial.data import source
from tff_partial.data import sql_clients
from tff_partial.data import sql_examples
from tff_partial.evaluation import metric as metric_lib
from tff_partial.experiments import task
from tff_partial.experiments import usage as usage_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import lora as lora_lib

from ..networks import classification
from ..networks import resnet
from . import example
from . import gldv2
from . import photo_folder
from . import scenes

# Mean and deviation of the colors of ImageNet's photos, as pretrained networks
# expect them.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

# (builder, image size, description) by name.
_MODELS = {
    'resnet8': (resnet.create_resnet8, 56, 'ResNet-8 with group norm'),
    'resnet18': (resnet.create_resnet18, 224, 'ResNet-18 with group norm'),
}


def create_task(
    data: str = 'embedded',
    *,
    model: str = 'resnet8',
    batch_size: int = 16,
    image_size: Optional[int] = None,
    lora_rank: int = 8,
    lora_targets: str = '.',
    mean_regularization: float = 0.0,
) -> task.Task:
  """Creates the task.

  Args:
    data: 'embedded' for drawn scenes, 'tff' for federated Google Landmarks, or
      a folder made by `python -m tasks.import_client_data images`.
    model: 'resnet8', a small network for laptops, or 'resnet18', the paper's.
    batch_size: Examples per gradient step.
    image_size: Pixels on a side of the network's input; by default 56 for
      'resnet8' and 224 for 'resnet18'. Stored photos should be 8/7 of that.
    lora_rank: Rank of the matrices of the splits 'lora' and 'lora_b'.
    lora_targets: A regular expression, searched for in the paths of dense
      layers, that says which of them have such matrices.
    mean_regularization: The weight of FedDBE's mean regularization, for splits
      with 'bias'; 0 for none.

  Raises:
    errors.SettingsError: If the model is unknown or `image_size` too small.
    errors.DataError: If the data are not as expected.
    errors.FileError: If the data cannot be read.
  """
  if model not in _MODELS:
    raise errors.SettingsError(
        f'Expected `model` of {sorted(_MODELS)}, found {model!r}.'
    )
  create, default_size, description = _MODELS[model]
  image_size = image_size or default_size
  if image_size < 16:
    raise errors.SettingsError(
        f'Expected `image_size` of at least 16 pixels, found {image_size}.'
    )
  opened = source.Source(
      embedded_fn=scenes.create_scenes,
      embedded_description='drawn scenes, for demonstration',
      tff_fn=functools.partial(
          gldv2.create_gldv2, size=round(image_size * 8 / 7)
      ),
      tff_description='federated Google Landmarks v2',
  ).open(data)
  _check_photos(opened.train)
  classes = photo_folder.read_classes(opened.folder)
  build = functools.partial(
      create,
      (image_size, image_size, 3),
      len(classes),
      small_stem=False,
  )
  return task.Task(
      name='landmarks',
      data=f'{opened.description}, {len(classes):,} classes',
      model=f'{description}, {image_size}x{image_size} pixels',
      model_fn=functools.partial(
          classification.create_model_fn,
          build,
          (image_size, image_size, 3),
          resnet.SPLITS,
          lora=lora_lib.Lora(lora_rank, lora_targets),
          mean_regularization=mean_regularization,
      ),
      splits=resnet.SPLITS,
      train=sql_examples.ClientLocations(opened.train),
      test=sql_examples.ClientLocations(opened.test),
      client_examples=sql_examples.SqlExamples(
          opened.train.features,
          examples_lib.Tensors(
              batch_size,
              prepare_train=functools.partial(_prepare_train, image_size),
              prepare_test=functools.partial(_prepare_test, image_size),
          ),
      ),
      metric=metric_lib.Metric('accuracy', higher_is_better=True),
      head='head',
      labels_fn=functools.partial(sql_examples.read_integers, name='label'),
      usage=_usage(opened.train, image_size, classes),
      demonstration=opened.demonstration,
  )


def _usage(
    clients: sql_clients.SqlClients, image_size: int, classes: Sequence[str]
) -> usage_lib.Usage:
  """Stored photos are squares of one size; so are those that people bring."""
  stored = clients.features['pixels'].shape
  return usage_lib.Usage(
      raw={'pixels': tf.TensorSpec([None, *stored], tf.uint8)},
      prepare_fn=functools.partial(_to_input, image_size),
      inputs=(
          'red, green and blue of the square in the middle of a photo; scaled'
          f' to {image_size} pixels on a side (antialiased), divided by 255,'
          f' minus {_MEAN}, divided by {_DEVIATION}'
      ),
      outputs='logits of the classes; their softmax is the probabilities',
      classes=tuple(classes),
      files={photo_folder.CLASSES: photo_folder.format_classes(classes)},
      example=inspect.getsource(example),
  )


def _check_photos(clients: sql_clients.SqlClients) -> None:
  """Checks that the examples are square color photos with a label."""
  shape = lambda name: (
      clients.features[name].shape.as_list()
      if name in clients.features
      else None
  )
  pixels = shape('pixels')
  if (
      pixels is None
      or len(pixels) != 3
      or pixels[0] != pixels[1]
      or pixels[2] != 3
      or shape('label') != []
  ):
    found = ', '.join(
        f'{name!r} {spec.shape.as_list()}'
        for name, spec in clients.features.items()
    )
    raise errors.DataError(
        f"Expected 'pixels' [size, size, 3] and 'label' [] in {clients.path},"
        f' found {found}. Import photos with "python -m'
        ' tasks.import_client_data images".'
    )


def _prepare_train(
    image_size: int, batch: Mapping[str, Any], seed: tf.Tensor
) -> collections.OrderedDict[str, tf.Tensor]:
  """Crops 7/8 of each side at random, and mirrors half of the photos."""
  pixels = batch['pixels']
  num, size = tf.shape(pixels)[0], pixels.shape[1]
  crop = round(size * 7 / 8)
  seeds = tf.random.experimental.stateless_split(seed, 2)
  corners = tf.random.stateless_uniform(
      [2, num, 1], seeds[0], maxval=size - crop + 1, dtype=tf.int32
  )
  rows = corners[0] + tf.range(crop)
  columns = corners[1] + tf.range(crop)
  mirrored = tf.random.stateless_uniform([num, 1], seeds[1]) < 0.5
  columns = tf.where(mirrored, columns[:, ::-1], columns)
  pixels = tf.gather(pixels, rows, axis=1, batch_dims=1)
  pixels = tf.gather(pixels, columns, axis=2, batch_dims=1)
  return collections.OrderedDict(
      x=_to_input(image_size, pixels), y=batch['label']
  )


def _prepare_test(
    image_size: int, batch: Mapping[str, Any], seed: tf.Tensor
) -> collections.OrderedDict[str, tf.Tensor]:
  """Scales the whole photo."""
  del seed  # Nothing is random here.
  return collections.OrderedDict(
      x=_to_input(image_size, batch['pixels']), y=batch['label']
  )


def _to_input(image_size, pixels):
  """Converts bytes [batch, size, size, 3] to the network's input."""
  pixels = tf.cast(pixels, tf.float32)
  if pixels.shape[1] != image_size:
    pixels = tf.image.resize(pixels, [image_size, image_size], antialias=True)
  return (pixels / 255 - _MEAN) / _DEVIATION
