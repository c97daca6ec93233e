# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads finished runs from the folder of a comparison."""

import pathlib

from tff_partial.evaluation import run_results
from tff_partial.experiments import combinations
from tff_partial.experiments import run_folder


def runs(
    folder: pathlib.Path, name: str, split: str
) -> dict[int, run_results.Run]:
  """The finished runs of an algorithm, by seed.

  Args:
    folder: The comparison's.
    name: What the comparison calls the algorithm.
    split: Which variables are personal.

  Raises:
    ValueError: If there are two runs of a seed, as after two searches that
      chose differently.
  """
  pattern = combinations.folder_name(name, split, 0).removesuffix('0')
  found: dict[int, run_results.Run] = {}
  for path in sorted(folder.glob(f'{pattern}*/{run_folder.REPORT_PAGE}')):
    # In between are the values that --tune chose.
    seed = int(path.parent.name.rpartition('-')[2])
    if seed in found:
      raise ValueError(
          f'Expected one run of {name} with {split} and the seed {seed} in'
          f' {folder}, found two. Delete the older one.'
      )
    found[seed] = run_results.read_run(path.parent)
  return found
