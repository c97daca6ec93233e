# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of SQLite files of client data."""

import collections
import contextlib
import os
import shutil
import sqlite3
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import tensorflow as tf

from tff_partial.data import client_data
from tff_partial.data import sql_clients
from tff_partial.data import sql_examples
from tff_partial.data import sql_fingerprint
from tff_partial.data import sql_writer
from tff_partial.learning import clients as clients_lib

_FEATURES = collections.OrderedDict(label=tf.TensorSpec([], tf.int32))
_PEOPLE = {'ann': [1, 2], 'bob': [3]}


class FingerprintTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.path = os.path.join(folder.name, 'train.sqlite')

  def write(self, people=None, features=None, split_name='default_split'):
    features = features or _FEATURES
    with sql_writer.SqlWriter(
        self.path, features, split_name=split_name
    ) as writer:
      for name, labels in (people or _PEOPLE).items():
        writer.write(name, {feature: labels for feature in features})
    return sql_clients.SqlClients(self.path).fingerprint

  def execute(self, sql):
    with contextlib.closing(sqlite3.connect(self.path)) as connection:
      connection.execute(sql)
      connection.commit()

  def test_same_content_wherever_and_whenever_it_is_written(self):
    before = self.write()
    self.assertRegex(before, '^[0-9a-f]{32}$')
    self.assertEqual(self.write(), before)
    self.path += '.copy.sqlite'
    self.assertEqual(self.write(), before)
    copy = shutil.copy(self.path, f'{self.path}.moved')
    self.assertEqual(sql_clients.SqlClients(copy).fingerprint, before)

  @parameterized.parameters(
      dict(people={'ann': [1, 2], 'bob': [4]}),
      dict(people={'ann': [2, 1], 'bob': [3]}),
      dict(people={'ann': [1, 2], 'eve': [3]}),
      dict(people={'ann': [1], 'bob': [2, 3]}),
      dict(people={'bob': [3], 'ann': [1, 2]}),
      dict(features={'label': tf.TensorSpec([], tf.int64)}),
      dict(features={'y': tf.TensorSpec([], tf.int32)}),
      dict(split_name='another'),
  )
  def test_other_content(self, **other):
    self.assertNotEqual(self.write(), self.write(**other))

  def test_file_that_was_changed_later(self):
    before = self.write()
    seen = {before}
    for label in (7, 8):
      self.execute(
          'UPDATE examples SET serialized_example_proto ='
          f" x'0{label}' WHERE client_id = 'bob'"
      )
      after = sql_clients.SqlClients(self.path).fingerprint
      self.assertNotIn(after, seen)
      seen.add(after)
      self.assertEqual(sql_clients.SqlClients(self.path).fingerprint, after)

  def test_file_of_another_program(self):
    self.write()
    self.execute('DROP TABLE fingerprint')
    before = sql_clients.SqlClients(self.path).fingerprint
    self.assertStartsWith(before, 'file-')
    self.assertNotEqual(self.write(), before)

  def test_views_have_that_of_their_clients(self):
    expected = self.write()
    clients = sql_clients.SqlClients(self.path)
    for view in (
        clients.select([1]),
        sql_examples.ClientLocations(clients),
        client_data.MappedClients(clients, lambda features: features),
    ):
      self.assertEqual(clients_lib.fingerprint(view), expected)

  def test_parts_do_not_run_into_each_other(self):
    texts = set()
    for lists in ([('ab', 'c')], [('a', 'bc')], [('abc',)], [('ab',), ('c',)]):
      digest = sql_fingerprint.Digest()
      for parts in lists:
        digest.add(*parts)
      texts.add(digest.text)
    self.assertLen(texts, 4)


if __name__ == '__main__':
  absltest.main()
