# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds, starts and ends TFF's `worker_binary`. No TensorFlow here.

The worker by itself listens on a port at every address of the machine and has
no flag to restrict this. Its protocol has no passwords: whoever reaches the
port can run programs as the user. So a worker for this program alone is given a
socket that only this program can reach (`private_socket.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
import contextlib
import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import BinaryIO, Optional

from absl import logging
import humanize
import psutil

from tff_partial import errors
from tff_partial.runtime import private_socket

_START_SECONDS = 60.0
_POLL_SECONDS = 0.01
_LOG_TAIL_BYTES = 2000
# Asks the kernel to kill this process when its parent ends, then becomes the
# worker. A worker that crashes leaves no core, which would hold people's data.
# This is not a `preexec_fn`, which is unsafe in a program with threads.
# The last check is for a parent that ended before the request.
_DIE_WITH_PARENT = """
import ctypes, os, resource, signal, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
  os.execv(sys.argv[2], sys.argv[2:])
"""


def binary() -> pathlib.Path:
  """Returns the path of TFF's worker, without importing TFF.

  Raises:
    errors.WorkerError: If TFF is not installed.
  """
  spec = importlib.util.find_spec('tensorflow_federated')
  if spec is None or spec.origin is None:
    raise errors.WorkerError(
        'Expected TensorFlow Federated to be installed, found no such package.'
        ' Install requirements.txt.'
    )
  return pathlib.Path(spec.origin).parent / 'data' / 'worker_binary'


def usable_cores() -> int:
  """Returns the number of cores that this program may use.

  `taskset` and containers may allow fewer than the machine has.
  """
  if hasattr(os, 'sched_getaffinity'):  # Not on macOS.
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _defaults(max_concurrent_clients: int) -> dict[str, str]:
  """Returns environment variables by which clients share the cores.

  By default TensorFlow starts a thread per core for each client that computes.
  These threads compete, and the order of sums, hence their last bits, would
  depend on the machine even with one client per core.

  By default glibc has an arena for each of the worker's many threads, and its
  memory grows over thousands of rounds although it holds no more values.
  """
  cores = usable_cores()
  variables = {'MALLOC_ARENA_MAX': str(cores)}
  if max_concurrent_clients:
    threads = -(-cores // max_concurrent_clients)
    variables['TF_NUM_INTRAOP_THREADS'] = str(threads)
  return variables


class WorkerProcess:
  """A worker on this machine, which ends when this program ends."""

  def __init__(
      self,
      *,
      max_concurrent_clients: int,
      log: BinaryIO,
      variables: Mapping[str, str],
  ):
    """Starts the process and waits until it accepts connections.

    It listens at a socket that only this program can reach. Where this cannot
    be had, a warning says why, and it listens at an unused port.

    Args:
      max_concurrent_clients: Number of clients that compute at the same time
        and share the cores; 0 for all.
      log: A file for its output.
      variables: Environment variables in addition to this program's.

    Raises:
      errors.WorkerError: If it ends, or does not accept connections within a
        minute.
    """
    self._log = log
    self._max_concurrent_clients = max_concurrent_clients
    self._variables = variables
    self._socket: Optional[private_socket.PrivateSocket] = None
    self._port = 0
    if not self._start_in_private():
      self._start_at_a_port()

  @property
  def target(self) -> str:
    """The address for gRPC."""
    if self._socket is not None:
      return f'unix:{self._socket.path}'
    return f'localhost:{self._port}'

  def refuse_others(self) -> None:
    """Lets nobody connect from now on, if it has a private socket."""
    if self._socket is not None:
      self._socket.remove_file()

  @property
  def pid(self) -> int:
    return self._process.pid

  def has_ended(self, within_seconds: float) -> bool:
    """Whether the process has ended or ends within this time."""
    try:
      self._process.wait(within_seconds)
    except subprocess.TimeoutExpired:
      return False
    return True

  def how_it_ended(self) -> str:
    """Returns two sentences: exit status or signal, and the end of the log."""
    status = self._process.returncode
    how = f'exit status {status}'
    if status < 0:
      how = f'killed by {signal.Signals(-status).name}'
    if status == -signal.SIGKILL:
      how += ', probably because memory ran out'
    size = os.fstat(self._log.fileno()).st_size
    # The worker shares the file's position, so this must not move it.
    tail = os.pread(
        self._log.fileno(), _LOG_TAIL_BYTES, max(0, size - _LOG_TAIL_BYTES)
    )
    lines = tail.decode(errors='replace').strip().splitlines()[-3:]
    return f'{how}. Its log ends: {" | ".join(lines) or "(empty)"}.'

  def stop(self) -> None:
    self._process.kill()  # It has nothing to save.
    self._process.wait()
    if self._socket is not None:
      self._socket.close()

  def _start_in_private(self) -> bool:
    """Starts the process at a private socket; False where there are none."""
    try:
      self._socket = private_socket.PrivateSocket()
      self._process = self._start_process()
      with self._stop_if_it_fails():
        ended = lambda: self._process.poll() is not None
        if not self._socket.hand_over(ended):
          raise self._not_started()
      return True
    except (private_socket.UnavailableError, OSError) as error:
      logging.warning(
          'The TFF worker listens at every address of this machine, and whoever'
          ' reaches it can run programs as you: found no private socket for it'
          ' (%s). Use Linux 5.9 or newer, or a firewall.',
          error,
      )
      if self._socket is not None:
        self._socket.close()
        self._socket = None
      return False

  def _start_at_a_port(self) -> None:
    """Starts the process and waits until it listens at a port."""
    self._process = self._start_process()
    with self._stop_if_it_fails():
      deadline = time.monotonic() + _START_SECONDS
      while time.monotonic() < deadline:
        if self._process.poll() is not None:
          raise self._not_started()
        # A port that the process itself has: nobody else answers there.
        ports = _listens_at(self._process.pid)
        if ports:
          self._port = ports[0]
          return
        time.sleep(_POLL_SECONDS)
      raise self._not_started()

  def _start_process(self) -> subprocess.Popen:
    command = [
        str(binary()),
        '--port=0',
        f'--max_concurrent_computation_calls={self._max_concurrent_clients}',
    ]
    descriptors: Sequence[int] = ()
    if self._socket is not None:
      command = self._socket.command(command)
      descriptors = self._socket.descriptors
    return _start(
        command,
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        stdout=self._log,
        stderr=self._log,
        start_new_session=True,  # Ctrl-C must not reach the worker.
        env={
            **_defaults(self._max_concurrent_clients),
            **os.environ,
            'TF_CPP_MIN_LOG_LEVEL': '2',
            **self._variables,
        },
    )

  @contextlib.contextmanager
  def _stop_if_it_fails(self) -> Iterator[None]:
    try:
      yield
    except BaseException:
      self.stop()
      raise

  def _not_started(self) -> errors.WorkerError:
    if self.has_ended(within_seconds=1.0):
      return errors.WorkerError(
          f'The TFF worker did not start: {self.how_it_ended()} Run'
          ' `python run_experiment.py --doctor`.'
      )
    return errors.WorkerError(
        'The TFF worker did not listen within'
        f' {humanize.precisedelta(_START_SECONDS)}. Run `python'
        ' run_experiment.py --doctor`.'
    )


def _listens_at(pid: int) -> list[int]:
  """The TCP ports at which a process listens."""
  try:
    connections = psutil.Process(pid).net_connections('tcp')
  except psutil.Error:  # It has ended.
    return []
  return [
      connection.laddr.port
      for connection in connections
      if connection.status == psutil.CONN_LISTEN
  ]


def _start(command: list[str], **kwargs) -> subprocess.Popen:
  """Starts a process that Linux kills when this one ends, however it ends.

  For Linux the parent is the thread that started the process, so a separate
  thread starts it and waits for it.
  """
  if sys.platform == 'linux':
    wrapper = [sys.executable, '-I', '-S', '-c', _DIE_WITH_PARENT]
    command = [*wrapper, str(os.getpid()), *command]
  started = futures.Future()

  def start_and_wait():
    try:
      process = subprocess.Popen(command, **kwargs)
    except OSError as error:
      started.set_exception(error)
      return
    started.set_result(process)
    process.wait()

  threading.Thread(target=start_and_wait, daemon=True).start()
  return started.result()
