# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scenes: drawings of landmarks as photographers might show them.

They demonstrate what partial personalization is for and are no evidence;
findings come from real people's data. A landmark is one of ten buildings in one
of three colors. Each photographer has favourite landmarks, a palette for sky
and ground, a way of framing, and a **filter**: a private permutation of the
three colors that nothing else in the picture reveals. A tower that is red in
one person's pictures is green in another's. A model that everyone shares can
tell buildings apart but must guess colors; personal variables can know them.

Pixels are uint8 [64, 64, 3]; labels are int32. Nothing is downloaded, and the
same seed makes the same bytes.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

import numpy as np
from PIL import Image
from PIL import ImageDraw
import tensorflow as tf
import tqdm

from tff_partial import errors
from tff_partial.data import cached_folder
from tff_partial.data import sql_writer

from . import photo_folder

SIZE = 64
FEATURES = collections.OrderedDict(
    pixels=tf.TensorSpec([SIZE, SIZE, 3], tf.uint8),
    label=tf.TensorSpec([], tf.int32),
)

_VERSION = 1  # Must be raised with any change to the data.
_TEST_FRACTION = 0.25
_COLORS = collections.OrderedDict(
    red=(200, 60, 50), green=(60, 170, 70), blue=(60, 80, 200)
)
_OWN_FILTER = 0.6  # Fraction of the photographers with a filter.
_FAVOURITES = 0.25  # Dirichlet parameter; smaller means fewer favourites.
_CANVAS = 2 * SIZE  # Pixels on a side of the drawing, before it is scaled.

_Point = tuple[float, float]


class _Pen:
  """Draws in units of a landmark's width, with y going up from 0."""

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
    """Draws a polygon. Coordinates are rounded here, not by Pillow."""
    self._draw.polygon([self._at(*point) for point in points], fill)

  def box(self, x: float, y: float, width: float, height: float, fill) -> None:
    """Draws a rectangle with (x, y) in the middle of its lower side."""
    left, right = x - width / 2, x + width / 2
    self.shape(
        [(left, y), (right, y), (right, y + height), (left, y + height)], fill
    )

  def roof(self, x: float, y: float, width: float, height: float, fill) -> None:
    """Draws a triangle with (x, y) in the middle of its lower side."""
    self.shape([(x - width / 2, y), (x + width / 2, y), (x, y + height)], fill)

  def disk(self, x: float, y: float, radius: float, fill) -> None:
    """Draws a polygon that is nearly a disk."""
    # (cos, sin) from the tangent of the half angle, without library functions,
    # whose last bits may differ between processors.
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
  """Makes the photographers' scenes, unless the cache holds them.

  Args:
    cache_dir: Where to keep them; see `cached_folder.cached_folder`.
    num_photographers: Number of photographers, with 40 to 80 scenes each. A
      quarter of the scenes are for testing.
    seed: Determines everything. A photographer's scenes do not depend on the
      number of photographers.

  Returns:
    A folder with `train.sqlite`, `test.sqlite` and `classes.txt`.

  Raises:
    errors.SettingsError: If there is no photographer.
    OSError: If the folder cannot be written.
  """
  if num_photographers < 1:
    raise errors.SettingsError(
        'Expected `num_photographers` of at least 1, found'
        f' {num_photographers}.'
    )

  def make(folder: str) -> None:
    with sql_writer.train_and_test(folder, FEATURES) as (train, test):
      for photographer in tqdm.trange(
          num_photographers, desc='Drawing scenes', leave=False
      ):
        examples = _take_photos(np.random.default_rng([seed, photographer]))
        # Scenes are in random order already.
        num_test = round(_TEST_FRACTION * len(examples['label']))
        name = f'photographer_{photographer:03d}'
        test.write(name, {k: v[:num_test] for k, v in examples.items()})
        train.write(name, {k: v[num_test:] for k, v in examples.items()})
    photo_folder.write_classes(folder, CLASSES)

  name = f'scenes-{_VERSION}-{num_photographers}-{seed}'
  return cached_folder.cached_folder(name, make, cache_dir=cache_dir)


def _take_photos(rng: np.random.Generator) -> Mapping[str, np.ndarray]:
  """Draws one photographer's scenes, in random order."""
  # These belong to the photographer.
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
  # These differ from scene to scene.
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
  """Returns a color near this one."""
  varied = np.clip(color + rng.integers(-22, 23, 3), 0, 255)
  return tuple(int(value) for value in varied)


def _draw_trees(
    image: Image.Image,
    base: float,
    ground: np.ndarray,
    rng: np.random.Generator,
) -> None:
  """Draws up to five trees, which may be in front of the landmark."""
  draw = ImageDraw.Draw(image)
  for _ in range(int(rng.integers(0, 6))):
    x, radius = int(rng.integers(0, _CANVAS)), int(rng.integers(5, 15))
    y = round(base) + int(rng.integers(-radius, 12))
    draw.ellipse(
        (x - radius, y - radius, x + radius, y + radius),
        _vary(ground // 2, rng),
    )
