# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Machines of a cluster that are lost in mid-round."""

import os
import signal
import subprocess
import sys
import tempfile

from absl.testing import absltest

from tests.helpers import paths
from tests.helpers import ray_cluster
from tests.helpers import sharded
from tff_partial.runtime import cluster
from tff_partial.runtime import local
from tff_partial.runtime import sharding

_CLIENTS = 28  # 13 shards in two groups.


class NodeFaultsTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.simulated = ray_cluster.SimulatedCluster(cls, 3)
    cls.engine = cls.enterClassContext(cluster.connect('auto', actor_cores=1))

  def test_two_of_three_machines_are_lost(self):
    expected = sharded.train(sharding.ThisThread(), num_clients=_CLIENTS)

    def disturb(reads):
      if reads == 20:  # By now, each of them has sums.
        self.simulated.kill(self.simulated.nodes[0])
      elif reads == 26 + 4:  # In the second round.
        ray_cluster.send(self.simulated.nodes[1], 'raylet', signal.SIGSTOP)

    try:
      found = sharded.train(
          self.engine, num_clients=_CLIENTS, during_shard=disturb
      )
    finally:
      ray_cluster.send(self.simulated.nodes[1], 'raylet', signal.SIGCONT)
    self.assertEqual(
        [leaf.tobytes() for leaf in found[0]],
        [leaf.tobytes() for leaf in expected[0]],
    )
    self.assertEqual(found[1:], expected[1:])


class GoneTest(absltest.TestCase):

  def test_ends_within_two_minutes(self):
    # Ray alone would try for 13.
    program = (
        'from tff_partial.runtime import ray_connection\n'
        "with ray_connection.connect('auto', insecure_cluster=True):\n"
        '  pass'
    )
    others = {k: v for k, v in os.environ.items() if not k.startswith('RAY_')}
    done = subprocess.run(
        [sys.executable, '-c', program],
        cwd=paths.ROOT,
        env={**others, 'RAY_ADDRESS': '127.0.0.1:9'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    self.assertRegex(done.stderr, 'WorkerError: .* found none that answers')


class HeadFaultTest(absltest.TestCase):

  def test_program_ends_without_the_head_and_is_resumed(self):
    with tempfile.TemporaryDirectory() as folder:
      done = subprocess.run(
          [sys.executable, '-m', 'tests.runtime.node_faults_test', folder],
          cwd=paths.ROOT,
          env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
          capture_output=True,
          text=True,
      )
      self.assertNotEqual(done.returncode, 0)
      self.assertNotIn('trained', done.stdout)
      self.assertIn('GCS may have been killed', done.stderr)
      with local.local_worker(max_concurrent_clients=1):
        state, personal, steps = sharded.train(
            sharding.ThisThread(),
            num_clients=_CLIENTS,
            total_rounds=20,
            directory=folder,
        )
        expected = sharded.train(
            sharding.ThisThread(), num_clients=_CLIENTS, total_rounds=20
        )
    # Some rounds were trained before.
    self.assertBetween(len(steps), 1, 19)
    self.assertEqual(
        [leaf.tobytes() for leaf in state],
        [leaf.tobytes() for leaf in expected[0]],
    )
    self.assertEqual(personal, expected[1])


def _train_without_a_head(folder):
  """Kills the head after some rounds, and waits for Ray to end this program."""
  test_case = absltest.TestCase
  simulated = ray_cluster.SimulatedCluster(test_case, 1)

  def disturb(reads):
    if reads == 3 * 26:
      ray_cluster.send(simulated.head, 'gcs_server', signal.SIGKILL)
    elif reads == 5 * 26:
      signal.pause()

  with cluster.connect('auto', actor_cores=1) as engine:
    sharded.train(
        engine,
        num_clients=_CLIENTS,
        total_rounds=20,
        directory=folder,
        during_shard=disturb,
    )
    print('trained')


if __name__ == '__main__':
  if len(sys.argv) == 2 and os.path.isdir(sys.argv[1]):
    _train_without_a_head(sys.argv[1])
  else:
    absltest.main()
