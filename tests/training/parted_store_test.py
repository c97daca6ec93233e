# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A store in parts: the same as one file, whole or not at all."""

import contextlib
import multiprocessing
import os
import pathlib
import shutil
import signal
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tff_partial import errors
from tff_partial.training import merge_store
from tff_partial.training import parted_store
from tff_partial.training import personal_store
from tff_partial.training import store_file
from tff_partial.training import store_layout
from tff_partial.training import store_part
from tff_partial.training import store_summary
from tff_partial.training import stores

DEFAULT = [np.zeros(3, np.float32), np.zeros([], np.int32)]
NUM_PARTS = 3
IDS = [f'client_{i}' for i in range(9)] + ['Frédéric', 'मीरा']
# What a checkpoint does: two steps of each part and, between them, the record.
STEPS = 2 * NUM_PARTS + 1


def value(number):
  return [np.full(3, number, np.float32), np.array(number, np.int32)]


def number_of(value_):
  return int(value_[1])


def numbers(store, ids=IDS):
  return [number_of(v) for v in store.read(ids)]


class _Killed:
  """Kills this process before or after the n-th step of a checkpoint."""

  def __init__(self, step, before):
    self._countdown = step
    self._before = before

  @contextlib.contextmanager
  def step(self):
    last = self._countdown == 0
    self._countdown -= 1
    if last and self._before:
      os.kill(os.getpid(), signal.SIGKILL)
    yield
    if last:
      os.kill(os.getpid(), signal.SIGKILL)


class _Part(store_part.Part):
  """A part whose process may end at any step."""

  killed = None

  def prepare(self, version):
    with self.killed.step():
      return super().prepare(version)

  def apply(self):
    with self.killed.step():
      super().apply()


def _die_while_saving(folder, step, before):
  """Writes half of the clients and is killed in the checkpoint of version 2."""
  killed = _Killed(step, before)
  parts = []
  for part_folder in store_layout.part_folders(folder):
    parts.append(_Part(DEFAULT, part_folder))
    parts[-1].killed = killed
  store = parted_store.PartedStore(DEFAULT, folder, parts)
  commit = store._record.commit

  def commit_or_die(version, state):
    with killed.step():
      commit(version, state)

  store._record.commit = commit_or_die
  store.write(IDS[::2], [value(20)] * len(IDS[::2]))
  store.commit(2, [np.array(200)])


class PartedStoreTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enterContext(tempfile.TemporaryDirectory())

  def open(self, *, num_parts=NUM_PARTS, **kwargs):
    store_layout.create(self.folder, num_parts)
    return stores.open_store(DEFAULT, self.folder, **kwargs)

  def fill(self):
    """A store whose clients all have 10 at version 1."""
    with self.open() as store:
      store.write(IDS, [value(10)] * len(IDS))
      store.commit(1, [np.array(100)])

  def test_is_used_like_one_file(self):
    with self.open() as parts, personal_store.PersonalStore(DEFAULT) as one:
      for store in (parts, one):
        store.write(IDS[:6], [value(i) for i in range(6)])
        store.commit(1, [np.array(5.0)])
        store.write(IDS[3:], [value(i) for i in range(3, len(IDS))])
      for name in ('num_clients', 'num_bytes', 'version'):
        self.assertEqual(getattr(parts, name), getattr(one, name), name)
      self.assertEqual(list(parts), list(one))
      self.assertEqual(
          parts.last_written(IDS + ['?']), one.last_written(IDS + ['?'])
      )
      self.assertEqual(parts.last_written(IDS)[2:4], [1, 2])
      self.assertEqual(numbers(parts, IDS[::-1]), numbers(one, IDS[::-1]))
      np.testing.assert_allclose(parts.mean()[0], np.full(3, 5.0))
      # The rest was not committed.
      for store in (parts, one):
        version, [state] = store.restore([np.array(0.0)])
        self.assertEqual((version, state), (1, 5.0))
        self.assertEqual(numbers(store), [0, 1, 2, 3, 4, 5] + [0] * 5)
        self.assertEqual(store.num_clients, 6)

  def test_all_parts_have_clients(self):
    parts = {parted_store.part_of(client_id, NUM_PARTS) for client_id in IDS}
    self.assertEqual(parts, {0, 1, 2})

  def test_opened_again(self):
    self.fill()
    with self.open() as store:
      store.verify()
      self.assertEqual(numbers(store), [10] * len(IDS))
      store.add(['new'], [value(7)])
      self.assertEqual(store.last_written(['new']), [0])
    with self.open(read_only=True) as store:
      self.assertEqual(numbers(store, ['new']), [7])
      with self.assertRaisesRegex(ValueError, 'read only'):
        store.write(['new'], [value(1)])
    self.assertEqual(set(store_summary.trained_clients(self.folder)), set(IDS))
    self.assertEqual(store_summary.num_rounds(self.folder), 1)

  @parameterized.product(step=list(range(STEPS)), before=[True, False])
  def test_killed_at_any_step_it_is_whole_or_not_at_all(self, step, before):
    self.fill()
    process = multiprocessing.get_context('fork').Process(
        target=_die_while_saving, args=(self.folder, step, before)
    )
    process.start()
    process.join()
    self.assertEqual(process.exitcode, -signal.SIGKILL)
    recorded = step + (not before) > NUM_PARTS
    with self.open() as store:
      version, [state] = store.restore([np.array(0)])
      self.assertEqual((version, state), (2, 200) if recorded else (1, 100))
      new = 20 if recorded else 10
      expected = [new if i % 2 == 0 else 10 for i in range(len(IDS))]
      self.assertEqual(numbers(store), expected)
      store.verify()
      store.write(IDS[:1], [value(30)])
      store.commit(3)
    with self.open() as store:
      self.assertEqual(numbers(store), [30] + expected[1:])
    files = {p.name for p in pathlib.Path(self.folder).rglob('*')}
    self.assertNoCommonElements(files, {'next', 'old'})

  def test_part_of_an_earlier_version_is_found(self):
    self.fill()
    folder = store_layout.part_folders(self.folder)[1]
    with self.open() as store:
      before = (folder / 'personal_store.sqlite').read_bytes()
      store.write(IDS, [value(20)] * len(IDS))
      store.commit(2)
    (folder / 'personal_store.sqlite').write_bytes(before)
    with self.assertRaisesRegex(
        errors.StoreError, 'Expected version 2 of .*/1, .* found version 1'
    ):
      self.open()

  def test_id_that_is_no_text(self):
    with self.open() as store:
      with self.assertRaisesRegex(ValueError, r'Convert them with str\(\)'):
        store.write(['\ud800'], [value(1)])

  def test_other_number_of_parts(self):
    self.fill()
    with self.assertRaisesRegex(
        ValueError, 'Expected `store_parts` 3 .*found 2'
    ):
      self.open(num_parts=2)

  def test_folder_with_one_file(self):
    with personal_store.PersonalStore(DEFAULT, self.folder):
      pass
    with self.assertRaisesRegex(ValueError, 'Expected `store_parts` 1'):
      self.open()

  def test_forgotten(self):
    self.fill()
    with self.open() as store:
      self.assertEqual(store.forget(['?', IDS[4]]), [IDS[4]])
    with self.open() as store:
      self.assertEqual(numbers(store, IDS[3:6]), [10, 0, 10])

  def test_merged(self):
    self.fill()
    with self.open() as store:
      store.write(IDS[:2], [value(20)] * 2)
      store.commit(2, [np.array(200)])
    self.assertEqual(merge_store.merge(self.folder), len(IDS))
    with personal_store.PersonalStore(DEFAULT, self.folder) as store:
      store.verify()
      self.assertEqual(store.restore([np.array(0)]), (2, [200]))
      self.assertEqual(numbers(store), [20] * 2 + [10] * (len(IDS) - 2))
      self.assertEqual(store.last_written(IDS)[:3], [2, 2, 1])
      store.write(['new'], [value(1)])
      store.commit(3)
    left = {p.name for p in pathlib.Path(self.folder).iterdir()}
    self.assertEqual(left, {'personal_store.sqlite', 'personal_store.lock'})
    with self.assertRaisesRegex(ValueError, 'Expected a store in parts'):
      merge_store.merge(self.folder)

  def test_merges_the_client_whose_id_is_empty(self):
    with self.open() as store:
      store.write(['', 'a'], [value(1), value(2)])
      store.commit(1)
    self.assertEqual(merge_store.merge(self.folder), 2)
    with personal_store.PersonalStore(DEFAULT, self.folder) as store:
      self.assertEqual(numbers(store, ['', 'a']), [1, 2])

  def test_merges_no_store_that_somebody_reads(self):
    self.fill()
    with self.open(read_only=True):
      with self.open() as store:
        store.write(IDS, [value(20)] * len(IDS))
        store.commit(2, [np.array(200)])
      with self.assertRaisesRegex(errors.StoreError, 'End it, and do this aga'):
        merge_store.merge(self.folder)
    with self.open() as store:
      self.assertEqual(numbers(store), [20] * len(IDS))
    self.assertEqual(merge_store.merge(self.folder), len(IDS))
    with personal_store.PersonalStore(DEFAULT, self.folder) as store:
      store.verify()
      self.assertEqual(numbers(store), [20] * len(IDS))

  def test_merge_goes_on_where_it_was_interrupted(self):
    self.fill()
    folder = pathlib.Path(self.folder)
    before = self.enterContext(tempfile.TemporaryDirectory())
    shutil.copytree(folder, before, dirs_exist_ok=True)
    merge_store.merge(folder)
    # It was killed when the new file was there, and all else still was, too.
    shutil.copy(folder / store_file.FILE_NAME, before)
    (pathlib.Path(before) / 'merged').mkdir()
    self.assertEqual(merge_store.merge(before), len(IDS))
    self.assertEqual(
        {p.name for p in pathlib.Path(before).iterdir()},
        {p.name for p in folder.iterdir()},
    )

  def test_merges_no_store_without_a_checkpoint(self):
    with self.open() as store:
      store.write(IDS, [value(10)] * len(IDS))
    with self.assertRaisesRegex(errors.StoreError, 'checkpoint .* none yet'):
      merge_store.merge(self.folder)

  def test_merges_no_half_checkpoint(self):
    self.fill()
    process = multiprocessing.get_context('fork').Process(
        target=_die_while_saving, args=(self.folder, NUM_PARTS, False)
    )
    process.start()
    process.join()
    with self.assertRaisesRegex(errors.StoreError, 'a checkpoint was interr'):
      merge_store.merge(self.folder)
    with self.open() as store:
      self.assertEqual(numbers(store)[0], 20)
    self.assertEqual(merge_store.merge(self.folder), len(IDS))

  def test_merge_finds_damage(self):
    self.fill()
    folder = store_layout.part_folders(self.folder)[0]
    path = folder / 'personal_store.sqlite'
    data = path.read_bytes()
    pattern = np.full(3, 10, np.float32).tobytes()
    path.write_bytes(data.replace(pattern, pattern[:-1] + b'\x00', 1))
    with self.assertRaisesRegex(errors.StoreError, 'a row of a part'):
      merge_store.merge(self.folder)
    self.assertIsNotNone(store_layout.read(self.folder))


if __name__ == '__main__':
  absltest.main()
