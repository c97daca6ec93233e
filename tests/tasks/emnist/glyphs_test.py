# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the characters that are drawn from fonts."""

import os
import tempfile
import threading

from absl.testing import absltest
import numpy as np

from tasks.emnist import glyphs
from tff_partial.data import cached_folder
from tff_partial.data import client_data


def _contents(folder):
  """The bytes of every file of a folder, by name."""
  contents = {}
  for name in os.listdir(folder):
    with open(os.path.join(folder, name), 'rb') as f:
      contents[name] = f.read()
  return contents


class GlyphsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def create(self, name='cache', **kwargs):
    return glyphs.create_glyphs(os.path.join(self.folder, name), **kwargs)

  def test_writers_have_train_and_test_characters(self):
    train, test = client_data.open_folder(self.create(num_writers=5))
    self.assertLen(train.client_ids, 5)
    self.assertEqual(list(train.client_ids), list(test.client_ids))
    seen = set()
    for writer in train.client_ids:
      parts = [clients.read(writer) for clients in (train, test)]
      sizes = [len(part['label']) for part in parts]
      self.assertBetween(sum(sizes), 100, 150)
      self.assertEqual(sizes[1], round(sum(sizes) / 4))
      for part in parts:
        self.assertEqual(part['pixels'].shape, (len(part['label']), 28, 28))
        seen.update(part['label'].tolist())
        # Ink 255 on 0: dark corners, and a stroke in every image.
        self.assertLess(part['pixels'][:, :2, :2].mean(), 20)
        self.assertGreater(part['pixels'].max(axis=(1, 2)).min(), 100)
    self.assertBetween(min(seen), 0, 9)
    self.assertBetween(max(seen), 36, 61)

  def test_every_character_of_every_font_is_there(self):
    shapes = glyphs._draw_shapes()
    self.assertTrue((shapes.max(axis=(2, 3)) > 0).all())
    for i, font in enumerate(shapes):
      # Fonts draw the same box for all characters that they lack.
      different = {shape.tobytes() for shape in font}
      self.assertGreaterEqual(len(different), 61, glyphs._FONTS[i])
      # Nothing is cut off at the edge.
      self.assertLess(font[:, [0, -1]].max(), 0)
      self.assertLess(font[:, :, [0, -1]].max(), 0)

  def test_same_bytes_for_the_same_seed(self):
    first = _contents(self.create('a', num_writers=2))
    self.assertEqual(_contents(self.create('b', num_writers=2)), first)
    other = _contents(self.create('c', num_writers=2, seed=1))
    self.assertNotEqual(other['train.sqlite'], first['train.sqlite'])

  def test_writer_does_not_depend_on_the_others(self):
    few, _ = client_data.open_folder(self.create(num_writers=1))
    many, _ = client_data.open_folder(self.create(num_writers=3))
    np.testing.assert_array_equal(
        few.read('writer_0000')['pixels'], many.read('writer_0000')['pixels']
    )

  def test_knowing_the_writer_helps(self):
    """Nearest neighbors: among a writer's own characters, or another writer's.

    Found: 0.72 against 0.17; always naming the commonest character: 0.08.
    """
    train, test = client_data.open_folder(self.create(num_writers=20))
    ids = list(train.client_ids)
    flat = lambda part: part['pixels'].reshape(len(part['label']), -1) / 255.0
    read = lambda clients: [
        (flat(part), part['label']) for part in map(clients.read, ids)
    ]
    known, asked = read(train), read(test)

    def accuracy(shift):
      right = []
      for i, (x, y) in enumerate(asked):
        a, b = known[(i + shift) % len(ids)]
        distance = (a**2).sum(1) - 2 * x @ a.T
        right.extend(b[distance.argmin(1)] == y)
      return np.mean(right)

    own, other = accuracy(0), accuracy(1)
    self.assertGreater(own, other + 0.2)
    self.assertGreater(other, 0.1)

  def test_no_writers(self):
    with self.assertRaisesRegex(
        ValueError, '`num_writers` of at least 1, found 0'
    ):
      self.create(num_writers=0)


class CachedFolderTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def test_made_on_first_use_only(self):
    calls = []
    for _ in range(2):
      folder = cached_folder.cached_folder(
          'data', calls.append, cache_dir=self.folder
      )
    self.assertEqual(folder, os.path.join(self.folder, 'data'))
    self.assertLen(calls, 1)

  def test_interruption_leaves_nothing(self):
    def make(folder):
      with open(os.path.join(folder, 'half'), 'w'):
        raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      cached_folder.cached_folder('data', make, cache_dir=self.folder)
    self.assertEmpty(os.listdir(self.folder))

  def test_two_at_once(self):
    both = threading.Barrier(2, timeout=20)
    found = []

    def make(folder):
      with open(os.path.join(folder, 'file'), 'w') as f:
        f.write('complete')
      both.wait()  # Both have started before one finishes.

    def use():
      folder = cached_folder.cached_folder('data', make, cache_dir=self.folder)
      found.append(_contents(folder))

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    self.assertEqual(found, 2 * [{'file': b'complete'}])
    self.assertEqual(os.listdir(self.folder), ['data'])


if __name__ == '__main__':
  absltest.main()
