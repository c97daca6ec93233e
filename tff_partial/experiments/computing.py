# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the computations of a run of the command take place.

What takes seconds to import is imported when it is needed.
"""

from collections.abc import Callable, Iterator
import contextlib
from typing import Any, Optional

from tff_partial.experiments import run_folder
from tff_partial.experiments.settings import config as config_lib
from tff_partial.runtime import names
from tff_partial.runtime import runtimes
from tff_partial.runtime import worker_process


@contextlib.contextmanager
def start(
    config: config_lib.Config, folder: run_folder.RunFolder
) -> Iterator[Any]:
  """Starts or reaches what computes for a run.

  Args:
    config: The settings, of which `running` says where.
    folder: Gets the log of a worker, if there is one.

  Yields:
    A `sharding.Sharding`: where cohorts are computed, and how they are cut.
  """
  from tff_partial.runtime import sharding

  running = config.running
  log_file = str(folder.path / run_folder.LOG)
  if running.cluster is not None:
    from tff_partial.runtime import cluster

    with cluster.connect(
        running.cluster,
        runtime=running.runtime,
        actor_cores=running.actor_cores,
        max_concurrent_clients=running.max_concurrent_clients,
        insecure_cluster=running.insecure_cluster,
        log_file=log_file,
    ) as engine:
      yield sharding.Sharding(engine, clients_per_shard(config))
    return
  at_once = clients_at_once(config, worker_process.usable_cores())
  with runtimes.start(
      running.runtime, max_concurrent_clients=at_once, log_file=log_file
  ):
    yield sharding.Sharding(clients_per_shard=clients_per_shard(config))


@contextlib.contextmanager
def for_several(
    config: config_lib.Config, folder: run_folder.RunFolder
) -> Iterator[Callable[[], contextlib.AbstractContextManager[Any]]]:
  """Starts what computes for runs that follow one another.

  Runs in this process share what they have compiled. Others have a worker each,
  because TFF's worker keeps all that it has compiled, and would grow without
  end.

  Args:
    config: As in `start`, for all the runs.
    folder: As in `start`.

  Yields:
    A function that gives each run what `start` yields.
  """
  running = config.running
  if running.cluster is not None or running.runtime != names.IN_PROCESS:
    yield lambda: start(config, folder)
    return
  with start(config, folder) as sharding:
    yield lambda: contextlib.nullcontext(sharding)


def clients_per_shard(config: config_lib.Config) -> Optional[int]:
  """The size of a shard; None for whole rounds."""
  if config.running.cluster is None:
    return config.running.clients_per_shard
  return config.running.clients_per_shard or -(-config.clients_per_round // 8)


def clients_at_once(config: config_lib.Config, cores: int) -> int:
  """How many clients a process with this many cores computes at a time."""
  # No more than there are, so that cores without a client help the others.
  return config.running.max_concurrent_clients or min(
      cores, clients_per_shard(config) or config.clients_per_round
  )
