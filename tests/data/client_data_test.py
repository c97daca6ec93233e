# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Clients in files, and views of them."""

import collections
import concurrent.futures
import os
import resource
import sqlite3
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.data import client_data
from tff_partial.data import example_protos
from tff_partial.data import sql_clients
from tff_partial.data import sql_writer

_FEATURES = collections.OrderedDict(
    pixels=tf.TensorSpec([2, 3], tf.uint8),
    label=tf.TensorSpec([], tf.int32),
)
_ALL_FEATURES = collections.OrderedDict(
    image=tf.TensorSpec([2, 2], tf.uint8),
    samples=tf.TensorSpec([None], tf.int16),
    frames=tf.TensorSpec([None, 2], tf.float32),
    vector=tf.TensorSpec([3], tf.float32),
    table=tf.TensorSpec([2], tf.int64),
    weight=tf.TensorSpec([], tf.float32),
    label=tf.TensorSpec([], tf.uint8),
    text=tf.TensorSpec([], tf.string),
)
_ALL_EXAMPLES = {
    'image': np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
    'samples': [np.array([-1, 300], np.int16), np.array([], np.int16)],
    'frames': [np.ones([1, 2], np.float32), np.zeros([3, 2], np.float32)],
    'vector': np.array([[0.5, 1.5, 2.5], [-1, 0, 1]], np.float32),
    'table': np.array([[1, 2**40], [3, 4]]),
    'weight': np.array([0.25, 2.0]),
    'label': [7, 255],
    'text': ['naïve', b'bytes'],
}


def _examples(num_examples, first=0):
  """Examples whose pixels and labels count up from `first`."""
  labels = np.arange(first, first + num_examples)
  pixels = np.broadcast_to(labels[:, None, None], [num_examples, 2, 3])
  return {'pixels': pixels.astype(np.uint8), 'label': labels}


class _FolderTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def path(self, name='train.sqlite'):
    return os.path.join(self.folder, name)

  def write(self, counts, name='train.sqlite', features=None, **kwargs):
    """A file in which each client has this many examples."""
    path = self.path(name)
    with sql_writer.SqlWriter(path, features or _FEATURES, **kwargs) as writer:
      for i, (client_id, count) in enumerate(counts.items()):
        writer.write(client_id, _examples(count, first=10 * i))
    return path

  def execute(self, path, sql, values=()):
    with sqlite3.connect(path) as connection:
      connection.execute(sql, values)
    connection.close()


class SqlWriterTest(_FolderTest):

  def test_every_type_is_read_back(self):
    with sql_writer.SqlWriter(self.path(), _ALL_FEATURES) as writer:
      writer.write('ann', _ALL_EXAMPLES)
    clients = sql_clients.SqlClients(self.path())
    self.assertEqual(clients.features, _ALL_FEATURES)
    found = clients.read('ann')
    self.assertEqual(list(found), list(_ALL_FEATURES))
    for name, spec in _ALL_FEATURES.items():
      expected = _ALL_EXAMPLES[name]
      if name == 'text':
        expected = ['naïve'.encode(), b'bytes']
      for a, b in zip(found[name], expected):
        np.testing.assert_array_equal(a, b)
        if name != 'text':
          self.assertEqual(np.asarray(a).dtype, spec.dtype.as_numpy_dtype)

  def test_tff_reads_the_same(self):
    with sql_writer.SqlWriter(self.path(), _ALL_FEATURES) as writer:
      writer.write('ann', _ALL_EXAMPLES)
    clients = tff.simulation.datasets.SqlClientData(self.path()).preprocess(
        lambda ds: ds.map(example_protos.parse_fn(_ALL_FEATURES))
    )
    self.assertEqual(clients.client_ids, ['ann'])
    dataset = clients.create_tf_dataset_for_client('ann')
    self.assertEqual(dataset.element_spec, _ALL_FEATURES)
    ours = sql_clients.SqlClients(self.path()).read('ann')
    for i, example in enumerate(dataset.as_numpy_iterator()):
      for name in _ALL_FEATURES:
        np.testing.assert_array_equal(example[name], ours[name][i])
    self.assertEqual(i, 1)

  def test_same_bytes_twice(self):
    contents = []
    for name in ('a', 'b'):
      with open(self.write({'ann': 3, 'bob': 2}, name), 'rb') as f:
        contents.append(f.read())
    self.assertEqual(*contents)

  def test_interrupted_writing_leaves_what_was_there(self):
    path = self.write({'ann': 3})
    with self.assertRaises(KeyboardInterrupt):
      with sql_writer.SqlWriter(path, _FEATURES) as writer:
        writer.write('bob', _examples(1))
        raise KeyboardInterrupt
    self.assertEqual(os.listdir(self.folder), ['train.sqlite'])
    self.assertEqual(list(sql_clients.SqlClients(path).client_ids), ['ann'])

  @parameterized.named_parameters(
      (
          'shape',
          np.zeros([1, 3, 2], np.uint8),
          [0],
          r"expected uint8 \[2, 3\] in feature 'pixels', found uint8 \[3, 2\]",
      ),
      (
          'range',
          np.full([1, 2, 3], 256),
          [0],
          r"'pixels', found int64 \[2, 3\]",
      ),
      ('kind', np.zeros([1, 2, 3], np.uint8), [0.5], "'label', found float64"),
  )
  def test_refuses_example(self, pixels, labels, message):
    message = f"Cannot store example 0 of client 'ann'.*{message}"
    with self.assertRaisesRegex(ValueError, message):
      with sql_writer.SqlWriter(self.path(), _FEATURES) as writer:
        writer.write('ann', {'pixels': pixels, 'label': labels})
    self.assertEmpty(os.listdir(self.folder))

  def test_refuses_uneven_features_and_a_client_twice(self):
    with sql_writer.SqlWriter(self.path(), _FEATURES) as writer:
      writer.write('ann', _examples(1))
      with self.assertRaisesRegex(ValueError, "'ann' again"):
        writer.write('ann', _examples(1))
      with self.assertRaisesRegex(ValueError, "'pixels': 2, 'label': 1"):
        writer.write('bob', {**_examples(2), 'label': [0]})

  @parameterized.named_parameters(
      ('none', {}, 'at least one feature'),
      ('type', {'x': tf.TensorSpec([], tf.complex64)}, 'found complex64'),
      ('strings', {'x': tf.TensorSpec([2], tf.string)}, 'one string'),
      ('varying', {'x': tf.TensorSpec([2, None])}, 'first dimension only'),
  )
  def test_refuses_features(self, features, message):
    with self.assertRaisesRegex(ValueError, message):
      sql_writer.SqlWriter(self.path(), features)

  def test_unwritable_folder(self):
    with open(self.path('file'), 'w'):
      pass
    with self.assertRaises(OSError):
      self.write({'ann': 1}, 'file/train.sqlite')

  def test_full_disk(self):
    old = self.write({'ann': 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
      with self.assertRaisesRegex(OSError, 'Cannot write .*train.sqlite'):
        with sql_writer.SqlWriter(old, _FEATURES) as writer:
          writer.write('bob', _examples(3000))
          resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    self.assertEqual(os.listdir(self.folder), ['train.sqlite'])
    self.assertEqual(list(sql_clients.SqlClients(old).client_ids), ['ann'])


class SqlClientsTest(_FolderTest):

  def test_clients_in_the_order_of_the_file(self):
    clients = sql_clients.SqlClients(self.write({'z': 3, 'a': 0, "o'h": 2}))
    ids = clients.client_ids
    self.assertLen(ids, 3)
    self.assertEqual(list(ids), ['z', 'a', "o'h"])
    self.assertEqual((ids[-1], ids[:2]), ("o'h", ['z', 'a']))
    self.assertIn('a', ids)
    self.assertNotIn('b', ids)
    self.assertEqual([clients.num_examples(i) for i in ids], [3, 0, 2])
    np.testing.assert_array_equal(clients.read("o'h")['label'], [20, 21])
    self.assertEqual(clients.read('a')['pixels'].shape, (0, 2, 3))
    with self.assertRaises(IndexError):
      ids[3]

  @parameterized.named_parameters(('indexed', True), ('not_indexed', False))
  def test_splits_of_one_file(self, indexed):
    path = self.path()
    tff.simulation.datasets.save_to_sql_client_data(
        ['ann', 'bob'],
        lambda i: tf.data.Dataset.from_tensor_slices({'n': [len(i), 8]}),
        path,
        split_names_by_client_id={'ann': 'train', 'bob': 'test'},
    )
    # As in TFF's hosted files, a person is in several splits.
    self.execute(path, "INSERT INTO client_metadata VALUES ('ann', 'test', 1)")
    self.execute(
        path,
        "INSERT INTO examples SELECT 'test', client_id,"
        ' serialized_example_proto FROM examples WHERE rowid = 2',
    )
    if indexed:
      self.execute(path, 'CREATE INDEX i ON examples (client_id)')
      self.execute(path, 'CREATE INDEX j ON client_metadata (client_id)')
    features = {'n': tf.TensorSpec([], tf.int32)}
    read = {
        split: {i: clients.read(i)['n'].tolist() for i in clients.client_ids}
        for split in ('train', 'test')
        for clients in [
            sql_clients.SqlClients(path, split_name=split, features=features)
        ]
    }
    self.assertEqual(
        read, {'train': {'ann': [3, 8]}, 'test': {'bob': [3, 8], 'ann': [8]}}
    )
    with self.assertRaisesRegex(ValueError, r"\['test', 'train'\].*found None"):
      sql_clients.SqlClients(path, features=features)
    with self.assertRaisesRegex(ValueError, 'Expected a table "features"'):
      sql_clients.SqlClients(path, split_name='train')

  def test_file_without_a_number_of_clients(self):
    path = self.write({'z': 3, 'a': 0, 'b': 2})
    self.execute(path, 'DROP TABLE splits')
    self.execute(path, "DELETE FROM client_metadata WHERE client_id = 'a'")
    clients = sql_clients.SqlClients(path)
    self.assertEqual(list(clients.client_ids), ['z', 'b'])
    self.assertNotIn('a', clients.client_ids)
    self.assertEqual(clients.num_examples('b'), 2)

  def test_file_with_too_large_a_number_of_clients(self):
    path = self.write({'z': 3, 'a': 0, 'b': 2})
    self.execute(path, "DELETE FROM client_metadata WHERE client_id = 'a'")
    with self.assertRaisesRegex(ValueError, 'client in row 2 of .*found none'):
      list(sql_clients.SqlClients(path).client_ids)
    # With fewer rows than stated, pages of the file were lost.
    self.execute(path, "DELETE FROM client_metadata WHERE client_id = 'b'")
    with self.assertRaisesRegex(ValueError, '1 clients instead of 3. The file'):
      sql_clients.SqlClients(path)

  def test_damaged_number_in_an_example(self):
    path = self.write({'ann': 2, 'bob': 2})
    with open(path, 'rb') as f:
      content = bytearray(f.read())
    right = sql_clients.SqlClients(path).read('ann')['pixels']
    # The pixels of an example are six equal bytes, after their length.
    at = content.index(b'\x06' + 6 * right[0].tobytes()[:1])
    content[at + 3] ^= 1
    with open(path, 'wb') as f:
      f.write(content)
    clients = sql_clients.SqlClients(path)
    with self.assertRaisesRegex(ValueError, 'found others: the examples of cl'):
      for client_id in clients.client_ids:
        clients.read(client_id)

  def test_damaged_id(self):
    # As another person's, who would be there twice.
    path = self.write({'ann': 2, 'bob': 3})
    with open(path, 'rb') as f:
      content = f.read()
    with open(path, 'wb') as f:
      f.write(content.replace(b'bobdefault_split\x03', b'anndefault_split\x03'))
    clients = sql_clients.SqlClients(path)
    damaged = "client 'ann' in row 2. The file is damaged"
    self.assertEqual(clients.client_ids[0], 'ann')
    with self.assertRaisesRegex(ValueError, damaged):
      clients.client_ids[1]  # pylint: disable=pointless-statement
    other = sql_clients.SqlClients(self.write({'ann': 1, 'bob': 1}, 'other'))
    for a, b in ((clients, other), (other, clients)):
      with self.assertRaisesRegex(ValueError, damaged):
        a.rows_shared_with(b)

  def test_damaged_number_of_examples(self):
    path = self.write({'ann': 2, 'bob': 3})
    self.execute(
        path, 'UPDATE client_metadata SET num_examples = 1 WHERE rowid = 2'
    )
    clients = sql_clients.SqlClients(path)
    self.assertEqual(clients.num_examples('ann'), 2)
    with self.assertRaisesRegex(ValueError, "3 examples of client 'bob' inste"):
      clients.num_examples('bob')
    other = sql_clients.SqlClients(self.write({'ann': 1, 'bob': 1}, 'other'))
    # Whoever is left out cannot be noticed later.
    with self.assertRaisesRegex(ValueError, "client 'bob' in row 2. The file"):
      clients.rows_shared_with(other, min_examples=2)

  def test_reads_from_threads(self):
    path = self.write({str(i): i for i in range(20)})
    clients = sql_clients.SqlClients(path, cache_bytes=200)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      found = pool.map(lambda i: clients.read(str(i % 20)), range(200))
      for i, examples in enumerate(found):
        np.testing.assert_array_equal(
            examples['label'], 10 * (i % 20) + np.arange(i % 20)
        )

  def test_cache_keeps_what_was_read_last(self):
    # A client with 2 examples takes 2 * 6 bytes of pixels and 2 * 4 of labels.
    path = self.write({'ann': 2, 'bob': 2, 'eve': 2})
    clients = sql_clients.SqlClients(path, cache_bytes=2 * 20)
    ann, bob = clients.read('ann'), clients.read('bob')
    self.assertIs(clients.read('ann'), ann)
    clients.read('eve')  # Displaces bob, who was used longest ago.
    self.assertIs(clients.read('ann'), ann)
    self.assertIsNot(clients.read('bob'), bob)
    with self.assertRaisesRegex(ValueError, 'read-only'):
      ann['label'][0] = 5

  def test_reads_only_expected_features(self):
    path = self.write({'ann': 2})
    label = {'label': _FEATURES['label']}
    clients = sql_clients.SqlClients(path, features=label)
    self.assertEqual(list(clients.read('ann')), ['label'])
    wrong = {'pixels': tf.TensorSpec([28, 28], tf.uint8)}
    with self.assertRaisesRegex(
        ValueError, r"'pixels' uint8 \[28, 28\].*found 'pixels' uint8 \[2, 3\]"
    ):
      sql_clients.SqlClients(path, features=wrong)

  def test_unknown_client(self):
    clients = sql_clients.SqlClients(self.write({'ann': 2}))
    for method in (clients.read, clients.num_examples):
      with self.assertRaisesRegex(ValueError, "the 1 clients.*found 'bob'"):
        method('bob')

  def test_id_in_a_file_that_cannot_be_read(self):
    path = self.write({'ann': 2, 'bob': 2})
    ids = sql_clients.SqlClients(path).client_ids
    self.assertNotIn('eve', ids)
    with open(path, 'r+b') as f:
      f.write(b'x' * os.path.getsize(path))
    with self.assertRaisesRegex(errors.DataError, 'found'):
      ids.__contains__('ann')

  def test_missing_file(self):
    with self.assertRaisesRegex(FileNotFoundError, 'import_client_data'):
      sql_clients.SqlClients(self.path())

  @parameterized.named_parameters(
      ('empty', lambda content: b'', "Expected a table 'examples'"),
      ('text', lambda content: b'label,pixels\n' * 99, 'not a database'),
      ('truncated', lambda content: content[:-4096], 'cut short'),
  )
  def test_damaged_file(self, damage, message):
    path = self.write({'ann': 20, 'bob': 20})
    with open(path, 'rb') as f:
      content = f.read()
    with open(path, 'wb') as f:
      f.write(damage(content))
    with self.assertRaisesRegex(ValueError, message):
      sql_clients.SqlClients(path)

  @parameterized.named_parameters(
      (
          'table',
          'DROP TABLE client_metadata',
          "'client_metadata'.*found \\[\\]",
      ),
      (
          'column',
          'ALTER TABLE examples RENAME COLUMN split_name TO fold',
          "'examples' with columns.*found \\['fold'",
      ),
  )
  def test_wrong_schema(self, sql, message):
    path = self.write({'ann': 2})
    self.execute(path, sql)
    with self.assertRaisesRegex(ValueError, message):
      sql_clients.SqlClients(path)

  @parameterized.named_parameters(
      ('corrupt', b'\xff\xff\xff', 'is damaged'),
      (
          'shape',
          example_protos.encode(
              {'pixels': np.zeros([3, 3], np.uint8), 'label': 1},
              {**_FEATURES, 'pixels': tf.TensorSpec([3, 3], tf.uint8)},
          ),
          r"has 9 values of feature 'pixels', expected uint8 \[2, 3\]",
      ),
      (
          'missing',
          example_protos.encode({'label': 1}, {'label': _FEATURES['label']}),
          r"has no feature 'pixels', only \['label'\]",
      ),
      (
          'kind',
          example_protos.encode(
              {'pixels': np.zeros([2, 3], np.uint8), 'label': 1.0},
              {**_FEATURES, 'label': tf.TensorSpec([], tf.float32)},
          ),
          "has 0 int64 values of feature 'label', expected int32",
      ),
  )
  def test_bad_example_names_the_client(self, proto, message):
    path = self.write({'ann': 2, 'bob': 2})
    self.execute(
        path,
        'UPDATE examples SET serialized_example_proto = ? WHERE rowid = 4',
        [proto],
    )
    clients = sql_clients.SqlClients(path)
    clients.read('ann')
    with self.assertRaisesRegex(
        ValueError, f"Client 'bob' of .*train.sqlite: example 1 {message}"
    ):
      clients.read('bob')

  def test_short_and_long_examples_do_not_cancel_out(self):
    path = self.write({'ann': 2})
    for row, size in ((1, 1), (2, 3)):  # Together as many bytes as 2 of [2, 3].
      shape = {**_FEATURES, 'pixels': tf.TensorSpec([size, 3], tf.uint8)}
      example = {'pixels': np.zeros([size, 3], np.uint8), 'label': 1}
      self.execute(
          path,
          'UPDATE examples SET serialized_example_proto = ? WHERE rowid = ?',
          [example_protos.encode(example, shape), row],
      )
    with self.assertRaisesRegex(ValueError, 'example 0 has 3 values'):
      sql_clients.SqlClients(path).read('ann')


class FolderTest(_FolderTest):

  def test_opens_train_and_test(self):
    self.write({'ann': 2, 'bob': 3})
    self.write({'bob': 1, 'ann': 1}, 'test.sqlite')
    train, test = client_data.open_folder(self.folder)
    np.testing.assert_array_equal(train.read('bob')['label'], [10, 11, 12])
    np.testing.assert_array_equal(test.read('bob')['label'], [0])

  def test_different_features(self):
    self.write({'ann': 2})
    with sql_writer.SqlWriter(
        self.path('test.sqlite'), {'label': _FEATURES['label']}
    ) as writer:
      writer.write('ann', {'label': [1]})
    with self.assertRaisesRegex(ValueError, 'the same features in both files'):
      client_data.open_folder(self.folder)

  def test_test_clients_without_training_examples(self):
    self.write({'ann': 2, 'bob': 2})
    self.write({'ann': 2, 'eve': 2, 'joe': 2}, 'test.sqlite')
    with self.assertRaisesRegex(ValueError, '1 of 3 test clients'):
      client_data.open_folder(self.folder)

  def test_steps_to_open_do_not_depend_on_the_population(self):
    # Measured in steps of SQLite's virtual machine, which are exact.
    connect = sqlite3.connect
    self.addCleanup(setattr, sqlite3, 'connect', connect)
    steps = {2000: 0, 5000: 0}

    def connect_and_count(*args, **kwargs):
      connection = connect(*args, **kwargs)
      connection.set_progress_handler(count, 1)
      return connection

    def count():
      steps[population] += 1

    for population in steps:
      for name in ('train.sqlite', 'test.sqlite'):
        self.write({f'client {i}': 0 for i in range(population)}, name)
      sqlite3.connect = connect_and_count
      train, _ = client_data.open_folder(self.folder)
      self.assertLen(train.client_ids, population)
      sqlite3.connect = connect
    self.assertEqual(steps[2000], steps[5000])
    self.assertGreater(steps[2000], 0)

  def test_some_test_clients_without_training_examples(self):
    self.write({f'client {i}': 0 for i in range(1000, 3000)})
    self.write({f'client {i}': 0 for i in range(3000)}, 'test.sqlite')
    with self.assertLogs(level='WARNING') as log:
      client_data.open_folder(self.folder)
    # Every third is looked up.
    self.assertIn('334 of the 1000 test clients', log.output[0])

  def test_missing_test_file(self):
    self.write({'ann': 2})
    with self.assertRaisesRegex(FileNotFoundError, 'test.sqlite'):
      client_data.open_folder(self.folder)

  def test_enough_examples(self):
    self.write({'ann': 4, 'bob': 9, 'eve': 9, 'joe': 9})
    self.write({'joe': 2, 'eve': 1, 'ann': 2, 'bob': 2}, 'test.sqlite')
    train, test = client_data.open_folder(self.folder)
    few, few_test = client_data.with_enough_examples(
        train, test, min_train=5, min_test=2
    )
    self.assertEqual(list(few.client_ids), ['bob', 'joe'])
    self.assertEqual(list(few_test.client_ids), ['joe', 'bob'])
    self.assertNotIn('ann', few.client_ids)
    self.assertEqual(few_test.num_examples('joe'), 2)
    train.read('ann')  # In the cache that the view shares.
    with self.assertRaisesRegex(ValueError, 'the 2 clients'):
      few.read('ann')
    self.assertLen(train.client_ids, 4)
    # A view of a view has only clients of the first.
    fewer, _ = client_data.with_enough_examples(
        few, test, min_train=0, min_test=0
    )
    self.assertEqual(list(fewer.client_ids), ['bob', 'joe'])
    with self.assertRaisesRegex(ValueError, 'at least 10 training'):
      client_data.with_enough_examples(train, test, min_train=10, min_test=1)


class ViewsTest(_FolderTest):

  def test_mapped(self):
    clients = client_data.MappedClients(
        sql_clients.SqlClients(self.write({'ann': 2})),
        lambda features: {'y': features['label'] + 1},
    )
    self.assertEqual(list(clients.client_ids), ['ann'])
    self.assertEqual(clients.num_examples('ann'), 2)
    np.testing.assert_array_equal(clients.read('ann')['y'], [1, 2])

  def test_mapped_names_the_client(self):
    def refuse(features):
      raise ValueError(f'Expected less than {len(features["label"])} labels.')

    clients = client_data.MappedClients(
        sql_clients.SqlClients(self.write({'ann': 2})), refuse
    )
    with self.assertRaisesRegex(ValueError, "Client 'ann': Expected less"):
      clients.read('ann')

  def test_tff_clients(self):
    data = {
        'ann': {'x': np.eye(2, dtype=np.float32), 't': ['a', 'b']},
        'bob': {'x': np.ones([1, 2], np.float32), 't': ['c']},
    }
    clients = client_data.TffClients(
        tff.simulation.datasets.TestClientData(data)
    )
    self.assertEqual(list(clients.client_ids), ['ann', 'bob'])
    self.assertEqual(clients.num_examples('bob'), 1)
    found = clients.read('ann')
    np.testing.assert_array_equal(found['x'], np.eye(2))
    self.assertEqual(found['x'].dtype, np.float32)
    self.assertEqual(found['t'].tolist(), [b'a', b'b'])
    with self.assertRaisesRegex(ValueError, "the 2 clients, found 'eve'"):
      clients.read('eve')

  def test_tff_clients_without_names(self):
    x = np.zeros([2, 3], np.float32)
    for elements in ((x, x), {'x': {'a': x}}):
      clients = client_data.TffClients(
          tff.simulation.datasets.ClientData.from_clients_and_tf_fn(
              ['ann'],
              lambda _: tf.data.Dataset.from_tensor_slices(elements),  # pylint: disable=cell-var-from-loop
          )
      )
      with self.assertRaisesRegex(errors.SettingsError, 'Change them by `pre'):
        clients.read('ann')


class EmnistTest(_FolderTest):

  def write_emnist(self, people):
    """A file like TFF's: float and int64 lists, four splits, no index."""
    with sqlite3.connect(self.path('emnist_all.sqlite')) as connection:
      connection.executescript("""
          CREATE TABLE examples (split_name TEXT NOT NULL,
              client_id TEXT NOT NULL, serialized_example_proto BLOB NOT NULL);
          CREATE TABLE client_metadata (client_id TEXT NOT NULL,
              split_name TEXT NOT NULL, num_examples INTEGER NOT NULL);
      """)
      rng = np.random.default_rng(0)
      for person, counts in people.items():
        for split, count in counts.items():
          for label in range(count):
            example = tf.train.Example()
            feature = example.features.feature
            feature['pixels'].float_list.value.extend(rng.random(28 * 28))
            feature['label'].int64_list.value.append(label)
            connection.execute(
                'INSERT INTO examples VALUES (?, ?, ?)',
                (split, person, example.SerializeToString()),
            )
          connection.execute(
              'INSERT INTO client_metadata VALUES (?, ?, ?)',
              (person, split, count),
          )
    connection.close()

  def test_reads_what_tff_reads(self):
    counts = dict(
        all_train=3, all_test=2, digits_only_train=1, digits_only_test=1
    )
    self.write_emnist({'f0001': counts, 'f0002': {**counts, 'all_test': 1}})
    self.assertEqual(client_data.download_emnist(self.folder), self.folder)
    ours = client_data.open_emnist(self.folder)
    theirs = tff.simulation.datasets.emnist.load_data(
        only_digits=False, cache_dir=self.folder
    )
    for a, b in zip(ours, theirs):
      self.assertEqual(list(a.client_ids), b.client_ids)
      b = client_data.TffClients(b)
      for person in a.client_ids:
        for name in ('pixels', 'label'):
          x, y = a.read(person)[name], b.read(person)[name]
          self.assertEqual(x.dtype, y.dtype)
          np.testing.assert_array_equal(x, y)
    train, test = client_data.open_emnist(self.folder, min_train=3, min_test=2)
    self.assertEqual(list(train.client_ids), ['f0001'])
    self.assertEqual(list(test.client_ids), ['f0001'])

  def test_no_download(self):
    cache_dir = self.path('file')
    with open(cache_dir, 'w'):  # No folder can be made here, online or not.
      pass
    with self.assertRaisesRegex(OSError, 'Put the unpacked emnist_all.sqlite'):
      client_data.download_emnist(cache_dir)


if __name__ == '__main__':
  absltest.main()
