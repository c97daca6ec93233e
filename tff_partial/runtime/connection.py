# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A TFF context that computes in a worker at the other end of a gRPC channel.

It is built from TFF's own parts, with two differences. A failed call raises at
once: TFF repeats calls without end on two status codes, one of which is also
TensorFlow's status for a mistake in a computation. And calls are faster:
`executor.py` sends values by `messages.py`, and every computation once.
"""

from collections.abc import Callable
import contextlib
import ctypes
import functools
import gc
import os
import threading
from typing import Any, Optional

import grpc
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors

# Set this environment variable to 1 to use TFF's own executor.
PLAIN_EXECUTOR = 'TFF_PARTIAL_PLAIN_EXECUTOR'
CHANNEL_OPTIONS = (
    ('grpc.max_receive_message_length', -1),
    ('grpc.max_send_message_length', -1),
    # Workers run on this machine or in a private network, without a proxy.
    ('grpc.enable_http_proxy', 0),
)

# With an empty request, which frees no values. Only a TFF worker accepts it; a
# proxy in front of a machine that it cannot reach does not.
_PING = '/tensorflow_federated.v0.ExecutorGroup/Dispose'
# What smaller computations leave is not worth the time of collecting it.
_LARGE_BYTES = 1_000_000
# The worker frees a value when it is freed here. By default TFF would leave up
# to twenty there, which may be whole models and cohorts.
_DISPOSE_AT_ONCE = 1


class CallError(grpc.RpcError):
  """A call failed that TFF would repeat, or on a closed channel."""

  def __init__(self, status: grpc.StatusCode, details: str):
    super().__init__(details)
    self._status, self._details = status, details

  def code(self) -> grpc.StatusCode:
    return self._status

  def details(self) -> str:
    return self._details


class Compiler:
  """Compiles computations for workers, each one once; thread-safe."""

  def __init__(self):
    self._lock = threading.Lock()
    self._compile = functools.lru_cache()(_compile)

  def __call__(self, comp: Any) -> Any:
    with self._lock:
      return self._compile(comp)


def _compile(comp: Any) -> Any:
  """Compiles a computation and frees the compiler's memory.

  For a large model, TFF's compiler leaves hundreds of MB of reference cycles,
  which wait for Python's garbage collector, and then in C's free lists.
  """
  # Workers cannot sum securely; this adds the same integers in the clear.
  comp = tff.backends.test.replace_secure_intrinsics_with_bodies(comp)
  block, _ = tff.tensorflow.replace_intrinsics_with_bodies(
      comp.to_building_block()
  )
  compiled = tff.backends.native.transform_to_native_form(
      tff.framework.ConcreteComputation.from_building_block(block),
      grappler_config=_grappler(),
  )
  if tff.framework.serialize_computation(compiled).ByteSize() > _LARGE_BYTES:
    gc.collect()
    give_back_memory()
  return compiled


def _grappler() -> tf.compat.v1.ConfigProto:
  """How graphs are optimized: as TFF does, but once, and not twice."""
  config = tf.compat.v1.ConfigProto()
  options = config.graph_options.rewrite_options
  options.memory_optimization = options.AGGRESSIVE
  options.constant_folding = options.AGGRESSIVE
  options.arithmetic_optimization = options.AGGRESSIVE
  options.loop_optimization = options.AGGRESSIVE
  options.function_optimization = options.AGGRESSIVE
  options.meta_optimizer_iterations = options.ONE
  return config


def give_back_memory() -> None:
  """Returns freed memory to the system, where the C library can do so."""
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).malloc_trim(0)


def ping(channel: grpc.Channel, *, seconds: float) -> None:
  """Asks a worker for an answer.

  Raises:
    grpc.RpcError: If it does not answer within this time.
  """
  channel.unary_unary(_PING)(b'', timeout=seconds)


def create_context(
    channel: grpc.Channel, compiler: Optional[Compiler]
) -> tff.framework.SyncExecutionContext:
  """Builds TFF's native context for the worker at the other end of a channel.

  Args:
    channel: A connection to a worker.
    compiler: Compiles computations; several contexts can share one. None if
      they come compiled.

  Returns:
    A context for one thread. Its executor is TFF's own if the environment
    variable `TFF_PARTIAL_PLAIN_EXECUTOR` is 1.
  """
  new_executor = _executors(_Stub(_UnwatchedChannel(channel)))

  def create_executor(cardinalities):
    executor = new_executor()
    executor.set_cardinalities({tff.CLIENTS: 0, **cardinalities})
    return executor

  return tff.framework.SyncExecutionContext(
      tff.framework.ResourceManagingExecutorFactory(create_executor),
      compiler,
      transform_args=tff.tensorflow.transform_args,
      transform_result=tff.tensorflow.transform_result,
  )


def _executors(stub: '_Stub') -> Callable[[], tff.framework.RemoteExecutor]:
  """Returns a function that creates executors."""
  if os.environ.get(PLAIN_EXECUTOR) == '1':
    stub.refuse_programs = True
    return functools.partial(
        tff.framework.RemoteExecutor, stub, dispose_batch_size=_DISPOSE_AT_ONCE
    )
  # Not at the top: it needs private parts of TFF, which may move.
  from tff_partial.runtime import executor

  return functools.partial(
      executor.Executor,
      stub,
      executor.ComputationCache(),
      dispose_batch_size=_DISPOSE_AT_ONCE,
  )


class Handed:
  """A message that its sender gives away, so that its bytes alone remain.

  gRPC holds on to a request until there is an answer, and needs nothing but its
  bytes, of which there are two copies already.
  """

  def __init__(self, message: Any):
    self._messages = [message]

  def take(self) -> Any:
    """Returns the message, once."""
    return self._messages.pop()


class _UnwatchedChannel:
  """A channel without subscriptions to its state, which TFF's stub makes.

  The thread that watches the state prints a traceback when the channel is
  closed, and whoever opened the channel knows already that there is a worker.
  """

  def __init__(self, channel: grpc.Channel):
    self._channel = channel

  def unary_unary(self, method: str, *, request_serializer: Any, **kwargs: Any):
    """Also sends messages that are passed as `Handed`."""

    def serialize(request):
      if isinstance(request, Handed):
        request = request.take()
      return request_serializer(request)

    return self._channel.unary_unary(
        method, request_serializer=serialize, **kwargs
    )

  def subscribe(self, callback, try_to_connect):
    pass


def _refuse_programs(message: Any) -> None:
  """Checks that a worker's answer has arrays alone, at every level."""
  kind = message.WhichOneof('value')
  if kind == 'struct':
    for element in message.struct.element:
      _refuse_programs(element.value)
  elif kind == 'federated':
    for value in message.federated.value:
      _refuse_programs(value)
  elif kind != 'array':
    raise errors.WorkerError(
        f'Expected numbers from the worker, found {kind or "nothing"}. Do not'
        ' use this worker any more: it is damaged, or somebody has replaced it.'
    )


def _no_retry(name: str) -> Callable[[Any, Any], Any]:
  """Wraps a call of TFF's stub so that a failure is not repeated."""
  method = getattr(tff.framework.RemoteExecutorGrpcStub, name)

  def call(self, request):
    try:
      return method(self, request)
    except tff.framework.RetryableError as error:
      raise CallError(error.code(), error.details()) from error
    except ValueError as error:  # Another thread has closed the channel.
      raise CallError(grpc.StatusCode.UNAVAILABLE, str(error)) from error

  return call


class _Stub(tff.framework.RemoteExecutorGrpcStub):
  """TFF's calls to a worker; failed calls are not repeated.

  Attributes:
    refuse_programs: Whether to refuse answers that contain a program, which
      TFF's own executor would run. Ours checks answers by itself.
  """

  refuse_programs = False

  get_executor = _no_retry('get_executor')
  create_value = _no_retry('create_value')
  create_struct = _no_retry('create_struct')
  create_call = _no_retry('create_call')
  create_selection = _no_retry('create_selection')
  _compute = _no_retry('compute')

  def compute(self, request):
    response = self._compute(request)
    if self.refuse_programs:
      _refuse_programs(response.value)
    return response

  def dispose(self, request):
    # Destructors call this, also after the worker and its values are gone.
    with contextlib.suppress(
        grpc.RpcError, tff.framework.RetryableError, ValueError
    ):
      super().dispose(request)

  def dispose_executor(self, request):
    with contextlib.suppress(
        grpc.RpcError, tff.framework.RetryableError, ValueError
    ):
      super().dispose_executor(request)
