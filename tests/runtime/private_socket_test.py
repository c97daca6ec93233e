# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Attacks on the worker of this machine by another user.

Without root, nobody can be another user. Then the attacker is this user, who is
allowed more, but whom folders do not keep out.
"""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest
import psutil

from tests.helpers import paths
from tests.helpers import sharded
from tff_partial.runtime import local
from tff_partial.runtime import private_socket

_NOBODY = 65534
# Another user may not be able to read Python's own files: imports come first.
_BECOME_NOBODY = f"""
import glob, os, select, socket, sys
if not os.geteuid():
  os.setgroups([])
  os.setgid({_NOBODY})
  os.setuid({_NOBODY})
"""
# Takes the port of each worker that a process starts, before the worker does,
# and prints when it is connected to.
_SQUAT = """
taken = {}
print('ready', flush=True)
while True:
  for folder in glob.glob('/proc/[0-9]*'):
    try:
      words = open(folder + '/cmdline').read().split(chr(0))
      parent = open(folder + '/stat').read().rpartition(')')[2].split()[1]
    except OSError:
      continue
    if parent != sys.argv[1]:
      continue
    for word in words:
      port = int(word.partition('=')[2]) if word.startswith('--port=') else 0
      if port and port not in taken:
        taken[port] = []
        for family, host in (
            (socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')
        ):
          try:
            s = socket.socket(family)
            s.bind((host, port))
            s.listen()
          except OSError:
            continue
          taken[port].append(s)
  sockets = [s for port in taken.values() for s in port]
  for s in select.select(sockets, [], [], 0)[0]:
    s.accept()
    print('connected', flush=True)
"""
_ENTER = """
try:
  socket.socket(socket.AF_UNIX).connect(sys.argv[1])
except PermissionError:
  print('denied')
"""
# Denies itself the call by which a process can be stopped at listen(), as old
# kernels and some containers do; then does what is asked.
_WITHOUT_FILTERS = """
import ctypes, errno, platform, struct
from tff_partial.runtime import private_socket
_, _, seccomp = private_socket._CALLS[platform.machine()]
lines = ctypes.create_string_buffer(b''.join(
    struct.pack('HBBI', *line) for line in (
        (0x20, 0, 0, 0),
        (0x15, 0, 1, seccomp),
        (0x06, 0, 0, 0x00050000 | errno.ENOSYS),
        (0x06, 0, 0, 0x7fff0000),
    )
))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
program = struct.pack('@HP', 4, ctypes.addressof(lines))
assert libc.prctl(22, 2, program) == 0
from tests.helpers import sharded
from tff_partial.runtime import local
with local.local_worker():
  print(sharded.count_to(7))
"""


def _worker() -> psutil.Process:
  [worker] = [
      child
      for child in psutil.Process().children()
      if child.name() == 'worker_binary'
  ]
  return worker


class PrivateSocketTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.assertEqual(sys.platform, 'linux', 'Only Linux has such sockets.')

  def as_another_user(self, program, *arguments):
    """Starts a Python program as a user who owns nothing here, if root can."""
    process = subprocess.Popen(
        [
            sys.executable,
            '-c',
            _BECOME_NOBODY + program,
            *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    self.addCleanup(process.stdout.close)
    self.addCleanup(process.wait)
    self.addCleanup(process.kill)
    return process

  def test_the_worker_listens_nowhere_and_computes(self):
    with local.local_worker():
      self.assertEqual(sharded.count_to(7), 7)
      self.assertEmpty(_worker().net_connections('inet'))

  def assert_takes_the_port_that_is_told(self, attacker):
    """Checks that the attack works on a process with a port."""
    with socket.create_server(('127.0.0.1', 0)) as unused:
      address = unused.getsockname()
    victim = subprocess.Popen(
        [
            sys.executable,
            '-c',
            'import sys; sys.stdin.read()',
            f'--port={address[1]}',
        ],
        stdin=subprocess.PIPE,
    )
    self.addCleanup(victim.communicate)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
      with contextlib.suppress(ConnectionRefusedError):
        with socket.create_connection(address):
          break
    self.assertEqual(attacker.stdout.readline(), 'connected\n')

  def test_another_user_cannot_take_the_place_of_a_starting_worker(self):
    attacker = self.as_another_user(_SQUAT, os.getpid())
    self.assertEqual(attacker.stdout.readline(), 'ready\n')
    for number in range(3):
      with local.local_worker():
        self.assertEqual(sharded.count_to(number), number)
    self.assert_takes_the_port_that_is_told(attacker)
    attacker.send_signal(signal.SIGTERM)
    found, _ = attacker.communicate()
    self.assertEqual(found, '')

  def test_another_user_cannot_enter_the_folder_of_the_socket(self):
    private = private_socket.PrivateSocket()
    self.addCleanup(private.close)
    folder = private.path.parent.stat()
    self.assertEqual(folder.st_mode & 0o777, 0o700)
    self.assertEqual(folder.st_uid, os.geteuid())
    if not os.geteuid():
      attacker = self.as_another_user(_ENTER, private.path)
      self.assertEqual(attacker.communicate()[0], 'denied\n')

  def test_nobody_can_connect_a_second_time(self):
    with tempfile.TemporaryDirectory() as folder:
      previous, tempfile.tempdir = tempfile.tempdir, folder
      self.addCleanup(setattr, tempfile, 'tempdir', previous)
      with local.local_worker():
        self.assertEmpty(os.listdir(folder))
        self.assertEqual(sharded.count_to(7), 7)

  def test_long_names_of_temporary_folders(self):
    with tempfile.TemporaryDirectory() as folder:
      long = pathlib.Path(folder, 'x' * 100)
      long.mkdir()
      previous, tempfile.tempdir = tempfile.tempdir, str(long)
      self.addCleanup(setattr, tempfile, 'tempdir', previous)
      with local.local_worker():
        self.assertEqual(sharded.count_to(7), 7)
      self.assertEmpty(os.listdir(long))

  def test_says_where_it_cannot_be_had_and_computes(self):
    done = subprocess.run(
        [sys.executable, '-c', _WITHOUT_FILTERS],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
    )
    self.assertEqual(done.stdout, '7\n', done.stderr)
    [line] = [w for w in done.stderr.splitlines() if 'private socket' in w]
    self.assertIn('Function not implemented', line)


if __name__ == '__main__':
  absltest.main()
