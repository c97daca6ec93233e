# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the computations of a run take place."""

import contextlib
import pathlib
import types
from unittest import mock

from absl.testing import absltest

from tff_partial.experiments import computing
from tff_partial.experiments.settings import config as config_lib
from tff_partial.runtime import cluster
from tff_partial.runtime import runtimes
from tff_partial.runtime import sharding

_FOLDER = types.SimpleNamespace(path=pathlib.Path('run'))


class ComputingTest(absltest.TestCase):

  def start(self, **settings):
    """What `start` yields, and the calls that start a cluster or a runtime."""
    engine = sharding.ThisThread()
    with (
        mock.patch.object(
            cluster, 'connect', return_value=contextlib.nullcontext(engine)
        ) as connect,
        mock.patch.object(
            runtimes, 'start', return_value=contextlib.nullcontext()
        ) as start,
        computing.start(
            config_lib.create(clients_per_round=20, **settings), _FOLDER
        ) as found,
    ):
      self.assertEqual(found.engine is engine, connect.called)
    return found, connect, start

  def test_cluster(self):
    found, connect, start = self.start(cluster='local', actor_cores=2)
    connect.assert_called_once()
    self.assertEqual(connect.call_args.args, ('local',))
    given = connect.call_args.kwargs
    self.assertEqual(given['actor_cores'], 2)
    self.assertEqual(given['log_file'], 'run/worker.log')
    start.assert_not_called()
    # Twenty clients in eight shards at most.
    self.assertEqual(found.clients_per_shard, 3)

  def test_this_machine(self):
    found, connect, start = self.start(
        runtime='worker', max_concurrent_clients=3
    )
    connect.assert_not_called()
    start.assert_called_once_with(
        'worker', max_concurrent_clients=3, log_file='run/worker.log'
    )
    self.assertIsNone(found.clients_per_shard)


if __name__ == '__main__':
  absltest.main()
