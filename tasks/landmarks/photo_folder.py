# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of photos of one size, and the names of their classes.

The file `classes.txt` is next to the examples and has one name per line,
starting with the name of label 0.
"""

from collections.abc import Callable, Sequence
import os
import struct
from typing import BinaryIO
import zlib

import numpy as np
from PIL import ExifTags
from PIL import Image
from PIL import ImageOps

from tff_partial import errors
from tff_partial import files

CLASSES = 'classes.txt'
# Raised by Pillow for files that are no images, damaged, or absurdly large.
UNREADABLE = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
# Pillow goes by what is in a file, whatever its name, and starts Ghostscript
# for PostScript. These are the formats of cameras and of the web.
_FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'TIFF', 'WEBP')
_MAX_PIXELS = 100_000_000  # 300 MB of memory, for a file of any size.
_NUM_BITS = (
    8,
    10,
    12,
    14,
    16,
    32,
)  # Depths of gray that cameras and files use.
# How to turn a photo upright, by its EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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


def read_square(
    source: str | BinaryIO,
    size: int,
    *,
    note_fn: Callable[[str], None] = lambda note: None,
) -> np.ndarray:
  """Reads a photo and makes a square of its middle.

  Args:
    source: A file, or its path.
    size: Pixels on a side of the result.
    note_fn: As for `to_square`.

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
    return to_square(image, size, note_fn=note_fn)


def to_square(
    image: Image.Image,
    size: int,
    *,
    note_fn: Callable[[str], None] = lambda note: None,
) -> np.ndarray:
  """Crops the middle of a photo and scales it to a square.

  Integers of more than 8 bits are scaled by the least depth of 8, 10, 12, 14,
  16 and 32 bits that holds the brightest pixel, because files do not say how
  many bits are used. Floats are from 0 to 1, or to 255 if there are larger
  ones. Transparent pixels are laid on white.

  Args:
    image: A photo with any channels. It is rotated as its EXIF data say.
    size: Pixels on a side of the result.
    note_fn: Called with each of these things that was done to the photo.

  Returns:
    Red, green and blue, uint8 [size, size, 3].

  Raises:
    One of `UNREADABLE`: If the photo is damaged.
  """
  image = _turn_upright(image, note_fn)
  if image.mode == 'F' or image.mode.startswith('I'):
    image = _to_8_bits(image, note_fn)
  if image.has_transparency_data:
    image = _on_white(image, note_fn)
  image = ImageOps.fit(
      image.convert('RGB'), (size, size), Image.Resampling.BILINEAR
  )
  return np.asarray(image)


def _turn_upright(
    image: Image.Image, note_fn: Callable[[str], None]
) -> Image.Image:
  """Turns a photo as its EXIF data say, without writing them again."""
  image.load()  # Pillow turns a TIFF then; what is left to do is told after it.
  try:
    orientation = image.getexif().get(ExifTags.Base.Orientation)
  except UNREADABLE:
    note_fn('photos with damaged EXIF data, not turned')
    return image
  # Any value is possible, also one that cannot be looked up.
  if isinstance(orientation, int) and orientation in _UPRIGHT:
    return image.transpose(_UPRIGHT[orientation])
  return image


def _to_8_bits(
    image: Image.Image, note_fn: Callable[[str], None]
) -> Image.Image:
  """Scales gray integers of more bits, or floats, to gray of 8 bits."""
  values = np.asarray(image).astype(np.float64)
  least, most = values.min(), values.max()
  if not (np.isfinite(least) and np.isfinite(most)) or least < 0:
    raise ValueError(
        f'Expected gray values of at least 0, found {least:g} to {most:g}.'
    )
  if image.mode == 'F':
    if most > 255:
      raise ValueError(
          f'Expected floats from 0 to 1 or 255, found {least:g} to {most:g}.'
      )
    full = 1 if most <= 1 else 255
    note_fn(f'photos of floats, taken as 0 to {full}')
  else:
    bits = min(b for b in _NUM_BITS if most < 2**b)
    full = 2**bits - 1
    note_fn(f'photos of 16 or 32 bits, taken as {bits} bits')
  return Image.fromarray(np.round(values * 255 / full).astype(np.uint8))


def _on_white(
    image: Image.Image, note_fn: Callable[[str], None]
) -> Image.Image:
  """Lays a photo on white where it is transparent."""
  image = image.convert('RGBA')
  if np.asarray(image)[..., 3].min() == 255:
    return image
  note_fn('photos with transparent pixels, laid on white')
  white = Image.new('RGBA', image.size, 'white')
  return Image.alpha_composite(white, image)
