# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parts of the store on machines of a cluster, where clients are computed."""

import contextlib
import os
import pathlib
import signal
import tempfile

from absl.testing import absltest
import numpy as np
import psutil

from tests.helpers import ray_cluster
from tests.helpers import sharded
from tff_partial import errors
from tff_partial.privacy import secret_key
from tff_partial.runtime import cluster
from tff_partial.runtime import sharding
from tff_partial.training import merge_store
from tff_partial.training import parted_store
from tff_partial.training import personal_store
from tff_partial.training import remote_parts
from tff_partial.training import sampler
from tff_partial.training import store_layout
from tff_partial.training import stores

NUM_PARTS = 3
NUM_CLIENTS = 28


class RemotePartsTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.simulated = ray_cluster.SimulatedCluster(cls, 3)
    cls.engine = cls.enterClassContext(
        cluster.connect('auto', actor_cores=1, patience_seconds=10.0)
    )

  def setUp(self):
    super().setUp()
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.run_folder, self.machines_folder = folder / 'run', folder / 'disk'
    self.run_folder.mkdir()
    self.create()

  def create(self):
    store_layout.create(
        self.run_folder, NUM_PARTS, machines_folder=str(self.machines_folder)
    )

  def train(self, engine=None, **kwargs):
    return sharded.train(
        engine or self.engine,
        num_clients=NUM_CLIENTS,
        directory=str(self.run_folder),
        **kwargs,
    )

  def test_same_as_in_one_file(self):
    state, personal, steps = self.train()
    one = sharded.train(sharding.ThisThread(), num_clients=NUM_CLIENTS)
    for found, expected in zip(state, one[0], strict=True):
      np.testing.assert_allclose(found, expected, rtol=1e-5)
    self.assertEqual(list(personal), list(one[1]))
    for client_id, data in personal.items():
      np.testing.assert_allclose(
          np.frombuffer(data, np.float32),
          np.frombuffer(one[1][client_id], np.float32),
          rtol=1e-5,
          err_msg=client_id,
      )
    self.assertEqual(steps, one[2])
    on_disk = sorted(self.machines_folder.glob('*/*/personal_store.sqlite'))
    self.assertLen(on_disk, NUM_PARTS)
    for path in on_disk:
      self.assertEqual(path.stat().st_mode & 0o077, 0)

  def test_rounds_without_anybody(self):
    cohorts = []

    def sampler_fn(clients):
      found = sampler.PoissonSampler(clients, 1, secret_key.from_seed(1))
      cohorts.extend(found.cohort(i) for i in range(4))
      return found

    _, personal, _ = self.train(total_rounds=4, sampler_fn=sampler_fn)
    self.assertIn([], cohorts)
    self.assertCountEqual(personal, set().union(*cohorts))

  def test_any_number_of_processes_gives_the_same_bits(self):
    found = self.train()
    self.run_folder = self.run_folder.with_name('again')
    self.run_folder.mkdir()
    self.create()
    one = cluster.Cluster(self.engine.handles[:1])
    again = self.train(one)
    self.assertEqual(
        [leaf.tobytes() for leaf in found[0]],
        [leaf.tobytes() for leaf in again[0]],
    )
    self.assertEqual(found[1:], again[1:])

  def test_stopped_process_holds_up_nobody(self):
    stopped = ray_cluster.describe(self.engine)[1]['pid']

    def stop(reads):
      if reads == 4:
        os.kill(stopped, signal.SIGSTOP)

    try:
      _, personal, _ = self.train(during_shard=stop)
    finally:
      os.kill(stopped, signal.SIGCONT)
    self.assertLen(personal, NUM_CLIENTS)

  def test_lost_part_ends_the_run_which_goes_on(self):
    expected = self.train()
    self.run_folder = self.run_folder.with_name('again')
    self.run_folder.mkdir()
    self.create()

    def end_a_part(reads):
      # In the second round, after the first checkpoint.
      if reads == NUM_CLIENTS:
        ray_cluster.kill_process('ray::PartActor')

    with self.assertRaisesRegex(errors.WorkerError, 'from the last checkpoint'):
      self.train(during_shard=end_a_part)
    found = self.train()
    self.assertEqual(
        [leaf.tobytes() for leaf in found[0]],
        [leaf.tobytes() for leaf in expected[0]],
    )
    self.assertEqual(found[1], expected[1])

  def test_merged(self):
    _, personal, _ = self.train()
    default = sharded.default()
    with self.assertRaisesRegex(errors.StoreError, 'parts in .* of a cluster'):
      stores.open_store(default, str(self.run_folder), read_only=True)
    with self.assertRaisesRegex(errors.StoreError, 'parts in .* of a cluster'):
      merge_store.merge(self.run_folder)
    count = merge_store.merge(
        self.run_folder, open_sources_fn=remote_parts.open_sources
    )
    self.assertEqual(count, len(personal))
    with personal_store.PersonalStore(default, str(self.run_folder)) as store:
      store.verify()
      self.assertEqual(
          {c: store.read([c])[0].trainable[0].tobytes() for c in store},
          personal,
      )
      self.assertEqual(store.version, 2)

  def test_missing_part(self):
    self.train()
    [path] = self.machines_folder.glob('*/2')
    path.rename(path.with_name('elsewhere'))
    with self.assertRaisesRegex(
        errors.StoreError, r'/2 on a machine .* found it on none of 3'
    ):
      self.train(total_rounds=3)

  def test_reads_and_writes_from_here(self):
    default = sharded.default()
    with stores.open_store(default, str(self.run_folder)) as store:
      self.assertIsInstance(store, parted_store.PartedStore)
      files = []
      for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # Another of Ray's.
          if ''.join(process.cmdline()).startswith('ray::PartActor'):
            files.append({mapped.path for mapped in process.memory_maps()})
      self.assertLen(files, NUM_PARTS)
      for name in set.union(*files):
        self.assertNotIn('tensorflow', name)
      ids = [f'client_{i}' for i in range(250)]
      value = store.default
      store.write(ids, [value] * len(ids))
      store.commit(1)
      self.assertEqual(list(store), sorted(ids))
      self.assertEqual(store.num_clients, 250)
      self.assertEqual(store.last_written(['?', ids[3]]), [None, 1])
      np.testing.assert_allclose(
          store.mean().trainable[0], value.trainable[0], rtol=1e-6
      )
      self.assertEqual(store.forget([ids[3], '?']), [ids[3]])
      store.add([ids[3]], [value])
      self.assertEqual(store.last_written([ids[3]]), [0])
      store.verify()


if __name__ == '__main__':
  absltest.main()
