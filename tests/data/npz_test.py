# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images by person in NumPy archives."""

import os
import tempfile
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.helpers import paths
from tff_partial import errors
from tff_partial.data import client_data
from tff_partial.data import npz
from tff_partial.data import people as people_lib


def _arrays(people, **other):
  """One image for each entry of `people`; all its pixels are its number."""
  size = len(people)
  pixels = np.broadcast_to(np.arange(size)[:, None, None], [size, 2, 3])
  return {
      'pixels': pixels.astype(np.uint8),
      'label': np.arange(size) % 4,
      'person': np.array(people),
      **other,
  }


class ReadImagesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name
    self.path = os.path.join(self.folder, 'people.npz')

  def read(self, arrays):
    np.savez(self.path, **arrays)
    return npz.read_images(
        self.path, examples='pixels', label='label', person='person'
    )

  def write(self, arrays, name='out', **kwargs):
    """The train and test readers of a folder, and the summary."""
    folder = os.path.join(self.folder, name)
    summary = people_lib.write_folder(self.read(arrays), folder, **kwargs)
    return *client_data.open_folder(folder), summary

  def test_numbers_as_people_and_floats_as_pixels(self):
    pixels = np.array([[[0, 0.5]], [[1, 0.1]]], np.float32)
    arrays = _arrays([-7, -7], pixels=pixels)
    train, test, _ = self.write(arrays)
    found = [clients.read('-7')['pixels'] for clients in (train, test)]
    # 255 * 0.5 = 127.5 and 255 * 0.1 = 25.5 round to even.
    self.assertCountEqual(
        np.concatenate(found).tolist(), [[[0, 128]], [[255, 26]]]
    )

  def test_one_person_has_one_name(self):
    for names in (
        ['Zoé ', 'bob', 'Zoe\u0301', 'Zoé'],
        [name.encode() for name in (' Zoé', 'bob', 'Zoe\u0301', 'Zoé')],
    ):
      found = [name for name, _ in self.read(_arrays(names)).examples]
      self.assertEqual(found, ['Zoé', 'bob'])
    with self.assertRaisesRegex(errors.DataError, "UTF-8 text in .*'person'"):
      self.read(_arrays([b'\xff', b'\xff']))

  def test_nobody_is_without_a_name(self):
    with self.assertRaisesRegex(
        errors.DataError, "'person', found none for 2, the first at 1"
    ):
      self.read(_arrays(['ann', ' ', '', 'bob']))

  def test_copies_are_on_one_side(self):
    pixels = np.zeros([4, 2, 2], np.uint8)
    pixels[2] = 1
    train, test, summary = self.write(_arrays(4 * ['ann'], pixels=pixels))
    sides = [set(c.read('ann')['pixels'].ravel()) for c in (train, test)]
    self.assertCountEqual(sides, [{0}, {1}])
    self.assertIn('2  example 1 of', summary)

  @parameterized.named_parameters(
      ('lengths', {'label': [0, 1]}, "as many values in 'label'.*3, found 2"),
      ('object', {'label': [None, 1, 2]}, "'label'.*cannot be read"),
      ('nan', {'pixels': np.full([3, 2, 2], np.nan)}, 'found nan in example 0'),
      ('range', {'pixels': np.full([3, 2, 2], 7.0)}, 'found 7 in example 0'),
      ('rank', {'pixels': np.ones([3, 4])}, r'found float64 \[3, 4\]'),
      ('person', {'person': [0.5, 1.5, 1.5]}, 'integers or text.*float64'),
      ('labels', {'label': ['a', 'b', 'c']}, "integers.*'label', found <U1"),
      ('negative', {'label': [0, -1, 2]}, 'classes from 0.*found -1'),
  )
  def test_refuses_arrays(self, other, message):
    other = {
        name: np.array(v, object if None in v else None)
        if isinstance(v, list)
        else v
        for name, v in other.items()
    }
    with self.assertRaisesRegex(errors.DataError, message):
      self.read(_arrays(['ann', 'ann', 'bob'], **other))

  def test_missing_array(self):
    with self.assertRaisesRegex(
        errors.DataError, r"array 'person' in .*found \['label', 'pixels'\]"
    ):
      arrays = _arrays(['ann'])
      del arrays['person']
      self.read(arrays)

  @parameterized.named_parameters(
      ('text', lambda content: b'person,label', 'found something else'),
      ('cut_short', lambda content: content[:-10], 'cut short'),
      ('no_first_bytes', lambda content: content[1:], 'found something else'),
      # The list of files, and then what is before the first one.
      ('list', lambda c: c.replace(b'PK\x01\x02', b'PK\x01\x03'), 'cut short'),
      (
          'other_place',
          lambda c: c[:200] + b'...' + c[200:],
          'cannot be read|cut short',
      ),
      (
          'flipped',
          lambda content: content.replace(b'\x05' * 6, b'\x06' * 6),
          "'pixels'.*Bad CRC",
      ),
  )
  def test_damaged_file(self, damage, message):
    self.read(_arrays(20 * ['ann']))
    with open(self.path, 'rb') as f:
      content = f.read()
    with open(self.path, 'wb') as f:
      f.write(damage(content))
    with self.assertRaisesRegex(errors.DataError, message):
      npz.read_images(
          self.path, examples='pixels', label='label', person='person'
      )

  @parameterized.parameters(
      "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}",
      "{'descr': '<f8', 'fortran_order': False, 'shape': " + '(' * 5000,
      "{'descr': ",
  )
  def test_header_that_lies(self, header):
    data = header.encode() + b'\n'
    member = b'\x93NUMPY\x01\x00' + len(data).to_bytes(2, 'little') + data
    with zipfile.ZipFile(self.path, 'w') as archive:
      archive.writestr('pixels.npy', member)
    with self.assertRaisesRegex(errors.DataError, "'pixels' .*cannot be read"):
      npz.load(self.path, ['pixels'])

  @parameterized.parameters((8, b'\x63\x00'), (6, b'\x01\x00'))
  def test_unknown_compression_and_encryption(self, offset, value):
    np.savez(self.path, pixels=np.zeros(3))
    with open(self.path, 'rb') as f:
      content = bytearray(f.read())
    content[offset : offset + 2] = value
    directory = content.index(b'PK\x01\x02') + 2 + offset
    content[directory : directory + 2] = value
    with open(self.path, 'wb') as f:
      f.write(content)
    with self.assertRaisesRegex(errors.DataError, "'pixels' .*cannot be read"):
      npz.load(self.path, ['pixels'])

  def test_missing_file(self):
    with self.assertRaisesRegex(errors.MissingFileError, 'file .*none.npz'):
      npz.load(os.path.join(self.folder, 'none.npz'), ['pixels'])

  def test_real_handwriting(self):
    people = npz.read_images(
        paths.real_data(self, 'handwriting', 'mnist_by_writer.npz'),
        examples='pixels',
        label='label',
        person='writer',
    )
    summary = people_lib.write_folder(people, self.folder)
    self.assertIn('836 people, 70,000 examples', summary)
    train, _ = client_data.open_folder(self.folder)
    self.assertEqual(train.read('0')['pixels'].shape[1:], (28, 28))


if __name__ == '__main__':
  absltest.main()
