# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A program that runs rounds when it is told to, between those of others.

Programs of several environments use this, so it needs NumPy alone.
"""

from collections.abc import Callable, Sequence
import os
import sys
import time
from typing import Any

import numpy as np

from benchmarks.peers import work as work_lib

# Runs the round of a number, and returns the server's weights after the last.
Rounds = tuple[Callable[[int], Any], Callable[[], Sequence[np.ndarray]]]
# Makes them from what is trained and from the program's other arguments.
CreateFn = Callable[[work_lib.Work, Sequence[str]], Rounds]

# Later, the rounding of the first rounds has grown: CNNs whose first weights
# are 1e-7 apart are apart by a quarter of their way after five rounds.
_CHECKED_ROUND = 1


def serve(create: CreateFn) -> None:
  """Runs a round for each number in a line of the input, and writes seconds.

  The program's arguments are the file of the work, a file for the weights after
  the second round, and others of its own.

  Args:
    create: Prepares the rounds.
  """
  # What libraries print must not be read as seconds.
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)
  path, weights_path, *options = sys.argv[1:]
  run_round, weights = create(work_lib.load(path), options)
  for line in sys.stdin:
    round_num = int(line)
    started_at = time.perf_counter()
    run_round(round_num)
    print(time.perf_counter() - started_at, file=answers, flush=True)
    if round_num == _CHECKED_ROUND:
      np.savez(weights_path, *weights())


def read_weights(path: str) -> list[np.ndarray]:
  """The weights that a program had after the second round."""
  with np.load(path) as file:
    return [file[name] for name in file.files]
