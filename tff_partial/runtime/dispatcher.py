# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tasks for several workers: taken when free, given back in order.

A worker that is lost loses its task to the others. When nothing is left to be
taken, a task that has taken much longer than others is given to a second worker
as well, and the first answer counts (as in MapReduce's backup tasks [1]). So
neither a dead nor a slow worker stalls the rest for long, and as results come
in the order of the tasks, they do not depend on who computed what.

[1] Dean and Ghemawat. MapReduce: Simplified Data Processing on Large Clusters.
OSDI 2004. Section 3.6.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import queue
import statistics
import threading
import time
from typing import Any, Optional, Protocol

from absl import logging
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.runtime import worker_process

_POLL_SECONDS = 0.1
_MAX_LOSSES = 3  # Of one task: then it is the task that loses workers.
_SLOW = 3.0  # Times the median.
_LEAST_SLOW_SECONDS = 1.0
_RESULTS_PER_WORKER = 2  # Kept while one before them is missing.


class Worker(Protocol):
  """Where a task may be computed."""

  @property
  def name(self) -> str:
    """For messages."""

  @property
  def is_available(self) -> bool:
    """Whether it can be given a task now."""

  @property
  def context(self) -> tff.framework.SyncContext:
    """Computes, or raises `worker_process.WorkerLost`."""


class Dispatcher:
  """Keeps a thread for each worker, as TFF's contexts are the thread's."""

  def __init__(
      self, workers: Sequence[Worker] = (), *, patience_seconds: float = 30.0
  ):
    """Starts the threads; without workers there are none.

    Args:
      workers: Where tasks are computed. Without any it is this thread's
        context, one task after the other.
      patience_seconds: How long no worker may be available.
    """
    self._answers = queue.SimpleQueue()
    self._hands = [_Hand(worker, self._answers) for worker in workers]
    self._patience = patience_seconds

  def compute(
      self,
      num_tasks: int,
      task_fn: Callable[[int], tuple[tff.Computation, Sequence[Any]]],
  ) -> Iterator[Any]:
    """Yields each task's result, in order.

    Args:
      num_tasks: How many there are.
      task_fn: The number of a task to a computation and its arguments, on
        which alone the result must depend. Called in this thread when a worker
        is free, and once more for a task that is given to another worker.

    Yields:
      The results. Few are kept at a time, however many tasks there are.

    Raises:
      errors.WorkerError: If no worker is available for long, or a task
        has lost several.
    """
    if not self._hands:
      for i in range(num_tasks):
        computation, arguments = task_fn(i)
        yield computation(*arguments)
      return
    tasks = _Tasks(num_tasks, _RESULTS_PER_WORKER * len(self._hands))
    last_available = time.monotonic()
    while not tasks.all_given:
      for hand in self._hands:
        if hand.is_free and (task := tasks.take()) is not None:
          hand.start(tasks, task, *task_fn(task))
      if tasks.next_is_ready:
        yield tasks.give()
        continue
      if any(hand.worker.is_available for hand in self._hands):
        last_available = time.monotonic()
      elif time.monotonic() - last_available > self._patience:
        names = ', '.join(hand.worker.name for hand in self._hands)
        raise errors.WorkerError(
            f'Expected an answer of one of {len(self._hands)} workers ({names})'
            f' within {self._patience:.0f} s, found none. Start workers, and'
            ' run the same command again: it goes on from the last checkpoint.'
        )
      self._take_answers(tasks)

  def close(self) -> None:
    """Lets the threads end, after what they are doing."""
    for hand in self._hands:
      hand.end()

  def __enter__(self) -> 'Dispatcher':
    return self

  def __exit__(self, *unused_exception):
    self.close()

  def _take_answers(self, tasks: '_Tasks'):
    """Waits a moment for an answer, and notes it."""
    with contextlib.suppress(queue.Empty):
      answer = self._answers.get(timeout=_POLL_SECONDS)
      # What a slow worker answers to an earlier call is of no use any more.
      if answer.tasks is tasks:
        tasks.note(answer)


@dataclasses.dataclass(frozen=True)
class Sharding:
  """How many clients are computed at a time, and where.

  Attributes:
    dispatcher: Hands shards to workers; by default the thread's own TFF context
      computes them.
    clients_per_shard: The number of clients in a shard. With `None` training
      takes the whole cohort, and evaluation as many as fit in memory easily.
  """

  dispatcher: Dispatcher = dataclasses.field(default_factory=Dispatcher)
  clients_per_shard: Optional[int] = None

  def __post_init__(self):
    if self.clients_per_shard is not None and self.clients_per_shard < 1:
      raise errors.SettingsError(
          'Expected `clients_per_shard` of at least 1, found'
          f' {self.clients_per_shard}. Use None for the whole cohort.'
      )


@dataclasses.dataclass(frozen=True)
class _Answer:
  """How a task went: a result, or an error."""

  tasks: '_Tasks'
  task: int
  worker: Worker
  result: Any = None
  error: Optional[BaseException] = None


class _Tasks:
  """Which tasks wait, run and are done, of one call of `compute`."""

  def __init__(self, num_tasks: int, max_results: int):
    self._num_tasks = num_tasks
    self._max_results = max_results
    self._waiting = collections.deque()  # Of those begun: lost by a worker.
    self._begun = 0
    self._given = 0
    self._running = collections.defaultdict(list)  # Task to times of start.
    self._results = {}
    self._seconds = []
    self._losses = collections.Counter()

  @property
  def all_given(self) -> bool:
    return self._given == self._num_tasks

  @property
  def next_is_ready(self) -> bool:
    return self._given in self._results

  def give(self) -> Any:
    """The next result."""
    self._given += 1
    return self._results.pop(self._given - 1)

  def take(self) -> Optional[int]:
    """A task for a free worker, or None."""
    task = None
    if self._waiting:
      task = self._waiting.popleft()
    elif self._begun < min(self._num_tasks, self._given + self._max_results):
      task = self._begun
      self._begun += 1
    else:
      task = self._slow_task()
    if task is not None:
      self._running[task].append(time.monotonic())
    return task

  def note(self, answer: _Answer) -> None:
    """Takes note of an answer.

    Raises:
      BaseException: The answer's error, if it is not a lost worker.
      errors.WorkerError: If this task has lost several workers.
    """
    starts = self._running[answer.task]
    started_at = starts.pop(0)
    if answer.error is None:
      if answer.task >= self._given and answer.task not in self._results:
        self._results[answer.task] = answer.result
        self._seconds.append(time.monotonic() - started_at)
      return
    if not isinstance(answer.error, worker_process.WorkerLost):
      raise answer.error
    logging.warning(
        'Worker %s is lost: %s Another one takes its task.',
        answer.worker.name,
        answer.error,
    )
    self._losses[answer.task] += 1
    if self._losses[answer.task] == _MAX_LOSSES:
      raise errors.WorkerError(
          f'Expected a task to end, found that {_MAX_LOSSES} workers were lost'
          f' with it, the last one: {answer.error} If they lack memory, use'
          ' fewer --clients_per_shard.'
      ) from answer.error
    is_done = answer.task < self._given or answer.task in self._results
    if not is_done and not starts:
      self._waiting.append(answer.task)

  def _slow_task(self) -> Optional[int]:
    """The first task that one worker has had for much longer than usual."""
    if not self._seconds:
      return None
    usual = statistics.median(self._seconds)
    latest = time.monotonic() - max(_SLOW * usual, _LEAST_SLOW_SECONDS)
    for task in range(self._given, self._begun):
      starts = self._running[task]
      if task not in self._results and len(starts) == 1 and starts[0] < latest:
        return task
    return None


class _Hand:
  """The thread that works with one worker."""

  def __init__(self, worker: Worker, answers: queue.SimpleQueue):
    self.worker = worker
    self._answers = answers
    self._jobs = queue.SimpleQueue()
    self._is_busy = False
    # A call to a worker that hangs must not keep the program from ending.
    threading.Thread(target=self._work, daemon=True).start()

  @property
  def is_free(self) -> bool:
    return not self._is_busy and self.worker.is_available

  def start(
      self, tasks: _Tasks, task: int, computation: Any, arguments: Sequence[Any]
  ):
    self._is_busy = True
    self._jobs.put((tasks, task, computation, arguments))

  def end(self):
    self._jobs.put(None)

  def _work(self):
    tff.framework.set_default_context(self.worker.context)
    while (job := self._jobs.get()) is not None:
      tasks, task, computation, arguments = job
      try:
        answer = _Answer(
            tasks, task, self.worker, result=computation(*arguments)
        )
      except BaseException as error:
        answer = _Answer(tasks, task, self.worker, error=error)
      # Nothing of the cohort is kept by a thread that waits.
      del job, tasks, computation, arguments
      self._is_busy = False
      self._answers.put(answer)
      del answer
