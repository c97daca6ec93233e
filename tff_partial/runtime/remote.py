# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Connects to, verifies and monitors workers; reconnects lost ones.

    with remote.connect(['10.0.0.1:8000', '10.0.0.2:8000']) as workers:
      ...

`python -m tff_partial.runtime.serve_worker` starts a worker. Each worker is
pinged every few seconds on a separate connection: a machine whose network is
cut sends no error, and TFF's worker accepts gRPC's keepalive only every five
minutes. A worker that does not answer is lost, and its calls are cancelled.
When it answers again, it is verified and used again.
"""

from collections.abc import Iterator, Sequence
import contextlib
import threading
import time
from typing import Any, NamedTuple, Optional

from absl import logging
import grpc
import humanize
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.runtime import connection
from tff_partial.runtime import local
from tff_partial.runtime import verification
from tff_partial.runtime import worker_process

_OPTIONS = (
    *connection.CHANNEL_OPTIONS,
    # Otherwise channels to one address share a connection, and a new channel
    # would hang like the one that it replaces.
    ('grpc.use_local_subchannel_pool', 1),
)


class Timing(NamedTuple):
  """When to ping a worker, and when to give up.

  Attributes:
    ping_seconds: Time between two pings, and the time limit of one.
    lost_seconds: A worker that does not answer for this long is lost.
    start_seconds: Time limit for all workers to be available at the start, and
      for the verification of one.
  """

  ping_seconds: float = 2.0
  lost_seconds: float = 20.0
  start_seconds: float = 60.0


_USUAL_TIMING = Timing()


@contextlib.contextmanager
def connect(
    addresses: Sequence[str], *, timing: Timing = _USUAL_TIMING
) -> Iterator[list['RemoteWorker']]:
  """Connects to workers, all of which must be available.

  Args:
    addresses: The address of each worker, as host:port.
    timing: When to ping a worker, and when to give up.

  Yields:
    The workers. Other computations of this thread run in the first worker that
    is available.

  Raises:
    errors.SettingsError: If an address is not valid, or comes twice.
    errors.WorkerError: If a worker does not answer or is another build.
  """
  worker_process.check_addresses(addresses)
  with contextlib.ExitStack() as stack:
    stack.enter_context(local.exit_on_sigterm())
    local.remove_default_context()
    compiler = connection.Compiler()
    workers = [RemoteWorker(a, compiler, timing) for a in addresses]
    for worker in workers:
      stack.callback(worker.close)
    deadline = time.monotonic() + timing.start_seconds
    for worker in workers:
      worker.wait_until_available(deadline - time.monotonic())
    stack.callback(local.remove_default_context)
    tff.framework.set_default_context(_AnyWorker(workers, timing))
    yield workers


class RemoteWorker:
  """The worker at an address, which may be unavailable at times."""

  def __init__(
      self, address: str, compiler: connection.Compiler, timing: Timing
  ):
    """Starts to connect to it."""
    self.name = address
    self.context = _WorkerContext(self)
    self._compiler = compiler
    self._timing = timing
    self._link: Optional[_Link] = None
    self._reason = 'it has not answered yet.'
    # Why the worker must not be used, if so.
    self._mistake: Optional[str] = None
    self._changed = threading.Condition()
    self._ping_now = threading.Event()
    self._closed = False
    threading.Thread(target=self._monitor, daemon=True).start()

  @property
  def is_available(self) -> bool:
    return self._link is not None

  def wait_until_available(self, seconds: float) -> None:
    """Waits until the worker can be used.

    Raises:
      errors.WorkerError: If it cannot be used in time, with the reason.
    """
    with self._changed:
      self._changed.wait_for(
          lambda: self._link or self._mistake, timeout=max(0.0, seconds)
      )
      if self._mistake:
        raise errors.WorkerError(self._mistake)
      if not self._link:
        raise errors.WorkerError(
            f'Expected a worker at {self.name}, found none that answers:'
            f' {self._reason} Start one there with "python -m'
            ' tff_partial.runtime.serve_worker", or leave out the address.'
        )

  def invoke(self, comp: Any, arg: Any) -> Any:
    """Runs a computation in the worker.

    Raises:
      worker_process.WorkerLost: If the worker is unavailable or becomes so.
      errors.WorkerError: If a message was too large.
      grpc.RpcError: If the computation fails.
    """
    link = self._link
    if link is None:
      raise worker_process.WorkerLost(f'{self.name}: {self._reason}')
    try:
      return link.context().invoke(comp, arg)
    except (grpc.RpcError, ValueError) as error:
      # gRPC raises ValueError for calls on a closed channel.
      lost = link.closed
      if isinstance(error, grpc.RpcError):
        lost = lost or error.code() in verification.LOST
        if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
          raise errors.WorkerError(
              f'A message to or from worker {self.name} was too large, or its'
              f' memory too small: {error.details()} Use fewer'
              ' `clients_per_shard`.'
          ) from error
      if not lost:
        raise
      self._lose(link, f'{verification.describe(error)}.')
      raise worker_process.WorkerLost(f'{self.name}: {self._reason}') from error

  def close(self) -> None:
    """Closes the connection; the worker keeps running."""
    self._closed = True
    self._ping_now.set()
    if self._link is not None:
      self._lose(self._link, 'this program closed the connection.')

  def _monitor(self):
    """Pings the worker until `close`; connects and disconnects."""
    answered_at = time.monotonic()
    while not self._closed:
      error = self._ping()
      now = time.monotonic()
      if error is None:
        answered_at = now
        if self._link is None:
          self._open()
      elif self._link is None:
        self._reason = f'{verification.describe(error)}.'
      elif now - answered_at > self._timing.lost_seconds:
        silence = humanize.precisedelta(now - answered_at, format='%.0f')
        self._lose(self._link, f'it has not answered for {silence}.')
      self._ping_now.wait(self._timing.ping_seconds)
      self._ping_now.clear()

  def _ping(self) -> Optional[grpc.RpcError]:
    """Returns the error if the worker does not answer."""
    with grpc.insecure_channel(self.name, _OPTIONS) as channel:
      try:
        connection.ping(channel, seconds=self._timing.ping_seconds)
      except grpc.RpcError as error:
        return error
    return None

  def _open(self):
    """Connects, verifies the worker, and makes it available."""
    link = _Link(self.name, self._compiler)
    try:
      self._mistake = verification.verify(
          self.name, link.channel, self._timing.start_seconds
      )
    except (grpc.RpcError, ValueError) as error:
      self._reason = f'{verification.describe(error)}.'
      link.close()
      return
    finally:
      with self._changed:
        self._changed.notify_all()
    if self._mistake or self._closed:
      self._reason = self._mistake or self._reason
      link.close()
      return
    with self._changed:
      self._link = link
      self._changed.notify_all()
    logging.info('Worker %s is available.', self.name)

  def _lose(self, link: '_Link', why: str):
    """Cancels the calls of a connection, unless it is closed already."""
    with self._changed:
      if self._link is link:
        self._link = None
        self._reason = why
    link.close()
    self._ping_now.set()


class _Link:
  """A connection that several threads use until it breaks."""

  def __init__(self, address: str, compiler: connection.Compiler):
    self.channel = grpc.insecure_channel(address, _OPTIONS)
    self.closed = False
    self._compiler = compiler
    self._thread_local = threading.local()

  def context(self) -> tff.framework.SyncContext:
    """This thread's context; the calls of one context wait for each other."""
    if not hasattr(self._thread_local, 'context'):
      self._thread_local.context = connection.create_context(
          self.channel, self._compiler
      )
    return self._thread_local.context

  def close(self):
    self.closed = True
    self.channel.close()


class _WorkerContext(tff.framework.SyncContext):
  """Runs computations in one worker."""

  def __init__(self, worker: RemoteWorker):
    self._worker = worker

  def invoke(self, comp: Any, arg: Any) -> Any:
    return self._worker.invoke(comp, arg)


class _AnyWorker(tff.framework.SyncContext):
  """Runs computations in the first worker that is available."""

  def __init__(self, workers: Sequence[RemoteWorker], timing: Timing):
    self._workers = workers
    self._timing = timing

  def invoke(self, comp: Any, arg: Any) -> Any:
    deadline = time.monotonic() + self._timing.lost_seconds
    while True:
      for worker in self._workers:
        try:
          return worker.invoke(comp, arg)
        except worker_process.WorkerLost as error:
          last_error = error
      if time.monotonic() > deadline:
        raise errors.WorkerError(
            f'Expected an answer from one of {len(self._workers)} workers,'
            f' found none. The last error: {last_error} Start workers and run'
            ' the same command again: it continues from the last checkpoint.'
        ) from last_error
      time.sleep(min(0.1, self._timing.ping_seconds))
