# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the finished runs of a comparison; puts their differences in words."""

from collections.abc import Mapping
import dataclasses
import pathlib
from typing import Optional

import numpy as np

from tff_partial.evaluation import comparison
from tff_partial.evaluation import run_results
from tff_partial.experiments import run_folder
from tff_partial.experiments.comparisons import combinations


def runs(
    folder: pathlib.Path, name: str, split: str
) -> dict[int, run_results.Run]:
  """The finished runs of an algorithm, by seed, as `folders` finds them."""
  return {
      seed: run_results.read_run(path)
      for seed, path in folders(folder, name, split).items()
  }


def folders(
    folder: pathlib.Path, name: str, split: str
) -> dict[int, pathlib.Path]:
  """The folders of the finished runs of an algorithm, by seed.

  Args:
    folder: The comparison's.
    name: What the comparison calls the algorithm.
    split: Which variables are personal.

  Raises:
    ValueError: If there are two runs of a seed, as after two searches that
      chose differently.
  """
  pattern = combinations.folder_name(name, split, 0).removesuffix('0')
  found: dict[int, pathlib.Path] = {}
  for path in sorted(folder.glob(f'{pattern}*/{run_folder.REPORT_PAGE}')):
    # In between are the values that --tune chose.
    seed = int(path.parent.name.rpartition('-')[2])
    if seed in found:
      raise ValueError(
          f'Expected one run of {name} with {split} and the seed {seed} in'
          f' {folder}, found two. Delete the older one.'
      )
    found[seed] = path.parent
  return found


def combined(
    name: str, weights: Mapping[comparison.Scheme, float]
) -> Optional[comparison.Scheme]:
  """A scheme whose values are sums over others, client by client.

  Args:
    name: What to call it.
    weights: The schemes, each with the factor of its values. Seeds that one of
      them lacks are left out.

  Returns:
    The scheme, or `None` without a seed in common.

  Raises:
    ValueError: If schemes were evaluated on different clients.
  """
  first, *others = weights
  metric = first.metric.name
  outcomes: dict[int, run_results.Outcome] = {}
  for seed, outcome in first.outcomes.items():
    if not all(seed in scheme.outcomes for scheme in others):
      continue
    found = [(scheme.outcomes[seed], w) for scheme, w in weights.items()]
    if any(o.client_ids != outcome.client_ids for o, _ in found):
      raise ValueError(
          f'Expected the same clients with seed {seed} in'
          f' {", ".join(s.name for s in weights)}, found others.'
      )
    total = np.sum([w * o.values[metric] for o, w in found], axis=0)
    outcomes[seed] = dataclasses.replace(outcome, values={metric: total})
  if not outcomes:
    return None
  return comparison.Scheme(
      name, metric=first.metric, full=False, outcomes=outcomes
  )


def points(
    scheme: comparison.Scheme, difference: Optional[comparison.Difference]
) -> str:
  """A difference in points, above 0 where it is a gain, with its interval.

  Args:
    scheme: The first one of the difference.
    difference: `None` for schemes without a seed and a client in common. The
      number of its seeds is given if there are fewer than 3.
  """
  if difference is None:
    return '–'
  sign = scheme.metric.sign
  low, high = sorted((sign * difference.low, sign * difference.high))
  words = (
      f'{100 * sign * difference.mean:+.2f} ({100 * low:+.2f} to'
      f' {100 * high:+.2f})'
  )
  if difference.seeds < comparison.ENOUGH_SEEDS:
    words += f', {difference.seeds} seed{"s" * (difference.seeds > 1)}'
  return words


def minus(
    one: Optional[comparison.Scheme], other: Optional[comparison.Scheme]
) -> str:
  """The difference of two schemes in points.

  Args:
    one: The first one; `None` if there are no such runs.
    other: The second one, likewise. Of a scheme with itself there is none.
  """
  if one is None or other is None or one is other:
    return '–'
  return points(one, one.minus(other))
