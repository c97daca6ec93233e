# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Workers on other machines: reached, checked, watched, lost and found again.

    with remote.connect(['10.0.0.1:8000', '10.0.0.2:8000']) as workers:
      ...

`python -m tff_partial.runtime.serve_worker` starts one. Each is pinged every
few seconds on a connection of its own: a machine that is cut off says nothing,
and gRPC's keepalive may ask TFF's worker only every five minutes. A worker that
does not answer is lost, and its calls are cancelled; when it answers again it
is verified again and may be used again.

What a check shows: that the worker computes, and that its program is, byte for
byte at the beginning and in size, the one installed here. TFF's worker cannot
tell its version; a program that differs is another build.
"""

from collections.abc import Iterator, Sequence
import contextlib
import os
import threading
import time
from typing import Any, NamedTuple, Optional

from absl import logging
import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.runtime import connection
from tff_partial.runtime import local
from tff_partial.runtime import worker_process

# With an empty request: to let go of no values. Only a TFF worker agrees to it,
# not a proxy that answers for a machine that it cannot reach.
_PING = '/tensorflow_federated.v0.ExecutorGroup/Dispose'
_OPTIONS = (
    *connection.CHANNEL_OPTIONS,
    # Otherwise channels to one address share a connection, and the new one that
    # is made because the old one hangs would be the old one.
    ('grpc.use_local_subchannel_pool', 1),
)
_LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    # A worker that was started anew does not know what was there before.
    grpc.StatusCode.FAILED_PRECONDITION,
)
_CHECKED_BYTES = 4096  # With the ELF headers and the build id.


class Timing(NamedTuple):
  """When to ask, and when to give up.

  Attributes:
    ping_seconds: Between two questions, and to answer one.
    lost_seconds: Without an answer a worker is lost after these.
    start_seconds: All workers must be there within these at the start; a check
      must end within these.
  """

  ping_seconds: float = 2.0
  lost_seconds: float = 20.0
  start_seconds: float = 60.0


_USUAL_TIMING = Timing()


@contextlib.contextmanager
def connect(
    addresses: Sequence[str], *, timing: Timing = _USUAL_TIMING
) -> Iterator[list['RemoteWorker']]:
  """Connects to workers, all of which must be there.

  Args:
    addresses: Of each worker, as host:port.
    timing: When to ask, and when to give up.

  Yields:
    The workers. Computations of this thread that are not handed to one of them
    go to the first that is available.

  Raises:
    ValueError: If an address is not one, or comes twice.
    errors.WorkerError: If a worker is not there or not the right one.
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
  """A worker at an address, whether it is there at the moment or not."""

  def __init__(
      self, address: str, compiler: connection.Compiler, timing: Timing
  ):
    """Begins to look for it."""
    self.name = address
    self.context = _WorkerContext(self)
    self._compiler = compiler
    self._timing = timing
    self._link: Optional[_Link] = None
    self._why = 'it has not answered yet.'
    # Why it must not be used, if it must not.
    self._mistake: Optional[str] = None
    self._changed = threading.Condition()
    self._look_now = threading.Event()
    self._closed = False
    threading.Thread(target=self._watch, daemon=True).start()

  @property
  def is_available(self) -> bool:
    return self._link is not None

  def wait_until_available(self, seconds: float) -> None:
    """Returns when it can be used.

    Raises:
      errors.WorkerError: If that is not so in time, saying why.
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
            f' {self._why} Start one there with "python -m'
            ' tff_partial.runtime.serve_worker", or leave it out of --workers.'
        )

  def invoke(self, comp: Any, arg: Any) -> Any:
    """Computes there.

    Raises:
      worker_process.WorkerLost: If the worker is not available, or no more.
      errors.WorkerError: If a message was too large.
      grpc.RpcError: If the computation fails.
    """
    link = self._link
    if link is None:
      raise worker_process.WorkerLost(f'{self.name}: {self._why}')
    try:
      return link.context().invoke(comp, arg)
    except (grpc.RpcError, ValueError) as error:
      # gRPC raises ValueError for calls on a closed channel.
      lost = link.closed
      if isinstance(error, grpc.RpcError):
        lost = lost or error.code() in _LOST
        if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
          raise errors.WorkerError(
              f'A message to or from worker {self.name} was too large, or its'
              f' memory too small: {error.details()} Use fewer'
              ' --clients_per_shard.'
          ) from error
      if not lost:
        raise
      self._lose(link, f'{_words(error)}.')
      raise worker_process.WorkerLost(f'{self.name}: {self._why}') from error

  def close(self) -> None:
    """Ends the connection; the worker goes on."""
    self._closed = True
    self._look_now.set()
    if self._link is not None:
      self._lose(self._link, 'this program closed the connection.')

  def _watch(self):
    """Asks whether the worker is there, until `close`."""
    answered_at = time.monotonic()
    while not self._closed:
      error = self._ping()
      now = time.monotonic()
      if error is None:
        answered_at = now
        if self._link is None:
          self._open()
      elif self._link is None:
        self._why = f'{_words(error)}.'
      elif now - answered_at > self._timing.lost_seconds:
        self._lose(
            self._link, f'it has not answered for {now - answered_at:.0f} s.'
        )
      self._look_now.wait(self._timing.ping_seconds)
      self._look_now.clear()

  def _ping(self) -> Optional[grpc.RpcError]:
    """The error, if the worker does not answer."""
    with grpc.insecure_channel(self.name, _OPTIONS) as channel:
      try:
        channel.unary_unary(_PING)(b'', timeout=self._timing.ping_seconds)
      except grpc.RpcError as error:
        return error
    return None

  def _open(self):
    """Connects, checks, and makes the worker available."""
    link = _Link(self.name, self._compiler)
    try:
      self._mistake = _check(self.name, link.channel, self._timing)
    except (grpc.RpcError, ValueError) as error:
      self._why = f'{_words(error)}.'
      link.close()
      return
    finally:
      with self._changed:
        self._changed.notify_all()
    if self._mistake or self._closed:
      self._why = self._mistake or self._why
      link.close()
      return
    with self._changed:
      self._link = link
      self._changed.notify_all()
    logging.info('Worker %s is available.', self.name)

  def _lose(self, link: '_Link', why: str):
    """Ends what is going on with the worker, unless that is done already."""
    with self._changed:
      if self._link is link:
        self._link = None
        self._why = why
    link.close()
    self._look_now.set()


class _Link:
  """A connection that is used until it breaks, by several threads."""

  def __init__(self, address: str, compiler: connection.Compiler):
    self.channel = grpc.insecure_channel(address, _OPTIONS)
    self.closed = False
    self._compiler = compiler
    self._of_this_thread = threading.local()

  def context(self) -> tff.framework.SyncContext:
    """This thread's: the calls of one context wait for each other."""
    if not hasattr(self._of_this_thread, 'context'):
      self._of_this_thread.context = connection.create_context(
          self.channel, self._compiler
      )
    return self._of_this_thread.context

  def close(self):
    self.closed = True
    self.channel.close()


class _WorkerContext(tff.framework.SyncContext):
  """Computes in one worker."""

  def __init__(self, worker: RemoteWorker):
    self._worker = worker

  def invoke(self, comp: Any, arg: Any) -> Any:
    return self._worker.invoke(comp, arg)


class _AnyWorker(tff.framework.SyncContext):
  """Computes in the first worker that is available."""

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
            f'Expected an answer of one of {len(self._workers)} workers, found'
            f' none; the last: {last_error} Start workers, and run the same'
            ' command again: it goes on from the last checkpoint.'
        ) from last_error
      time.sleep(min(0.1, self._timing.ping_seconds))


class _Deadline(grpc.UnaryUnaryClientInterceptor):
  """Gives every call of a channel a time to end."""

  def __init__(self, seconds: float):
    self._seconds = seconds

  def intercept_unary_unary(self, continuation, client_call_details, request):
    details = client_call_details._replace(timeout=self._seconds)
    return continuation(details, request)


def _check(name: str, channel: grpc.Channel, timing: Timing) -> Optional[str]:
  """Computes something there; what is wrong, if anything is."""
  context = connection.create_context(
      grpc.intercept_channel(channel, _Deadline(timing.start_seconds)),
      connection.Compiler(),
  )
  path = worker_process.binary()
  size = os.path.getsize(path)
  with open(path, 'rb') as file:
    expected = file.read(_CHECKED_BYTES)

  @tff.tensorflow.computation
  def read_own_program():
    beginning = tf.data.FixedLengthRecordDataset(
        '/proc/self/exe', _CHECKED_BYTES, footer_bytes=size - _CHECKED_BYTES
    )
    return beginning.reduce(tf.constant(''), lambda _, record: record)

  @tff.tensorflow.computation(np.int32)
  def add_one(number):
    return number + 1

  @tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
  def total(numbers):
    return tff.federated_sum(tff.federated_map(add_one, numbers))

  try:
    found = context.invoke(total, [1, 2])
    if found != 5:
      return (
          f'Expected worker {name} to compute 5, found {found}. Start it anew.'
      )
    found = context.invoke(read_own_program, None)
  except grpc.RpcError as error:
    if error.code() in _LOST:
      raise
    if 'No such file' in str(error.details()):
      logging.warning(
          'Worker %s does not run on Linux: it cannot be told whether its TFF'
          " is this program's.",
          name,
      )
      return None
    if 'not an exact multiple' not in str(error.details()):
      return f'Worker {name} cannot compute: {_words(error)}.'
    found = None
  if found != expected:
    return (
        f'Expected at {name} the worker of the TFF {tff.__version__} that is'
        ' installed here, found another build. Install the same'
        ' requirements.txt there.'
    )
  return None


def _words(error: Exception) -> str:
  """Status and details of an error in one line."""
  if not isinstance(error, grpc.RpcError):
    return str(error).rstrip('.')
  details = error.details() if hasattr(error, 'details') else str(error)
  return f'{error.code().name}, {" ".join(str(details).split())}'.rstrip('.')
