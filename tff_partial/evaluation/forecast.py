# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A forecast of which of two algorithms ends with the smaller loss.

It comes from a few rounds of both, repeated with several cohorts and seeds that
both algorithms share (`rehearsal.py`).
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import Optional

import numpy as np
from scipy import stats

from tff_partial import errors

_CONFIDENCE = 0.95
MIN_EFFECT = 0.01  # Nothing is said of smaller differences.


@dataclasses.dataclass(frozen=True)
class Forecast:
  """What paired rehearsals say about a first and a second algorithm.

  Attributes:
    log_ratio: Mean of log(loss of the first / loss of the second).
    low: Lower end of its 95% interval over repeats; NaN with one repeat.
    high: Upper end.
    call: `True` if the first algorithm has the smaller loss, `False` if the
      second has, and `None` if the interval contains 0, the difference is below
      `MIN_EFFECT`, or a rehearsal did not end with a number.
    not_finite: Repeats in which a loss was not a positive number.
  """

  log_ratio: float
  low: float
  high: float
  call: Optional[bool]
  not_finite: tuple[int, ...] = ()


def forecast(first: Sequence[float], second: Sequence[float]) -> Forecast:
  """Compares the losses after paired rehearsals.

  Args:
    first: Losses of the first algorithm, one for each repeat.
    second: Losses of the second one, in the same order.

  Raises:
    errors.SettingsError: If the numbers of losses differ, or there is none.
  """
  a, b = np.asarray(first, float), np.asarray(second, float)
  if a.shape != b.shape or not a.size:
    raise errors.SettingsError(
        'Expected a loss of each algorithm for every repeat, found'
        f' {a.size} and {b.size}.'
    )
  fine = np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)
  if not np.all(fine):
    return Forecast(
        math.nan, math.nan, math.nan, None, tuple(np.flatnonzero(~fine))
    )
  ratios = np.log(a / b)
  mean = float(ratios.mean())
  if len(ratios) == 1:
    return Forecast(mean, math.nan, math.nan, None)
  half = float(
      stats.t.ppf((1 + _CONFIDENCE) / 2, len(ratios) - 1)
      * ratios.std(ddof=1)
      / math.sqrt(len(ratios))
  )
  low, high = mean - half, mean + half
  decided = (low > 0 or high < 0) and abs(math.expm1(mean)) >= MIN_EFFECT
  return Forecast(mean, low, high, mean < 0 if decided else None)
