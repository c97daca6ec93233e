# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFF's worker process: started, watched, restarted once, and always stopped.

TFF runs computations in a `worker_binary` of its own, which it starts at the
first call, gives the program's stdout, repeats failed calls on without end, and
leaves behind when the program ends. Here the program owns its worker:

    with runtime.local_worker():
      state = process.initialize()

The worker ends with the block, however it is left (also by Ctrl-C and SIGTERM),
and on Linux with the program, even if that is killed. What it prints goes to a
log. If it dies during a call it is started again and the call is repeated once.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, BinaryIO, Optional

from absl import logging
import grpc
import tensorflow_federated as tff

_START_SECONDS = 60.0
_POLL_SECONDS = 0.01
_EXIT_SECONDS = 1.0  # From a broken connection to the end of the process.
_LOG_TAIL_BYTES = 2000
_CHANNEL_OPTIONS = (
    ('grpc.max_receive_message_length', -1),
    ('grpc.max_send_message_length', -1),
    ('grpc.enable_http_proxy', 0),  # $http_proxy does not reach this machine.
)
# Asks the kernel to kill this process when its parent ends, then becomes the
# worker. Not a `preexec_fn`: that is unsafe in a program with threads. If the
# parent ended before the request, nobody would be told, hence the check.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
  os.execv(sys.argv[2], sys.argv[2:])
"""


class WorkerError(RuntimeError):
  """The worker does not run; the message says how it ended and what to do."""


@contextlib.contextmanager
def local_worker(
    *,
    max_concurrent_clients: Optional[int] = None,
    log_file: Optional[str] = None,
    environment: Optional[Mapping[str, str]] = None,
) -> Iterator[tff.framework.SyncContext]:
  """Runs this thread's TFF computations in a worker that this program owns.

  TFF keeps one context per thread: another thread calls
  `tff.framework.set_default_context` with the context that is given here.

  Args:
    max_concurrent_clients: Clients that compute at the same time, each with its
      own memory; None for one per core, 0 for the whole cohort.
    log_file: Where to append what the worker prints; None for a temporary file.
    environment: Variables to set for the worker, such as
      `TF_NUM_INTRAOP_THREADS`.

  Yields:
    The context, which is this thread's default until the block ends.

  Raises:
    WorkerError: If the worker does not start, or died twice during one call.
  """
  with contextlib.ExitStack() as stack:
    if threading.current_thread() is threading.main_thread():
      stack.enter_context(_exit_on_sigterm())
    log = stack.enter_context(
        open(log_file, 'a+b') if log_file else tempfile.TemporaryFile()
    )
    if max_concurrent_clients is None:
      max_concurrent_clients = os.cpu_count() or 1

    def start() -> _Worker:
      return _Worker(max_concurrent_clients, log, dict(environment or {}))

    remove_default_context()
    context = _WorkerContext(start)
    stack.callback(context.stop)
    stack.callback(remove_default_context)
    tff.framework.set_default_context(context)
    yield context


def remove_default_context():
  """Makes every computation an error until a block of `local_worker`.

  Importing TFF sets a context that would start a worker at the first call, and
  that prints a traceback if the program ends without one.
  """
  tff.framework.set_default_context(tff.test.create_runtime_error_context())


class _WorkerContext(tff.framework.SyncContext):
  """Invokes computations in a worker; in a second one if the first dies."""

  def __init__(self, start: Callable[[], '_Worker']):
    self._start = start
    self._worker = start()

  def invoke(self, comp: Any, arg: Any) -> Any:
    try:
      return self._worker.context.invoke(comp, arg)
    except grpc.RpcError:
      if not self._worker.has_died():
        raise
      logging.warning(
          'The TFF worker died: %s Repeating the call in a new one.',
          self._worker.how_it_ended(),
      )
      self._restart()
    try:
      return self._worker.context.invoke(comp, arg)
    except grpc.RpcError as error:
      if not self._worker.has_died():
        raise
      how = self._worker.how_it_ended()
      self._restart()
      raise WorkerError(
          f'The TFF worker died twice during one call: {how} Let fewer clients'
          ' compute at a time, or take fewer in a round, and run again.'
      ) from error

  def stop(self):
    self._worker.stop()

  def _restart(self):
    self._worker.stop()
    self._worker = self._start()


class _Worker:
  """One worker process, and the TFF context that is connected to it."""

  def __init__(
      self,
      max_concurrent_clients: int,
      log: BinaryIO,
      variables: dict[str, str],
  ):
    """Starts the process and returns when it serves."""
    self._log = log
    port = _unused_port()
    data_folder = os.path.join(os.path.dirname(tff.__file__), 'data')
    command = [
        os.path.join(data_folder, 'worker_binary'),
        f'--port={port}',
        f'--max_concurrent_computation_calls={max_concurrent_clients}',
    ]
    self._process = _start_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C is for this program alone.
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2', **variables},
    )
    self._channel = grpc.insecure_channel(f'localhost:{port}', _CHANNEL_OPTIONS)
    try:
      self._wait_until_it_serves(port)
    except BaseException:
      self.stop()
      raise
    self.context = _create_context(_Stub(_UnwatchedChannel(self._channel)))

  def has_died(self) -> bool:
    """Whether the process has ended, or does so soon."""
    try:
      self._process.wait(_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
      return False
    return True

  def how_it_ended(self) -> str:
    """Two sentences: exit status or signal, and the end of the log."""
    status = self._process.returncode
    how = f'exit status {status}'
    if status < 0:
      how = f'killed by {signal.Signals(-status).name}'
    if status == -signal.SIGKILL:
      how += ', probably for lack of memory'
    size = os.fstat(self._log.fileno()).st_size
    # The worker shares the position in the file, so this must not move it.
    tail = os.pread(
        self._log.fileno(), _LOG_TAIL_BYTES, max(0, size - _LOG_TAIL_BYTES)
    )
    lines = tail.decode(errors='replace').strip().splitlines()[-3:]
    return f'{how}. Its log ends: {" | ".join(lines) or "(empty)"}.'

  def stop(self):
    self._process.kill()  # It holds nothing worth a slower end.
    self._process.wait()
    self._channel.close()

  def _wait_until_it_serves(self, port: int):
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
      if self._process.poll() is not None:
        raise WorkerError(
            f'The TFF worker did not start: {self.how_it_ended()} Run'
            ' `python run_experiment.py --doctor`.'
        )
      with contextlib.suppress(OSError):
        with socket.create_connection(('localhost', port), timeout=1):
          return
      time.sleep(_POLL_SECONDS)
    raise WorkerError(
        f'The TFF worker did not answer at localhost:{port} within'
        f' {_START_SECONDS:.0f} s. Run `python run_experiment.py --doctor`.'
    )


class _UnwatchedChannel:
  """What a stub needs of a channel, without its subscription to the state.

  The thread that would watch the state prints a traceback when the channel is
  closed; `_wait_until_it_serves` has already seen to it that there is a worker.
  """

  def __init__(self, channel: grpc.Channel):
    self.unary_unary = channel.unary_unary

  def subscribe(self, callback, try_to_connect):
    pass


def _no_retry(name: str) -> Callable[[Any, Any], Any]:
  """A call that fails once and for all, where TFF's would be repeated for ever.

  TFF repeats on two status codes, of which one is also what TensorFlow says of
  a mistake in a computation.
  """
  method = getattr(tff.framework.RemoteExecutorGrpcStub, name)

  def call(self, request):
    try:
      return method(self, request)
    except tff.framework.RetryableError as error:
      raise grpc.RpcError(error.details()) from error

  return call


class _Stub(tff.framework.RemoteExecutorGrpcStub):
  """TFF's calls to a worker, without its repetitions."""

  get_executor = _no_retry('get_executor')
  create_value = _no_retry('create_value')
  create_struct = _no_retry('create_struct')
  create_call = _no_retry('create_call')
  create_selection = _no_retry('create_selection')
  compute = _no_retry('compute')

  def dispose(self, request):
    # Called by destructors, also after the worker is gone with all it held.
    with contextlib.suppress(
        grpc.RpcError, tff.framework.RetryableError, ValueError
    ):
      super().dispose(request)


def _create_context(stub: _Stub) -> tff.framework.SyncExecutionContext:
  """Joins the parts of TFF's native context, which cannot be given a worker."""

  def create_executor(cardinalities):
    executor = tff.framework.RemoteExecutor(stub)
    executor.set_cardinalities({tff.CLIENTS: 0, **cardinalities})
    return executor

  return tff.framework.SyncExecutionContext(
      tff.framework.ResourceManagingExecutorFactory(create_executor),
      tff.backends.native.desugar_and_transform_to_native,
      transform_args=tff.tensorflow.transform_args,
      transform_result=tff.tensorflow.transform_result,
  )


def _start_process(command: list[str], **kwargs: Any) -> subprocess.Popen:
  """Starts a process that Linux kills when this one ends in whatever way.

  By 'parent' Linux means the thread that started the process. So one thread
  starts it and does nothing but wait for it.
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


def _unused_port() -> int:
  with socket.socket() as listener:
    listener.bind(('localhost', 0))
    return listener.getsockname()[1]


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
  """Makes SIGTERM leave blocks as an exception does; by default it does not."""

  def exit_program(signum, unused_frame):
    sys.exit(128 + signum)

  previous = signal.signal(signal.SIGTERM, exit_program)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, previous)
