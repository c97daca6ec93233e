# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of photos: names of their classes, photos of one size.

`classes.txt` stands beside the examples, with one name a line; the first is
label 0.
"""

from collections.abc import Sequence
import os

import numpy as np
from PIL import Image
from PIL import ImageOps

from tff_partial import errors

CLASSES = 'classes.txt'
# What Pillow raises on files that are no images, damaged, or absurdly large.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def format_classes(names: Sequence[str]) -> str:
  """The contents of `classes.txt`."""
  return ''.join(f'{" ".join(name.split())}\n' for name in names)


def read_classes(folder: str) -> list[str]:
  """Names of the classes, by label.

  Raises:
    OSError: If the folder has no `classes.txt`.
    ValueError: If it names fewer than two classes.
  """
  path = os.path.join(folder, CLASSES)
  if not os.path.isfile(path):
    raise errors.MissingFileError(
        f'Expected the names of the classes in {path}, found no such file.'
        ' Import photos with "python -m tasks.import_client_data images".'
    )
  with open(path, encoding='utf-8') as f:
    names = f.read().splitlines()
  if len(names) < 2:
    raise errors.DataError(
        f'Expected at least two classes in {path}, found {len(names)}.'
    )
  return names


def to_square(image: Image.Image, size: int) -> np.ndarray:
  """The middle of a photo, scaled so that its shorter side fits.

  Args:
    image: A photo with any channels, turned as its EXIF data say.
    size: Pixels a side of the result.

  Returns:
    Red, green and blue, uint8 [size, size, 3].

  Raises:
    One of `UNREADABLE`: If the photo's data are damaged.
  """
  image = ImageOps.exif_transpose(image)
  image = ImageOps.fit(
      image.convert('RGB'), (size, size), Image.Resampling.BILINEAR
  )
  return np.asarray(image)
