# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lets a process that would listen at a TCP port listen at a Unix socket.

TFF's worker listens at a port of every address of the machine, has no
passwords, and has no flag to change this. So Linux (5.9 or newer, see
seccomp_unotify(2)) stops the process in its call of listen(), and this program
puts a socket of its own in the place of the process's. That socket is in a
folder that no other user can enter, and is made before the process starts, so
whoever accepts a connection is the process that was started. The process cannot
listen elsewhere later, and its other system calls are as fast as before.
"""

from collections.abc import Callable, Sequence
import contextlib
import errno
import fcntl
import os
import pathlib
import platform
import select
import shutil
import socket
import struct
import sys
import tempfile

_CHILD_SECONDS = 60.0
_POLL_MILLISECONDS = 100
_MAX_PATH_BYTES = 107  # The longest address of a Unix socket.
# For each machine: its number in audit.h, and those of listen() and seccomp().
_CALLS = {
    'x86_64': (0xC000003E, 50, 317),
    'aarch64': (0xC00000B7, 201, 277),
}
# From Linux's seccomp.h.
_RECEIVE = 0xC0502100
_SEND = 0xC0182101
_ADD_DESCRIPTOR = 0x40182103
_ADD_AT_NUMBER = 1
_NOTIFICATION = struct.Struct('QIIiIQ6Q')
_ANSWER = struct.Struct('QqiI')
_NEW_DESCRIPTOR = struct.Struct('QIIII')
# Installs the filter in its own process, sends the descriptor by which Linux
# tells of calls to this program, and becomes the given command. The filter, in
# BPF: of this machine's calls, stop at listen(); allow all others.
_CHILD = """
import ctypes, os, socket, struct, sys
channel, machine, listen, seccomp = map(int, sys.argv[1:5])
PR_SET_NO_NEW_PRIVS = 38
SET_MODE_FILTER, SPEC_ALLOW, NEW_LISTENER = 1, 4, 8
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, NOTIFY = 0x7fff0000, 0x7fc00000
program = b''.join(struct.pack('HBBI', *line) for line in (
    (LOAD, 0, 0, 4),
    (IF_EQUAL, 0, 3, machine),
    (LOAD, 0, 0, 0),
    (IF_EQUAL, 0, 1, listen),
    (RETURN, 0, 0, NOTIFY),
    (RETURN, 0, 0, ALLOW),
))
lines = ctypes.create_string_buffer(program)
filter = struct.pack('@HP', len(program) // 8, ctypes.addressof(lines))
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
channel = socket.socket(fileno=channel)
told = -1
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
  told = libc.syscall(
      seccomp, SET_MODE_FILTER, SPEC_ALLOW | NEW_LISTENER, filter
  )
if told < 0:
  channel.send(os.strerror(ctypes.get_errno()).encode())
  sys.exit(1)
socket.send_fds(channel, [b'ok'], [told])
os.close(told)
channel.close()
os.execv(sys.argv[5], sys.argv[5:])
"""


class UnavailableError(Exception):
  """This machine cannot do this; the text says why."""


class PrivateSocket:
  """A Unix socket at which one process will listen.

  Attributes:
    path: The socket's file, in a folder of its own with mode 0700.
  """

  def __init__(self):
    """Makes the socket.

    Raises:
      UnavailableError: If this is not Linux, or an unknown kind of machine.
      OSError: If the socket cannot be made.
    """
    calls = _CALLS.get(platform.machine())
    if sys.platform != 'linux' or calls is None:
      raise UnavailableError(
          f'this is {platform.system()} on {platform.machine()}'
      )
    self._calls = calls
    with contextlib.ExitStack() as stack:
      self._listener = stack.enter_context(socket.socket(socket.AF_UNIX))
      self._ours, self._childs = socket.socketpair()
      stack.enter_context(self._ours)
      stack.enter_context(self._childs)
      self.path = _new_folder() / 'worker'
      stack.callback(self.remove_file)
      self._listener.bind(os.fspath(self.path))
      self._listener.listen(socket.SOMAXCONN)
      self._listener.setblocking(False)
      self._ours.settimeout(_CHILD_SECONDS)
      self._stack = stack.pop_all()

  @property
  def descriptors(self) -> Sequence[int]:
    """The descriptors that the process inherits."""
    return (self._childs.fileno(),)

  def command(self, command: Sequence[str]) -> list[str]:
    """Returns the command of the process that will listen at this socket."""
    numbers = [self._childs.fileno(), *self._calls]
    wrapper = [sys.executable, '-I', '-S', '-c', _CHILD, *map(str, numbers)]
    return [*wrapper, *command]

  def hand_over(self, has_ended: Callable[[], bool]) -> bool:
    """Waits until the process listens, and makes it listen at this socket.

    Args:
      has_ended: Whether the process has ended.

    Returns:
      Whether it listens; False if it ended or did not listen for a minute.

    Raises:
      UnavailableError: If Linux does not allow this.
    """
    self._childs.close()
    try:
      reason, descriptors, _, _ = socket.recv_fds(self._ours, 100, 1)
    except TimeoutError:
      return False
    if not descriptors:
      raise UnavailableError(reason.decode() or 'its process ended')
    [told] = descriptors
    try:
      return self._replace_socket(told, has_ended)
    finally:
      # From now on the process's calls of listen() fail.
      os.close(told)

  def remove_file(self) -> None:
    """Removes the file: nobody can connect any more, connections stay."""
    shutil.rmtree(self.path.parent, ignore_errors=True)

  def close(self) -> None:
    self._stack.close()

  def _replace_socket(self, told: int, has_ended: Callable[[], bool]) -> bool:
    poll = select.poll()
    poll.register(told, select.POLLIN)
    for _ in range(int(_CHILD_SECONDS * 1000 / _POLL_MILLISECONDS)):
      if has_ended():
        return False
      events = poll.poll(_POLL_MILLISECONDS)
      if not events:
        continue
      if not events[0][1] & select.POLLIN:  # The process is ending.
        return False
      notification = bytearray(_NOTIFICATION.size)
      try:
        fcntl.ioctl(told, _RECEIVE, notification)
        number, *_, theirs, _, _, _, _, _ = _NOTIFICATION.unpack(notification)
        fcntl.ioctl(
            told,
            _ADD_DESCRIPTOR,
            _NEW_DESCRIPTOR.pack(
                number,
                _ADD_AT_NUMBER,
                self._listener.fileno(),
                theirs,
                os.O_CLOEXEC,
            ),
        )
        fcntl.ioctl(told, _SEND, bytearray(_ANSWER.pack(number, 0, 0, 0)))
      except OSError as error:
        if error.errno == errno.ENOENT:  # The call was interrupted.
          continue
        raise UnavailableError(error.strerror) from error
      # The process alone listens: when it ends, connections fail.
      self._listener.close()
      return True
    return False


def _new_folder() -> pathlib.Path:
  """Makes a folder for this user alone whose name is short enough."""
  folder = tempfile.mkdtemp(prefix='tff_partial-')
  if len(os.fsencode(folder)) + len('/worker') > _MAX_PATH_BYTES:
    os.rmdir(folder)
    folder = tempfile.mkdtemp(prefix='tff_partial-', dir='/tmp')
  return pathlib.Path(folder)
