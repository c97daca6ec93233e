# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the computations of a run take place.

That a run with `cluster` reaches one is tested in `run_on_cluster_test.py`.
"""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow_federated as tff

from tff_partial.experiments import computing
from tff_partial.experiments import run_folder
from tff_partial.experiments.settings import config as config_lib
from tff_partial.runtime import sharding


def config(**settings):
  return config_lib.create(**{'clients_per_round': 20, **settings})


class ComputingTest(absltest.TestCase):

  def test_clients_per_shard(self):
    found = lambda **settings: computing.clients_per_shard(config(**settings))
    # Twenty clients in eight shards at most.
    self.assertEqual(found(cluster='local'), 3)
    self.assertEqual(found(cluster='local', clients_per_shard=7), 7)
    self.assertEqual(found(clients_per_shard=7), 7)
    self.assertIsNone(found())

  def test_clients_at_once(self):
    found = lambda **settings: computing.clients_at_once(config(**settings), 4)
    self.assertEqual(found(), 4)
    self.assertEqual(found(max_concurrent_clients=9), 9)
    self.assertEqual(found(clients_per_round=2), 2)
    self.assertEqual(found(cluster='local'), 3)

  def test_worker_of_this_machine(self):
    @tff.tensorflow.computation(np.int32)
    def add_one(x):
      return x + 1

    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder)
      with computing.start(
          config(runtime='worker'), run_folder.RunFolder(path)
      ) as found:
        self.assertEqual(add_one(1), 2)
      self.assertTrue((path / 'worker.log').exists())
    self.assertIsInstance(found.engine, sharding.ThisThread)
    self.assertIsNone(found.clients_per_shard)


if __name__ == '__main__':
  absltest.main()
