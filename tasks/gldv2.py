# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Federated Google Landmarks v2, decoded and scaled once.

TFF keeps a file of JPEGs for each photographer and decodes them, at their full
size, whenever they are read. Here all of them are gone through once. As in [1]
a photographer with at least 50 photos takes part, a random half of the photos
is for training, and training uses at most 1,000 of them.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

import collections
from collections.abc import Iterator
import os
from typing import Any, Optional

from absl import logging
import numpy as np
from PIL import Image
import tensorflow as tf
import tensorflow_federated as tff
import tqdm

from tasks import photo_folder
from tasks import sql_writer
from tasks.embedded import made_once

NUM_CLASSES = 2028  # Of gld160k.

_VERSION = 1  # Of the files made: to be raised when they change.
_MIN_PHOTOS = 50
_MAX_TRAIN = 1000


def create_gldv2(
    source_dir: Optional[str] = None,
    cache_dir: Optional[str] = None,
    *,
    size: int = 256,
) -> str:
  """Makes a folder of the photos at one size, or finds it made.

  At size 256 the 823 photographers' photos take about 29 GB.

  Args:
    source_dir: The `cache_dir` that the data were fetched to with
      `tff.simulation.datasets.gldv2.load_data`; `None` is `~/.tff/gldv2`.
    cache_dir: Where to keep the folder; see `made_once.made_once`.
    size: Pixels a side.

  Returns:
    A folder with `train.sqlite`, `test.sqlite` and `classes.txt`.

  Raises:
    OSError: If the data were not fetched or the folder cannot be written.
    ValueError: If no photographer has enough photos.
  """
  source_dir = source_dir or os.path.join(
      os.path.expanduser('~'), '.tff', 'gldv2'
  )
  return made_once.made_once(
      f'gldv2-{_VERSION}-{size}',
      lambda folder: _make(folder, source_dir, size),
      cache_dir=cache_dir,
  )


def _make(folder: str, source_dir: str, size: int) -> None:
  source = _open(source_dir)
  features = collections.OrderedDict(
      pixels=tf.TensorSpec([size, size, 3], tf.uint8),
      label=tf.TensorSpec([], tf.int32),
  )
  left_out = collections.Counter()
  written = 0
  with (
      sql_writer.SqlWriter(
          os.path.join(folder, 'train.sqlite'), features
      ) as train,
      sql_writer.SqlWriter(
          os.path.join(folder, 'test.sqlite'), features
      ) as test,
  ):
    for client_id in tqdm.tqdm(
        source.client_ids, 'Scaling photos', leave=False
    ):
      photos = list(_read(source, client_id, size, left_out))
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
      raise ValueError(
          f'Expected photographers with at least {_MIN_PHOTOS} photos in'
          f' {source_dir}, found none among {len(source.client_ids)}.'
      )
  with open(
      os.path.join(folder, photo_folder.CLASSES), 'w', encoding='utf-8'
  ) as f:
    f.write(photo_folder.format_classes([str(i) for i in range(NUM_CLASSES)]))
  for reason, count in sorted(left_out.items()):
    logging.warning('Google Landmarks: left out %d %s.', count, reason)


def _open(source_dir: str) -> tff.simulation.datasets.ClientData:
  """TFF's clients, if they were fetched: that takes too long to do unasked."""
  folder = os.path.join(source_dir, 'gld160k')
  people = os.path.join(folder, 'train')
  # What TFF's loader looks for; without, it starts to download.
  if not (
      os.path.isfile(os.path.join(folder, 'test.tfRecord'))
      and os.path.isdir(people)
      and os.listdir(people)
  ):
    raise FileNotFoundError(
        f'Expected federated Google Landmarks in {folder}, found none. Fetch'
        ' them with tff.simulation.datasets.gldv2.load_data(cache_dir='
        f'{source_dir!r}), which goes through all 500 archives of Google'
        ' Landmarks, or use --data=embedded.'
    )
  train, _ = tff.simulation.datasets.gldv2.load_data(cache_dir=source_dir)
  return train


def _read(
    source: tff.simulation.datasets.ClientData,
    client_id: str,
    size: int,
    left_out: collections.Counter[str],
) -> Iterator[tuple[np.ndarray, int]]:
  """A client's photos, uint8 [size, size, 3], and their labels."""
  photos = iter(source.create_tf_dataset_for_client(client_id))
  while True:
    try:
      photo = next(photos)
    except StopIteration:
      return
    except tf.errors.InvalidArgumentError:
      left_out['photos that cannot be read'] += 1
      continue
    label = int(photo['class'].numpy().item())
    square = _to_square(photo['image/decoded'].numpy(), size)
    if not 0 <= label < NUM_CLASSES:
      left_out['photos without a class'] += 1
    elif square is None:
      left_out['photos that are neither gray nor color'] += 1
    else:
      yield square, label


def _to_square(pixels: np.ndarray, size: int) -> Any:
  channels = pixels.shape[-1]
  if channels not in (1, 3):
    return None
  pixels = pixels[..., 0] if channels == 1 else pixels
  return photo_folder.to_square(Image.fromarray(pixels), size)
