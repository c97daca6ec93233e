# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Importing photos."""

import os
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from tasks.landmarks import import_photos
from tasks.landmarks import photo_folder
from tests.helpers import paths
from tff_partial.data import client_data
from tff_partial.data import people as people_lib

_RED = (200, 10, 30)


class PhotosTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def path(self, name):
    return os.path.join(self.folder, name)

  def photo(self, name, mode='RGB', color=_RED, size=(40, 30)):
    path = self.path(name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.new(mode, size, color).save(path)

  def table(self, lines, header='file,label,person'):
    with open(self.path('table.csv'), 'w', encoding='utf-8') as f:
      f.write('\n'.join([header, *lines]) + '\n')

  def read(self, **kwargs):
    return import_photos.read(
        self.folder,
        **dict(
            dict(
                table=self.path('table.csv'),
                file='file',
                label='label',
                person='person',
                size=16,
            ),
            **kwargs,
        ),
    )

  def test_photos_go_to_their_photographers(self):
    for i in range(4):
      self.photo(f'{i}.png', color=(i, 2 * i, 3 * i))
    self.table(['0.png,b,ann', '1.png,a,bob', '2.png,a,ann', '3.png,b,bob'])
    people = self.read()
    examples = dict(people.examples)
    self.assertEqual(list(examples), ['ann', 'bob'])
    # Classes are numbered in alphabetic order.
    np.testing.assert_array_equal(examples['ann']['label'], [1, 0])
    self.assertEqual(examples['ann']['pixels'][1].shape, (16, 16, 3))
    np.testing.assert_array_equal(examples['ann']['pixels'][1][0, 0], [2, 4, 6])
    self.assertEqual(people.texts, {'classes.txt': 'a\nb\n'})

  def test_copies_are_on_one_side(self):
    for i in range(5):
      self.photo(f'{i}.png', color=(7, 7, 7) if i < 4 else _RED)
    # Both forms of the name stand for one person.
    self.table([f'{i}.png,{i % 2},{"ann " if i else "ann"}' for i in range(5)])
    summary = people_lib.write_folder(self.read(), self.path('out'))
    sides = [
        {pixels.tobytes() for pixels in clients.read('ann')['pixels']}
        for clients in client_data.open_folder(self.path('out'))
    ]
    self.assertLen(sides[0] | sides[1], 2)
    self.assertEmpty(sides[0] & sides[1])
    self.assertRegex(summary, 'changed +copies, .* 3  1.png repeats 0.png')

  def test_files_in_folders_of_classes(self):
    self.photo('a/0.png')
    self.photo('b/0.png')
    self.table(['0.png,a,ann', '0.png,b,ann'])
    ((_, examples),) = self.read().examples
    self.assertLen(examples['pixels'], 2)

  def test_middle_of_the_photo(self):
    # 20 x 80: red, white above and below; a square shows red alone.
    image = Image.new('RGB', (20, 80), 'white')
    image.paste(_RED, (0, 28, 20, 52))
    square = photo_folder.to_square(image, 16)
    self.assertEqual(square.shape, (16, 16, 3))
    np.testing.assert_array_equal(square, np.broadcast_to(_RED, (16, 16, 3)))

  @parameterized.parameters(
      ('L', 100, 'png', (100, 100, 100)),
      ('RGBA', (*_RED, 255), 'png', _RED),
      ('P', 0, 'png', (0, 0, 0)),
      # Cyan and magenta without yellow or black.
      ('CMYK', (255, 255, 0, 0), 'tif', (0, 0, 255)),
  )
  def test_other_channels_are_converted(self, mode, color, kind, expected):
    self.photo(f'0.{kind}', mode=mode, color=color)
    self.photo('1.png')
    self.table([f'0.{kind},a,ann', '1.png,b,ann'])
    ((_, examples),) = self.read().examples
    np.testing.assert_array_equal(examples['pixels'][0][3, 3], expected)

  def test_photos_that_are_left_out_are_counted(self):
    for i in range(6):
      self.photo(f'{i}.png', color=(i, i, i))
    with open(self.path('text.jpg'), 'w') as f:
      f.write('not a photo')
    self.photo('short.png', size=(200, 200), color=(1, 2, 3))
    with open(self.path('short.png'), 'r+b') as f:
      f.truncate(100)
    self.table(
        [
            '0.png,a,ann',
            'text.jpg,a,ann',
            '1.png,a,ann',
            'short.png,b,bob',
            '2.png,a,bob',
            '3.png,a,bob',
            'none.png,b,bob',
            '4.png,a,eve',
            '5.png,b,zoe',
            'text.jpg,b,zoe',
        ]
    )
    summary = people_lib.write_folder(self.read(), self.path('out'))
    self.assertIn(
        '2 people, 4 examples (2 for training, 2 for testing)', summary
    )
    # Eve and Zoe have one photo each.
    for reason, count, first in (
        ('people with fewer than 2 examples', 2, "'eve' with 1"),
        ('photos that cannot be read', 3, '.*text.jpg: cannot identify'),
        ('photos without a file', 1, 'none.png in '),
    ):
      self.assertRegex(summary, f'left out  {reason} +{count}  {first}')

  def test_classes_only_in_test_examples_are_counted(self):
    # One of two photos is for testing, and no class has two photos.
    for i in range(4):
      self.photo(f'{i}.png', color=(i, i, i))
    self.table(['0.png,a,ann', '1.png,b,ann', '2.png,c,bob', '3.png,d,bob'])
    summary = people_lib.write_folder(self.read(), self.path('out'))
    self.assertIn('4 classes, 2 of them only in test examples.\n', summary)

  @parameterized.parameters(
      (dict(person='who'), "a column 'who' in .*found .'file', 'label"),
      (dict(table='none.csv'), 'found no such file'),
      (dict(size=4), '`size` of at least 16'),
  )
  def test_bad_arguments(self, kwargs, message):
    self.table(['0.png,a,ann', '1.png,b,ann'])
    with self.assertRaisesRegex((ValueError, OSError), message):
      self.read(**kwargs)

  @parameterized.parameters(
      (['0.png,a,ann', '1.png,,ann'], "column 'label' .*none for photo 2"),
      (['0.png,a,ann', '1.png,a,bob'], 'at least two classes'),
      ([], 'at least two classes'),
      (['0.png,a'], "column 'person' .*none for photo 1"),
  )
  def test_bad_tables(self, lines, message):
    self.table(lines)
    with self.assertRaisesRegex(ValueError, message):
      self.read()

  def test_table_that_is_not_text(self):
    with open(self.path('table.csv'), 'wb') as f:
      f.write(b'\xff\xfe\x00\x80')
    with self.assertRaisesRegex(ValueError, 'Expected a CSV file in UTF-8'):
      self.read()

  def test_flowers_by_photographer(self):
    table = paths.real_data(self, 'photos', 'flowers_by_photographer.csv')
    result = subprocess.run(
        [
            *(sys.executable, '-m', 'tasks.import_client_data', 'images'),
            paths.real_data(self, 'photos', 'flowers'),
            f'--csv={table}',
            *('--label=class', '--person=flickr_user', '--size=64'),
            f'--output_dir={self.path("out")}',
        ],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    self.assertIn('45 people, 863 examples', result.stdout)
    self.assertIn('5 classes', result.stdout)
    train, _ = client_data.open_folder(self.path('out'))
    self.assertLen(train.client_ids, 45)
    self.assertEqual(
        photo_folder.read_classes(self.path('out')),
        ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip'],
    )


if __name__ == '__main__':
  absltest.main()
