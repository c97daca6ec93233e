# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFF's remote executor with faster messages and cached computations.

This module, `messages.py`, `function_executor.py`, `arrays.py` and `node.py`
alone import private parts of TFF, and `connection.py` names one of its calls.
With the environment variable `TFF_PARTIAL_PLAIN_EXECUTOR=1`, `connection.py`
imports neither of the first two and takes TFF's own executor, which gives the
same results, but cannot return the values of a round without clients.
"""

from typing import Any, Optional

import cachetools
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import executor_pb2
from tensorflow_federated.python.core.impl.executors import remote_executor

from tff_partial.runtime import connection
from tff_partial.runtime import messages

_MAX_COMPUTATIONS = 8  # They are megabytes each, here and in the worker.


class ComputationCache:
  """The computations that were last sent to a worker, by executor."""

  def __init__(self):
    self._entries = cachetools.LRUCache(_MAX_COMPUTATIONS)

  def get(
      self, executor: tff.framework.RemoteExecutor, computation: Any
  ) -> Optional[remote_executor.RemoteValue]:
    """Returns the computation's value in the worker, or None."""
    entry = self._entries.get((id(executor), id(computation)))
    return entry and entry[0]

  def put(
      self,
      executor: tff.framework.RemoteExecutor,
      computation: Any,
      value: remote_executor.RemoteValue,
  ) -> None:
    """Keeps the computation's value in the worker."""
    # Hold references to all objects so that their id()s cannot be reused.
    entry = (value, executor, computation)
    self._entries[id(executor), id(computation)] = entry


class Executor(tff.framework.RemoteExecutor):
  """Sends values by `messages`, and each computation once."""

  def __init__(
      self,
      stub: tff.framework.RemoteExecutorGrpcStub,
      cache: ComputationCache,
      *,
      dispose_batch_size: int,
  ):
    super().__init__(stub, dispose_batch_size=dispose_batch_size)
    self._cache = cache
    self._num_clients: Optional[int] = None

  def set_cardinalities(self, cardinalities):
    super().set_cardinalities(cardinalities)
    self._num_clients = cardinalities.get(tff.CLIENTS)

  async def create_value(self, value, type_spec=None):
    if isinstance(type_spec, tff.FunctionType):
      cached = self._cache.get(self, value)
      if cached is None:
        cached = await super().create_value(value, type_spec)
        self._cache.put(self, value, cached)
      return cached
    request = executor_pb2.CreateValueRequest(executor=self._executor_id)
    messages.write(request.value, value, type_spec)
    handed = connection.Handed(request)
    del request  # The last reference: the message is freed once it is written.
    response = self._stub.create_value(handed)
    return remote_executor.RemoteValue(response.value_ref, type_spec, self)

  async def _compute(self, value_ref, type_spec):
    request = executor_pb2.ComputeRequest(
        executor=self._executor_id, value_ref=value_ref
    )
    return messages.read(
        self._stub.compute(request).value,
        type_spec,
        num_clients=self._num_clients,
    )
