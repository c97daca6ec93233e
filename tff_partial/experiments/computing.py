# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the computations of a run of the command take place.

What takes seconds to import is imported when it is needed.
"""

from collections.abc import Iterator, Sequence
import contextlib
from typing import Any

from tff_partial.experiments import config as config_lib
from tff_partial.experiments import run_folder
from tff_partial.runtime import worker_process


@contextlib.contextmanager
def start(
    config: config_lib.Config, folder: run_folder.RunFolder
) -> Iterator[Any]:
  """Starts or reaches what computes for a run.

  Args:
    config: The settings, of which `running` says where.
    folder: Gets the worker's log.

  Yields:
    A `dispatcher.Sharding`: where cohorts are computed, and how they are cut.
  """
  from tff_partial.runtime import dispatcher as dispatcher_lib
  from tff_partial.runtime import local
  from tff_partial.runtime import remote

  running = config.running
  with contextlib.ExitStack() as stack:
    workers: Sequence[remote.RemoteWorker] = ()
    clients_per_shard = running.clients_per_shard
    if running.workers:
      workers = stack.enter_context(remote.connect(running.workers))
      clients_per_shard = clients_per_shard or -(-config.clients_per_round // 8)
    else:
      # No more than there are, so that cores without a client help the others.
      at_once = running.max_concurrent_clients or min(
          worker_process.usable_cores(),
          clients_per_shard or config.clients_per_round,
      )
      stack.enter_context(
          local.local_worker(
              max_concurrent_clients=at_once,
              log_file=str(folder.path / 'worker.log'),
          )
      )
    dispatcher = stack.enter_context(dispatcher_lib.Dispatcher(workers))
    yield dispatcher_lib.Sharding(dispatcher, clients_per_shard)
