# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scenes: landmarks as photographers might show them, drawn.

A demonstration of what partial personalization is for, not evidence: findings
come from real people's data. A landmark is one of ten buildings in one of three
colors. Each photographer has favourite landmarks, a palette for sky and ground,
a way of framing, and a **filter**: a private exchange of the three colors, that
nothing else in the picture gives away. What one shows as a red tower is green
in another's pictures. A model that all share can tell buildings apart but must
guess colors; a personal part can know them.

Pixels are uint8 [64, 64, 3]; labels are int32. Nothing is downloaded, and the
same seed makes the same bytes.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
import os
from typing import Optional

import numpy as np
from PIL import Image
from PIL import ImageDraw
import tensorflow as tf
import tqdm

from tff_partial import errors
from tff_partial import files
from tff_partial.data import cached_folder
from tff_partial.data import sql_writer

from . import photo_folder

SIZE = 64
FEATURES = collections.OrderedDict(
    pixels=tf.TensorSpec([SIZE, SIZE, 3], tf.uint8),
    label=tf.TensorSpec([], tf.int32),
)

_VERSION = 1  # Of the data: to be raised with any change to what is drawn.
_TEST_FRACTION = 0.25
_COLORS = collections.OrderedDict(
    red=(200, 60, 50), green=(60, 170, 70), blue=(60, 80, 200)
)
_OWN_FILTER = 0.6  # How many photographers have one.
_FAVOURITES = 0.25  # Dirichlet parameter: the smaller, the fewer.
_CANVAS = 2 * SIZE  # Pixels a side in which scenes are drawn.

_Point = tuple[float, float]


class _Pen:
  """Draws in the units of a landmark: 1 is its width, y goes up from 0."""

  def __init__(
      self,
      image: Image.Image,
      center: _Point,
      scale: float,
      lean: float,
      stone: tuple[int, ...],
      color: tuple[int, ...],
  ):
    self._draw = ImageDraw.Draw(image)
    self._center, self._scale, self._lean = center, scale, lean
    self.stone, self.color = stone, color
    self.dark = tuple(value // 3 for value in stone)

  def shape(self, points: Sequence[_Point], fill: tuple[int, ...]) -> None:
    """A polygon; coordinates are rounded here, not by Pillow."""
    self._draw.polygon([self._at(*point) for point in points], fill)

  def box(self, x: float, y: float, width: float, height: float, fill) -> None:
    """A rectangle with (x, y) in the middle of its lower side."""
    left, right = x - width / 2, x + width / 2
    self.shape(
        [(left, y), (right, y), (right, y + height), (left, y + height)], fill
    )

  def roof(self, x: float, y: float, width: float, height: float, fill) -> None:
    """A triangle on (x, y)."""
    self.shape([(x - width / 2, y), (x + width / 2, y), (x, y + height)], fill)

  def disk(self, x: float, y: float, radius: float, fill) -> None:
    """A polygon of 16 corners."""
    # (cos, sin) by tenths of the tangent of the half angle: no functions.
    corners = []
    for t in (-0.83, -0.41, 0.0, 0.41, 0.83):
      c, s = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
      corners.append((x + radius * c, y + radius * s))
    corners += [(2 * x - a, 2 * y - b) for a, b in corners]
    self.shape(corners, fill)

  def line(self, a: _Point, b: _Point, width: float, fill) -> None:
    pixels = max(1, round(width * self._scale))
    self._draw.line([self._at(*a), self._at(*b)], fill, pixels)

  def _at(self, x: float, y: float) -> tuple[int, int]:
    x += self._lean * y
    return (
        round(self._center[0] + self._scale * x),
        round(self._center[1] - self._scale * y),
    )


def _tower(pen: _Pen) -> None:
  pen.box(0, 0, 0.34, 1.0, pen.stone)
  pen.roof(0, 1.0, 0.46, 0.4, pen.color)
  pen.disk(0, 0.8, 0.1, pen.dark)


def _dome(pen: _Pen) -> None:
  pen.disk(0, 0.5, 0.36, pen.color)
  pen.box(0, 0, 0.9, 0.52, pen.stone)
  for x in (-0.3, 0.0, 0.3):
    pen.box(x, 0.08, 0.1, 0.3, pen.dark)


def _pyramid(pen: _Pen) -> None:
  pen.roof(0, 0, 1.3, 0.9, pen.stone)
  pen.roof(0, 0.58, 0.46, 0.32, pen.color)


def _arch(pen: _Pen) -> None:
  pen.box(0, 0, 0.9, 0.7, pen.stone)
  pen.box(0, 0.7, 1.0, 0.2, pen.color)
  pen.disk(0, 0.36, 0.2, pen.dark)
  pen.box(0, 0, 0.4, 0.36, pen.dark)


def _bridge(pen: _Pen) -> None:
  for x in (-0.45, 0.45):
    pen.box(x, 0, 0.12, 0.85, pen.color)
    for end in (-0.85, -0.3, 0.3, 0.85):
      pen.line((x, 0.85), (x + end * 0.5, 0.3), 0.02, pen.dark)
  pen.box(0, 0.22, 1.7, 0.1, pen.stone)


def _lighthouse(pen: _Pen) -> None:
  pen.shape([(-0.2, 0), (0.2, 0), (0.12, 1.1), (-0.12, 1.1)], pen.stone)
  pen.box(0, 0.25, 0.34, 0.2, pen.color)
  pen.box(0, 0.7, 0.28, 0.2, pen.color)
  pen.disk(0, 1.15, 0.12, pen.dark)


def _temple(pen: _Pen) -> None:
  for x in (-0.4, -0.2, 0.0, 0.2, 0.4):
    pen.box(x, 0.08, 0.09, 0.5, pen.stone)
  pen.box(0, 0, 1.05, 0.08, pen.stone)
  pen.roof(0, 0.58, 1.1, 0.3, pen.color)


def _castle(pen: _Pen) -> None:
  pen.box(0, 0, 0.9, 0.5, pen.stone)
  for x in (-0.45, 0.45):
    pen.box(x, 0, 0.24, 0.75, pen.stone)
    pen.roof(x, 0.75, 0.32, 0.3, pen.color)
  pen.box(0, 0, 0.2, 0.28, pen.dark)


def _windmill(pen: _Pen) -> None:
  pen.shape([(-0.28, 0), (0.28, 0), (0.16, 0.8), (-0.16, 0.8)], pen.stone)
  for x, y in ((0.5, 0.35), (-0.5, -0.35), (-0.35, 0.5), (0.35, -0.5)):
    pen.line((0, 0.8), (x, 0.8 + y), 0.1, pen.color)
  pen.disk(0, 0.8, 0.06, pen.dark)


def _pagoda(pen: _Pen) -> None:
  for level, width in enumerate((0.9, 0.7, 0.5)):
    pen.box(0, 0.38 * level, 0.6 * width, 0.24, pen.stone)
    pen.roof(0, 0.38 * level + 0.2, 1.2 * width, 0.22, pen.color)


_BUILDINGS: Mapping[str, Callable[[_Pen], None]] = {
    'tower': _tower,
    'dome': _dome,
    'pyramid': _pyramid,
    'arch': _arch,
    'bridge': _bridge,
    'lighthouse': _lighthouse,
    'temple': _temple,
    'castle': _castle,
    'windmill': _windmill,
    'pagoda': _pagoda,
}
CLASSES = tuple(
    f'{color} {building}' for building in _BUILDINGS for color in _COLORS
)


def create_scenes(
    cache_dir: Optional[str] = None,
    *,
    num_photographers: int = 80,
    seed: int = 0,
) -> str:
  """Makes the photographers' scenes, or finds them made.

  Args:
    cache_dir: Where to keep them; see `cached_folder.cached_folder`.
    num_photographers: How many, with 40 to 80 scenes each, a quarter of them
      for testing.
    seed: Determines all of it; a photographer does not depend on how many
      others there are.

  Returns:
    A folder with `train.sqlite`, `test.sqlite` and `classes.txt`.

  Raises:
    ValueError: If there is not at least one photographer.
    OSError: If the folder cannot be written.
  """
  if num_photographers < 1:
    raise errors.DataError(
        f'Expected at least one photographer, found {num_photographers}.'
    )

  def make(folder: str) -> None:
    with sql_writer.train_and_test(folder, FEATURES) as (train, test):
      for photographer in tqdm.trange(
          num_photographers, desc='Drawing scenes', leave=False
      ):
        examples = _take_photos(np.random.default_rng([seed, photographer]))
        # Already in random order.
        num_test = round(_TEST_FRACTION * len(examples['label']))
        name = f'photographer_{photographer:03d}'
        test.write(name, {k: v[:num_test] for k, v in examples.items()})
        train.write(name, {k: v[num_test:] for k, v in examples.items()})
    files.replace_text(
        os.path.join(folder, photo_folder.CLASSES),
        photo_folder.format_classes(CLASSES),
    )

  name = f'scenes-{_VERSION}-{num_photographers}-{seed}'
  return cached_folder.cached_folder(name, make, cache_dir=cache_dir)


def _take_photos(rng: np.random.Generator) -> Mapping[str, np.ndarray]:
  """One photographer's scenes, in random order."""
  # What is the photographer's own.
  colors = np.array(list(_COLORS.values()))
  exchanged = rng.permutation(len(colors))
  if rng.random() < _OWN_FILTER:
    colors = colors[exchanged]
  favourites = rng.dirichlet(np.full(len(CLASSES), _FAVOURITES))
  sky = rng.integers(90, 240, 3)
  ground = rng.integers(40, 170, 3)
  horizon = rng.uniform(0.55, 0.8)
  closeness = rng.uniform(0.36, 0.6)
  aside = rng.uniform(-0.12, 0.12)
  lean = rng.uniform(-0.15, 0.15)
  light = rng.uniform(0.7, 1.1)
  noise = rng.uniform(4, 16)
  # What is shown, and what differs from one time to the next.
  count = int(rng.integers(40, 81))
  labels = rng.choice(len(CLASSES), count, p=favourites)
  draw = list(_BUILDINGS.values())
  pixels = np.empty([count, SIZE, SIZE, 3], np.uint8)
  for i, label in enumerate(labels):
    building, color = divmod(int(label), len(colors))
    image = Image.new('RGB', (_CANVAS, _CANVAS), _vary(sky, rng))
    base = _CANVAS * (horizon + rng.uniform(-0.06, 0.06))
    ImageDraw.Draw(image).rectangle(
        (0, round(base), _CANVAS, _CANVAS), _vary(ground, rng)
    )
    pen = _Pen(
        image,
        (_CANVAS * (0.5 + aside + rng.uniform(-0.15, 0.15)), base + 6),
        _CANVAS * closeness * rng.uniform(0.75, 1.25),
        lean + rng.uniform(-0.08, 0.08),
        _vary(np.array([190, 180, 165]), rng),
        _vary(colors[color], rng),
    )
    draw[building](pen)
    _draw_trees(image, base, ground, rng)
    small = image.resize((SIZE, SIZE), Image.Resampling.BOX)
    grain = noise * rng.normal(0, 1, [SIZE, SIZE, 3])
    bright = light * rng.uniform(0.85, 1.15) * np.asarray(small) + grain
    pixels[i] = np.round(np.clip(bright, 0, 255)).astype(np.uint8)
  return {'pixels': pixels, 'label': labels}


def _vary(color: np.ndarray, rng: np.random.Generator) -> tuple[int, ...]:
  """About this color."""
  varied = np.clip(color + rng.integers(-22, 23, 3), 0, 255)
  return tuple(int(value) for value in varied)


def _draw_trees(
    image: Image.Image,
    base: float,
    ground: np.ndarray,
    rng: np.random.Generator,
) -> None:
  """Up to five trees, which may stand in front of the landmark."""
  draw = ImageDraw.Draw(image)
  for _ in range(int(rng.integers(0, 6))):
    x, radius = int(rng.integers(0, _CANVAS)), int(rng.integers(5, 15))
    y = round(base) + int(rng.integers(-radius, 12))
    draw.ellipse(
        (x - radius, y - radius, x + radius, y + radius),
        _vary(ground // 2, rng),
    )
