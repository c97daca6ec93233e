# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Importing photos."""

import os
import struct
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import EpsImagePlugin
from PIL import ExifTags
from PIL import Image

from tasks.landmarks import example
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

  def test_no_photo_starts_a_program(self):
    # Pillow gives PostScript to Ghostscript, whatever the file is called.
    called = self.path('called')
    os.mkdir(self.path('bin'))
    with open(self.path('bin/gs'), 'w') as f:
      f.write(f'#!/bin/sh\ntouch {called}\n')
    os.chmod(self.path('bin/gs'), 0o700)
    path = self.path('bin') + os.pathsep + os.environ['PATH']
    self.enter_context(mock.patch.dict(os.environ, PATH=path))
    self.enter_context(
        mock.patch.object(EpsImagePlugin, 'gs_binary', self.path('bin/gs'))
    )
    with open(self.path('0.jpg'), 'wb') as f:
      f.write(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EOF\n')
    self.photo('1.png')
    self.table(['0.jpg,b,ann', '1.png,a,ann'])
    people = self.read()
    self.assertLen(dict(people.examples)['ann']['label'], 1)
    self.assertEqual(people.left_out['photos that cannot be read'], 1)
    self.assertFalse(os.path.exists(called))

  def test_photo_of_very_many_pixels_is_left_out(self):
    Image.new('1', (12_000, 12_000)).save(self.path('0.png'))
    self.photo('1.png')
    self.table(['0.png,b,ann', '1.png,a,ann'])
    people = self.read()
    self.assertLen(dict(people.examples)['ann']['label'], 1)
    self.assertEqual(people.left_out['photos that cannot be read'], 1)

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

  @parameterized.parameters(
      # 16 bits: the brightest pixel says how many are used.
      ('I;16', np.uint16, 65_535, 'png', '16 bits'),
      ('I;16', np.uint16, 4_095, 'png', '12 bits'),
      ('I;16', np.uint16, 16_383, 'tif', '14 bits'),
      ('I', np.int32, 65_535, 'tif', '16 bits'),
      ('I', np.int32, 2**31 - 1, 'tif', '32 bits'),
      ('I', np.int32, 255, 'tif', '8 bits'),
      ('F', np.float32, 1, 'tif', '0 to 1'),
      ('F', np.float32, 255, 'tif', '0 to 255'),
  )
  def test_deep_gray(self, mode, dtype, most, kind, note):
    values = np.linspace(0, most, 16)[:, None] * np.ones([1, 16])
    path = self.path(f'0.{kind}')
    Image.fromarray(values.astype(dtype)).save(path)
    with Image.open(path) as image:
      self.assertEqual(image.mode, mode)
    self.photo('1.png')
    self.table([f'0.{kind},a,ann', '1.png,b,ann'])
    source = self.read()
    ((_, examples),) = source.examples
    full = 2**32 - 1 if note == '32 bits' else most
    expected = np.round(np.linspace(0, 255 * most / full, 16))
    for channel in range(3):
      np.testing.assert_allclose(
          examples['pixels'][0][:, 3, channel], expected, atol=1
      )
    ((reason, count),) = source.changed.items()
    self.assertEqual((count, reason.split(' as ')[1]), (1, note))

  def test_floats_of_unknown_range_are_left_out(self):
    for i, value in enumerate((300, -1, np.nan)):
      Image.fromarray(np.full([20, 20], value, np.float32)).save(
          self.path(f'{i}.tif')
      )
    self.table([f'{i}.tif,{i % 2},ann' for i in range(3)])
    source = self.read()
    ((_, examples),) = source.examples
    self.assertEmpty(examples['pixels'])
    self.assertEqual(source.left_out, {'photos that cannot be read': 3})
    self.assertRegex(
        source.left_out.first['photos that cannot be read'],
        '0.tif: .* found 300 to 300',
    )

  @parameterized.parameters(
      ('RGBA', (0, 100, 200, 0), (255, 255, 255)),
      ('RGBA', (0, 100, 200, 51), (204, 224, 244)),
      ('LA', (10, 0), (255, 255, 255)),
      ('P', 0, (255, 255, 255)),
  )
  def test_transparent_pixels_are_white(self, mode, color, expected):
    Image.new(mode, (20, 20), color).save(
        self.path('0.png'), **({'transparency': 0} if mode == 'P' else {})
    )
    self.photo('1.png')
    self.table(['0.png,a,ann', '1.png,b,ann'])
    source = self.read()
    ((_, examples),) = source.examples
    np.testing.assert_allclose(examples['pixels'][0][3, 3], expected, atol=1)
    self.assertEqual(
        source.changed, {'photos with transparent pixels, laid on white': 1}
    )

  def test_exif(self):
    # Left half black; orientation 6 turns it to the top.
    image = Image.new('RGB', (40, 40), 'white')
    image.paste((0, 0, 0), (0, 0, 20, 40))
    directory = struct.pack(
        *('<IHHHIIHHIIIiI', 8, 2),
        *(ExifTags.Base.Orientation, 3, 1, 6),
        # A rational that should have no sign, -1 / 0: Pillow reads it, but
        # cannot write it again.
        *(ExifTags.Base.XResolution, 10, 1, 38, 0, -1, 0),
    )
    image.save(self.path('0.jpg'), exif=b'Exif\0\0II*\0' + directory)
    image.save(self.path('1.png'), exif=b'XX*\0' + directory)
    self.table(['0.jpg,0,ann', '1.png,1,ann'])
    source = self.read()
    ((_, examples),) = source.examples
    for i, (top, left) in enumerate(((0, 128), (128, 0))):
      gray = examples['pixels'][i].mean(-1)
      np.testing.assert_allclose(gray[1:5].mean(), top, atol=20)
      np.testing.assert_allclose(gray[:, 1:5].mean(), left, atol=20)
    self.assertEqual(
        dict(source.changed), {'photos with damaged EXIF data, not turned': 1}
    )

  def test_photo_that_is_left_out_is_not_changed_too(self):
    self.photo('0.png')
    with open(self.path('0.png'), 'r+b') as f:
      f.truncate(os.path.getsize(self.path('0.png')) // 2)
    self.photo('1.png')
    self.table(['0.png,b,ann', '1.png,a,ann'])
    source = self.read()
    self.assertLen(dict(source.examples)['ann']['label'], 1)
    self.assertEqual(source.left_out, {'photos that cannot be read': 1})
    self.assertEmpty(source.changed)

  @parameterized.parameters(*range(1, 9))
  def test_turned_photos_are_alike_in_all_forms(self, orientation):
    photo = np.random.default_rng(0).integers(0, 256, [20, 30, 3], np.uint8)
    photo[:10] = 255  # A sky that JPEG keeps.
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = []
    for suffix in ('png', 'tif', 'jpg'):
      path = self.path(f'turned.{suffix}')
      options = {'quality': 100, 'subsampling': 0} if suffix == 'jpg' else {}
      Image.fromarray(photo).save(path, exif=exif, **options)
      found.append(photo_folder.read_square(path, 20).astype(int))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], found[2], atol=12)
    # As does the example of an export, which crops by whole pixels.
    np.testing.assert_allclose(
        example.read(path, 20).numpy().astype(int), found[2], atol=2
    )

  def test_labels_are_in_one_form(self):
    for i in range(4):
      self.photo(f'{i}.png', color=(i, i, i))
    self.table(
        ['0.png,caf\u00e9,ann', '1.png,cafe\u0301 ,ann']
        + ['2.png,b,bob', '3.png, b,bob']
    )
    source = self.read()
    self.assertEqual(source.texts['classes.txt'].split(), ['b', 'caf\u00e9'])
    self.assertEqual(dict(source.examples)['ann']['label'].tolist(), [1, 1])

  def test_photos_that_are_left_out_are_counted(self):
    for i in range(6):
      self.photo(f'{i}.png', color=(i, i, i))
    with open(self.path('text.jpg'), 'w') as f:
      f.write('not a photo')
    self.photo('short.png', size=(200, 200), color=(1, 2, 3))
    with open(self.path('short.png'), 'r+b') as f:
      f.truncate(100)
    outside = self.enterContext(tempfile.NamedTemporaryFile()).name
    self.table(
        [
            '0.png,a,ann',
            'text.jpg,a,ann',
            '1.png,a,ann',
            'short.png,b,bob',
            '2.png,a,bob',
            '3.png,a,bob',
            'none.png,b,bob',
            f'{outside},b,bob',
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
        ('photos outside of the folder', 1, f'{outside} in '),
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
