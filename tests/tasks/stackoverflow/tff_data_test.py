# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sampling users from TFF's Stack Overflow.

On a file as TFF's, of a few users, in the place where TFF looks for its own.
"""

import os
import sqlite3
import tempfile

from absl.testing import absltest
import tensorflow as tf
import tensorflow_federated as tff

from tasks.stackoverflow import task as stackoverflow
from tasks.stackoverflow import tff_data
from tff_partial.data import sql_clients

# Training and test sentences of each user.
_USERS = {
    'ann': (100, 10),
    'bob': (99, 50),  # Too few to train on.
    'cat': (150, 9),  # Too few to test on.
    'dan': (1010, 12),
    'eva': (200, 20),
}
_NEW_USER = 'fay'  # Has only test sentences.


def _proto(tokens):
  feature = lambda value: tf.train.Feature(
      bytes_list=tf.train.BytesList(value=[value.encode()])
  )
  features = {
      name: feature('') for name in ('creation_date', 'tags', 'title', 'type')
  }
  features['tokens'] = feature(tokens)
  features['score'] = tf.train.Feature(int64_list=tf.train.Int64List(value=[3]))
  return tf.train.Example(
      features=tf.train.Features(feature=features)
  ).SerializeToString()


def _write_file(path):
  connection = sqlite3.connect(path)
  connection.executescript("""
      CREATE TABLE examples (split_name TEXT NOT NULL, client_id TEXT NOT NULL,
          serialized_example_proto BLOB NOT NULL);
      CREATE INDEX by_client ON examples (client_id);
      CREATE TABLE client_metadata (client_id TEXT NOT NULL,
          split_name TEXT NOT NULL, num_examples INTEGER NOT NULL);
      CREATE INDEX metadata_by_client ON client_metadata (client_id);
  """)
  sizes = [(c, s) for c, s in _USERS.items()] + [(_NEW_USER, (0, 300))]
  for client_id, (num_train, num_test) in sizes:
    for name, size in (
        ('train', num_train),
        ('test', num_test),
        ('heldout', 0),
    ):
      if size:
        connection.execute(
            'INSERT INTO client_metadata VALUES (?, ?, ?)',
            (client_id, name, size),
        )
      connection.executemany(
          'INSERT INTO examples VALUES (?, ?, ?)',
          [
              (name, client_id, _proto(f'how do {client_id} {name} {i} .'))
              for i in range(size)
          ],
      )
  connection.execute("INSERT INTO client_metadata VALUES ('gil', 'heldout', 0)")
  connection.commit()
  connection.close()


class StackoverflowTffTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name
    self.cache = os.path.join(self.folder, 'cache')
    self.file = os.path.join(self.folder, 'stackoverflow.sqlite')
    _write_file(self.file)
    os.mkdir(os.path.join(self.folder, 'datasets'))
    with open(
        os.path.join(self.folder, 'datasets', 'stackoverflow.word_count'), 'w'
    ) as f:
      f.write('. 9\nhow 8\ndo 8\n')

  def create(self, **kwargs):
    return tff_data.create_stackoverflow(
        self.cache,
        tff_cache_dir=self.folder,
        keras_cache_dir=self.folder,
        **kwargs,
    )

  def clients(self, folder, name):
    return sql_clients.SqlClients(os.path.join(folder, f'{name}.sqlite'))

  def test_users_with_enough_sentences(self):
    folder = self.create()
    train, test = (self.clients(folder, name) for name in ('train', 'test'))
    self.assertEqual(list(train.client_ids), ['ann', 'dan', 'eva'])
    self.assertEqual(list(test.client_ids), ['ann', 'dan', 'eva'])
    self.assertEqual(
        [train.num_examples(c) for c in train.client_ids], [100, 1000, 200]
    )
    self.assertEqual(
        [test.num_examples(c) for c in test.client_ids], [10, 12, 20]
    )

  def test_the_sentences_are_those_that_tff_reads(self):
    folder = self.create()
    data = tff.simulation.datasets.stackoverflow.load_data(self.folder)
    for name, clients in (('train', data[0]), ('test', data[2])):
      expected = [
          example['tokens']
          for example in clients.create_tf_dataset_for_client(
              'ann'
          ).as_numpy_iterator()
      ]
      found = self.clients(folder, name).read('ann')['tokens']
      self.assertEqual(list(found), expected)

  def test_sampled_once(self):
    folder = self.create(num_clients=2, seed=1)
    drawn = list(self.clients(folder, 'train').client_ids)
    self.assertLen(drawn, 2)
    os.remove(self.file)  # It is no longer read.
    self.assertEqual(self.create(num_clients=2, seed=1), folder)

  def test_seeds_sample_differently(self):
    draws = {
        tuple(
            self.clients(
                self.create(num_clients=1, seed=seed), 'train'
            ).client_ids
        )
        for seed in range(6)
    }
    self.assertGreater(len(draws), 1)

  def test_trains_the_task(self):
    task = stackoverflow.create_task(self.create())
    # how 2, do 3, . 1, other words 4, start 5, end 6.
    self.assertEqual(
        task.test.read('ann')['tokens'][0].tolist()[:9],
        [5, 2, 3, 4, 4, 4, 1, 6, 0],
    )


if __name__ == '__main__':
  absltest.main()
