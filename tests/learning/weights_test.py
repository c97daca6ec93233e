# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights in a file: saved atomically, loaded, matched by path."""

import os
import pathlib
import resource
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import partition
from tff_partial.learning import weights

VARIABLES = (
    partition.VariableInfo('a/kernel', (2,), 'float32', personal=False),
    partition.VariableInfo('norm/mean', (1,), 'float32', True, trainable=False),
    partition.VariableInfo('norm/gamma', (1,), 'float32', personal=True),
    partition.VariableInfo('b/kernel', (1, 2), 'float32', personal=False),
)


def model_weights(trainable, non_trainable=()):
  arrays = lambda values: [np.array(v, np.float32) for v in values]
  return tff.learning.models.ModelWeights(
      arrays(trainable), arrays(non_trainable)
  )


SHARED = model_weights([[1, 2], [[3, 4]]])
PERSONAL = model_weights([[5]], [[6]])
BY_PATH = {
    'a/kernel': [1, 2],
    'norm/mean': [6],
    'norm/gamma': [5],
    'b/kernel': [[3, 4]],
}


class WeightsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.path = pathlib.Path(folder.name, 'model.safetensors')

  def save(self):
    weights.save(self.path, VARIABLES, SHARED, PERSONAL)

  def test_damage_is_found(self):
    self.save()
    good = self.path.read_bytes()
    right = weights.load(self.path)
    for position in range(len(good)):
      damaged = bytearray(good)
      damaged[position] ^= 0x10
      self.path.write_bytes(damaged)
      try:
        found = weights.load(self.path)
      except errors.DataError as e:
        self.assertNotIn('\n', str(e))
        continue
      # Only the name of the digest itself may be damaged.
      self.assertCountEqual(found, right)
      for path, value in right.items():
        self.assertEqual(found[path].tobytes(), value.tobytes())

  def test_each_variable_is_saved_under_its_path(self):
    self.save()
    loaded = weights.load(self.path)
    self.assertCountEqual(loaded, BY_PATH)
    for path, value in BY_PATH.items():
      np.testing.assert_array_equal(loaded[path], np.array(value, np.float32))

  def test_a_scalar_stays_one(self):
    weights.save(
        self.path,
        [partition.VariableInfo('mixture', (), 'float32', personal=True)],
        model_weights([]),
        model_weights([0.5]),
    )
    np.testing.assert_array_equal(
        weights.load(self.path)['mixture'], np.float32(0.5), strict=True
    )

  def test_saving_again_leaves_no_other_file(self):
    self.path.write_bytes(b'old')
    self.save()
    self.assertLen(weights.load(self.path), 4)
    self.assertEqual(os.listdir(self.path.parent), [self.path.name])

  def test_fill_by_path(self):
    filled = weights.fill(
        {
            'b/kernel': np.array([[7, 8]], np.float64),
            'norm/mean': np.array([9], np.float32),
            'head/bias': np.zeros(3),
        },
        VARIABLES,
        SHARED,
        PERSONAL,
    )
    np.testing.assert_array_equal(filled.shared.trainable[0], [1, 2])
    np.testing.assert_array_equal(filled.shared.trainable[1], [[7, 8]])
    self.assertEqual(filled.shared.trainable[1].dtype, np.float32)
    np.testing.assert_array_equal(filled.personal.trainable[0], [5])
    np.testing.assert_array_equal(filled.personal.non_trainable[0], [9])
    self.assertEqual(filled.missing, ['a/kernel', 'norm/gamma'])
    self.assertEqual(filled.unused, ['head/bias'])

  def test_another_split_of_the_same_model_is_filled_too(self):
    self.save()
    everything = [
        partition.VariableInfo(v.path, v.shape, v.dtype, True, v.trainable)
        for v in VARIABLES
    ]
    filled = weights.fill(
        weights.load(self.path),
        everything,
        model_weights([]),
        model_weights([[0, 0], [0], [[0, 0]]], [[0]]),
    )
    self.assertEmpty(filled.shared.trainable)
    np.testing.assert_array_equal(filled.personal.trainable[2], [[3, 4]])
    self.assertEmpty(filled.missing)

  @parameterized.named_parameters(
      ('nothing_in_common', {'x': np.zeros(1)}, 'no variable of it. .*: x'),
      (
          'shape',
          {'a/kernel': np.zeros([2, 1])},
          r'a/kernel of shape \[2\], found \[2, 1\]',
      ),
      ('empty', {}, 'no variable of it'),
  )
  def test_fill_refuses(self, values, message):
    with self.assertRaisesRegex(ValueError, message):
      weights.fill(values, VARIABLES, SHARED, PERSONAL)

  def test_no_file(self):
    with self.assertRaisesRegex(FileNotFoundError, 'found no such file'):
      weights.load(self.path)

  @parameterized.named_parameters(
      ('nonsense', lambda contents: b'not weights'),
      ('empty', lambda contents: b''),
      ('cut_short', lambda contents: contents[:-3]),
      (
          'damaged_header',
          lambda contents: contents[:9] + b'\xff' + contents[10:],
      ),
  )
  def test_damaged_file(self, damage):
    self.save()
    self.path.write_bytes(damage(self.path.read_bytes()))
    with self.assertRaisesRegex(ValueError, 'a safetensors file, found'):
      weights.load(self.path)

  def test_file_with_an_unknown_element_type(self):
    header = b'{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    self.path.write_bytes(len(header).to_bytes(8, 'little') + header + b'xx')
    with self.assertRaisesRegex(errors.DataError, 'a safetensors file, found'):
      weights.load(self.path)

  def test_file_that_cannot_be_written_leaves_the_old_one(self):
    self.save()
    before = self.path.read_bytes()
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
    # As if the disk were full before the end of the file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) - 1, most))
    with self.assertRaisesRegex(OSError, 'Cannot write .*model.safetensors'):
      self.save()
    self.assertEqual(self.path.read_bytes(), before)
    self.assertEqual(os.listdir(self.path.parent), [self.path.name])


if __name__ == '__main__':
  absltest.main()
