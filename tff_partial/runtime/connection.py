# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A TFF context that computes in a worker at the other end of a gRPC channel.

Made of TFF's own parts, but for two things. A call that fails fails at once:
TFF repeats on two status codes without end, of which one is also what
TensorFlow says of a mistake in a computation. And calls take less time:
`messages.py` writes and reads values, and computations stay with the worker.
"""

import collections
from collections.abc import Callable
import contextlib
import ctypes
import functools
import gc
import threading
import time
from typing import Any

import grpc
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import executor_pb2
from tensorflow_federated.python.core.impl.executors import remote_executor

from tff_partial.runtime import messages

CHANNEL_OPTIONS = (
    ('grpc.max_receive_message_length', -1),
    ('grpc.max_send_message_length', -1),
    # Workers are this machine or on a private network, where $http_proxy is
    # none.
    ('grpc.enable_http_proxy', 0),
)


# After a shorter compilation, collecting would take longer than that itself.
_LONG_SECONDS = 2.0
_MAX_KEPT = 8


class CallError(grpc.RpcError):
  """A call failed with a status on which TFF would have repeated it."""

  def __init__(self, status: grpc.StatusCode, details: str):
    super().__init__(details)
    self._status, self._details = status, details

  def code(self) -> grpc.StatusCode:
    return self._status

  def details(self) -> str:
    return self._details


class Compiler:
  """Compiles computations for workers, each once, from any thread."""

  def __init__(self):
    self._lock = threading.Lock()
    self._compile = functools.lru_cache()(_compile)

  def __call__(self, comp: Any) -> Any:
    with self._lock:
      return self._compile(comp)


def _compile(comp: Any) -> Any:
  """Compiles, and leaves nothing behind.

  What TFF's compiler makes on its way is hundreds of MB for a large model, in
  circles that would wait for Python's collector, and then in C's free lists.
  """
  started_at = time.monotonic()
  compiled = tff.backends.native.desugar_and_transform_to_native(comp)
  if time.monotonic() - started_at > _LONG_SECONDS:
    gc.collect()
    give_back_memory()
  return compiled


def give_back_memory() -> None:
  """Returns memory that was freed to the system, where C's library can."""
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).malloc_trim(0)


def create_context(
    channel: grpc.Channel, compiler: Compiler
) -> tff.framework.SyncExecutionContext:
  """Joins the parts of TFF's native context, which cannot be given a worker."""
  stub = _Stub(_UnwatchedChannel(channel))
  kept = _Kept()

  def create_executor(cardinalities):
    executor = _Executor(stub, kept)
    executor.set_cardinalities({tff.CLIENTS: 0, **cardinalities})
    return executor

  return tff.framework.SyncExecutionContext(
      tff.framework.ResourceManagingExecutorFactory(create_executor),
      compiler,
      transform_args=tff.tensorflow.transform_args,
      transform_result=tff.tensorflow.transform_result,
  )


class _Executor(tff.framework.RemoteExecutor):
  """TFF's, but for its messages and that computations are kept."""

  def __init__(self, stub: '_Stub', kept: '_Kept'):
    # A value leaves the worker when it is let go of here. By default TFF would
    # keep up to twenty there, which may be whole models and cohorts.
    super().__init__(stub, dispose_batch_size=1)
    self._kept = kept

  async def create_value(self, value, type_spec=None):
    if isinstance(type_spec, tff.FunctionType):
      key = (id(self), id(value))
      if (kept := self._kept.get(key)) is None:
        kept = await super().create_value(value, type_spec)
        self._kept.put(key, kept, value)
      return kept
    request = executor_pb2.CreateValueRequest(executor=self._executor_id)
    messages.write(request.value, value, type_spec)
    response = self._stub.create_value(request)
    return remote_executor.RemoteValue(response.value_ref, type_spec, self)

  async def _compute(self, value_ref, type_spec):
    request = executor_pb2.ComputeRequest(
        executor=self._executor_id, value_ref=value_ref
    )
    return messages.read(self._stub.compute(request).value, type_spec)


class _Kept:
  """The last computations that a worker was sent; they are megabytes each."""

  def __init__(self):
    self._entries = collections.OrderedDict()

  def get(self, key: tuple[int, int]) -> Any:
    if key not in self._entries:
      return None
    self._entries.move_to_end(key)
    return self._entries[key][0]

  def put(self, key: tuple[int, int], kept: Any, computation: Any) -> None:
    # With the computation, and by its value here the executor, neither of whose
    # numbers can become another's.
    self._entries[key] = (kept, computation)
    if len(self._entries) > _MAX_KEPT:
      self._entries.popitem(last=False)


class _UnwatchedChannel:
  """What a stub needs of a channel, without its subscription to the state.

  The thread that would watch the state prints a traceback when the channel is
  closed; whoever opened the channel has seen to it that there is a worker.
  """

  def __init__(self, channel: grpc.Channel):
    self.unary_unary = channel.unary_unary

  def subscribe(self, callback, try_to_connect):
    pass


def _no_retry(name: str) -> Callable[[Any, Any], Any]:
  """A call that fails once and for all, where TFF's would be repeated."""
  method = getattr(tff.framework.RemoteExecutorGrpcStub, name)

  def call(self, request):
    try:
      return method(self, request)
    except tff.framework.RetryableError as error:
      raise CallError(error.code(), error.details()) from error

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

  def dispose_executor(self, request):
    with contextlib.suppress(
        grpc.RpcError, tff.framework.RetryableError, ValueError
    ):
      super().dispose_executor(request)
