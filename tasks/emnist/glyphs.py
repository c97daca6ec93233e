# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Glyphs: 62 characters in many hands, drawn from Matplotlib's fonts.

They demonstrate what partial personalization is for and are no evidence;
findings come from real people's data. Each writer has a mix of fonts, a slant,
a stroke width, a size, an unsteadiness, and **allographs**: a private
convention of which shape stands for which character among those that are easily
confused. By a stroke with a hook, one writer means 1, another one l and a third
one I. A model that everyone shares cannot know who wrote it; personal variables
can.

Pixels are uint8 [28, 28], ink 255 on 0. Labels are int32 in EMNIST's order:
0-9, A-Z, a-z. Nothing is downloaded, and the same seed makes the same bytes.
"""

import collections
from collections.abc import Mapping
import os
import string
from typing import Optional

import matplotlib
import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont
from scipy import ndimage
import tensorflow as tf
import tqdm

from tff_partial import errors
from tff_partial.data import cached_folder
from tff_partial.data import sql_writer

CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
FEATURES = collections.OrderedDict(
    pixels=tf.TensorSpec([28, 28], tf.uint8),
    label=tf.TensorSpec([], tf.int32),
)

_VERSION = 1  # Must be raised with any change to the data.
_FONTS = (
    'DejaVuSans',
    'DejaVuSans-Oblique',
    'DejaVuSansMono',
    'DejaVuSerif',
    'DejaVuSerif-Italic',
    'STIXGeneral',
    'STIXGeneralItalic',
    'cmr10',
    'cmss10',
    'cmtt10',
    'cmti10',
    'cmmi10',
)
# Characters that are easily confused. Their shapes may be permuted by a writer.
_ALLOGRAPHS = (
    '0Oo',
    '1Il',
    '2Zz',
    '5Ss',
    '6b',
    '9gq',
    'Cc',
    'Kk',
    'Pp',
    'UuVv',
    'Ww',
    'Xx',
    'hn',
    'ft',
    'ij',
)
# Probability that a writer permutes the shapes of a group above.
_OWN_CONVENTION = 0.5
_DIGITS = 0.4  # Fraction of the characters that are digits; half in EMNIST.
_TEST_FRACTION = 0.25

_MASTER = 96  # Pixels on a side of the master drawing of a character.
_CAP_HEIGHT = 56  # Height of capitals, in master pixels, at a writer's size 1.
_PIXEL = _MASTER / 28  # Master pixels per pixel of the result.
_GRID = 4  # Control points on a side of a smooth displacement.


def create_glyphs(
    cache_dir: Optional[str] = None, *, num_writers: int = 240, seed: int = 0
) -> str:
  """Makes the writers' characters, unless the cache holds them.

  Args:
    cache_dir: Where to keep them; see `cached_folder.cached_folder`.
    num_writers: Number of writers, with 100 to 150 characters each. A quarter
      of the characters are for testing.
    seed: Determines everything. A writer's characters do not depend on the
      number of writers.

  Returns:
    A folder with `train.sqlite` and `test.sqlite`.

  Raises:
    errors.SettingsError: If there is no writer.
    OSError: If the folder cannot be written.
  """
  if num_writers < 1:
    raise errors.SettingsError(
        f'Expected `num_writers` of at least 1, found {num_writers}.'
    )

  def make(folder: str) -> None:
    shapes = _draw_shapes()
    with sql_writer.train_and_test(folder, FEATURES) as (train, test):
      for writer in tqdm.trange(
          num_writers, desc='Drawing glyphs', leave=False
      ):
        examples = _write_characters(
            shapes, np.random.default_rng([seed, writer])
        )
        # Characters are in random order already.
        num_test = round(_TEST_FRACTION * len(examples['label']))
        name = f'writer_{writer:04d}'
        test.write(name, {k: v[:num_test] for k, v in examples.items()})
        train.write(name, {k: v[num_test:] for k, v in examples.items()})

  name = f'glyphs-{_VERSION}-{num_writers}-{seed}'
  return cached_folder.cached_folder(name, make, cache_dir=cache_dir)


def _draw_shapes() -> np.ndarray:
  """Draws every character in every font.

  Returns:
    The distance of each point to the outline, in pixels, positive inside:
    float64 [fonts, characters, _MASTER, _MASTER]. Strokes become thicker or
    thinner with the threshold that it is compared with.
  """
  folder = os.path.join(matplotlib.get_data_path(), 'fonts', 'ttf')
  shapes = np.empty([len(_FONTS), len(CHARACTERS), _MASTER, _MASTER])
  for i, font_name in enumerate(_FONTS):
    path = os.path.join(folder, font_name + '.ttf')
    # Fonts of the same nominal size differ, so their capitals are compared.
    probe = ImageFont.truetype(path, 100)
    _, top, _, bottom = probe.getbbox('H')
    font = ImageFont.truetype(path, round(100 * _CAP_HEIGHT / (bottom - top)))
    for j, character in enumerate(CHARACTERS):
      left, top, right, bottom = font.getbbox(character)
      image = Image.new('L', (_MASTER, _MASTER))
      corner = ((_MASTER - left - right) / 2, (_MASTER - top - bottom) / 2)
      ImageDraw.Draw(image).text(corner, character, font=font, fill=255)
      ink = np.asarray(image) > 127
      shapes[i, j] = ndimage.distance_transform_edt(ink)
      shapes[i, j] -= ndimage.distance_transform_edt(~ink)
  return shapes


def _write_characters(
    shapes: np.ndarray, rng: np.random.Generator
) -> Mapping[str, np.ndarray]:
  """Draws one writer's characters, in random order.

  It uses only sums, products and comparisons of arrays, because functions such
  as `exp` may differ in the last bit between processors.
  """
  classes = len(CHARACTERS)
  # These belong to the writer, for all characters or for each.
  meant_by = _choose_allographs(rng)
  fonts = rng.choice(len(_FONTS), 3, replace=False)
  font_of = rng.choice(fonts, classes, p=[0.6, 0.25, 0.15])
  slant = rng.uniform(-0.35, 0.35)
  turn = rng.uniform(-0.15, 0.15)
  size = rng.uniform(0.85, 1.2)
  aspect = rng.uniform(0.85, 1.15)
  thickness = rng.uniform(-0.5, 3)  # Master pixels added on each side.
  unsteady = rng.uniform(0.5, 1.2)
  noise = rng.uniform(0, 20)
  habit = rng.normal(0, 2, [classes, 2, _GRID, _GRID])
  # These differ from one character drawn to the next.
  count = rng.integers(100, 151)
  labels = rng.choice(classes, count, p=_frequencies(rng))
  each = lambda scale, *shape: rng.normal(0, scale, [count, *shape])
  warp = habit[labels] + each(2 * unsteady, 2, _GRID, _GRID)
  slants = slant + each(0.05 * unsteady)
  turns = turn + each(0.04 * unsteady)
  sizes = size * (1 + each(0.05 * unsteady))
  shifts = each(2 * unsteady, 2)
  weights = thickness + each(0.4 * unsteady)

  # The source of each pixel of the result, as (y, x) from the center.
  y, x = np.meshgrid(*2 * [(np.arange(28) - 13.5) * _PIXEL], indexing='ij')
  column = lambda values: values[:, np.newaxis, np.newaxis]
  from_y = (y + column(turns) * x) / column(sizes)
  from_x = (x + column(slants - turns) * y) / column(sizes * aspect)
  displacement = _smooth(warp)
  distance = _look_up(
      shapes[font_of[labels], meant_by[labels]],
      from_y + column(shifts[:, 0]) + displacement[:, 0],
      from_x + column(shifts[:, 1]) + displacement[:, 1],
  )
  ink = np.clip(0.5 + (distance + column(weights)) / (1.2 * _PIXEL), 0, 1)
  pixels = np.clip(255 * ink + noise * rng.normal(0, 1, ink.shape), 0, 255)
  return {'pixels': np.round(pixels).astype(np.uint8), 'label': labels}


def _choose_allographs(rng: np.random.Generator) -> np.ndarray:
  """Chooses the character whose shape stands for each, int64 [classes]."""
  shape_of = np.arange(len(CHARACTERS))
  for group in _ALLOGRAPHS:
    members = np.array([CHARACTERS.index(character) for character in group])
    own = rng.permutation(members)
    if rng.random() < _OWN_CONVENTION:
      shape_of[members] = own
  return shape_of


def _frequencies(rng: np.random.Generator) -> np.ndarray:
  """Draws how often a writer uses each character, float64 [classes], sum 1."""
  mean = np.full(len(CHARACTERS), (1 - _DIGITS) / (len(CHARACTERS) - 10))
  mean[:10] = _DIGITS / 10
  return rng.dirichlet(100 * mean)


def _smooth(control: np.ndarray) -> np.ndarray:
  """Interpolates [..., _GRID, _GRID] control points to [..., 28, 28] pixels."""
  position = np.linspace(0, _GRID - 1, 28)[:, np.newaxis]
  hats = np.maximum(0, 1 - np.abs(position - np.arange(_GRID)))  # [28, _GRID]
  # Sums are written out because matrix products may use any order.
  rows = sum(
      hats[:, i, np.newaxis] * control[..., i, np.newaxis, :]
      for i in range(_GRID)
  )
  return sum(rows[..., j, np.newaxis] * hats[:, j] for j in range(_GRID))


def _look_up(shapes: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
  """Interpolates images at points [n, 28, 28] from their centers."""
  last = _MASTER - 1
  y, x = (np.clip(v + last / 2, 0, last - 1e-6) for v in (y, x))
  top, left = y.astype(int), x.astype(int)
  down, right = y - top, x - left
  which = np.arange(len(shapes))[:, np.newaxis, np.newaxis]
  at = lambda i, j: shapes[which, top + i, left + j]
  upper = at(0, 0) * (1 - right) + at(0, 1) * right
  lower = at(1, 0) * (1 - right) + at(1, 1) * right
  return upper * (1 - down) + lower * down
