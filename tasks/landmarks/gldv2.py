# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Federated Google Landmarks v2, decoded and scaled once.

TFF keeps a file of JPEGs for each photographer and decodes them at full size
whenever they are read. Here they are all decoded once. As in [1], photographers
with at least 50 photos take part. A random half of the photos is for training,
which uses at most 1,000 of them.

TFF 0.87 downloads and writes these files but cannot open them:
`gldv2.load_data` calls one of its own functions without an argument, takes the
error for missing data, and downloads everything again. Therefore the files are
opened here.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

import collections
import io
import os
from typing import Optional

from absl import logging
from google.protobuf import message
import numpy as np
import tensorflow as tf
import tqdm

from tff_partial import errors
from tff_partial.data import cached_folder
from tff_partial.data import sql_writer

from . import photo_folder

NUM_CLASSES = 2028  # Classes of gld160k.

_VERSION = 1  # Must be raised with any change to the files.
_MIN_PHOTOS = 50
_MAX_TRAIN = 1000


def create_gldv2(
    source_dir: Optional[str] = None,
    cache_dir: Optional[str] = None,
    *,
    size: int = 256,
) -> str:
  """Makes a folder of the photos at one size, unless the cache holds it.

  At size 256 the 823 photographers' photos take about 29 GB.

  Args:
    source_dir: The `cache_dir` to which `tff.simulation.datasets.gldv2
      .load_data` downloaded the data; `None` means `~/.tff/gldv2`.
    cache_dir: Where to keep the folder; see `cached_folder.cached_folder`.
    size: Pixels on a side.

  Returns:
    A folder with `train.sqlite`, `test.sqlite` and `classes.txt`.

  Raises:
    errors.MissingFileError: If the data were not downloaded.
    errors.DataError: If a file is damaged, or no photographer has enough
      photos.
    OSError: If the folder cannot be written.
  """
  source_dir = source_dir or os.path.join(
      os.path.expanduser('~'), '.tff', 'gldv2'
  )
  return cached_folder.cached_folder(
      f'gldv2-{_VERSION}-{size}',
      lambda folder: _make(folder, source_dir, size),
      cache_dir=cache_dir,
  )


def _make(folder: str, source_dir: str, size: int) -> None:
  source = _find(source_dir)
  features = collections.OrderedDict(
      pixels=tf.TensorSpec([size, size, 3], tf.uint8),
      label=tf.TensorSpec([], tf.int32),
  )
  left_out = collections.Counter()
  written = 0
  with sql_writer.train_and_test(folder, features) as (train, test):
    for client_id in tqdm.tqdm(
        sorted(os.listdir(source)), 'Scaling photos', leave=False
    ):
      photos = _read(os.path.join(source, client_id), size, left_out)
      if len(photos) < _MIN_PHOTOS:
        left_out['photographers with fewer photos'] += 1
        continue
      order = np.random.default_rng([0, *client_id.encode()]).permutation(
          len(photos)
      )
      half = len(photos) // 2
      for writer, rows in (
          (train, order[half:][:_MAX_TRAIN]),
          (test, order[:half]),
      ):
        writer.write(
            client_id,
            {
                'pixels': [photos[i][0] for i in rows],
                'label': [photos[i][1] for i in rows],
            },
        )
      written += 1
    if not written:
      raise errors.DataError(
          f'Expected photographers with at least {_MIN_PHOTOS} photos in'
          f' {source}, found none.'
      )
  photo_folder.write_classes(folder, [str(i) for i in range(NUM_CLASSES)])
  for reason, count in sorted(left_out.items()):
    logging.warning('Google Landmarks: left out %d %s.', count, reason)


def _find(source_dir: str) -> str:
  """Returns the folder with a file for each photographer."""
  folder = os.path.join(source_dir, 'gld160k', 'train')
  if not os.path.isdir(folder):
    raise errors.MissingFileError(
        f'Expected federated Google Landmarks in {folder}, found none.'
        ' Download them with tff.simulation.datasets.gldv2.load_data(cache_dir='
        f'{source_dir!r}), which fetches all 500 archives of Google Landmarks,'
        ' or use the embedded data.'
    )
  return folder


def _read(
    path: str, size: int, left_out: collections.Counter[str]
) -> list[tuple[np.ndarray, int]]:
  """Reads a photographer's photos, uint8 [size, size, 3], and their labels.

  Returns an empty list, without decoding photos, if there are too few.
  """
  try:
    protos = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
  except tf.errors.DataLossError as e:
    raise errors.DataError(
        f'Expected a TFRecord file in {path}, found a damaged one: {e.message}.'
        ' Download it again.'
    ) from e
  if len(protos) < _MIN_PHOTOS:
    return []
  photos = []
  for proto in protos:
    try:
      feature = tf.train.Example.FromString(proto).features.feature
    except message.DecodeError as e:
      raise errors.DataError(
          f'Expected examples in {path}, found a record of another kind.'
          ' Download it again.'
      ) from e
    # A feature that is missing has no values.
    labels = feature['class'].int64_list.value
    if not (labels and 0 <= labels[0] < NUM_CLASSES):
      left_out['photos without a class'] += 1
      continue
    label = labels[0]
    encoded = b''.join(feature['image/encoded_jpeg'].bytes_list.value[:1])
    try:
      photo = photo_folder.read_square(io.BytesIO(encoded), size)
      photos.append((photo, label))
    except photo_folder.UNREADABLE:
      left_out['photos that cannot be read'] += 1
  return photos
