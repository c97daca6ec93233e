# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a process computes clients with: TensorFlow in itself, or TFF's worker.

TensorFlow is imported when it is needed, because flags are checked before.
"""

from collections.abc import Iterator
import contextlib
from typing import Any, Optional

from tff_partial.runtime import names


@contextlib.contextmanager
def start(
    name: str = names.IN_PROCESS,
    *,
    max_concurrent_clients: Optional[int] = None,
    cores: Optional[int] = None,
    log_file: Optional[str] = None,
    compiled: bool = False,
) -> Iterator[Any]:
  """Runs this thread's TFF computations as one of `names.RUNTIMES` does.

  Args:
    name: Which one.
    max_concurrent_clients: Number of clients that compute at the same time and
      divide the cores; None for one per core.
    cores: Number of cores that may be kept busy; None for all that this process
      can use.
    log_file: A worker's output is appended to this file; None for a temporary
      file.
    compiled: Whether computations come compiled; see `in_process`.

  Yields:
    The context, which is this thread's default until the block ends.
  """
  if name == names.IN_PROCESS:
    from tff_partial.runtime import in_process

    context = in_process.in_process(
        max_concurrent_clients=max_concurrent_clients,
        cores=cores,
        compiled=compiled,
    )
  else:
    from tff_partial.runtime import local

    environment = None
    if cores is not None:
      max_concurrent_clients = max_concurrent_clients or cores
      environment = local.shared_cores(cores, max_concurrent_clients)
    context = local.local_worker(
        max_concurrent_clients=max_concurrent_clients,
        log_file=log_file,
        environment=environment,
        compiled=compiled,
    )
  with context as found:
    yield found
