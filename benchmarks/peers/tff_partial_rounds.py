# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds of this library; its argument is the runtime."""

from collections.abc import Callable, Sequence
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import atexit
import contextlib
from typing import Any

from benchmarks import library_round
from benchmarks.peers import turns
from benchmarks.peers import work as work_lib
from benchmarks.peers import workloads
from tff_partial.runtime import in_process
from tff_partial.runtime import local

_RUNTIMES: dict[str, Callable[[], Any]] = {
    'worker': local.local_worker,
    'in_process': in_process.in_process,
}


def create(work: work_lib.Work, options: Sequence[str]) -> turns.Rounds:
  """Prepares the rounds, as `turns.CreateFn`."""
  (runtime,) = options
  stack = contextlib.ExitStack()
  stack.enter_context(_RUNTIMES[runtime]())
  atexit.register(stack.close)
  rounds = library_round.LibraryRound(
      workloads.workload(work), 'fed_avg', initial=work.weights
  )
  return rounds, lambda: rounds.state.global_model_weights.trainable


if __name__ == '__main__':
  turns.serve(create)
