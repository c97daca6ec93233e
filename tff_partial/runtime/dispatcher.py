# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distributes tasks over workers and returns the results in order.

If a worker is lost, another one takes its task. When no task is left to start,
a task that has taken much longer than the others is given to a second worker
too, and the first answer counts, as with MapReduce's backup tasks [1]. So
neither a dead nor a slow worker stalls the rest for long. Results come in the
order of the tasks and do not depend on which worker computed them.

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
import humanize
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.runtime import worker_process

_POLL_SECONDS = 0.1
_MAX_LOSSES = 3  # Workers that one task may lose: then the task is the cause.
_SLOW_FACTOR = 3.0  # A task is slow after this many times the median.
_MIN_SLOW_SECONDS = 1.0
_RESULTS_PER_WORKER = 2  # Kept while an earlier result is missing.


class Worker(Protocol):
  """Computes tasks, unless it is lost."""

  @property
  def name(self) -> str:
    """The name in messages."""

  @property
  def is_available(self) -> bool:
    """Whether it can take a task now."""

  @property
  def context(self) -> tff.framework.SyncContext:
    """Its context, which raises `worker_process.WorkerLost` if it is lost."""


class Dispatcher:
  """Runs tasks in workers, with one thread for each worker.

  TFF's default context belongs to a thread.
  """

  def __init__(
      self, workers: Sequence[Worker] = (), *, patience_seconds: float = 30.0
  ):
    """Starts the threads.

    Args:
      workers: Compute the tasks. If there are none, this thread's context
        computes them, one after the other.
      patience_seconds: The longest time, in seconds, without any available
        worker.
    """
    self._answers = queue.SimpleQueue()
    self._threads = [WorkerThread(worker, self._answers) for worker in workers]
    self._patience = patience_seconds

  def compute(
      self,
      num_tasks: int,
      task_fn: Callable[[int], tuple[tff.Computation, Sequence[Any]]],
  ) -> Iterator[Any]:
    """Yields the result of each task, in order.

    Args:
      num_tasks: Number of tasks.
      task_fn: Maps the number of a task to a computation and its arguments,
        which must determine the result. Called in this thread when a worker is
        free, and again if the task is given to another worker.

    Yields:
      The results. Only a few are in memory at a time.

    Raises:
      errors.WorkerError: If no worker is available for `patience_seconds`, or a
        task has lost several workers.
    """
    if not self._threads:
      for i in range(num_tasks):
        computation, arguments = task_fn(i)
        yield computation(*arguments)
      return
    tasks = _Tasks(num_tasks, _RESULTS_PER_WORKER * len(self._threads))
    last_available = time.monotonic()
    while not tasks.all_yielded:
      for thread in self._threads:
        if thread.is_free and (task := tasks.take()) is not None:
          thread.start(tasks, task, *task_fn(task))
      if tasks.next_is_ready:
        yield tasks.pop_result()
        continue
      if any(thread.worker.is_available for thread in self._threads):
        last_available = time.monotonic()
      elif time.monotonic() - last_available > self._patience:
        names = ', '.join(thread.worker.name for thread in self._threads)
        raise errors.WorkerError(
            f'Expected an answer from one of {len(self._threads)} workers'
            f' ({names}) within {humanize.precisedelta(self._patience)}, found'
            ' none. Start workers and run the same command again: it continues'
            ' from the last checkpoint.'
        )
      self._take_answers(tasks)

  def close(self) -> None:
    """Ends the threads after their current tasks."""
    for thread in self._threads:
      thread.end()

  def __enter__(self) -> 'Dispatcher':
    return self

  def __exit__(self, *unused_exception):
    self.close()

  def _take_answers(self, tasks: '_Tasks'):
    """Waits a moment for an answer and handles it."""
    with contextlib.suppress(queue.Empty):
      answer = self._answers.get(timeout=_POLL_SECONDS)
      # A slow worker's answer to an earlier call is of no use.
      if answer.tasks is tasks:
        tasks.record(answer)


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
  """The outcome of a task: a result or an error."""

  tasks: '_Tasks'
  task: int
  worker: Worker
  result: Any = None
  error: Optional[BaseException] = None


class _Tasks:
  """The tasks of one call of `compute` that wait, run and are finished."""

  def __init__(self, num_tasks: int, max_results: int):
    self._num_tasks = num_tasks
    self._max_results = max_results
    self._waiting = collections.deque()  # Started, but lost by a worker.
    self._started = 0
    self._yielded = 0
    self._running = collections.defaultdict(list)  # Task to start times.
    self._results = {}
    self._seconds = []
    self._losses = collections.Counter()

  @property
  def all_yielded(self) -> bool:
    return self._yielded == self._num_tasks

  @property
  def next_is_ready(self) -> bool:
    return self._yielded in self._results

  def pop_result(self) -> Any:
    """Returns the next result."""
    self._yielded += 1
    return self._results.pop(self._yielded - 1)

  def take(self) -> Optional[int]:
    """Returns a task for a free worker, or None."""
    task = None
    if self._waiting:
      task = self._waiting.popleft()
    elif self._started < min(
        self._num_tasks, self._yielded + self._max_results
    ):
      task = self._started
      self._started += 1
    else:
      task = self._slow_task()
    if task is not None:
      self._running[task].append(time.monotonic())
    return task

  def record(self, answer: _Answer) -> None:
    """Records an answer.

    Raises:
      BaseException: The answer's error, unless a worker was lost.
      errors.WorkerError: If this task has lost several workers.
    """
    starts = self._running[answer.task]
    started_at = starts.pop(0)
    if answer.error is None:
      if answer.task >= self._yielded and answer.task not in self._results:
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
          f'Expected a task to finish, found that {_MAX_LOSSES} workers were'
          f' lost while they computed it. The last one: {answer.error} If they'
          ' ran out of memory, use fewer `clients_per_shard`.'
      ) from answer.error
    is_done = answer.task < self._yielded or answer.task in self._results
    if not is_done and not starts:
      self._waiting.append(answer.task)

  def _slow_task(self) -> Optional[int]:
    """Returns a task that one worker has had for much longer than usual."""
    if not self._seconds:
      return None
    usual = statistics.median(self._seconds)
    latest = time.monotonic() - max(_SLOW_FACTOR * usual, _MIN_SLOW_SECONDS)
    for task in range(self._yielded, self._started):
      starts = self._running[task]
      if task not in self._results and len(starts) == 1 and starts[0] < latest:
        return task
    return None


class WorkerThread:
  """A thread that runs tasks in one worker."""

  def __init__(self, worker: Worker, answers: queue.SimpleQueue):
    self.worker = worker
    self._answers = answers
    self._jobs = queue.SimpleQueue()
    self._is_busy = False
    # A daemon: a call that hangs must not keep the program from ending.
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
      # A waiting thread must not hold a cohort's values in memory.
      del job, tasks, computation, arguments
      self._is_busy = False
      self._answers.put(answer)
      del answer
