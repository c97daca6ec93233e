# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Hands tasks to the actors of a Ray cluster and returns results in order.

Ray starts actors, places them on machines, restarts those that die and repeats
their calls. What is left is an actor that does not answer: it has been stopped,
its machine is cut off, or it is slow. So when no task is left to start, one
that has taken much longer than the others is given to a second actor too, and
the first answer counts, as with MapReduce's backup tasks [1].

[1] Dean and Ghemawat. MapReduce: Simplified Data Processing on Large Clusters.
OSDI 2004. Section 3.6.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
import dataclasses
import statistics
import time
from typing import Any, Optional

from absl import logging
import humanize
import ray

from tff_partial import errors

_POLL_SECONDS = 0.5
_CALLS_PER_ACTOR = 2  # The second one's values travel during the first one.
_MAX_LOSSES = 3  # Actors that one task may lose: then the task is the cause.
_SLOW_FACTOR = 3.0  # A task is slow after this many times the median.
_MIN_SLOW_SECONDS = 1.0
# Nobody has answered for this many times the longest time of a task: actors
# that have tasks are started again, once.
_SILENT_FACTOR = 10.0
_START_SECONDS = 120.0  # Allowed in addition to a process that starts.
_ADVICE = (
    'Run the same command again, with this or another cluster: it continues'
    ' from the last checkpoint.'
)

# Starts a call of an actor; returns references to the parts of the result, of
# which the first is small.
CallFn = Callable[[Any], Sequence[ray.ObjectRef]]


@dataclasses.dataclass(eq=False)
class Actor:
  """An actor, and the calls that it has not answered.

  Attributes:
    handle: Ray's handle of it.
    calls: The calls, in order.
    answered_at: When it last answered, or was given a call while it had none.
    group: The number of the group whose tasks it takes.
    losses: Number of calls that were lost since it last answered.
  """

  handle: Any
  calls: list['_Call'] = dataclasses.field(default_factory=list)
  answered_at: float = 0.0
  group: Optional[int] = None
  losses: int = 0


@dataclasses.dataclass(eq=False)
class Result:
  """The result of a task.

  Attributes:
    references: References to its parts.
    actor: Who computed it.
  """

  references: Sequence[ray.ObjectRef]
  actor: Actor


@dataclasses.dataclass(eq=False)
class _Call(Result):
  """A task that was given to an actor."""

  tasks: '_Tasks'
  task: int


class Pool:
  """Some actors that compute tasks."""

  def __init__(self, handles: Sequence[Any], *, patience_seconds: float):
    """Takes the actors.

    Args:
      handles: The actors.
      patience_seconds: The longest time, in seconds, without any answer, unless
        a task has taken a tenth of it.
    """
    self._actors = [Actor(handle) for handle in handles]
    self._patience = patience_seconds
    self._longest = 0.0
    self._answered_at = 0.0
    self._has_restarted = False

  @property
  def actors(self) -> Sequence[Actor]:
    """The actors that have not been given up."""
    return tuple(self._actors)

  def run(
      self,
      num_tasks: int,
      prepare_fn: Callable[[int], CallFn],
      *,
      group_size: int = 1,
      preferred: Optional[Sequence[Sequence[Actor]]] = None,
  ) -> Iterator[Result]:
    """Yields the result of each task, in order.

    Args:
      num_tasks: Number of tasks.
      prepare_fn: Maps the number of a task to its call. Called once for each
        task, in this thread, when an actor is free.
      group_size: An actor preferably computes this many consecutive tasks.
      preferred: Who should compute each group, if one of them is free.

    Yields:
      The results. Their calls have succeeded.

    Raises:
      errors.WorkerError: If nobody answers, or a task has lost several actors.
    """
    tasks = _Tasks(num_tasks, prepare_fn, group_size, preferred)
    self._answered_at = time.monotonic()
    self._has_restarted = False
    for actor in self._actors:
      actor.group = None
    for i in range(num_tasks):
      while i not in tasks.results:
        self._hand_out(tasks)
        self._take_answers(tasks)
      tasks.forget_call(i)
      yield tasks.results.pop(i)

  def _hand_out(self, tasks: '_Tasks') -> None:
    """Gives tasks to free actors, first to those that have none."""
    for depth in range(_CALLS_PER_ACTOR):
      for actor in self._actors:
        if len(actor.calls) == depth:
          task = tasks.take(actor, self._actors)
          if task is None and not depth:
            task = tasks.slow_task(self._actors)
          if task is not None:
            self._start(tasks, task, actor)

  def _start(self, tasks: '_Tasks', task: int, actor: Actor) -> None:
    if not actor.calls:
      actor.answered_at = time.monotonic()
    try:
      references = tasks.call_fn(task)(actor.handle)
    except ray.exceptions.RayError as error:
      raise _lost(error) from error
    actor.calls.append(_Call(references, actor, tasks, task))

  def _take_answers(self, tasks: '_Tasks') -> None:
    """Waits a moment for answers and handles them."""
    calls = {
        call.references[0]: call
        for actor in self._actors
        for call in actor.calls
    }
    ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
    if not ready:
      ready, _ = ray.wait(list(calls), timeout=_POLL_SECONDS)
    if not ready:
      self._check_patience()
    for reference in ready:
      self._take_answer(tasks, calls[reference])

  def _take_answer(self, tasks: '_Tasks', call: _Call) -> None:
    """Handles the answer to a call."""
    actor = call.actor
    now = time.monotonic()
    seconds = now - actor.answered_at
    actor.calls.remove(call)
    actor.answered_at = now
    # A slow actor's answer to an earlier call is of no use.
    if call.tasks is not tasks or call.task in tasks.finished:
      return
    if tasks.record(call, seconds):
      self._answered_at = now
      self._longest = max(self._longest, seconds)
      actor.losses = 0
      return
    logging.warning('A process is lost. Another one takes its task.')
    actor.losses += 1
    if actor.losses == _MAX_LOSSES and len(self._actors) > 1:
      self._actors.remove(actor)
      for other in actor.calls:  # Nobody waits for their answers any more.
        if other.tasks is tasks:
          tasks.put_back(other.task)

  def _check_patience(self) -> None:
    """Starts silent actors again, or gives up.

    Raises:
      errors.WorkerError: If nobody has answered for too long.
    """
    patience = max(self._patience, _SILENT_FACTOR * self._longest)
    if self._has_restarted:
      patience += _START_SECONDS
    silence = time.monotonic() - self._answered_at
    if silence < patience:
      return
    if self._has_restarted:
      raise errors.WorkerError(
          f'Expected an answer from one of {len(self._actors)} processes of the'
          f' cluster within {humanize.precisedelta(patience)}, found none.'
          f' {_ADVICE}'
      )
    self._has_restarted = True
    self._answered_at = time.monotonic()
    for actor in self._actors:
      if actor.calls:
        logging.warning('A process does not answer. It is started again.')
        # Ray repeats its calls.
        ray.kill(actor.handle, no_restart=False)


class _Tasks:
  """The tasks of one call of `Pool.run` that wait, run and are finished.

  Attributes:
    results: The results that have not been yielded.
    finished: The numbers of all tasks that are finished.
  """

  def __init__(
      self,
      num_tasks: int,
      prepare_fn: Callable[[int], CallFn],
      group_size: int,
      preferred: Optional[Sequence[Sequence[Actor]]],
  ):
    self.results: dict[int, Result] = {}
    self.finished: set[int] = set()
    self._prepare = prepare_fn
    self._waiting = {
        start: collections.deque(
            range(start, min(start + group_size, num_tasks))
        )
        for start in range(0, num_tasks, group_size)
    }
    self._preferred: dict[int, Sequence[Actor]] = {}
    if preferred is not None:
      self._preferred = dict(zip(self._waiting, preferred, strict=True))
    self._call_fns: dict[int, CallFn] = {}
    self._losses = collections.Counter()
    self._seconds: list[float] = []

  def call_fn(self, task: int) -> CallFn:
    """The call of a task, for which its values are read once."""
    if task not in self._call_fns:
      self._call_fns[task] = self._prepare(task)
    return self._call_fns[task]

  def forget_call(self, task: int) -> None:
    """Lets go of a task's values."""
    self._call_fns.pop(task, None)

  def take(self, actor: Actor, actors: Sequence[Actor]) -> Optional[int]:
    """Returns a task for an actor, or None.

    Results that stay with the actor are added up there, so it goes on with the
    group where it has tasks, then with one that should be its own, then with
    one where nobody has, and then helps.
    """
    if not self._waiting:
      return None
    if actor.group not in self._waiting:
      taken = {other.group for other in actors}
      actor.group = min(
          self._waiting,
          key=lambda group: (
              actor not in self._preferred.get(group, ()),
              group in taken,
              -len(self._waiting[group]),
              group,
          ),
      )
    group = self._waiting[actor.group]
    task = group.popleft()
    if not group:
      del self._waiting[actor.group]
    return task

  def put_back(self, task: int) -> None:
    """Lets a task be taken again, unless it is finished."""
    if task not in self.finished:
      self._waiting[-1 - task] = collections.deque([task])

  def slow_task(self, actors: Sequence[Actor]) -> Optional[int]:
    """Returns a task that one actor has had for much longer than usual."""
    if not self._seconds:
      return None
    usual = statistics.median(self._seconds)
    latest = time.monotonic() - max(_SLOW_FACTOR * usual, _MIN_SLOW_SECONDS)
    running = collections.Counter(
        call.task
        for actor in actors
        for call in actor.calls
        if call.tasks is self
    )
    for actor in actors:
      if actor.answered_at < latest:
        for call in actor.calls:
          if (
              call.tasks is self
              and call.task not in self.finished
              and running[call.task] == 1
          ):
            return call.task
    return None

  def record(self, call: _Call, seconds: float) -> bool:
    """Records an answer; False if the call was lost.

    Raises:
      ray.exceptions.RayTaskError: If the task itself failed.
      errors.WorkerError: If this task has lost several actors.
    """
    try:
      ray.get(call.references[0])
    except ray.exceptions.RayTaskError:
      raise
    except ray.exceptions.RayError as error:
      self._losses[call.task] += 1
      if self._losses[call.task] == _MAX_LOSSES:
        raise _lost(error) from error
      self.put_back(call.task)
      return False
    self._seconds.append(seconds)
    self.finished.add(call.task)
    self._waiting.pop(-1 - call.task, None)  # If another actor had lost it.
    self.results[call.task] = call
    return True


def _lost(error: Exception) -> errors.WorkerError:
  return errors.WorkerError(
      'Expected the cluster to finish a task, found that it was lost'
      f' {_MAX_LOSSES} times: {" ".join(str(error).split())[:300]} If memory'
      f' ran out, use fewer `clients_per_shard`. {_ADVICE}'
  )
