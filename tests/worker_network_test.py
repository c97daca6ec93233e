# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Workers with addresses of their own, on links that are cut and slowed.

Each is served by the command in a network namespace of its own, with a pair of
virtual devices as the link. That takes Linux, root and `ip`; without, the tests
say what is missing and are skipped.
"""

import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from absl.testing import absltest

from tests import remote_workers_test
from tff_partial import runtime

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PORT = 8000
_LINKS = itertools.count()


def setUpModule():
  runtime.remove_default_context()


class Link:
  """A worker at the other end of a link."""

  def __init__(self, test, number):
    # No longer than the 15 letters that Linux allows; of each test its own, as
    # a namespace is gone only some time after it was deleted.
    self._name = f'tffp{os.getpid() % 10**6}x{next(_LINKS)}'
    # Addresses for benchmarks (RFC 2544), four for each link.
    here, self._there = (f'198.18.{number}.{i}' for i in (1, 2))
    self._ip('netns', 'add', self._name)
    test.addCleanup(self._ip, 'netns', 'delete', self._name)
    other_end = ['peer', 'name', 'eth0', 'netns', self._name]
    self._ip('link', 'add', self._name, 'type', 'veth', *other_end)
    self._ip('address', 'add', f'{here}/30', 'dev', self._name)
    inside = ['-n', self._name]
    self._ip(*inside, 'address', 'add', f'{self._there}/30', 'dev', 'eth0')
    self._ip(*inside, 'link', 'set', 'lo', 'up')
    self._ip(*inside, 'link', 'set', 'eth0', 'up')
    self.set('up')
    command = [sys.executable, '-m', 'tff_partial.serve_worker']
    self._server = subprocess.Popen(
        ['ip', 'netns', 'exec', self._name, *command]
        + [f'--host={self._there}', f'--port={_PORT}']
        + ['--max_concurrent_clients=1'],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    test.addCleanup(self._server.communicate)
    test.addCleanup(self._server.kill)
    test.assertIn(self._there, self._server.stdout.readline())

  @property
  def address(self):
    return f'{self._there}:{_PORT}'

  def set(self, state):
    """Makes the link 'up' or 'down'."""
    self._ip('link', 'set', self._name, state)

  def slow(self, test):
    """Delays what is sent, or skips the test where Linux cannot."""
    done = subprocess.run(
        ['tc', 'qdisc', 'add', 'dev', self._name, 'root', 'netem']
        + ['delay', '50ms', 'rate', '20mbit'],
        capture_output=True,
        text=True,
    )
    if done.returncode:
      test.skipTest(f'Links cannot be slowed down here: {done.stderr}')

  def kill(self):
    self._server.send_signal(signal.SIGKILL)

  def _ip(self, *arguments):
    subprocess.run(['ip', *arguments], check=True)


class WorkerNetworkTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    if sys.platform != 'linux' or not shutil.which('ip') or os.geteuid():
      self.skipTest('This takes Linux, root and the command "ip".')
    probe = subprocess.run(
        ['unshare', '--net', 'ip', 'link', 'add', 'probe', 'type', 'veth'],
        capture_output=True,
        text=True,
    )
    if probe.returncode:
      self.skipTest(f'Networks cannot be made here: {probe.stderr}')

  def train(self, links, during_shard=None):
    with remote_workers_test.dispatcher_of(
        [link.address for link in links]
    ) as dispatcher:
      return remote_workers_test.train(
          dispatcher, total_rounds=1, during_shard=during_shard
      )

  def assert_same(self, found, expected):
    self.assertEqual(
        [leaf.tobytes() for leaf in found[0]],
        [leaf.tobytes() for leaf in expected[0]],
    )
    self.assertEqual(found[1:], expected[1:])

  def test_link_down_and_machine_dead_in_mid_round(self):
    links = [Link(self, i) for i in range(3)]
    expected = self.train(links)

    def maltreat(reads):
      if reads == 1:  # Before its first shard arrives.
        links[0].set('down')
      elif reads == 3:
        links[1].kill()

    self.assert_same(self.train(links, maltreat), expected)
    # What was only cut off is good again.
    links[0].set('up')
    self.assert_same(self.train([links[0], links[2]]), expected)

  def test_slow_link(self):
    links = [Link(self, i) for i in range(2)]
    expected = self.train(links)
    links[0].slow(self)
    self.assert_same(self.train(links), expected)


if __name__ == '__main__':
  absltest.main()
