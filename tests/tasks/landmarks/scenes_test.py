# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Drawn scenes."""

import os
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from tasks.landmarks import photo_folder
from tasks.landmarks import scenes
from tff_partial.data import client_data


class ScenesTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def create(self, name='cache', **kwargs):
    return scenes.create_scenes(os.path.join(self.folder, name), **kwargs)

  def test_photographers_have_train_and_test_scenes(self):
    folder = self.create(num_photographers=3)
    self.assertLen(photo_folder.read_classes(folder), 30)
    train, test = client_data.open_folder(folder)
    self.assertEqual(list(train.client_ids), list(test.client_ids))
    self.assertLen(train.client_ids, 3)
    for photographer in train.client_ids:
      parts = [clients.read(photographer) for clients in (train, test)]
      sizes = [len(part['label']) for part in parts]
      self.assertBetween(sum(sizes), 40, 80)
      self.assertEqual(sizes[1], round(sum(sizes) / 4))
      for part in parts:
        self.assertEqual(part['pixels'].shape, (len(part['label']), 64, 64, 3))
        self.assertBetween(part['label'].min(), 0, 29)
        self.assertBetween(part['label'].max(), 0, 29)

  def test_every_building_shows_its_color(self):
    for building, draw in scenes._BUILDINGS.items():
      with self.subTest(building):
        image = scenes.Image.new('RGB', (64, 64))
        color, stone = (200, 60, 50), (190, 180, 165)
        draw(scenes._Pen(image, (32, 56), 30, 0, stone, color))
        pixels = np.asarray(image).reshape(-1, 3)
        self.assertGreater((pixels == color).all(axis=1).sum(), 20)
        self.assertGreater((pixels == stone).all(axis=1).sum(), 20)

  def test_classes_are_skewed(self):
    labels = scenes._take_photos(np.random.default_rng([0, 0]))['label']
    most = lambda labels: np.bincount(labels).max()
    # Of as many labels where each of the 30 classes is as likely.
    rng = np.random.default_rng(0)
    even = [most(rng.integers(30, size=len(labels))) for _ in range(1000)]
    self.assertGreater(most(labels), max(even))

  def test_same_bytes_for_the_same_seed(self):
    contents = lambda folder: {
        path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()
    }
    first = contents(self.create('a', num_photographers=2))
    self.assertEqual(contents(self.create('b', num_photographers=2)), first)
    other = contents(self.create('c', num_photographers=2, seed=1))
    self.assertNotEqual(other['train.sqlite'], first['train.sqlite'])

  def test_photographer_does_not_depend_on_the_others(self):
    few, _ = client_data.open_folder(self.create(num_photographers=1))
    many, _ = client_data.open_folder(self.create(num_photographers=2))
    np.testing.assert_array_equal(
        few.read('photographer_000')['pixels'],
        many.read('photographer_000')['pixels'],
    )

  def test_no_photographers(self):
    with self.assertRaisesRegex(
        ValueError, '`num_photographers` of at least 1'
    ):
      self.create(num_photographers=0)


if __name__ == '__main__':
  absltest.main()
