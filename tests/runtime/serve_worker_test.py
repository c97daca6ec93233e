# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command that serves a worker: at one address, and not longer than it."""

import signal
import socket
import subprocess
import sys

from absl.testing import absltest
import psutil

from tests.helpers import paths
from tests.helpers import workers as workers_lib
from tff_partial.runtime import remote
from tff_partial.runtime import worker_process

_ROOT = paths.ROOT


class ServeWorkerTest(absltest.TestCase):

  def serve(self, port, *arguments):
    """Starts the command; returns it and what it printed first."""
    command = [sys.executable, '-m', 'tff_partial.runtime.serve_worker']
    program = subprocess.Popen(
        [*command, f'--port={port}', *arguments],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    self.addCleanup(program.communicate)
    self.addCleanup(program.kill)
    line = program.stdout.readline()
    if not line:
      errors = program.stderr.read()
      if 'Expected to be allowed a network namespace' in errors:
        self.skipTest(errors)
      self.fail(errors)
    return program, line

  def test_serves_at_loopback_alone_until_it_is_ended(self):
    port = worker_process.unused_port()
    program, line = self.serve(port)
    self.assertIn(f'at 127.0.0.1:{port}. There is no password', line)
    with remote.connect([f'localhost:{port}']):
      self.assertEqual(workers_lib.count_to(7), 7)
    # TFF's worker by itself would answer here.
    for address in _other_addresses():
      with self.assertRaises(ConnectionRefusedError):
        socket.create_connection((address, port), timeout=5)
    [worker] = psutil.Process(program.pid).children()
    self.assertFalse(_reachable(worker))
    program.send_signal(signal.SIGTERM)
    self.assertEqual(program.wait(10), 0)
    worker.wait(10)

  def test_ends_with_a_line_when_the_worker_does(self):
    program, _ = self.serve(worker_process.unused_port())
    [worker] = psutil.Process(program.pid).children()
    worker.kill()
    self.assertEqual(program.wait(10), 1)
    self.assertRegex(
        program.stderr.read(), '^serve_worker: .*ended: killed by SIGKILL.*\n$'
    )

  def test_every_address_if_asked(self):
    port = worker_process.unused_port()
    self.serve(port, '--host=0.0.0.0')
    for address in _other_addresses():
      socket.create_connection((address, port), timeout=5).close()

  def test_host_that_stands_for_every_address_is_refused(self):
    # An unset variable gives the first one.
    for host in ('', '0', '::', '0.0'):
      with self.subTest(host=host):
        port = worker_process.unused_port()
        command = [sys.executable, '-m', 'tff_partial.runtime.serve_worker']
        done = subprocess.run(
            [*command, f'--port={port}', f'--host={host}'],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, '^serve_worker: .*every address.*\n$')

  def test_port_that_is_taken(self):
    with socket.create_server(('127.0.0.1', 0)) as taken:
      port = taken.getsockname()[1]
      done = subprocess.run(
          [
              sys.executable,
              '-m',
              'tff_partial.runtime.serve_worker',
              f'--port={port}',
          ],
          cwd=_ROOT,
          capture_output=True,
          text=True,
      )
    self.assertEqual(done.returncode, 1)
    self.assertRegex(done.stderr, f'^serve_worker: .*in use.*{port}.*\n$')


def _other_addresses():
  """This machine's IPv4 addresses but loopback's."""
  return [
      address.address
      for addresses in psutil.net_if_addrs().values()
      for address in addresses
      if address.family == socket.AF_INET
      and not address.address.startswith('127.')
  ]


def _reachable(worker):
  """Whether the worker's own port can be reached from here."""
  [port] = [
      argument.removeprefix('--port=')
      for argument in worker.cmdline()
      if argument.startswith('--port=')
  ]
  with socket.socket() as connection:
    return connection.connect_ex(('127.0.0.1', int(port))) == 0


if __name__ == '__main__':
  absltest.main()
