# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders that are there whole or not at all."""

import pathlib
import tempfile

from absl.testing import absltest

from tff_partial import errors
from tff_partial import files


class NewFolderTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def test_appears_at_the_end_of_the_block(self):
    path = self.folder / 'a' / 'b'
    with files.new_folder(path) as partial:
      (partial / 'file').write_text('content')
      self.assertFalse(path.exists())
    self.assertEqual((path / 'file').read_text(), 'content')
    self.assertEqual(list(path.parent.iterdir()), [path])

  def test_error_leaves_nothing(self):
    with self.assertRaises(KeyboardInterrupt):
      with files.new_folder(self.folder / 'a') as partial:
        (partial / 'file').write_text('content')
        raise KeyboardInterrupt
    self.assertEmpty(list(self.folder.iterdir()))

  def test_replaces_an_empty_folder_only(self):
    (self.folder / 'a').mkdir()
    for content in ('first', 'second'):
      try:
        with files.new_folder(self.folder / 'a') as partial:
          (partial / 'file').write_text(content)
      except files.ExistsError as e:
        self.assertIn('other content', str(e))
        self.assertEqual(content, 'second')
    self.assertEqual((self.folder / 'a' / 'file').read_text(), 'first')

  def test_a_file_in_the_place_of_a_folder(self):
    (self.folder / 'a').write_text('')
    for path in (self.folder / 'a', self.folder / 'a' / 'b' / 'c'):
      with self.assertRaisesRegex(errors.FileError, 'is a file'):
        files.make_folder(path)


if __name__ == '__main__':
  absltest.main()
