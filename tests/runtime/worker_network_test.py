# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Workers on links that are cut, and on one that is slow.

Those that are cut off have addresses of their own: each is served by the
command in a network namespace of its own, with a pair of virtual devices as the
link. That takes Linux, root and `ip`; without, the tests say what is missing
and are skipped. The slow link is a relay that holds bytes back.
"""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from absl.testing import absltest

from tests.helpers import paths
from tests.helpers import workers as workers_lib
from tff_partial.runtime import dispatcher as dispatcher_lib
from tff_partial.runtime import local
from tff_partial.runtime import remote

_ROOT = paths.ROOT
_PORT = 8000
_PIECE_BYTES = 512
_UNLIMITED_BYTES = 4096  # Of each connection: a question whether one is there.
_LINKS = itertools.count()


def setUpModule():
  local.remove_default_context()


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
    command = [sys.executable, '-m', 'tff_partial.runtime.serve_worker']
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
    with workers_lib.dispatcher_of(
        [link.address for link in links]
    ) as dispatcher:
      return workers_lib.train(
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

    def disturb(reads):
      if reads == 1:  # Before its first shard arrives.
        links[0].set('down')
      elif reads == 3:
        links[1].kill()

    self.assert_same(self.train(links, disturb), expected)
    # What was only cut off is good again.
    links[0].set('up')
    self.assert_same(self.train([links[0], links[2]]), expected)


class SlowLink:
  """Relays what comes to its address to a worker on this machine.

  Attributes:
    bytes_per_second: On each connection, each way; None for all that comes.
    num_bytes: How many went to the worker.
  """

  def __init__(self, test, port):
    self.bytes_per_second = None
    self.num_bytes = 0
    self._port = port
    self._listener = socket.create_server(('127.0.0.1', 0))
    test.addCleanup(self._listener.close)
    threading.Thread(target=self._accept, daemon=True).start()

  @property
  def address(self):
    return f'localhost:{self._listener.getsockname()[1]}'

  def _accept(self):
    with contextlib.suppress(OSError):  # Closed at the end of the test.
      while True:
        here, _ = self._listener.accept()
        there = socket.create_connection(('127.0.0.1', self._port))
        for source, sink in ((here, there), (there, here)):
          threading.Thread(
              target=self._copy, args=(source, sink, sink is there), daemon=True
          ).start()

  def _copy(self, source, sink, to_worker):
    copied = 0
    with contextlib.suppress(OSError), source, sink:
      while data := source.recv(_PIECE_BYTES):
        copied += len(data)
        if self.bytes_per_second and copied > _UNLIMITED_BYTES:
          time.sleep(len(data) / self.bytes_per_second)
        self.num_bytes += len(data) * to_worker
        sink.sendall(data)


class SlowLinkTest(absltest.TestCase):

  def test_slow_link_does_not_stall_the_rest(self):
    workers = workers_lib.Workers(self, 2)
    link = SlowLink(self, workers.ports[1])

    def train():
      before, started_at = link.num_bytes, time.monotonic()
      reads = []
      found = workers_lib.train(
          dispatcher, total_rounds=1, during_shard=reads.append
      )
      seconds = time.monotonic() - started_at
      return found, seconds, link.num_bytes - before, len(reads)

    addresses = [workers.addresses[0], link.address]
    with remote.connect(addresses) as connected:
      with dispatcher_lib.Dispatcher(connected) as dispatcher:
        expected, seconds, num_bytes, _ = train()
        # The worker had at most three of the four shards.
        shard_bytes = num_bytes / 3
        link.bytes_per_second = shard_bytes / max(30.0, 10 * seconds)
        with self.assertNoLogs('absl', 'WARNING'):  # It is not lost, either.
          found, _, num_bytes, reads = train()
    self.assertEqual(
        [leaf.tobytes() for leaf in found[0]],
        [leaf.tobytes() for leaf in expected[0]],
    )
    self.assertEqual(found[1:], expected[1:])
    self.assertGreater(reads, 7)  # Its shard was given to the other as well.
    # Training ended before the link had carried a shard.
    self.assertGreater(num_bytes, 0)
    self.assertLess(num_bytes, shard_bytes)


if __name__ == '__main__':
  absltest.main()
