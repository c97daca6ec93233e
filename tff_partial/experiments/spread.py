# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The runs of a comparison at the same time, each in a process of a cluster.

Runs do not depend on each other, once the models are there that they start
from. A process that takes a run works in its folder, as one that is started by
hand would, so every machine must see the folder. What does not end well is left
to the comparison, which tries it again.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import os
import pathlib
import secrets
from typing import Any

import tqdm

from tff_partial import errors
from tff_partial.experiments import client_names
from tff_partial.experiments import combinations
from tff_partial.experiments import compare
from tff_partial.experiments import computing
from tff_partial.experiments import config_groups
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.experiments import task_choice
from tff_partial.runtime import local
from tff_partial.runtime import sharding

_PROOF = '.seen_by_all'  # A file by which a process knows the folder.


@dataclasses.dataclass(frozen=True)
class _Job:
  """What a process needs to know to do a run.

  Attributes:
    choice: The task and its data.
    registered: References by the names of registered tasks.
    combination: The run.
    root: The comparison's folder.
    cwd: The folder that paths are relative to.
    proof: What the file `_PROOF` contains.
    cores: Number of cores that the process may keep busy.
    pretrains: Whether to train the model that the run starts from, only.
  """

  choice: task_choice.TaskChoice
  registered: Mapping[str, str]
  combination: combinations.Combination
  root: str
  cwd: str
  proof: str
  cores: int
  pretrains: bool = False


def run(
    task: task_lib.Task,
    choice: task_choice.TaskChoice,
    registered: Mapping[str, str],
    todo: Sequence[combinations.Combination],
    root: str,
    running: config_groups.Running,
    *,
    progress: bool = True,
) -> None:
  """Does the runs that are not finished, at the same time.

  Args:
    task: What is learned.
    choice: How to make the task again in another process.
    registered: References by the names of registered tasks.
    todo: The runs.
    root: The comparison's folder.
    running: The cluster, and how many cores a process has.
    progress: Whether to show a progress bar.

  Raises:
    errors.SettingsError: If the cluster cannot be used.
    errors.WorkerError: If the cluster does not answer.
  """
  todo = [
      c
      for c in todo
      if not pathlib.Path(root, c.folder, run_folder.REPORT_PAGE).exists()
  ]
  if len(todo) < 2:  # One run is spread by its shards.
    return
  from tff_partial.runtime import cluster_jobs
  from tff_partial.runtime import ray_connection

  # Makes the key of pseudonyms that all runs share.
  client_names.load(pathlib.Path(root), running.report_client_ids)
  with contextlib.ExitStack() as stack:
    stack.enter_context(
        ray_connection.connect(
            str(running.cluster), insecure_cluster=running.insecure_cluster
        )
    )
    proof = stack.enter_context(_proof(root))
    cores = running.actor_cores or ray_connection.default_cores()
    jobs = [
        _Job(choice, registered, c, root, os.getcwd(), proof, cores)
        for c in todo
    ]
    # One for each model that is not there yet.
    pretrainings = {
        folder: dataclasses.replace(job, pretrains=True)
        for job in jobs
        if (folder := compare.pretrained_folder(task, job.combination, root))
        and not (folder / run_folder.WEIGHTS).exists()
    }
    bar = stack.enter_context(
        tqdm.tqdm(
            total=len(pretrainings) + len(jobs),
            desc='runs',
            unit='run',
            disable=not progress,
        )
    )
    for some in (list(pretrainings.values()), jobs):
      for job, error in cluster_jobs.call(_do, some, cores=cores):
        bar.update()
        if error:
          bar.write(
              f'{some[job].combination.folder}: {error} It is tried again.'
          )


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
  path = pathlib.Path(job.root, _PROOF)
  if not path.exists() or path.read_text(encoding='utf-8') != job.proof:
    raise errors.FileError(
        f'Expected {job.root} on every machine of the cluster, found one that'
        ' does not see it. Use a folder that they share.'
    )
  task = task_lib.create(job.choice, registered=job.registered)
  do = compare.pretrain_for if job.pretrains else compare.run_one
  do(
      task,
      job.combination,
      pathlib.Path(job.root),
      lambda: _computing(job),
      progress=False,
  )


@contextlib.contextmanager
def _computing(job: _Job) -> Iterator[Any]:
  """Computes in this process, with as many cores as it may keep busy."""
  config = job.combination.config
  at_once = computing.clients_at_once(config, job.cores)
  with local.local_worker(
      max_concurrent_clients=at_once,
      environment=local.shared_cores(job.cores, at_once),
  ):
    yield sharding.Sharding(
        clients_per_shard=computing.clients_per_shard(config)
    )
