# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ids of clients in a run's folder, and what a store tells of its clients."""

import contextlib
import os
import pathlib
import sqlite3
import tempfile

from absl.testing import absltest
import numpy as np

from tff_partial import errors
from tff_partial.training import earlier_clients
from tff_partial.training import personal_store
from tff_partial.training import store_summary


class _FolderTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)


class EarlierClientsTest(_FolderTest):

  def test_writes_and_looks_up(self):
    earlier_clients.write(self.folder, iter(['dé', 'ann', 'ann', 'bob', 'dé']))
    self.assertEqual(os.listdir(self.folder), ['earlier_clients.sqlite'])
    with earlier_clients.EarlierClients(self.folder) as earlier:
      self.assertLen(earlier, 3)
      self.assertEqual(list(earlier), ['ann', 'bob', 'dé'])
      self.assertIn('dé', earlier)
      self.assertNotIn('eve', earlier)

  def test_folder_without_the_file(self):
    with earlier_clients.EarlierClients(self.folder) as earlier:
      self.assertEmpty(earlier)
      self.assertNotIn('ann', earlier)
    self.assertEmpty(os.listdir(self.folder))

  def test_all_or_nothing(self):
    def ids():
      yield 'ann'
      raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      earlier_clients.write(self.folder, ids())
    self.assertEmpty(os.listdir(self.folder))

  def test_damaged_file(self):
    (self.folder / 'earlier_clients.sqlite').write_text('ann\nbob\n')
    with self.assertRaisesRegex(errors.StoreError, 'cannot be read: .*not a d'):
      earlier_clients.EarlierClients(self.folder)

  def test_file_that_cannot_be_opened(self):
    (self.folder / 'earlier_clients.sqlite').mkdir()
    with self.assertRaisesRegex(errors.StoreError, 'cannot be read: .*Rest'):
      earlier_clients.EarlierClients(self.folder)


class StoreSummaryTest(_FolderTest):

  def test_clients_and_rounds_of_the_last_checkpoint(self):
    self.assertEqual(store_summary.num_rounds(self.folder), 0)
    value = np.zeros(2)
    with personal_store.PersonalStore(value, str(self.folder)) as store:
      self.assertEqual(store_summary.num_rounds(self.folder), 0)
      store.write(['bob', 'ann'], [value, value], version=3)
      store.write(['eve'], [value], version=0)
      store.commit(7)
      store.write(['dan'], [value])
      self.assertEqual(store_summary.num_rounds(self.folder), 7)
    found = list(store_summary.trained_clients(self.folder))
    self.assertEqual(found, ['ann', 'bob'])

  def test_damaged_ids(self):
    value = np.zeros(2)
    with personal_store.PersonalStore(value, str(self.folder)) as store:
      store.write(['ann'], [value])
      store.commit(1)
    with contextlib.closing(
        sqlite3.connect(self.folder / 'personal_store.sqlite')
    ) as connection:
      connection.execute("UPDATE clients SET client_id = 'anm'")
      connection.commit()
    with self.assertRaisesRegex(errors.StoreError, 'damaged: its client ids'):
      list(store_summary.trained_clients(self.folder))


if __name__ == '__main__':
  absltest.main()
