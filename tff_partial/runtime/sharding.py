# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""How many clients are computed at a time, and where.

An engine computes tasks. `ThisThread` computes them one after the other in the
thread's TFF context; `cluster.Cluster` spreads them over processes and
machines. Both give the same bits: results come in the order of the tasks, and
sums are added up in an order that depends on the number of tasks alone.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
from typing import Any, Optional, Protocol

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.runtime import connection

# As many sums are added from left to right; their totals are added in the same
# way, and so on: a tree over the numbers of the tasks.
GROUP_SIZE = 8
# Sums in memory are added early if they are larger.
_MAX_WAITING_BYTES = 2**25


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
  """A computation, and the values that all of its tasks share.

  Attributes:
    computation: Takes the shared values, and then those of a task.
    common: The shared values.
  """

  computation: tff.Computation
  common: Sequence[Any] = ()


@dataclasses.dataclass(frozen=True)
class Elsewhere:
  """Values at clients that a process of a cluster has.

  Attributes:
    reference: Ray's reference to their arrays, by `arrays.flatten`.
    machine: Ray's id of the machine, or of one that had it once.
    num_clients: Number of clients.
  """

  reference: Any
  machine: str
  num_clients: int


# Takes the number of a task; returns its step and its own arguments, which
# determine the result. Called in the caller's thread when the task is started.
TaskFn = Callable[[int], tuple[Step, Sequence[Any]]]
# Takes the number of a task and the first part of its result.
KeepFn = Callable[[int, Any], None]
# Takes a number n; returns `(<A,...> -> A)`, which adds n sums, left to right.
MergeFn = Callable[[int], tff.Computation]


class Engine(Protocol):
  """Computes tasks.

  Attributes:
    takes_elsewhere: Whether arguments may be `Elsewhere`.
  """

  takes_elsewhere: bool

  def compute(self, num_tasks: int, task_fn: TaskFn) -> Iterator[Any]:
    """Yields the result of each task, in order."""

  def add_up(
      self,
      num_tasks: int,
      task_fn: TaskFn,
      keep_fn: KeepFn,
      merge_fn: MergeFn,
      *,
      machines: Optional[Sequence[str]] = None,
  ) -> Sequence[Any]:
    """Computes tasks whose results have two parts, and adds the second ones.

    Args:
      num_tasks: Number of tasks, at least 1.
      task_fn: Maps the number of a task to a step, the same for all tasks, and
        to its arguments.
      keep_fn: Receives the first parts, in order; `Elsewhere` if an argument of
        the task was `Elsewhere`.
      merge_fn: Builds the computation that adds the second parts.
      machines: For each task, the machine that has its `Elsewhere`.

    Returns:
      Sums that remain to be added from left to right, `GROUP_SIZE` at most.
    """


class ThisThread:
  """Computes one task after the other in the thread's TFF context."""

  takes_elsewhere = False

  def compute(self, num_tasks: int, task_fn: TaskFn) -> Iterator[Any]:
    """See `Engine`."""
    for i in range(num_tasks):
      step, arguments = task_fn(i)
      yield step.computation(*step.common, *arguments)

  def add_up(
      self,
      num_tasks: int,
      task_fn: TaskFn,
      keep_fn: KeepFn,
      merge_fn: MergeFn,
      *,
      machines: Optional[Sequence[str]] = None,
  ) -> Sequence[Any]:
    """See `Engine`."""
    del machines
    tree = _Tree(lambda sums: merge_fn(len(sums))(*sums))
    for i in range(num_tasks):
      step, arguments = task_fn(i)
      part, sums = step.computation(*step.common, *arguments)
      del arguments
      keep_fn(i, part)
      tree.add(sums)
      del part, sums  # Free them while the next task is computed.
      connection.give_back_memory()
    return tree.rest()


class _Tree:
  """Adds sums group by group, with few of them in memory.

  Within a group, adding the first few early changes nothing: the order is from
  left to right in any case.
  """

  def __init__(self, merge_fn: Callable[[Sequence[Any]], Any]):
    self._merge = merge_fn
    self._groups: list[list[Any]] = [[]]
    self._sizes = [0]  # How many have been added to the current groups.

  def add(self, sums: Any, level: int = 0) -> None:
    """Adds the next sum, by default one of a task."""
    if self._sizes[level] == GROUP_SIZE:
      self._close(level)
    group = self._groups[level]
    group.append(sums)
    self._sizes[level] += 1
    if len(group) > 1 and num_bytes(group) > _MAX_WAITING_BYTES:
      self._groups[level] = [self._merge(group)]

  def rest(self) -> Sequence[Any]:
    """The sums of the last group at the top."""
    level = 0
    while level + 1 < len(self._groups):
      self._close(level)
      level += 1
    return self._groups[level]

  def _close(self, level: int) -> None:
    """Adds up the current group, and starts another one."""
    group = self._groups[level]
    if level + 1 == len(self._groups):
      self._groups.append([])
      self._sizes.append(0)
    self._groups[level], self._sizes[level] = [], 0
    self.add(group[0] if len(group) == 1 else self._merge(group), level + 1)


@dataclasses.dataclass(frozen=True)
class Sharding:
  """How many clients are computed at a time, and where.

  Attributes:
    engine: Computes shards; by default the thread's own TFF context. `connect`
      makes one that uses several processes or machines.
    clients_per_shard: The number of clients in a shard. With `None` training
      takes the whole cohort, and evaluation as many as fit in memory easily.
  """

  engine: Engine = dataclasses.field(default_factory=ThisThread)
  clients_per_shard: Optional[int] = None

  def __post_init__(self):
    if self.clients_per_shard is not None and self.clients_per_shard < 1:
      raise errors.SettingsError(
          'Expected `clients_per_shard` of at least 1, found'
          f' {self.clients_per_shard}. Use None for the whole cohort.'
      )


def num_bytes(value: Any) -> int:
  """The size of the arrays in a structure."""
  return sum(getattr(leaf, 'nbytes', 0) for leaf in tf.nest.flatten(value))
