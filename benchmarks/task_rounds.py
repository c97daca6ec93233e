# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares the seconds of the tasks' rounds with a bare loop.

  taskset -c 0,1 python -m benchmarks.task_rounds
  python -m benchmarks.task_rounds --task=landmarks --image_size=224

Runs FedAlt with the models of the tasks on random data (`task_workloads.py`).
Rounds of this library, of the bare loop and empty rounds are interleaved in one
program, which uses the cores that `taskset` gives it.
"""

from collections.abc import Sequence
import functools

from absl import app
from absl import flags
from absl import logging
import numpy as np

from benchmarks import apart
from benchmarks import bare_loop
from benchmarks import empty_round
from benchmarks import library_round
from benchmarks import task_workloads

_BARE = 'bare loop'


def create(
    task: str, sizes: dict[str, int], folder: str
) -> dict[str, apart.Round]:
  """The rounds of this library, for `apart.start`."""
  workload = task_workloads.CREATE[task](folder, **sizes)
  return {
      'tff_partial': library_round.LibraryRound(workload, 'fed_alt'),
      'empty round': empty_round.create(workload),
  }


def run(
    task: str, sizes: dict[str, int], num_rounds: int
) -> dict[str, np.ndarray]:
  """Measures the rounds and prints the table.

  Args:
    task: One of `task_workloads.CREATE`.
    sizes: Arguments of the function that creates the workload.
    num_rounds: Number of rounds of each kind that are counted.
  """
  bare_fn = functools.partial(bare_loop.BareLoop, alternating=True)
  return task_workloads.run_next_to(
      _BARE, bare_fn, create, task, sizes, num_rounds
  )


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)
  for name in FLAGS.task:
    sizes = {'image_size': FLAGS.image_size} if name == 'landmarks' else {}
    if FLAGS.examples is not None:
      sizes['examples'] = FLAGS.examples
    run(name, sizes, FLAGS.rounds)


if __name__ == '__main__':
  flags.DEFINE_multi_enum(
      'task',
      list(task_workloads.CREATE),
      list(task_workloads.CREATE),
      'Tasks to measure; repeat the flag for several.',
  )
  flags.DEFINE_integer(
      'rounds', 10, 'Number of rounds of each kind.', lower_bound=1
  )
  flags.DEFINE_integer(
      'examples',
      None,
      "Examples per client. Default: each task's.",
      lower_bound=1,
  )
  flags.DEFINE_integer(
      'image_size',
      112,
      'Landmarks only: height and width of a photo in pixels.',
      lower_bound=16,
  )
  FLAGS = flags.FLAGS
  app.run(main)
