# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Removing clients from files of examples."""

import contextlib
import os
import sqlite3
import tempfile

from absl.testing import absltest
import numpy as np

from tests.helpers import programs
from tff_partial import errors
from tff_partial.data import sql_clients
from tff_partial.data import sql_forget
from tff_partial.data import sql_writer

SCHEMA = """
    CREATE TABLE examples (split_name TEXT NOT NULL, client_id TEXT NOT NULL,
        serialized_example_proto BLOB NOT NULL);
    CREATE TABLE client_metadata (client_id TEXT NOT NULL,
        split_name TEXT NOT NULL, num_examples INTEGER NOT NULL);
"""


class SqlForgetTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def write(self, name, numbers):
    path = os.path.join(self.folder, name)
    with sql_writer.SqlWriter(path, programs.FEATURES) as writer:
      for number in numbers:
        rng = np.random.default_rng(number)
        writer.write(
            f'writer {number}',
            {
                'pixels': rng.integers(0, 256, [3, 28, 28], np.uint8),
                'label': np.full([3], number),
            },
        )
    return path

  def test_file_is_as_if_the_clients_had_never_been_in_it(self):
    path = self.write('all.sqlite', range(6))
    before = sql_clients.SqlClients(path).fingerprint
    gone = ['writer 2', 'writer 5', 'writer 0']
    self.assertEqual(sql_forget.forget(path, [*gone, 'nobody']), gone)
    other = self.write('some.sqlite', [1, 3, 4])
    found, expected = map(sql_clients.SqlClients, (path, other))
    self.assertEqual(found.fingerprint, expected.fingerprint)
    self.assertEqual(
        sql_forget.earlier_fingerprints(path), (expected.fingerprint, [before])
    )
    self.assertEqual(list(found.client_ids), list(expected.client_ids))
    for client_id in expected.client_ids:
      for name, values in expected.read(client_id).items():
        np.testing.assert_array_equal(found.read(client_id)[name], values)
    with self.subTest('once more'):
      self.assertEqual(sql_forget.forget(path, gone), [])
      self.assertEqual(sql_forget.forget(path, ['writer 1']), ['writer 1'])
      now, earlier = sql_forget.earlier_fingerprints(path)
      self.assertEqual(earlier, [before, expected.fingerprint])
      self.assertNotIn(now, earlier)

  def test_file_of_tff(self):
    path = os.path.join(self.folder, 'tff.sqlite')
    with contextlib.closing(sqlite3.connect(path)) as connection:
      connection.executescript(SCHEMA)
      for split in ('train', 'test'):
        for client_id in 'abc':
          connection.execute(
              'INSERT INTO client_metadata VALUES (?, ?, 1)', (client_id, split)
          )
          connection.execute(
              'INSERT INTO examples VALUES (?, ?, ?)', (split, client_id, b'x')
          )
      connection.commit()
    self.assertEqual(sql_forget.forget(path, ['b']), ['b'])
    with contextlib.closing(sqlite3.connect(path)) as connection:
      for table in ('client_metadata', 'examples'):
        found = connection.execute(
            f'SELECT client_id, split_name FROM {table} ORDER BY rowid'
        ).fetchall()
        self.assertEqual(
            found, [(c, s) for s in ('train', 'test') for c in 'ac']
        )

  def test_damaged_file_stays_as_it_is(self):
    path = self.write('all.sqlite', range(6))
    with open(path, 'r+b') as f:
      f.seek(8192)
      f.write(b'damage' * 1000)
    with open(path, 'rb') as f:
      before = f.read()
    with self.assertRaisesRegex(errors.DataError, 'all.sqlite, found a file'):
      sql_forget.forget(path, ['writer 1'])
    with open(path, 'rb') as f:
      self.assertEqual(f.read(), before)
    self.assertEqual(os.listdir(self.folder), ['all.sqlite'])


if __name__ == '__main__':
  absltest.main()
