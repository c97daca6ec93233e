# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs TFF's computations in this process, without a worker.

TFF's worker receives every value as a message and makes about eighty calls of
TensorFlow for a round. Here a computation is divided into a few graphs
(`stages.py`), and nothing is serialized. The smaller the steps of clients are,
the more time this saves. On the other hand, if TensorFlow crashes, so does the
program, whereas a worker that dies is started again.

Every client that computes at the same time has a `tf.Session` of its own, and
with it its own variables.
"""

import collections
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from concurrent import futures
import contextlib
import functools
import os
import queue
import threading
from typing import Any, Optional

from absl import logging
import cachetools
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
import tensorflow_federated as tff

from tff_partial.runtime import connection
from tff_partial.runtime import function_executor
from tff_partial.runtime import local
from tff_partial.runtime import messages
from tff_partial.runtime import stages as stages_lib
from tff_partial.runtime import worker_process

_MAX_COMPUTATIONS = 8  # Their graphs are megabytes each, once per session.
_AHEAD = 3  # A finished client holds far less memory than one that computes.

# Values by leaf: the server's, or those of a client of its own.
_Values = MutableMapping[stages_lib.Leaf, Any]


@contextlib.contextmanager
def in_process(
    *,
    max_concurrent_clients: Optional[int] = None,
    cores: Optional[int] = None,
    compiled: bool = False,
) -> Iterator[tff.framework.SyncContext]:
  """Runs this thread's TFF computations in this process.

  Results are those of `local_worker` up to the rounding of floating-point
  numbers. A computation with something that only TFF's worker can execute, such
  as a `tf.data.Dataset` in its arguments, runs in a worker that is started for
  it, and a warning says so. As in `local_worker`, blocks may be nested.

  The clients that compute at a time divide the cores. The first block of a
  program that has computed nothing yet therefore sets the number of threads of
  TensorFlow's operations, for the whole program and also after the block; set
  `TF_NUM_INTRAOP_THREADS` to choose it yourself. In a block, SIGTERM ends the
  program as an exception does.

  Args:
    max_concurrent_clients: Number of clients that compute at the same time,
      each with its own memory, at least 1; None for one per core.
    cores: Number of cores that may be kept busy; None for all that this program
      can use.
    compiled: Whether computations come compiled for TFF's native runtime, as
      in the processes of a cluster. Compiling them again would produce
      different graphs, which round differently.

  Yields:
    The context, which is this thread's default until the block ends.
  """
  usable = cores or worker_process.usable_cores()
  at_once = max_concurrent_clients or usable
  with contextlib.ExitStack() as stack:
    stack.enter_context(local.exit_on_sigterm())
    context = _Context(
        at_once,
        _divide_threads(usable, at_once),
        stack,
        compiled=compiled,
        environment=local.shared_cores(cores, at_once) if cores else None,
    )
    stack.enter_context(local.installed(context))
    yield context


def _divide_threads(cores: int, at_once: int) -> int:
  """Gives each client its share of TensorFlow's threads; 0 for the default."""
  if 'TF_NUM_INTRAOP_THREADS' in os.environ:
    return 0
  threads = -(-cores // at_once)
  # It raises an error if TensorFlow has computed something already.
  with contextlib.suppress(RuntimeError):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
  return threads


class _Context(local.OwnedContext):
  """Runs computations here, or in a worker if that is the only way."""

  def __init__(
      self,
      at_once: int,
      threads: int,
      stack: contextlib.ExitStack,
      *,
      compiled: bool,
      environment: Optional[Mapping[str, str]],
  ):
    self._at_once, self._stack, self._compiled = at_once, stack, compiled
    self._environment = environment  # Of the worker.
    self._worker: Optional[tff.framework.SyncContext] = None
    compiler = None if compiled else connection.Compiler()
    pool = stack.enter_context(futures.ThreadPoolExecutor(at_once))
    self._programs = cachetools.LRUCache(_MAX_COMPUTATIONS)
    # Threads may share a context.
    self._lock = threading.Lock()

    def create_program(computation):
      key = id(computation)
      with self._lock:
        if key not in self._programs:
          program = _Program(computation, _Clients(pool, at_once), threads)
          # Hold a reference to the object so that its id() cannot be reused.
          self._programs[key] = program, computation
        return self._programs[key][0]

    stack.callback(self._programs.clear)
    self._here = tff.framework.SyncExecutionContext(
        tff.framework.ResourceManagingExecutorFactory(
            functools.partial(function_executor.Executor, create_program)
        ),
        compiler,
        transform_args=tff.tensorflow.transform_args,
        transform_result=tff.tensorflow.transform_result,
    )

  def invoke(self, comp: Any, arg: Any) -> Any:
    try:
      return self._here.invoke(comp, arg)
    except stages_lib.UnknownProgramError as error:
      with self._lock:
        if self._worker is None:
          logging.warning(
              "A computation needs TFF's worker, which is started for it: only"
              ' the worker can execute %s.',
              error,
          )
          self._worker = self._stack.enter_context(
              local.worker_context(
                  max_concurrent_clients=self._at_once,
                  environment=self._environment,
                  compiled=self._compiled,
              )
          )
    return self._worker.invoke(comp, arg)


class _Clients:
  """Threads that compute clients."""

  def __init__(self, pool: futures.ThreadPoolExecutor, at_once: int):
    self._pool = pool
    self.at_once = at_once

  def map(
      self, fn: Callable[[_Values], None], clients: Sequence[_Values]
  ) -> Iterator[_Values]:
    """Calls a function for each client, and yields clients in order.

    No more than `_AHEAD` times `at_once` of them are computed or wait to be
    taken, so that a client with much work does not keep the cores idle.
    """
    if self.at_once == 1:
      for client in clients:
        fn(client)
        yield client
      return
    pending = collections.deque()
    try:
      for client in clients:
        if len(pending) == _AHEAD * self.at_once:
          yield self._finish(*pending.popleft())
        pending.append((self._pool.submit(fn, client), client))
      while pending:
        yield self._finish(*pending.popleft())
    finally:
      for future, _ in pending:
        future.cancel()  # If it has not begun.
      futures.wait([future for future, _ in pending])

  @staticmethod
  def _finish(future: futures.Future, client: _Values) -> _Values:
    future.result()
    return client


class _Graph:
  """A stage's graph, as functions of arrays.

  Each is a session of its own, which takes a while to create for a large graph.
  So the first calls create them, at the same time.
  """

  def __init__(self, stage: stages_lib.Stage, at_once: int, threads: int):
    """Initializes the functions.

    Args:
      stage: The stage.
      at_once: Number of calls at the same time, each in a session of its own.
      threads: Number of threads that an operation may use; 0 for the default.
    """
    self.kind = stage.kind
    self.inputs = list(stage.inputs)
    self.initial = [initial for initial, _, _ in stage.sums]
    self.outputs = [leaf for _, _, leaf in stage.sums] or list(stage.outputs)
    self._options = config_pb2.CallableOptions(
        feed=[t.name for t in stage.inputs.values()]
        + [before.name for _, before, _ in stage.sums],
        fetch=[leaf.tensor.name for leaf in self.outputs],
    )
    self._config = tf.compat.v1.ConfigProto(
        allow_soft_placement=True,
        intra_op_parallelism_threads=threads,
        # One thread for each session, not the caller's (-1): only TensorFlow's
        # threads take denormal numbers, with which processors are slow, for
        # zero.
        use_per_session_threads=True,
        inter_op_parallelism_threads=1,
    )
    self._config.gpu_options.allow_growth = True
    # TFF's compiler has optimized the graphs. Doing so once more for each
    # session takes seconds, and on CPUs makes no round faster.
    if not tf.config.list_physical_devices('GPU'):
      options = self._config.graph_options.rewrite_options
      options.disable_meta_optimizer = True
    self._graph = stage.graph
    # Those that nobody uses, the last one first; None for one that has yet to
    # be created.
    self._idle: queue.LifoQueue[Optional[Callable[..., Any]]] = (
        queue.LifoQueue()
    )
    for _ in range(at_once):
      self._idle.put(None)

  def _create(self) -> Callable[..., Any]:
    session = tf.compat.v1.Session(graph=self._graph, config=self._config)
    # What `make_callable` returns parses its arguments in every call.
    return session._make_callable_from_options(self._options)

  def _take(self) -> Callable[..., Any]:
    """A function that nobody uses."""
    run = self._idle.get()
    if run is not None:
      return run
    try:
      return self._create()
    except BaseException:
      self._idle.put(None)
      raise

  def __call__(self, *arrays: Any) -> Sequence[Any]:
    run = self._take()
    try:
      return run(*arrays)
    finally:
      self._idle.put(run)


class _Program:
  """A computation, ready to be executed."""

  def __init__(self, computation: Any, clients: _Clients, threads: int):
    """Divides a computation.

    Raises:
      stages_lib.UnknownProgramError: If only TFF's worker can execute it.
    """
    stages = stages_lib.Stages(computation)
    self._clients = clients
    self._type = computation.type_signature
    self._parameter, self._result = stages.parameter, stages.result
    self._graphs = [
        _Graph(
            stage,
            clients.at_once if stage.kind == stages_lib.CLIENTS else 1,
            threads,
        )
        for stage in stages
        if stage.outputs or stage.sums
    ]
    # What has to be kept after each graph.
    needed = {
        leaf
        for leaf in stages_lib.leaves(self._result)
        if isinstance(leaf, stages_lib.Leaf)
    }
    self._needed = []
    for graph in reversed(self._graphs):
      self._needed.insert(0, frozenset(needed))
      needed |= {*graph.inputs, *graph.initial}

  def __call__(self, argument: Any, num_clients: int) -> Any:
    """The result, in structures without containers."""
    server: _Values = {}
    clients: list[_Values] = [{} for _ in range(num_clients)]
    if self._parameter is not None:
      _bind(argument, self._type.parameter, self._parameter, server, clients)
    graphs = collections.deque(zip(self._graphs, self._needed))
    while graphs:
      graph, needed = graphs.popleft()
      if graph.kind == stages_lib.SERVER:
        arrays = [_get(leaf, server, {}) for leaf in graph.inputs]
        server.update(zip(graph.outputs, graph(*arrays)))
        continue
      results: Iterable[_Values] = clients
      if graph.kind == stages_lib.CLIENTS:
        results = self._clients.map(_client_fn(graph, server), clients)
        if not graphs or graphs[0][0].kind != stages_lib.SUMS:
          collections.deque(results, maxlen=0)
          continue
        graph, needed = graphs.popleft()
      _add_up(graph, results, server, needed)
    return _collect(self._result, self._type.result, server, clients)


def _client_fn(graph: _Graph, server: _Values) -> Callable[[_Values], None]:
  """A function that computes a client."""

  def compute(client):
    arrays = [_get(leaf, server, client) for leaf in graph.inputs]
    client.update(zip(graph.outputs, graph(*arrays)))

  return compute


def _add_up(
    graph: _Graph,
    clients: Iterable[_Values],
    server: _Values,
    needed: frozenset[stages_lib.Leaf],
) -> None:
  """Adds the clients' values, and frees those that nobody needs any more."""
  sums: Sequence[Any] = [_get(leaf, server, {}) for leaf in graph.initial]
  for client in clients:
    arrays = [_get(leaf, server, client) for leaf in graph.inputs]
    sums = graph(*arrays, *sums)
    for leaf in [leaf for leaf in client if leaf not in needed]:
      del client[leaf]
  server.update(zip(graph.outputs, sums))


def _get(symbol: stages_lib.Symbol, server: _Values, client: _Values) -> Any:
  if isinstance(symbol, stages_lib.Constant):
    return _as_array(symbol.value, symbol.type_spec).copy()
  values = client if symbol.at_clients else server
  value = values[symbol]
  # A result may have the memory of an argument, which the caller may change.
  if symbol.stage is None and value.flags.writeable:
    value = value.copy()
    if not symbol.at_clients:  # Once, and not for every client.
      value.flags.writeable = False
      values[symbol] = value
  return value


def _bind(
    value: Any,
    type_spec: tff.Type,
    symbol: stages_lib.Symbol,
    values: _Values,
    clients: Sequence[_Values],
) -> None:
  """Finds the values of an argument's leaves.

  Raises:
    TypeError: If the value is not of the type.
  """
  if isinstance(type_spec, tff.TensorType):
    values[symbol] = _to_array(value, type_spec)
  elif isinstance(type_spec, tff.StructType):
    parts = messages.parts(value, type_spec)
    for part, part_type, part_symbol in zip(parts, type_spec, symbol):
      _bind(part, part_type, part_symbol, values, clients)
  elif type_spec.all_equal:
    _bind(value, type_spec.member, symbol.member, values, clients)
  else:
    for client, own in zip(clients, value, strict=True):
      _bind(own, type_spec.member, symbol.member, client, ())


def _to_array(value: Any, type_spec: tff.TensorType) -> np.ndarray:
  dtype = type_spec.dtype.type
  if (
      isinstance(value, (np.ndarray, np.generic))
      and value.dtype == dtype
      and dtype is not np.str_
      and messages.has_shape(value.shape, type_spec)
  ):
    return np.asarray(value)
  # Whatever TFF accepts is accepted here, and nothing else.
  message, _ = tff.framework.serialize_value(value, type_spec)
  array, _ = tff.framework.deserialize_value(message, type_spec)
  return _as_array(array, type_spec)


def _as_array(value: Any, type_spec: tff.TensorType) -> np.ndarray:
  dtype = type_spec.dtype.type
  return np.asarray(value, object if dtype is np.str_ else dtype)  # Bytes.


def _collect(
    symbol: stages_lib.Symbol,
    type_spec: tff.Type,
    values: _Values,
    clients: Sequence[_Values],
) -> Any:
  """The value of a symbol, as TFF's worker would return it."""
  if isinstance(type_spec, tff.StructType):
    return tff.structure.Struct(
        [
            (name, _collect(part, part_type, values, clients))
            for part, (name, part_type) in zip(
                symbol, tff.structure.iter_elements(type_spec)
            )
        ]
    )
  if isinstance(type_spec, tff.FederatedType):
    member = lambda values: _collect(
        symbol.member, type_spec.member, values, ()
    )
    if type_spec.all_equal:
      return member(values)
    return [member(collections.ChainMap(client, values)) for client in clients]
  value = _get(symbol, values, values)
  if np.ndim(value) == 0:
    return value[()] if isinstance(value, np.ndarray) else value
  value.flags.writeable = False
  return value
