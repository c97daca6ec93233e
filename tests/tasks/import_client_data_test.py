# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of importing people's data."""

import os
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tasks import import_client_data
from tests.helpers import paths
from tff_partial.data import client_data
from tff_partial.data import people as people_lib

_ROOT = str(paths.ROOT)
_MNIST = os.path.join(
    os.path.dirname(_ROOT), 'shared/data/handwriting/mnist_by_writer.npz'
)


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


class ImportClientDataTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name
    self.path = os.path.join(self.folder, 'people.npz')

  def read(self, arrays):
    np.savez(self.path, **arrays)
    return import_client_data.read_npz(
        self.path, examples='pixels', label='label', person='person'
    )

  def write(self, arrays, name='out', **kwargs):
    """The train and test readers of a folder, and the summary."""
    folder = os.path.join(self.folder, name)
    summary = people_lib.write_folder(self.read(arrays), folder, **kwargs)
    return *client_data.open_folder(folder), summary

  def test_every_example_goes_to_its_person_once(self):
    people = ['bob', 'ann', 'bob', 'eve', 'ann', 'bob', 'bob', 'bob']
    train, test, summary = self.write(_arrays(people))
    # A fifth of 5 is one; a fifth of 2 rounds to 0, but there must be one.
    self.assertEqual(list(train.client_ids), ['ann', 'bob'])
    self.assertEqual(list(test.client_ids), ['ann', 'bob'])
    self.assertEqual([test.num_examples(i) for i in ('ann', 'bob')], [1, 1])
    for person, numbers in (('ann', [1, 4]), ('bob', [0, 2, 5, 6, 7])):
      read = [clients.read(person) for clients in (train, test)]
      found = np.concatenate([examples['pixels'][:, 1, 2] for examples in read])
      labels = np.concatenate([examples['label'] for examples in read])
      self.assertCountEqual(found, numbers)
      np.testing.assert_array_equal(labels, found % 4)
      np.testing.assert_array_equal(read[0]['label'].dtype, np.int32)
    self.assertIn(
        '2 people, 7 examples (5 for training, 2 for testing), 2 / 3.5 / 5 a'
        ' person (min / median / max), 4 labels from 0 to 3. Left out: 1'
        ' people with fewer than 2.',
        summary,
    )

  def test_split_depends_on_seed_and_person_alone(self):
    def test_pixels(name, people, **kwargs):
      _, test, _ = self.write(_arrays(people), name, **kwargs)
      return test.read('ann')['pixels'][:, 0, 0].tolist()

    people = 20 * ['ann'] + 20 * ['bob']
    first = test_pixels('a', people)
    self.assertLen(first, 4)
    self.assertEqual(test_pixels('b', people[:30]), first)
    self.assertNotEqual(test_pixels('c', people, seed=1), first)

  def test_numbers_as_people_and_floats_as_pixels(self):
    pixels = np.array([[[0, 0.5]], [[1, 0.1]]], np.float32)
    arrays = _arrays([-7, -7], pixels=pixels)
    train, test, _ = self.write(arrays)
    found = [clients.read('-7')['pixels'] for clients in (train, test)]
    # 255 * 0.5 = 127.5 and 255 * 0.1 = 25.5 round to even.
    self.assertCountEqual(
        np.concatenate(found).tolist(), [[[0, 128]], [[255, 26]]]
    )

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
    with self.assertRaisesRegex(ValueError, message):
      self.read(_arrays(['ann', 'ann', 'bob'], **other))

  def test_missing_array(self):
    with self.assertRaisesRegex(
        ValueError, r"array 'person' in .*found \['label', 'pixels'\]"
    ):
      arrays = _arrays(['ann'])
      del arrays['person']
      self.read(arrays)

  @parameterized.named_parameters(
      ('text', lambda content: b'person,label', 'found something else'),
      ('cut_short', lambda content: content[:-10], 'cut short'),
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
    with self.assertRaisesRegex(ValueError, message):
      import_client_data.read_npz(
          self.path, examples='pixels', label='label', person='person'
      )

  def test_keeps_what_is_there(self):
    self.write(_arrays(['ann', 'ann']))
    with self.assertRaisesRegex(ValueError, 'or --overwrite'):
      self.write(_arrays(['bob', 'bob']))
    train, _, _ = self.write(_arrays(['bob', 'bob']), overwrite=True)
    self.assertEqual(list(train.client_ids), ['bob'])

  def test_nobody_has_enough(self):
    with self.assertRaisesRegex(ValueError, 'at least 3 examples'):
      self.write(_arrays(['ann', 'ann', 'bob']), min_examples=3)
    self.assertEmpty(os.listdir(os.path.join(self.folder, 'out')))

  @parameterized.named_parameters(
      ('test_fraction', {'test_fraction': 1.0}, 'between 0 and 1, found 1.0'),
      ('min_examples', {'min_examples': 1}, 'a minimum of 1'),
      ('seed', {'seed': -1}, 'seed of at least 0'),
  )
  def test_refuses_argument(self, kwargs, message):
    with self.assertRaisesRegex(ValueError, message):
      self.write(_arrays(['ann', 'ann']), **kwargs)

  def test_command_line(self):
    np.savez(self.path, **_arrays(['ann', 'ann']))
    folder = os.path.join(self.folder, 'out')
    command = [sys.executable, '-m', 'tasks.import_client_data', 'npz']
    run = lambda *args: subprocess.run(
        [*command, *args, f'--output_dir={folder}'],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    done = run(self.path, '--person=person')
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertIn('1 people, 2 examples', done.stdout)
    failed = run(os.path.join(self.folder, 'none.npz'))
    self.assertEqual(failed.returncode, 1)
    self.assertRegex(failed.stderr, r'^Error: Expected a file .*none\.npz.*\n$')

  def test_real_handwriting(self):
    if not os.path.exists(_MNIST):
      self.skipTest('../shared/data is not here.')
    people = import_client_data.read_npz(
        _MNIST, examples='pixels', label='label', person='writer'
    )
    summary = people_lib.write_folder(people, self.folder)
    self.assertIn('836 people, 70,000 examples', summary)
    train, _ = client_data.open_folder(self.folder)
    self.assertEqual(train.read('0')['pixels'].shape[1:], (28, 28))


if __name__ == '__main__':
  absltest.main()
