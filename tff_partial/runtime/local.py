# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Starts TFF's worker process, restarts it once if it dies, and stops it.

TFF runs computations in its own process, `worker_binary`. TFF starts it at the
first call, lets it print to the program's stdout, repeats failed calls without
end, and leaves it running when the program ends. Here the program owns its
worker:

    with local.local_worker():
      state = process.initialize()

The worker ends with the block, however the block is left (also by Ctrl-C and
SIGTERM), and on Linux with the program, even if the program is killed. Its
output goes to a log. If it dies during a call, it is restarted and the call is
repeated once.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import signal
import sys
import tempfile
import threading
from typing import Any, BinaryIO, Optional

from absl import logging
import grpc
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.runtime import connection
from tff_partial.runtime import worker_process

_CONNECT_SECONDS = 60.0
# gRPC would close an idle connection after half an hour and make a new one, but
# nobody can connect to a worker a second time.
_ALWAYS_CONNECTED = ('grpc.client_idle_timeout_ms', 2**31 - 1)
_EXIT_SECONDS = 1.0  # A process that dies breaks its connection before it ends.


@contextlib.contextmanager
def local_worker(
    *,
    max_concurrent_clients: Optional[int] = None,
    log_file: Optional[str] = None,
    environment: Optional[Mapping[str, str]] = None,
    compiled: bool = False,
) -> Iterator[tff.framework.SyncContext]:
  """Runs this thread's TFF computations in a worker that this program owns.

  Blocks may be nested: the computations of an inner one run in its own worker.
  TFF has one default context per thread: in another thread, call
  `tff.framework.set_default_context` with the context that this yields.

  Args:
    max_concurrent_clients: Number of clients that compute at the same time,
      each with its own memory; None for one per core, 0 for the whole cohort.
    log_file: The worker's output is appended to this file; None for a temporary
      file.
    environment: Environment variables of the worker, such as
      `TF_NUM_INTRAOP_THREADS`, which is by default the cores per client.
    compiled: Whether computations come compiled; see `in_process`.

  Yields:
    The context, which is this thread's default until the block ends.

  Raises:
    errors.WorkerError: If the worker does not start, or dies twice in one call.
  """
  with (
      exit_on_sigterm(),
      worker_context(
          max_concurrent_clients=max_concurrent_clients,
          log_file=log_file,
          environment=environment,
          compiled=compiled,
      ) as context,
      installed(context),
  ):
    yield context


@contextlib.contextmanager
def worker_context(
    *,
    max_concurrent_clients: Optional[int] = None,
    log_file: Optional[str] = None,
    environment: Optional[Mapping[str, str]] = None,
    compiled: bool = False,
) -> Iterator[tff.framework.SyncContext]:
  """The context of `local_worker`, without making it the default."""
  num_clients = (
      worker_process.usable_cores()
      if max_concurrent_clients is None
      else max_concurrent_clients
  )
  compiler = None if compiled else connection.Compiler()
  with contextlib.ExitStack() as stack:
    log = stack.enter_context(
        open(log_file, 'a+b') if log_file else tempfile.TemporaryFile()
    )

    def start() -> _Worker:
      return _Worker(num_clients, log, dict(environment or {}), compiler)

    context = _WorkerContext(start)
    stack.callback(context.stop)
    yield context


@contextlib.contextmanager
def installed(context: tff.framework.SyncContext) -> Iterator[None]:
  """Makes a context this thread's default until the block ends."""
  outer = tff.framework.get_context_stack().current
  tff.framework.set_default_context(context)
  try:
    yield
  finally:
    if isinstance(outer, OwnedContext):
      tff.framework.set_default_context(outer)
    else:
      remove_default_context()


def shared_cores(cores: int, max_concurrent_clients: int) -> dict[str, str]:
  """A worker's environment if it may use some of the machine's cores only.

  Args:
    cores: Number of cores that it may keep busy.
    max_concurrent_clients: Number of clients that share them.
  """
  threads = max(1, cores // max_concurrent_clients)
  return {
      'MALLOC_ARENA_MAX': str(cores),
      'TF_NUM_INTRAOP_THREADS': str(threads),
  }


def remove_default_context():
  """Makes every computation outside of `local_worker` an error.

  Importing TFF sets a context that would start a worker at the first call, and
  that prints a traceback if the program ends without a call.
  """
  tff.framework.set_default_context(tff.test.create_runtime_error_context())


class OwnedContext(tff.framework.SyncContext):
  """A context of this program, other than that which importing TFF sets."""


class _WorkerContext(OwnedContext):
  """Runs computations in a worker, and in a second one if the first dies."""

  def __init__(self, start: Callable[[], '_Worker']):
    self._start = start
    self._worker = start()
    # Threads may share a context.
    self._lock = threading.Lock()

  def invoke(self, comp: Any, arg: Any) -> Any:
    worker = self._worker
    try:
      return worker.context.invoke(comp, arg)
    except grpc.RpcError:
      if not worker.has_died():
        raise
      logging.warning(
          'The TFF worker died: %s Repeating the call in a new one.',
          worker.how_it_ended(),
      )
      worker = self._replace(worker)
    try:
      return worker.context.invoke(comp, arg)
    except grpc.RpcError as error:
      if not worker.has_died():
        raise
      how = worker.how_it_ended()
      self._replace(worker)
      raise errors.WorkerError(
          f'The TFF worker died twice during one call: {how} Use fewer'
          ' `max_concurrent_clients` or `clients_per_round`, and run again.'
      ) from error

  def stop(self):
    self._worker.stop()

  def _replace(self, dead: '_Worker') -> '_Worker':
    """Starts a new worker, unless another thread has; returns it."""
    with self._lock:
      if self._worker is dead:
        dead.stop()
        self._worker = self._start()
      return self._worker


class _Worker:
  """One worker process, and the TFF context that is connected to it."""

  def __init__(
      self,
      max_concurrent_clients: int,
      log: BinaryIO,
      variables: dict[str, str],
      compiler: Optional[connection.Compiler],
  ):
    """Starts the process and connects to it."""
    self._process = worker_process.WorkerProcess(
        max_concurrent_clients=max_concurrent_clients,
        log=log,
        variables=variables,
    )
    self._channel = grpc.insecure_channel(
        self._process.target, (*connection.CHANNEL_OPTIONS, _ALWAYS_CONNECTED)
    )
    with contextlib.ExitStack() as stack:
      stack.callback(self.stop)
      try:
        connection.ping(self._channel, seconds=_CONNECT_SECONDS)
      except grpc.RpcError as error:
        how = str(error.details())
        if self.has_died():
          how = self.how_it_ended()
        raise errors.WorkerError(
            f'The TFF worker does not answer: {how} Run `python'
            ' run_experiment.py --doctor`.'
        ) from error
      self._process.refuse_others()
      self.context = connection.create_context(self._channel, compiler)
      stack.pop_all()  # It is stopped later.

  def has_died(self) -> bool:
    """Whether the process has ended or is about to end."""
    return self._process.has_ended(_EXIT_SECONDS)

  def how_it_ended(self) -> str:
    return self._process.how_it_ended()

  def stop(self):
    self._process.stop()
    self._channel.close()


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
  """Makes SIGTERM raise SystemExit, so that blocks are left as usual.

  This has no effect outside of the main thread, the only one in which Python
  handles signals.
  """
  if threading.current_thread() is not threading.main_thread():
    yield
    return

  def exit_program(signum, unused_frame):
    sys.exit(128 + signum)

  previous = signal.signal(signal.SIGTERM, exit_program)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, previous)
