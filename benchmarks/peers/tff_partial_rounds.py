# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds of this library; its argument is the runtime."""

import atexit
from collections.abc import Sequence
import contextlib

from benchmarks import library_round
from benchmarks.peers import turns
from benchmarks.peers import work as work_lib
from benchmarks.peers import workloads
from tff_partial.runtime import runtimes


def create(work: work_lib.Work, options: Sequence[str]) -> turns.Rounds:
  """Prepares the rounds, as `turns.CreateFn`."""
  (runtime,) = options
  stack = contextlib.ExitStack()
  stack.enter_context(runtimes.start(runtime))
  atexit.register(stack.close)
  rounds = library_round.LibraryRound(
      workloads.workload(work),
      'fed_avg' if work.split == 'none' else 'fed_alt',
      initial=(work.weights, work.personal),
  )
  return rounds, lambda: rounds.state.global_model_weights.trainable


if __name__ == '__main__':
  turns.serve(create)
