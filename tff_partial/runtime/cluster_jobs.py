# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls a function in processes of the cluster that this program is part of."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

import ray

from tff_partial.runtime import ray_connection

_RETRIES = 3  # If the process dies. An error of the function is not repeated.
# A process takes seconds to import TensorFlow, and TensorFlow keeps memory of
# what it has computed.
_CALLS_OF_A_PROCESS = 16


def call(
    function: Callable[[Any], None], arguments: Sequence[Any], *, cores: int
) -> Iterator[tuple[int, Optional[str]]]:
  """Calls a function with every argument, as many at a time as there is room.

  Args:
    function: A function of a module, which each process imports.
    arguments: What it is called with, once each.
    cores: Number of cores that a call keeps busy.

  Yields:
    The position of an argument whose call has ended, in the order in which they
    end; and the error in one line, or None.

  Raises:
    errors.WorkerError: If the cluster is lost.
  """
  remote = ray.remote(
      num_cpus=cores,
      max_retries=_RETRIES,
      max_calls=_CALLS_OF_A_PROCESS,
      runtime_env=ray_connection.environment(),
  )(function)
  with ray_connection.one_line_errors():
    waiting = {remote.remote(a): i for i, a in enumerate(arguments)}
    while waiting:
      [done], _ = ray.wait(list(waiting))
      try:
        ray.get(done)
        error = None
      except ray.exceptions.RayTaskError as e:
        error = ' '.join(str(e.cause).split())
      except ray.exceptions.WorkerCrashedError as e:
        error = ' '.join(str(e).split())
      yield waiting.pop(done), error
