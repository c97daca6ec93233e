# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of photos of one size, and the names of their classes.

The file `classes.txt` is next to the examples and has one name per line,
starting with the name of label 0.
"""

from collections.abc import Sequence
import os
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL import ImageOps

from tff_partial import errors
from tff_partial import files

CLASSES = 'classes.txt'
# Raised by Pillow for files that are no images, damaged, or absurdly large.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# Pillow goes by what is in a file, whatever its name, and starts Ghostscript
# for PostScript. These are the formats of cameras and of the web.
_FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'TIFF', 'WEBP')
_MAX_PIXELS = 100_000_000  # 300 MB of memory, for a file of any size.


def format_classes(names: Sequence[str]) -> str:
  """Returns the text of `classes.txt`."""
  return ''.join(f'{" ".join(name.split())}\n' for name in names)


def write_classes(folder: str, names: Sequence[str]) -> None:
  """Writes the names of the classes, by label, next to the examples."""
  files.replace_text(os.path.join(folder, CLASSES), format_classes(names))


def read_classes(folder: str) -> list[str]:
  """Reads the names of the classes, by label.

  Raises:
    errors.MissingFileError: If the folder has no `classes.txt`.
    errors.DataError: If it is not UTF-8 or names fewer than two classes.
  """
  path = os.path.join(folder, CLASSES)
  if not os.path.isfile(path):
    raise errors.MissingFileError(
        f'Expected the names of the classes in {path}, found no such file.'
        ' Import photos with "python -m tasks.import_client_data images".'
    )
  try:
    with open(path, encoding='utf-8') as f:
      names = f.read().splitlines()
  except UnicodeDecodeError as e:
    raise errors.DataError(f'Expected UTF-8 text in {path}, found {e}.') from e
  if len(names) < 2:
    raise errors.DataError(
        f'Expected at least two classes in {path}, found {len(names)}.'
    )
  return names


def read_square(source: str | BinaryIO, size: int) -> np.ndarray:
  """Reads a photo and makes a square of its middle.

  Args:
    source: A file, or its path.
    size: Pixels on a side of the result.

  Returns:
    Red, green and blue, uint8 [size, size, 3].

  Raises:
    One of `UNREADABLE`: If the photo is damaged, of another format than photos
      have, or has more than 100 megapixels.
  """
  with Image.open(source, formats=_FORMATS) as image:
    if image.width * image.height > _MAX_PIXELS:
      raise ValueError(
          f'Expected at most {_MAX_PIXELS:,} pixels, found {image.width} x'
          f' {image.height}.'
      )
    return to_square(image, size)


def to_square(image: Image.Image, size: int) -> np.ndarray:
  """Crops the middle of a photo and scales it to a square.

  Args:
    image: A photo with any channels. It is rotated as its EXIF data say.
    size: Pixels on a side of the result.

  Returns:
    Red, green and blue, uint8 [size, size, 3].

  Raises:
    One of `UNREADABLE`: If the photo is damaged.
  """
  image = ImageOps.exif_transpose(image)
  image = ImageOps.fit(
      image.convert('RGB'), (size, size), Image.Resampling.BILINEAR
  )
  return np.asarray(image)
