# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Splits of people's examples, and the folder made of them."""

import collections
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import client_data
from tff_partial.data import people as people_lib


def _source(people, **kwargs):
  """One image for each entry of `people`; all its pixels are its number."""
  numbers = collections.defaultdict(list)
  for number, person in enumerate(people):
    numbers[person].append(number)

  def examples(number):
    pixels = np.broadcast_to(
        np.array(number)[:, None, None], [len(number), 2, 3]
    )
    return {
        'pixels': pixels.astype(np.uint8),
        'label': np.array(number, np.int32) % 4,
    }

  return people_lib.ClientSource(
      features=collections.OrderedDict(
          pixels=tf.TensorSpec([2, 3], tf.uint8),
          label=tf.TensorSpec([], tf.int32),
      ),
      num_people=len(numbers),
      examples=((name, examples(numbers[name])) for name in sorted(numbers)),
      labels='4 labels from 0 to 3',
      **kwargs,
  )


class WriteFolderTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def write(self, source, name='out', **kwargs):
    """The train and test readers of a folder, and the summary."""
    folder = os.path.join(self.folder, name)
    summary = people_lib.write_folder(source, folder, **kwargs)
    return *client_data.open_folder(folder), summary

  def test_every_example_goes_to_its_person_once(self):
    people = ['bob', 'ann', 'bob', 'eve', 'ann', 'bob', 'bob', 'bob']
    train, test, summary = self.write(_source(people))
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
        '2 people, 7 examples (5 for training, 2 for testing), 2 / 3.5 / 5'
        ' per person (min / median / max), 4 labels from 0 to 3.\n\n'
        '                                             count  first\n'
        'kept      examples                               7\n'
        "left out  people with fewer than 2 examples      1  'eve' with 1",
        summary,
    )

  def test_split_depends_on_seed_and_person_alone(self):
    def test_pixels(name, people, **kwargs):
      _, test, _ = self.write(_source(people), name, **kwargs)
      return test.read('ann')['pixels'][:, 0, 0].tolist()

    people = 20 * ['ann'] + 20 * ['bob']
    first = test_pixels('a', people)
    self.assertLen(first, 4)
    self.assertEqual(test_pixels('b', people[:30]), first)
    self.assertNotEqual(test_pixels('c', people, seed=1), first)

  def test_label_may_be_a_vector(self):
    source = people_lib.ClientSource(
        features={'label': tf.TensorSpec([2], tf.float32)},
        num_people=1,
        examples=iter([('ann', {'label': np.zeros([4, 2], np.float32)})]),
    )
    train, test, _ = self.write(source, test_fraction=0.25)
    self.assertEqual(train.read('ann')['label'].shape, (3, 2))
    self.assertEqual(test.read('ann')['label'].shape, (1, 2))

  def test_keeps_what_is_there(self):
    self.write(_source(['ann', 'ann']))
    with self.assertRaisesRegex(ValueError, 'or `overwrite`'):
      self.write(_source(['bob', 'bob']))
    train, _, _ = self.write(_source(['bob', 'bob']), overwrite=True)
    self.assertEqual(list(train.client_ids), ['bob'])

  def test_overwriting_removes_all_of_the_earlier_import_and_no_more(self):
    out = os.path.join(self.folder, 'out')

    def finish(folder):
      with open(os.path.join(folder, 'words.txt'), 'w') as f:
        f.write('secret')

    self.write(_source(['ann', 'ann'], texts={'a.txt': 'a'}, finish_fn=finish))
    with open(os.path.join(out, 'notes.txt'), 'w') as f:
      f.write('mine')
    kept = ['.lock', 'import.json', 'notes.txt', 'test.sqlite', 'train.sqlite']
    with self.subTest('an import that fails changes nothing'):
      with self.assertRaisesRegex(ValueError, 'found none among 1'):
        self.write(_source(['bob']), overwrite=True)
      self.assertCountEqual(os.listdir(out), [*kept, 'a.txt', 'words.txt'])
    self.write(_source(['bob', 'bob'], texts={'b.txt': ''}), overwrite=True)
    self.assertCountEqual(os.listdir(out), [*kept, 'b.txt'])
    with self.subTest('an import that fails at its end leaves no half'):

      def fail(folder):
        finish(folder)
        raise errors.DataError('No words.')

      with self.assertRaisesRegex(ValueError, 'No words'):
        self.write(_source(['eve', 'eve'], finish_fn=fail), overwrite=True)
      self.assertCountEqual(os.listdir(out), ['.lock', 'notes.txt'])
    with self.subTest('a damaged list'):
      with open(os.path.join(out, 'import.json'), 'w') as f:
        f.write('{"files": 5}')
      with self.assertRaisesRegex(errors.DataError, 'import.json.*Remove the'):
        self.write(_source(['bob', 'bob']))

  def test_nobody_has_enough(self):
    source = _source(['ann', 'ann', 'bob'])
    source.left_out.add('photos without a file', 'a.jpg')
    source.left_out.add('photos without a file', 'b.jpg')
    with self.assertRaisesRegex(
        ValueError,
        'at least 3 examples, found none among 2. Left out: people with fewer'
        r" than 3 examples \(2, the first: 'ann' with 2\), photos without a"
        r' file \(2, the first: a.jpg\)\.',
    ):
      self.write(source, min_examples=3)
    self.assertEqual(os.listdir(os.path.join(self.folder, 'out')), ['.lock'])

  @parameterized.named_parameters(
      ('test_fraction', {'test_fraction': 1.0}, 'between 0 and 1, found 1.0'),
      (
          'min_examples',
          {'min_examples': 1},
          '`min_examples` of at least 2.*found 1',
      ),
      ('seed', {'seed': -1}, '`seed` of at least 0'),
  )
  def test_refuses_argument(self, kwargs, message):
    with self.assertRaisesRegex(ValueError, message):
      self.write(_source(['ann', 'ann']), **kwargs)

  def test_reasons_why_examples_are_left_out(self):
    source = _source(['ann', 'ann'])
    source.left_out.update({'photos without a file': 1_000, 'never': 0})
    source.left_out.add('a', 'x' * 98 + ' \n and more')
    source.changed.add('photos with a palette', 'p.png')
    _, _, summary = self.write(source)
    self.assertEqual(
        summary.splitlines()[2:],
        [
            '                                 count  first',
            'kept      examples                   2',
            f'left out  a                          1  {"x" * 97}...',
            'left out  photos without a file  1,000',
            'changed   photos with a palette      1  p.png',
        ],
    )

  def test_texts_are_written_next_to_the_examples(self):
    self.write(_source(['ann', 'ann'], texts={'classes.txt': 'é\n'}))
    path = os.path.join(self.folder, 'out', 'classes.txt')
    with open(path, encoding='utf-8') as f:
      self.assertEqual(f.read(), 'é\n')

  def test_a_file_in_the_place_of_the_folder(self):
    with open(os.path.join(self.folder, 'out'), 'w'):
      pass
    with self.assertRaisesRegex(errors.FileError, 'out.* is a file'):
      self.write(_source(['ann', 'ann']))


if __name__ == '__main__':
  absltest.main()
