# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several runs at the same time, each in a process of a cluster.

The runs of a comparison do not depend on each other, once the models are there
that they start from, nor do those of a grid. A process that takes a run works
in its folder, as one that is started by hand would, so every machine must see
the folder. What does not end well is left to the program, which tries it again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import os
import pathlib
import secrets
from typing import Any, Optional

import tqdm

from tff_partial import errors
from tff_partial.experiments import client_names
from tff_partial.experiments import computing
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import compare
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import task_choice
from tff_partial.runtime import names
from tff_partial.runtime import runtimes
from tff_partial.runtime import sharding

_PROOF = '.seen_by_all'  # A file by which a process knows the folder.


@dataclasses.dataclass(frozen=True)
class Place:
  """What every process needs to know.

  Attributes:
    choice: How to make the task again.
    registered: References by the names of registered tasks.
    root: The folder of all runs.
    running: The cluster, and how many cores a process has.
  """

  choice: task_choice.TaskChoice
  registered: Mapping[str, str]
  root: str
  running: config_groups.Running


@dataclasses.dataclass(frozen=True)
class Work:
  """What one process does.

  Attributes:
    name: Names it in messages.
    function: A function of a module. It is called with the task, `argument`,
      the folder of all runs and a function that starts a worker.
    argument: What the function needs to know.
    config: The settings that say how clients are computed.
  """

  name: str
  function: Callable[..., Any]
  argument: Any
  config: config_lib.Config


@dataclasses.dataclass(frozen=True)
class _Job:
  """Some work, and what its process must find.

  Attributes:
    place: What is common to all.
    work: What to do.
    cwd: The folder that paths are relative to.
    proof: What the file `_PROOF` contains.
    cores: Number of cores that the process may keep busy.
  """

  place: Place
  work: Work
  cwd: str
  proof: str
  cores: int


def run(
    place: Place,
    stages: Sequence[Sequence[Work]],
    *,
    done_fn: Callable[[str], None],
    write_fn: Callable[[str], None],
) -> None:
  """Does some work at the same time, one stage after the other.

  Args:
    place: Where.
    stages: What. What is in a stage does not depend on the rest of it.
    done_fn: Called with the name of what has ended well.
    write_fn: Called with a line about what has not.

  Raises:
    errors.SettingsError: If the cluster cannot be used.
    errors.WorkerError: If the cluster does not answer.
  """
  from tff_partial.runtime import cluster_jobs
  from tff_partial.runtime import ray_connection

  running = place.running
  with (
      ray_connection.connect(
          str(running.cluster), insecure_cluster=running.insecure_cluster
      ),
      _proof(place.root) as proof,
  ):
    cores = running.actor_cores or ray_connection.default_cores()
    for stage in stages:
      jobs = [_Job(place, work, os.getcwd(), proof, cores) for work in stage]
      for i, error in cluster_jobs.call(_do, jobs, cores=cores):
        if error:
          write_fn(f'{stage[i].name}: {error} It is tried again.')
        else:
          done_fn(stage[i].name)


def compare_all(
    task: task_lib.Task,
    place: Place,
    todo: Sequence[combinations.Combination],
    *,
    progress: bool = True,
) -> None:
  """Does the runs of a comparison that are not finished.

  Args:
    task: What is learned.
    place: Where.
    todo: The runs.
    progress: Whether to show a progress bar.

  Raises:
    errors.SettingsError: As for `run`.
    errors.WorkerError: As for `run`.
  """
  root = pathlib.Path(place.root)
  todo = [
      c for c in todo if not (root / c.folder / run_folder.REPORT_PAGE).exists()
  ]
  if len(todo) < 2:  # One run is spread by its shards.
    return
  # Makes the key of pseudonyms that all runs share.
  client_names.load(root, place.running.report_client_ids)
  runs = [Work(c.folder, compare.run_one, c, c.config) for c in todo]
  # One for each model that is not there yet.
  pretrainings = {
      folder: Work(c.folder, compare.pretrain_for, c, c.config)
      for c in todo
      if (folder := compare.pretrained_folder(task, c, place.root))
      and not (folder / run_folder.WEIGHTS).exists()
  }
  stages = [list(pretrainings.values()), runs]
  with tqdm.tqdm(
      total=sum(map(len, stages)),
      desc='runs',
      unit='run',
      disable=not progress,
  ) as bar:
    run(place, stages, done_fn=lambda _: bar.update(), write_fn=bar.write)


@contextlib.contextmanager
def _proof(root: str) -> Iterator[str]:
  """Writes a file that other machines see if they see the folder."""
  path = pathlib.Path(root, _PROOF)
  proof = secrets.token_hex(16)
  path.write_text(proof, encoding='utf-8')
  try:
    yield proof
  finally:
    path.unlink()


def _do(job: _Job) -> None:
  """Does a run, in another process.

  Raises:
    errors.FileError: If the folder is not that of the program.
  """
  os.chdir(job.cwd)
  os.umask(0o077)
  path = pathlib.Path(job.place.root, _PROOF)
  if not path.exists() or path.read_text(encoding='utf-8') != job.proof:
    raise errors.FileError(
        f'Expected {job.place.root} on every machine of the cluster, found one'
        ' that does not see it. Use a folder that they share.'
    )
  job.work.function(
      _KEPT.task(job.place),
      job.work.argument,
      pathlib.Path(job.place.root),
      lambda: _KEPT.computing(job),
      progress=False,
  )


class _Kept:
  """What a process keeps for its next job, which often builds the same."""

  def __init__(self):
    self._place: Optional[Place] = None
    self._task: Optional[task_lib.Task] = None
    self._cores: Optional[tuple[int, int]] = None  # And clients at once.
    self._stack = contextlib.ExitStack()

  def task(self, place: Place) -> task_lib.Task:
    """The task, with what plans of it have built."""
    if self._task is None or self._place != place:
      self._task = task_lib.create(place.choice, registered=place.registered)
      self._place = place
    return self._task

  @contextlib.contextmanager
  def computing(self, job: _Job) -> Iterator[Any]:
    """Computes in this process, with as many cores as it may keep busy."""
    config = job.work.config
    at_once = computing.clients_at_once(config, job.cores)
    context = runtimes.start(
        config.running.runtime,
        max_concurrent_clients=at_once,
        cores=job.cores,
    )
    found = sharding.Sharding(
        clients_per_shard=computing.clients_per_shard(config)
    )
    if config.running.runtime != names.IN_PROCESS:
      with context:  # As in `computing.for_several`.
        yield found
      return
    if self._cores != (job.cores, at_once):
      self._stack.close()
      self._stack.enter_context(context)
      self._cores = (job.cores, at_once)
    yield found


_KEPT = _Kept()
