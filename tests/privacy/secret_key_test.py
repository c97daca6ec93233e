# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keys: where they are kept, and what comes from them."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from tff_partial import errors
from tff_partial.privacy import secret_key


class SecretKeyTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def test_new_keys_differ(self):
    self.assertNotEqual(secret_key.new(), secret_key.new())

  def test_numbers_depend_on_key_purpose_and_round_alone(self):
    def numbers(seed=0, purpose='cohort', round_num=3):
      key = secret_key.from_seed(seed)
      return tuple(key.generator(purpose, round_num).integers(1 << 62, size=2))

    self.assertEqual(numbers(), numbers())
    found = {
        numbers(),
        numbers(seed=1),
        numbers(purpose='noise'),
        numbers(round_num=4),
    }
    self.assertLen(found, 4)
    key = secret_key.from_seed(0)
    self.assertNotEqual(key.for_purpose('a'), key.for_purpose('b'))

  def test_does_not_show_itself(self):
    key = secret_key.new()
    for shown in (repr(key), str(key), f'{[key]}'):
      self.assertEqual(shown.strip('[]'), 'SecretKey()')

  def test_is_kept_for_this_user_alone_until_it_is_forgotten(self):
    key = secret_key.open_in(self.folder, goes_on=False)
    path = self.folder / secret_key.FILE
    self.assertEqual(path.stat().st_mode & 0o777, 0o600)
    self.assertEqual(path.read_bytes(), key.value)
    self.assertEqual(secret_key.open_in(self.folder, goes_on=True), key)
    # Also if it was stopped before its first round.
    self.assertEqual(secret_key.open_in(self.folder, goes_on=False), key)
    secret_key.forget(self.folder)
    secret_key.forget(self.folder)
    self.assertEmpty(list(self.folder.iterdir()))

  def test_run_that_goes_on_needs_its_key(self):
    with self.assertRaisesRegex(
        errors.MissingFileError, 'Expected private.key of the run that goes on'
    ):
      secret_key.open_in(self.folder, goes_on=True)
    self.assertEmpty(list(self.folder.iterdir()))

  def test_damaged_key(self):
    (self.folder / secret_key.FILE).write_bytes(b'short')
    with self.assertRaisesRegex(errors.FileError, '32 bytes in .*found 5'):
      secret_key.open_in(self.folder, goes_on=True)

  def test_generator_is_of_256_bits(self):
    # Seeds that differ in the last byte give other numbers.
    keys = [secret_key.SecretKey(bytes(31) + bytes([i])) for i in range(8)]
    first = [key.generator('cohort', 0).random() for key in keys]
    self.assertLen(np.unique(first), 8)


if __name__ == '__main__':
  absltest.main()
