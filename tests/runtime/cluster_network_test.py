# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A machine of a cluster that is cut off in mid-round.

It has a network namespace of its own, with a pair of virtual devices as the
link. That takes Linux, root and `ip`; without, the test says what is missing.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

from absl.testing import absltest

from tests.helpers import ray_cluster
from tests.helpers import sharded
from tff_partial.runtime import cluster
from tff_partial.runtime import ray_connection
from tff_partial.runtime import sharding

_CLIENTS = 28
_SECONDS = 120
# Addresses for benchmarks (RFC 2544).
_HERE, _THERE = '198.18.7.1', '198.18.7.2'


class Machine:
  """A node of a cluster at the other end of a link."""

  def __init__(self, test, address):
    # No longer than the 15 letters that Linux allows.
    self._name = f'tffp{os.getpid() % 10**6}'
    self._ip('netns', 'add', self._name)
    test.addCleanup(self._ip, 'netns', 'delete', self._name)
    other_end = ['peer', 'name', 'eth0', 'netns', self._name]
    self._ip('link', 'add', self._name, 'type', 'veth', *other_end)
    self._ip('address', 'add', f'{_HERE}/30', 'dev', self._name)
    inside = ['-n', self._name]
    self._ip(*inside, 'address', 'add', f'{_THERE}/30', 'dev', 'eth0')
    self._ip(*inside, 'link', 'set', 'lo', 'up')
    self._ip(*inside, 'link', 'set', 'eth0', 'up')
    self.set('up')
    self._ip(*inside, 'route', 'add', 'default', 'via', _HERE)
    test.addCleanup(self._kill)
    command = [sys.executable, '-m', 'ray.scripts.scripts', 'start', '--block']
    self._process = subprocess.Popen(
        ['ip', 'netns', 'exec', self._name, *command]
        + [f'--address={address}', f'--node-ip-address={_THERE}']
        + ['--num-cpus=1'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

  def set(self, state):
    """Makes the link 'up' or 'down'."""
    self._ip('link', 'set', self._name, state)

  def _kill(self):
    found = subprocess.run(
        ['ip', 'netns', 'pids', self._name], capture_output=True, text=True
    )
    for pid in map(int, found.stdout.split()):
      os.kill(pid, signal.SIGKILL)
    self._process.wait()

  def _ip(self, *arguments):
    subprocess.run(['ip', *arguments], check=True)


class ClusterNetworkTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.assertEqual(sys.platform, 'linux', 'Networks are made on Linux only.')
    self.assertTrue(shutil.which('ip'), 'Expected iproute2, found no "ip".')
    self.assertEqual(os.geteuid(), 0, 'Only root makes networks.')

  def test_link_down_in_mid_round(self):
    simulated = ray_cluster.SimulatedCluster(type(self), 1)
    machine = Machine(self, simulated.address)
    deadline = time.monotonic() + _SECONDS
    while simulated.num_nodes() < 3 and time.monotonic() < deadline:
      time.sleep(0.1)

    def disturb(reads):
      if reads == 12:
        machine.set('down')

    with cluster.connect('auto', actor_cores=1) as engine:
      self.assertLen(engine.handles, 2)
      self.assertCountEqual(ray_connection.cores_of_nodes(), [0, 1, 1])
      found = sharded.train(engine, num_clients=_CLIENTS, during_shard=disturb)
      expected = sharded.train(sharding.ThisThread(), num_clients=_CLIENTS)
    self.assertEqual(
        [leaf.tobytes() for leaf in found[0]],
        [leaf.tobytes() for leaf in expected[0]],
    )
    self.assertEqual(found[1:], expected[1:])


if __name__ == '__main__':
  absltest.main()
