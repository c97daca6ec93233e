# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests for personal_store.py: what was committed comes back, or an error."""

import collections
import os
import pathlib
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import attrs
import ml_dtypes
import numpy as np
import tree

from tests.helpers import paths
from tff_partial import errors
from tff_partial import files
from tff_partial.training import personal_store

_ROOT = paths.ROOT


@attrs.define
class Weights:
  """Stands for TFF's ModelWeights, which is an attrs class too."""

  trainable: tuple[np.ndarray, ...]
  non_trainable: tuple[np.ndarray, ...]


def value(number: float) -> Weights:
  """Personal variables of 16 bytes, all elements equal to `number`."""
  array = np.full([3], number, np.float32)
  return Weights((array,), (np.array(number, np.float32),))


def number_of(stored: Weights) -> float:
  numbers = {float(x) for leaf in tree.flatten(stored) for x in np.ravel(leaf)}
  assert len(numbers) == 1, numbers
  return numbers.pop()


class PersonalStoreTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def open(self, default=None, directory='', **kwargs):
    default = value(0) if default is None else default
    if directory == '':
      directory = self.folder
    store = personal_store.PersonalStore(default, directory, **kwargs)
    self.addCleanup(store.close)
    return store

  @property
  def path(self) -> pathlib.Path:
    return pathlib.Path(self.folder) / personal_store.FILE_NAME


class ReadWriteTest(PersonalStoreTest):

  def test_mean_of_stored_clients(self):
    with self.open(default=value(9)) as store:
      self.assertEqual(number_of(store.mean()), 9)
      store.write(['a', 'b', 'c'], [value(1), value(2), value(6)])
      self.assertEqual(number_of(store.mean()), 3)
      self.assertEqual(
          [leaf.dtype for leaf in tree.flatten(store.mean())], [np.float32] * 2
      )
      # 64 bits: 2**24 + 1 is no float32, so its sums would stay where they are.
      store.write(['a', 'b', 'c'], [value(2**24), value(1), value(1)])
      self.assertEqual(number_of(store.mean()), np.float32((2**24 + 2) / 3))

  def test_an_unseen_client_may_start_from_values_of_its_own(self):
    own = {'a': value(1), 'b': value(2)}
    with self.open(default_fn=own.__getitem__) as store:
      store.write(['a'], [value(5)])
      store.commit(1)
    found = self.open(default_fn=own.__getitem__).read(['b', 'a'])
    self.assertEqual([*map(number_of, found)], [2, 5])

  @parameterized.named_parameters(
      ('float32', np.array([[1.5, -0.0, np.inf]], np.float32)),
      ('float16', np.array([1.5, 65504], np.float16)),
      ('bfloat16', np.array([1.5, 3e38], ml_dtypes.bfloat16)),
      ('bool', np.array([True, False])),
      ('int64', np.array([2**62 + 1, -5])),
      ('uint8_scalar', np.array(200, np.uint8)),
      ('zero_size', np.zeros([0, 3], np.float32)),
      # A NaN whose payload, 0x1234, arithmetic would not keep.
      ('nan', np.array([0x7FC01234], np.uint32).view(np.float32)),
      ('not_contiguous', np.arange(6.0).reshape(2, 3).T),
  )
  def test_gives_back_the_same_bytes(self, array):
    structure = collections.OrderedDict(a=array, b=(np.float32(1), [array]))
    with self.open(structure) as store:
      store.write(['x'], [structure])
      store.commit(1)
    [found] = self.open(structure).read(['x'])
    tree.assert_same_structure(found, structure)
    for leaf, expected in zip(tree.flatten(found), tree.flatten(structure)):
      self.assertEqual(leaf.dtype, expected.dtype)
      self.assertEqual(leaf.shape, expected.shape)
      self.assertEqual(leaf.tobytes(), expected.tobytes())

  @parameterized.parameters('', None)
  def test_reads_in_the_given_order(self, directory):
    store = self.open(directory=directory)
    store.write(['b', 'a'], [value(2), value(1)])
    numbers = [number_of(v) for v in store.read(['a', 'new', 'b', 'a'])]
    self.assertEqual(numbers, [1, 0, 2, 1])
    self.assertIsInstance(store.read(['a'])[0], Weights)

  def test_default_and_stored_values_cannot_be_changed_from_outside(self):
    default, written = value(0), value(1)
    store = self.open(default)
    store.write(['a'], [written])
    default.trainable[0][:] = 9
    written.trainable[0][:] = 9
    self.assertEqual([number_of(v) for v in store.read(['new', 'a'])], [0, 1])
    for found in store.read(['new', 'a']):
      with self.assertRaisesRegex(ValueError, 'read-only'):
        found.trainable[0][:] = 9

  def test_more_clients_than_one_query_takes(self):
    store = self.open()
    ids = [f'client {i}' for i in range(1234)]
    store.write(ids, [value(i) for i in range(1234)])
    self.assertEqual(
        [number_of(v) for v in store.read(ids[::-1])], list(range(1234))[::-1]
    )
    self.assertEqual(list(store), sorted(ids))

  def test_counts_and_metadata(self):
    store = self.open()
    store.write(['b', ''], [value(1)] * 2)
    store.commit(5)
    store.write(['b', 'a'], [value(2)] * 2)
    store.write(['c'], [value(2)], version=9)
    self.assertEqual(store.num_clients, 4)
    self.assertEqual(store.num_bytes, 64)  # Of 4 clients x 4 float32.
    self.assertEqual(list(store), ['', 'a', 'b', 'c'])
    self.assertEqual(
        store.last_written(['a', 'b', 'c', '', 'new']), [6, 6, 9, 1, None]
    )
    self.assertTrue(store.contains('a'))
    self.assertFalse(store.contains('new'))
    store.restore()
    self.assertEqual(store.num_clients, 2)
    self.assertFalse(store.contains('a'))

  def test_nothing_personal(self):
    store = self.open(())
    store.write(['a'], [()])
    store.commit(1)
    self.assertEqual(store.read(['a', 'b']), [(), ()])
    self.assertEqual(store.num_bytes, 0)

  @parameterized.named_parameters(
      (
          'shape',
          Weights((np.zeros([4], np.float32),), (np.float32(0),)),
          r"Expected float32\[3\] at 'trainable/0' in the personal variables of"
          r" client 'bad', found float32\[4\] at 'trainable/0'",
      ),
      (
          'dtype',
          Weights((np.zeros([3]),), (np.float32(0),)),
          r'Expected float32\[3\] .* found float64\[3\]',
      ),
      (
          'byte_order',
          Weights((np.zeros([3], '>f4'),), (np.float32(0),)),
          r'Expected float32\[3\] .* found >f4\[3\]',
      ),
      (
          'missing',
          Weights((np.zeros([3], np.float32),), ()),
          r"Expected float32\[\] at 'non_trainable/0' .* found nothing more",
      ),
      (
          'added',
          Weights((np.zeros([3], np.float32),), (np.float32(0), 1)),
          'Expected nothing more .* found int at',
      ),
  )
  def test_one_wrong_value_writes_nothing(self, bad, message):
    store = self.open()
    with self.assertRaisesRegex(ValueError, message):
      store.write(['good', 'bad'], [value(1), bad])
    self.assertEmpty(list(store))

  def test_wrong_ids(self):
    store = self.open()
    with self.assertRaisesRegex(ValueError, '2 different clients, found 1 val'):
      store.write(['a', 'b'], [value(1)])
    with self.assertRaisesRegex(ValueError, 'and 1 different clients'):
      store.write(['a', 'a'], [value(1), value(2)])
    for ids in ('a', [3], [None], ['\ud800']):
      with self.assertRaisesRegex(ValueError, r'Convert them with str\(\)'):
        store.read(ids)


class CommitTest(PersonalStoreTest):

  def test_state_of_every_type(self):
    state = collections.OrderedDict(
        shared=Weights((np.arange(3, dtype=np.float16),), ()),
        scalar=np.int64(2**60),
        array0=np.array(1.5),
        half=ml_dtypes.bfloat16(1.5),
        text='Größe',
        number=10**30,
        real=0.1,
        flag=True,
        nothing=None,
        names=np.array(['ab', 'c']),
    )
    with self.open() as store:
      self.assertEqual(store.restore(state), (0, state))
      store.commit(3, state)
    version, found = self.open().restore(state)
    self.assertEqual(version, 3)
    tree.assert_same_structure(found, state)
    for leaf, expected in zip(tree.flatten(found), tree.flatten(state)):
      self.assertIs(type(leaf), type(expected))
      np.testing.assert_array_equal(leaf, expected)

  def test_state_of_another_type(self):
    store = self.open()
    store.commit(1, [np.zeros([2])])
    with self.assertRaisesRegex(
        errors.StoreError,
        r"Expected float64\[3\] at '0' in the server state, found float64\[2\]",
    ):
      store.restore([np.zeros([3])])
    with self.assertRaisesRegex(errors.StoreError, 'found nothing more'):
      store.restore([np.zeros([2]), 1])
    with self.assertRaisesRegex(errors.StoreError, 'Expected nothing more'):
      store.restore()
    with self.assertRaisesRegex(ValueError, 'found object. Convert it'):
      store.commit(2, [object()])

  @mock.patch.object(personal_store, '_MAX_VALUE_BYTES', 16)
  def test_values_that_sqlite_does_not_take(self):
    with self.assertRaisesRegex(errors.StoreError, 'found 20 Bytes. Make'):
      self.open(np.zeros([5], np.float32))
    store = self.open()
    self.assertEqual(store.restore([np.zeros([4], np.float32)])[0], 0)
    with self.assertRaisesRegex(
        errors.StoreError, "of the server, found 20 Bytes at 'mlp/w'. Use a"
    ):
      store.restore({'mlp': {'w': np.zeros([5], np.float32)}})

  @parameterized.parameters('', None)
  def test_restore_discards_what_was_not_committed(self, directory):
    store = self.open(directory=directory)
    store.write(['a'], [value(1)])
    store.commit(1)
    store.write(['a', 'b'], [value(2)] * 2)
    self.assertEqual(store.restore(), (1, ()))
    self.assertEqual([number_of(v) for v in store.read(['a', 'b'])], [1, 0])

  def test_closing_discards_what_was_not_committed(self):
    with self.open() as store:
      store.write(['a'], [value(1)])
    store = self.open()
    self.assertEqual(store.restore(), (0, ()))
    self.assertEmpty(list(store))

  def test_client_that_is_added_between_rounds(self):
    with self.open() as store:
      store.write(['a'], [value(1)])
      store.commit(3, {'rate': 0.5})
      store.add(['b'], [value(2)])
      store.write(['c'], [value(3)])
    with self.open() as store:
      self.assertEqual(list(store), ['a', 'b'])
      self.assertEqual(store.last_written(['a', 'b', 'c']), [1, 0, None])
      self.assertEqual(number_of(store.read(['b'])[0]), 2)
      self.assertEqual(store.restore({'rate': 0.0}), (3, {'rate': 0.5}))
      store.add(['b'], [value(4)])
      self.assertEqual((store.version, store.num_clients), (3, 2))
      self.assertEqual(number_of(store.read(['b'])[0]), 4)

  def test_version_goes_up(self):
    store = self.open()
    for version in (2, np.int64(7)):
      store.commit(version)
    with self.assertRaisesRegex(ValueError, 'above 7, .* found 7'):
      store.commit(7)

  def test_closed(self):
    store = self.open()
    store.close()
    for call in (
        lambda: store.read(['a']),
        lambda: store.write(['a'], [value(1)]),
        lambda: store.commit(1),
        store.restore,
    ):
      with self.assertRaisesRegex(
          errors.StoreError, 'closed.*Open the store again'
      ):
        call()


class TwoProgramsTest(PersonalStoreTest):

  def test_second_writer(self):
    self.open()
    program = (
        'import numpy as np\n'
        'from tff_partial import errors\n'
        'from tff_partial.training import personal_store\n'
        'try:\n'
        f'  personal_store.PersonalStore(np.zeros(3), {self.folder!r})\n'
        'except errors.StoreError as error:\n'
        '  print(error)'
    )
    output = subprocess.run(
        [sys.executable, '-c', program],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    self.assertRegex(output.stdout, 'is being written by another program')

  def test_closed_by_another_thread(self):
    thread = threading.Thread(target=self.open().close)
    thread.start()
    thread.join()
    self.open()

  def test_program_that_ended_while_it_made_the_file(self):
    unfinished = pathlib.Path(
        self.folder, f'.{personal_store.FILE_NAME}{files.PARTIAL}00.sqlite'
    )
    unfinished.write_bytes(b'half of a store')
    self.assertEqual(self.open().version, 0)
    self.assertFalse(unfinished.exists())

  def test_reader_sees_the_version_it_restored(self):
    with self.assertRaisesRegex(errors.StoreError, 'found none. Train'):
      self.open(read_only=True)
    writer = self.open()
    writer.write(['a'], [value(1)])
    writer.commit(1, 'one')
    reader = self.open(read_only=True)
    writer.write(['a'], [value(2)])
    writer.commit(2, 'two')
    self.assertEqual(reader.restore('')[0], 2)
    writer.write(['a', 'b'], [value(3)] * 2)
    writer.commit(3, 'three')
    writer.write(['a'], [value(4)])
    self.assertEqual([number_of(v) for v in reader.read(['a', 'b'])], [2, 0])
    self.assertEqual(list(reader), ['a'])
    self.assertEqual(reader.restore(''), (3, 'three'))
    self.assertEqual(number_of(reader.read(['a'])[0]), 3)
    with self.assertRaisesRegex(errors.StoreError, 'opened to be read only'):
      reader.write(['a'], [value(1)])
    writer.commit(4)  # A reader does not hold up a writer.

  def test_reader_that_keeps_old_versions(self):
    megabyte = np.zeros([2**18], np.float32)
    writer = self.open(megabyte)
    writer.commit(1)
    reader = self.open(megabyte, read_only=True)
    wal = self.path.with_name(self.path.name + '-wal')
    ids = [f'client {i}' for i in range(10)]
    with self.assertLogs(level='WARNING') as logs:
      for version in range(2, 18):
        writer.write(ids, [megabyte + version] * 10)
        writer.commit(version)
    # Said at 70 MB and when the log has grown to twice that.
    self.assertLen(logs.output, 2)
    self.assertRegex(
        logs.output[0],
        r'program reads .*store.sqlite and keeps 7\d\.\d MB of earlier .* ends',
    )
    self.assertGreater(wal.stat().st_size, 150 * 2**20)
    self.assertEqual(reader.version, 1)
    reader.close()
    writer.commit(18)
    self.assertEqual(wal.stat().st_size, 0)

  def test_reader_after_training(self):
    with self.open() as store:
      store.write(['a'], [value(1)])
      store.commit(1)
    self.assertEqual(
        [path.suffix for path in self.files()], ['.lock', '.sqlite']
    )
    reader = self.open(read_only=True)
    self.assertEqual(number_of(reader.read(['a'])[0]), 1)

  def files(self):
    return sorted(pathlib.Path(self.folder).iterdir())


def train(folder: str, rounds: int, population: int = 3):
  """Rounds 1, 2, ..., in each of which every client's value is the round."""
  ids = [f'client {i}' for i in range(population)]
  with personal_store.PersonalStore(value(0), folder) as store:
    version, _ = store.restore(value(0))
    for round_num in range(version + 1, rounds + 1):
      store.write(ids, [value(round_num)] * population)
      store.commit(round_num, value(round_num))


def in_fork(action, *args) -> int:
  """Runs `action` in a child process; returns its exit status, -9 if killed."""
  child = os.fork()
  if not child:
    action(*args)
    os._exit(0)
  return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train_until_statement(folder: str, statement: int):
  """Trains, but the process is killed as it begins its n-th SQL statement."""
  connect = sqlite3.connect

  def count(unused_sql):
    nonlocal statement
    statement -= 1
    if not statement:
      os.kill(os.getpid(), signal.SIGKILL)

  def connect_and_count(*args, **kwargs):
    connection = connect(*args, **kwargs)
    connection.set_trace_callback(count)
    return connection

  sqlite3.connect = connect_and_count
  train(folder, 2)


def train_until_byte(folder: str, limit: int):
  """Trains, but in round 2 writing a file's n-th byte kills the process."""
  train(folder, 1)
  signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
  train(folder, 2)


def crash_everywhere(action, folder: str, moments: range):
  """Trains in a folder for each moment; prints moments and exit statuses."""
  for moment in moments:
    status = in_fork(action, os.path.join(folder, str(moment)), moment)
    print(moment, status, flush=True)
    if not status:
      break


class CrashTest(PersonalStoreTest):

  def assert_is_at_one_version(self, lowest: int, highest: int) -> int:
    """All is of one version, which is given, and training goes on from it."""
    if self.path.exists():
      with self.open(read_only=True) as reader:
        self.assertBetween(reader.restore(value(0))[0], lowest, highest)
    store = self.open()
    version, state = store.restore(value(0))
    self.assertBetween(version, lowest, highest)
    self.assertEqual(number_of(state), version)
    ids = [f'client {i}' for i in range(3)]
    self.assertEqual([number_of(v) for v in store.read(ids)], [version] * 3)
    self.assertEqual(list(store), ids if version else [])
    store.close()
    train(self.folder, 5)
    self.assertEqual(self.open().restore(value(0))[0], 5)
    return version

  @parameterized.parameters(
      ('statement', 'range(1, 1000)', signal.SIGKILL, {0, 1, 2}),
      ('byte', 'range(0, 10**7, 4096)', signal.SIGXFSZ, {1, 2}),
  )
  def test_killed_at_every(self, what, moments, killed, versions):
    # In a program of its own: with threads around, a fork may hang.
    program = (
        'from tests.training import personal_store_test as test\n'
        f'test.crash_everywhere(test.train_until_{what}, {self.folder!r},'
        f' {moments})'
    )
    output = subprocess.check_output(
        [sys.executable, '-c', program], cwd=_ROOT, text=True
    )
    lines = [line.split() for line in output.splitlines()]
    *statuses, last = [int(status) for _, status in lines]
    self.assertEqual(set(statuses), {-killed})
    self.assertEqual(last, 0)
    self.assertGreater(len(statuses), 10)
    folder, found = self.folder, set()
    for moment, _ in lines:
      with self.subTest(moment):
        self.folder = os.path.join(folder, moment)
        found.add(self.assert_is_at_one_version(0, 2))
    self.assertEqual(found, versions)

  def test_full_disk(self):
    connect = sqlite3.connect

    def connect_to_full_disk(*args, **kwargs):
      connection = connect(*args, **kwargs)
      connection.execute('PRAGMA max_page_count = 20')  # Of 16 KB.
      return connection

    train(self.folder, 1)
    self.addCleanup(setattr, sqlite3, 'connect', connect)
    sqlite3.connect = connect_to_full_disk
    store = self.open()
    ids = [f'client {i}' for i in range(10_000)]
    with self.assertRaisesRegex(
        errors.StoreError, 'disk is full. Free some disk'
    ):
      store.write(ids, [value(2)] * len(ids))
    with self.assertRaisesRegex(errors.StoreError, 'closed'):
      store.commit(2, value(2))
    sqlite3.connect = connect
    self.assert_is_at_one_version(1, 1)

  def test_unwritable_folder(self):
    file = pathlib.Path(self.folder) / 'file'
    file.touch()
    with self.assertRaisesRegex(
        errors.StoreError, 'Check that the folder exists'
    ):
      self.open(directory=str(file / 'folder'))


class DamageTest(PersonalStoreTest):

  def setUp(self):
    super().setUp()
    train(self.folder, 2)
    self.good = self.path.read_bytes()

  def outcomes(self) -> list[tuple]:
    """All that a program could read, in several ways, or errors' messages."""
    ids = ['', *(f'client {i}' for i in range(3)), 'client 1 and', 'dan']
    looks = (
        lambda store: map(number_of, store.read(ids)),
        list,
        lambda store: [number_of(store.mean())],
    )
    try:
      with personal_store.PersonalStore(value(0), self.folder) as store:
        version, state = store.restore(value(0))
        outcomes = [(version, number_of(state))]
        # Each by itself, so that no error hides what another way would read.
        for look in looks:
          try:
            outcomes.append(tuple(look(store)))
          except errors.StoreError as error:
            outcomes.append((str(error),))
        return outcomes
    except errors.StoreError as error:
      return [(str(error),)]

  def execute(self, sql, *values):
    with sqlite3.connect(self.path) as connection:
      connection.execute(sql, values)
    connection.close()

  def test_flipped_byte(self):
    right = self.outcomes()
    self.assertEqual(
        right,
        [
            (2, 2),
            (0, 2, 2, 2, 0, 0),
            ('client 0', 'client 1', 'client 2'),
            (2,),
        ],
    )
    # Zeros are unused. Damages all other bytes and some positions of each page.
    used = [i for i, byte in enumerate(self.good) if byte]
    self.assertGreater(len(used), 700)
    errors = 0
    for position in used + list(range(0, len(self.good), 1009)):
      for mask in (0x01, 0xFF):
        damaged = bytearray(self.good)
        damaged[position] ^= mask
        self.path.write_bytes(damaged)
        for outcome, expected in zip(self.outcomes(), right):
          if outcome != expected:
            errors += 1
            self.assertLen(outcome, 1, f'byte {position}: {outcome}')
            self.assertRegex(
                outcome[0], r'personal_store.sqlite.*\. \w[^.]+\.$'
            )
            self.assertNotIn('\n', outcome[0])
    self.assertGreater(errors, 900)

  def test_lost_write(self):
    # As if the disk had kept one page of round 2 when round 3 was written.
    self.path.unlink()
    train(self.folder, 2, 3000)
    earlier = self.path.read_bytes()
    train(self.folder, 3, 3000)
    good = self.path.read_bytes()
    self.assertLen(good, len(earlier))
    right, found = self.outcomes(), 0
    for start in range(0, len(good), 16384):
      page = slice(start, start + 16384)
      if earlier[page] == good[page]:
        continue
      self.path.write_bytes(good[:start] + earlier[page] + good[page.stop :])
      try:
        with personal_store.PersonalStore(value(0), self.folder) as store:
          store.verify()
          store.restore(value(0))
        self.assertEqual(self.outcomes(), right)
      except errors.StoreError as error:
        self.assertRegex(str(error), r'store.sqlite is damaged: .*\. Restore')
        found += 1
    self.assertGreater(found, 10)  # All pages of clients, for a start.
    self.path.write_bytes(good)
    with self.open() as store:
      store.verify()
      store.write(['client 1', 'new'], [value(7)] * 2)
      store.verify()

  def test_damaged_checksum(self):
    # A number, and something that cannot be added to one.
    for crc in (5, 'text'):
      self.path.write_bytes(self.good)
      self.execute(
          'UPDATE clients SET crc = ? WHERE client_id = ?', crc, 'client 1'
      )
      store = self.open()
      for look in (store.verify, store.mean, lambda: store.read(['client 1'])):
        with self.assertRaisesRegex(errors.StoreError, 'is damaged: .*variab'):
          look()
      store.close()

  def test_earlier_format(self):
    self.path.unlink()
    with sqlite3.connect(self.path) as connection:
      connection.execute('CREATE TABLE store (schema TEXT, version INTEGER)')
      connection.execute('INSERT INTO store VALUES (?, 3)', ['[1, []]'])
    connection.close()
    self.assertRegex(
        self.outcomes()[0][0], r'Expected format 2 of .*, found 1\. Use the ver'
    )

  def test_stored_client_that_is_not_found_is_no_new_one(self):
    # As if an id had been damaged, or the index that finds it.
    self.execute("DELETE FROM clients WHERE client_id = 'client 1'")
    store = self.open()
    self.assertEqual(number_of(store.read(['client 2'])[0]), 2)
    for look in (
        lambda: store.read(['client 1']),
        lambda: store.contains('client 1'),
        lambda: list(store),
        store.mean,
        store.verify,
        lambda: store.forget(['client 1']),
        lambda: store.write(['client 1'], [value(1)]),
    ):
      with self.assertRaisesRegex(
          errors.StoreError, 'damaged: its client ids. Rest'
      ):
        look()

  @parameterized.parameters(
      ("DELETE FROM ids WHERE client_id = 'client 1'", 'client 1'),
      ("DELETE FROM ids WHERE client_id = 'client 1'", 'client 11'),
      ("UPDATE ids SET next = 'client 2' WHERE client_id = 0", 'client'),
      ('DELETE FROM ids WHERE client_id = 0', 'a'),
  )
  def test_broken_chain(self, sql, client_id):
    self.execute(sql)
    self.execute('DELETE FROM clients WHERE client_id = ?', client_id)
    store = self.open()
    with self.assertRaisesRegex(
        errors.StoreError, 'damaged: its client ids. Restore'
    ):
      store.read([client_id])

  @parameterized.parameters(0, 1, 99, 100, 4096, 16384, 16385, 0.5, 0.99)
  def test_file_cut_short(self, length):
    if length < 1:
      length = int(length * len(self.good))
    right = self.outcomes()
    self.path.write_bytes(self.good[:length])
    # Nothing can be read, or not what was in the last page.
    wrong = [o for o, r in zip(self.outcomes(), right) if o != r]
    self.assertNotEmpty(wrong)
    for outcome in wrong:
      self.assertLen(outcome, 1)
      self.assertRegex(outcome[0], 'from a copy, or start in a new folder')
    self.assertLen(self.path.read_bytes(), length)

  def test_not_a_store(self):
    self.path.write_bytes(b'some text ' * 5000)
    self.assertRegex(self.outcomes()[0][0], 'file is not a database. Restore')
    self.path.unlink()
    connection = sqlite3.connect(self.path)
    connection.execute('CREATE TABLE other (x)')
    connection.close()
    self.assertRegex(self.outcomes()[0][0], 'if it is such a store at all')

  def test_made_for_another_model(self):
    with self.assertRaisesRegex(
        errors.StoreError,
        r"Expected float32\[2\] at '' .* found float32\[3\] at",
    ):
      self.open(np.zeros([2], np.float32))
    self.assertEqual(self.outcomes()[0][0], 2)


class ForgetTest(PersonalStoreTest):

  def remains(self, *needles: bytes) -> list[tuple[str, bytes]]:
    """Which files of the folder have which bytes."""
    contents = {p.name: p.read_bytes() for p in self.path.parent.iterdir()}
    return [
        (name, needle)
        for name, content in contents.items()
        for needle in needles
        if needle in content
    ]

  def test_nothing_is_left_of_a_client(self):
    # Of these clients, SQLite alone leaves an id: it moved the row to another
    # page when it divided one, and overwrites only the row that it deletes.
    rng = np.random.default_rng(0)
    ids = [f'{rng.integers(10**9)} of {i}' for i in range(3000)]
    marks = {i: rng.random(784).astype(np.float32) for i in ids}
    default = np.zeros([784], np.float32)
    with self.open(default) as store:
      for version, start in enumerate(range(0, 3000, 100), 1):
        some = ids[start : start + 100]
        store.write(some, [marks[i] for i in some])
        store.commit(version, marks[ids[0]] * 2)
      gone, left = ids[::7], [i for n, i in enumerate(ids) if n % 7]
      self.assertEqual(store.forget(['never seen', *gone]), gone)
      self.assertEqual(list(store), sorted(left))
      self.assertEqual(store.num_clients, len(left))
      store.verify()
      self.assertEqual(store.last_written(gone), [None] * len(gone))
      self.assertEmpty(
          self.remains(
              *(i.encode() for i in gone),
              *(marks[i].tobytes()[:16] for i in gone),
          )
      )
      self.assertNotEmpty(self.remains(left[0].encode()))
      np.testing.assert_array_equal(store.read(left), [marks[i] for i in left])
      self.assertEqual(store.forget([]), [])
    with self.open(default) as store:
      version, state = store.restore(default)
      self.assertEqual(version, 30)
      np.testing.assert_array_equal(state, marks[ids[0]] * 2)
      store.write([gone[0]], [marks[gone[0]]])
      store.commit(31)
      store.verify()
      everyone = list(store)
      self.assertIn(gone[0], everyone)
      self.assertEqual(store.forget(everyone), everyone)
      self.assertEqual(list(store), [])
      store.verify()

  def test_not_while_something_is_uncommitted(self):
    store = self.open()
    store.write(['a'], [value(1)])
    for change in (
        lambda: store.forget(['a']),
        lambda: store.add(['b'], [value(2)]),
    ):
      with self.assertRaisesRegex(ValueError, 'Call commit or restore first'):
        change()
    store.commit(1)
    self.assertEqual(list(store), ['a'])
    self.assertEqual(store.forget(['a']), ['a'])

  def test_reader_keeps_the_values(self):
    store = self.open()
    store.write(['a'], [value(1)])
    store.commit(1)
    reader = self.open(read_only=True)
    with self.assertRaisesRegex(errors.StoreError, 'End it, and do this again'):
      store.forget(['a'])
    self.assertEqual(store.num_clients, 0)
    reader.close()
    self.assertEqual(store.forget(['a']), [])
    self.assertEmpty(self.remains(value(1).trainable[0].tobytes()))
    store.verify()
    store.write(['b'], [value(2)])
    store.commit(2)
    store.close()
    store = self.open()
    store.verify()
    self.assertEqual(list(store), ['b'])


class PopulationTest(PersonalStoreTest):

  def steps(self, population: int) -> list[int]:
    """Of opening, of reading those stored and others, and of storing others.

    In steps of SQLite's virtual machine, which unlike seconds are exact.
    """
    with tempfile.TemporaryDirectory() as folder:
      train(folder, 1, population)
      connect = sqlite3.connect
      steps = 0

      def count():
        nonlocal steps
        steps += 1

      def connect_and_count(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_progress_handler(count, 1)
        return connection

      self.addCleanup(setattr, sqlite3, 'connect', connect)
      sqlite3.connect = connect_and_count
      store = self.open(directory=folder)
      sqlite3.connect = connect
      store.restore(value(0))
      found = [steps]
      some = range(0, population, population // 10)
      new = [f'client {i} and' for i in some]
      store.read([f'client {i}' for i in some])
      found.append(steps)
      store.read(new)
      found.append(steps)
      store.write(new, [value(0)] * len(new))
      found.append(steps)
      store.close()
      return found

  def test_cost_does_not_grow_with_the_population(self):
    few, many = self.steps(1000), self.steps(20_000)
    self.assertEqual(few, many)
    self.assertGreater(few[0], 0)


if __name__ == '__main__':
  absltest.main()
