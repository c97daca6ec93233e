# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Computes on several processes, on this machine or on a Ray cluster.

    with cluster.connect('local') as engine:
      training.train(..., sharding=sharding.Sharding(engine, 5))

Ray [1] starts the processes (`node.py`), restarts them, and moves values; this
program reads examples, keeps the store and hands out shards. A round's shared
state is put into Ray's object store once, from where each machine gets one
copy. The sums of shards stay where they are made, and are added there, in a
tree over the shards; the last sum alone comes here.

[1] Moritz et al. Ray: A Distributed Framework for Emerging AI Applications.
OSDI 2018.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import functools
from typing import Any, Optional

import tensorflow_federated as tff

from tff_partial import errors

try:
  import ray
  from ray.util import scheduling_strategies as strategies
except ImportError as e:
  raise errors.SettingsError(
      'Expected the package ray for `cluster`, found none. Install'
      ' requirements.txt, or the extra tff-partial[cluster].'
  ) from e

from tff_partial.runtime import arrays as arrays_lib
from tff_partial.runtime import connection
from tff_partial.runtime import names
from tff_partial.runtime import node
from tff_partial.runtime import pool as pool_lib
from tff_partial.runtime import ray_connection
from tff_partial.runtime import runtimes
from tff_partial.runtime import sharding

_START_SECONDS = 120.0
_PATIENCE_SECONDS = 600.0
_TASK_RETRIES = 3


@contextlib.contextmanager
def connect(
    address: str = 'local',
    *,
    runtime: str = names.IN_PROCESS,
    actor_cores: Optional[int] = None,
    max_concurrent_clients: Optional[int] = None,
    insecure_cluster: bool = False,
    log_file: Optional[str] = None,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> Iterator['Cluster']:
  """Starts processes that compute, and ends them when the block ends.

  The thread's other TFF computations run in this program, or in a worker of its
  own, by the same `runtime`.

  Args:
    address: 'local' for processes on this machine alone; 'auto' for the Ray
      cluster that this machine is part of; ray://host:port for another one.
    runtime: What each process computes with, 'in_process' or 'worker'; see
      `in_process` and `local_worker`.
    actor_cores: Number of cores for each process; by default 4, or all cores of
      a machine that has fewer.
    max_concurrent_clients: Number of clients that compute at the same time in a
      process; by default one per core.
    insecure_cluster: Whether to use a cluster that lets everybody in.
    log_file: The output of this program's worker, if it has one, is appended to
      this file.
    patience_seconds: The longest time, in seconds, without any answer.

  Yields:
    The cluster, an engine for `Sharding`.

  Raises:
    errors.SettingsError: If Ray is not installed, the address is not valid, or
      the cluster lets everybody in.
    errors.WorkerError: If the cluster does not answer, has too few cores, or
      has other versions of packages.
  """
  with contextlib.ExitStack() as stack:
    stack.enter_context(
        ray_connection.connect(address, insecure_cluster=insecure_cluster)
    )
    cores = actor_cores or ray_connection.default_cores()
    actors = _start(runtime, cores, max_concurrent_clients or cores)
    stack.callback(_end, actors)
    machines = _wait(actors)
    stack.enter_context(runtimes.start(runtime, log_file=log_file))
    yield Cluster(actors, machines=machines, patience_seconds=patience_seconds)


def _start(runtime: str, cores: int, max_concurrent_clients: int) -> list[Any]:
  """Starts as many actors on each machine as it has room for."""
  nodes = [
      node_id
      for node_id, found in ray_connection.nodes()
      for _ in range(found // cores)
  ]
  if not nodes:
    raise errors.WorkerError(
        f'Expected a machine with `actor_cores` of {cores} in the cluster,'
        f' found {max(ray_connection.cores_of_nodes())} at most. Use fewer.'
    )
  actor_class = ray.remote(
      # Half of them: Ray computes the sums of a machine that is lost by its
      # actors, which have to start again on machines without a core to spare.
      # Above 1, Ray takes whole numbers.
      num_cpus=cores // 2 or 0.5,
      max_restarts=-1,
      max_task_retries=_TASK_RETRIES,
      runtime_env=ray_connection.environment(),
  )(node.Node)
  return [
      actor_class.options(
          scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(
              node_id, soft=True
          )
      ).remote(runtime, cores, max_concurrent_clients)
      for node_id in nodes
  ]


def _wait(actors: list[Any]) -> list[str]:
  """Waits for the actors, leaves out late ones, and checks the others.

  Returns:
    The machine of each.

  Raises:
    errors.WorkerError: If there is none, or one has other packages.
  """
  answers = {actor.describe.remote(): actor for actor in actors}
  with ray_connection.one_line_errors():
    ready, late = ray.wait(
        list(answers), num_returns=len(actors), timeout=_START_SECONDS
    )
    found = {answers[answer]: ray.get(answer) for answer in ready}
  if not found:
    raise errors.WorkerError(
        f'Expected {len(actors)} processes of the cluster to start within'
        f' {_START_SECONDS:.0f} s, found none. Look at `ray status`: others may'
        ' use its cores.'
    )
  for answer in late:
    actors.remove(answers[answer])
    ray.kill(answers[answer])
  for process in found.values():
    if process['versions'] != node.versions():
      raise errors.WorkerError(
          f'Expected the packages {node.versions()} in the cluster, as here,'
          f" found {process['versions']}. Install the same requirements.txt"
          ' there.'
      )
  return [found[actor]['node'] for actor in actors]


def _end(actors: Sequence[Any]) -> None:
  for actor in actors:
    with contextlib.suppress(Exception):  # The cluster may be gone.
      ray.kill(actor)


class Cluster:
  """An engine for `sharding.Sharding` that computes in several processes.

  Attributes:
    handles: Ray's handles of the processes.
    takes_elsewhere: Whether arguments may be `sharding.Elsewhere`.
  """

  takes_elsewhere = True

  def __init__(
      self,
      actors: Sequence[Any],
      *,
      machines: Sequence[str] = (),
      patience_seconds: float = _PATIENCE_SECONDS,
  ):
    """Takes the processes.

    Args:
      actors: Actors of the class `node.Node`.
      machines: Ray's id of the machine that each was started on; by default
        none of them is near any values.
      patience_seconds: The longest time, in seconds, without any answer.
    """
    self.handles = tuple(actors)
    self._pool = pool_lib.Pool(actors, patience_seconds=patience_seconds)
    # Not asked for later, which a process that has stopped would not answer.
    self._machines = dict(zip(self._pool.actors, machines))
    self._compiler = connection.Compiler()
    self._put_program = functools.lru_cache()(self._put_program_again)

  def compute(self, num_tasks: int, task_fn: sharding.TaskFn) -> Iterator[Any]:
    """See `sharding.Engine`."""
    tasks = _SentTasks(task_fn, self._put_program, 'compute_whole')
    with ray_connection.one_line_errors():
      for i, result in enumerate(self._pool.run(num_tasks, tasks.prepare)):
        task = tasks.forget(i)
        _, answer = result.references
        yield task.read(ray.get(answer), task.step.result_type)

  def add_up(
      self,
      num_tasks: int,
      task_fn: sharding.TaskFn,
      keep_fn: sharding.KeepFn,
      merge_fn: sharding.MergeFn,
      *,
      machines: Optional[Sequence[str]] = None,
  ) -> Sequence[Any]:
    """See `sharding.Engine`."""
    # If a machine is lost with its sums, Ray computes them again from the
    # values that these tasks refer to.
    tasks = _SentTasks(task_fn, self._put_program, 'compute')
    sums = []
    with ray_connection.one_line_errors():
      results = self._pool.run(
          num_tasks,
          tasks.prepare,
          group_size=sharding.GROUP_SIZE,
          preferred=self._actors_on(machines) if machines else None,
      )
      for i, result in enumerate(results):
        _, part, _ = result.references
        task = tasks[i]
        part_type, sums_type = task.step.result_type
        if task.machine is not None:
          keep_fn(i, sharding.Elsewhere(part, task.machine, task.num_clients))
        else:
          keep_fn(i, task.read(ray.get(part), part_type))
        sums.append(result)
      while len(sums) > 1:
        sums = self._merge_groups(sums, merge_fn)
      total = ray.get(sums[0].references[-1])
      return [task.read(total, sums_type)]

  def _merge_groups(
      self, sums: Sequence[pool_lib.Result], merge_fn: sharding.MergeFn
  ) -> list[pool_lib.Result]:
    """Adds up each group of sums, preferably where the first of them is."""
    groups = [
        sums[start : start + sharding.GROUP_SIZE]
        for start in range(0, len(sums), sharding.GROUP_SIZE)
    ]

    def prepare(i):
      program = [self._put_program(merge_fn(len(groups[i])))]
      parts = [result.references[-1] for result in groups[i]]
      return lambda actor: actor.compute_whole.options(num_returns=2).remote(
          program, 0, *parts
      )

    first_actors = [[group[0].actor] for group in groups]
    return list(self._pool.run(len(groups), prepare, preferred=first_actors))

  def _actors_on(
      self, machines: Sequence[str]
  ) -> list[Sequence[pool_lib.Actor]]:
    """For each group of tasks, the processes near the first one's values."""
    by_machine = collections.defaultdict(list)
    for actor in self._pool.actors:
      by_machine[self._machines.get(actor)].append(actor)
    return [by_machine[m] for m in machines[:: sharding.GROUP_SIZE]]

  def _put_program_again(self, computation: tff.Computation) -> ray.ObjectRef:
    compiled = self._compiler(computation)
    return ray.put(
        tff.framework.serialize_computation(compiled).SerializeToString()
    )


class _SentStep:
  """A step whose computation and shared values are in the object store.

  Attributes:
    result_type: The type of what the computation returns.
  """

  def __init__(self, step: sharding.Step, program: ray.ObjectRef):
    signature = step.computation.type_signature
    self.result_type = signature.result
    types = [signature.parameter]
    if isinstance(signature.parameter, tff.StructType):
      types = [part for _, part in tff.structure.iter_elements(types[0])]
    self._program = program
    self._types = types[len(step.common) :]
    self._common = _put(step.common, types[: len(step.common)])

  def num_clients(self, arguments: Sequence[Any]) -> int:
    """Number of clients that some arguments are for."""
    for value, type_spec in zip(arguments, self._types, strict=True):
      if isinstance(value, sharding.Elsewhere):
        return value.num_clients
      if isinstance(type_spec, tff.FederatedType) and not type_spec.all_equal:
        return len(value)
    return 0

  def call(
      self, method: str, num_returns: int, arguments: Sequence[Any]
  ) -> pool_lib.CallFn:
    """The call of a method of `Node` with the common and these arguments."""
    parameters = (
        [self._program],
        self.num_clients(arguments),
        self._common,
        *(
            value.reference
            if isinstance(value, sharding.Elsewhere)
            else _put([value], [type_spec])
            for value, type_spec in zip(arguments, self._types, strict=True)
        ),
    )
    return lambda actor: (
        getattr(actor, method)
        .options(num_returns=num_returns)
        .remote(*parameters)
    )


def _put(values: Sequence[Any], types: Sequence[tff.Type]) -> ray.ObjectRef:
  """Puts the arrays of values into the object store."""
  return ray.put(
      [
          array
          for value, type_spec in zip(values, types, strict=True)
          for array in arrays_lib.flatten(value, type_spec)
      ]
  )


@dataclasses.dataclass(frozen=True)
class _SentTask:
  """A task whose values are in the object store as long as this is here."""

  step: _SentStep
  num_clients: int
  call: pool_lib.CallFn
  machine: Optional[str]  # That has an argument.

  def read(self, arrays: Any, type_spec: tff.Type) -> Any:
    """Makes a value from an answer."""
    return arrays_lib.unflatten(arrays, type_spec, num_clients=self.num_clients)


class _SentTasks:
  """The tasks that have been put into the object store."""

  # How many parts the results of `Node`'s methods have.
  _NUM_RETURNS = {'compute': 3, 'compute_whole': 2}

  def __init__(
      self,
      task_fn: sharding.TaskFn,
      put_program: Callable[[tff.Computation], ray.ObjectRef],
      method: str,
  ):
    """Takes the tasks.

    Args:
      task_fn: As in `sharding.Engine`.
      put_program: Puts a computation into the object store.
      method: The method of `Node` that computes them.
    """
    self._task_fn = task_fn
    self._put_program = put_program
    self._method = method
    self._steps: dict[sharding.Step, _SentStep] = {}
    self._tasks: dict[int, _SentTask] = {}

  def prepare(self, i: int) -> pool_lib.CallFn:
    """Puts a task into the object store."""
    step, arguments = self._task_fn(i)
    if step not in self._steps:
      self._steps[step] = _SentStep(step, self._put_program(step.computation))
    sent = self._steps[step]
    call = sent.call(self._method, self._NUM_RETURNS[self._method], arguments)
    machines = [
        value.machine
        for value in arguments
        if isinstance(value, sharding.Elsewhere)
    ]
    self._tasks[i] = _SentTask(
        sent, sent.num_clients(arguments), call, next(iter(machines), None)
    )
    return call

  def __getitem__(self, i: int) -> _SentTask:
    return self._tasks[i]

  def forget(self, i: int) -> _SentTask:
    """Returns a task, whose values are let go with it."""
    return self._tasks.pop(i)
