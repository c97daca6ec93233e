# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""How good forecasts of a sign are, next to a constant.

An event is that the first of two algorithms ends with the smaller loss. Where
nearly all events have one sign, a constant is right nearly always, so a share
of right forecasts says little by itself. `Score` therefore also has the
balanced accuracy and an exact test against the better constant.
"""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class Score:
  """What forecasts of a sign are worth.

  Attributes:
    events: Number of events that were forecast.
    right: Number of right forecasts.
    low: Lower end of the 95% interval of the share of right ones
      (`clopper_pearson`).
    high: Upper end.
    balanced: `balanced_accuracy`.
    constant_right: Right forecasts of the better constant.
    p_value: `mcnemar` against it.
  """

  events: int
  right: int
  low: float
  high: float
  balanced: float
  constant_right: int
  p_value: float


def score(
    forecasts: Sequence[bool],
    events: Sequence[bool],
    constants: Sequence[bool],
) -> Score:
  """Scores forecasts of events.

  Args:
    forecasts: Whether each event was forecast.
    events: Whether it came.
    constants: What the better constant says of each; see `better_constant`.
  """
  right = np.equal(forecasts, events)
  constant_right = np.equal(constants, events)
  low, high = clopper_pearson(int(right.sum()), right.size)
  return Score(
      events=right.size,
      right=int(right.sum()),
      low=low,
      high=high,
      balanced=balanced_accuracy(forecasts, events),
      constant_right=int(constant_right.sum()),
      p_value=mcnemar(right.tolist(), constant_right.tolist()),
  )


def better_constant(events: Sequence[bool]) -> bool:
  """The constant that is right more often, known only afterwards."""
  return 2 * int(np.sum(events)) >= len(events)


def clopper_pearson(right: int, trials: int) -> tuple[float, float]:
  """The exact 95% interval of a share; 0 and 1 without trials.

  Args:
    right: Number of successes.
    trials: Number of independent trials.
  """
  if not trials:
    return 0.0, 1.0
  found = stats.binomtest(right, trials).proportion_ci(method='exact')
  return float(found.low), float(found.high)


def balanced_accuracy(
    forecasts: Sequence[bool], events: Sequence[bool]
) -> float:
  """The mean of the shares of right forecasts where each sign came.

  A constant has 1/2. NaN if only one sign came.
  """
  said, came = np.asarray(forecasts, bool), np.asarray(events, bool)
  if not came.any() or came.all():
    return math.nan
  return float((said[came].mean() + (~said[~came]).mean()) / 2)


def mcnemar(first_right: Sequence[bool], second_right: Sequence[bool]) -> float:
  """The two-sided p-value of McNemar's exact test of two forecasters.

  Args:
    first_right: Whether the first one was right, for each event.
    second_right: Whether the second one was right.

  Returns:
    1 if they are never of different opinion.
  """
  first, second = np.asarray(first_right, bool), np.asarray(second_right, bool)
  only_first = int((first & ~second).sum())
  only_second = int((second & ~first).sum())
  if not only_first + only_second:
    return 1.0
  return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def rank_correlation(
    forecasts: Sequence[float], outcomes: Sequence[float]
) -> float:
  """Spearman's rank correlation; NaN if one side is constant, or below three.

  Args:
    forecasts: A number for each outcome, of any unit.
    outcomes: What came.
  """
  constant = not np.ptp(forecasts or [0]) or not np.ptp(outcomes or [0])
  if len(forecasts) < 3 or constant:
    return math.nan
  return float(stats.spearmanr(forecasts, outcomes)[0])


def probability_negative(
    mean: float, low: float, high: float, *, repeats: int
) -> float:
  """The probability that a mean is below 0, by Student's distribution.

  Args:
    mean: Of the repeats.
    low: Lower end of its 95% interval.
    high: Upper end.
    repeats: How many values the mean is of, at least 2.
  """
  half = (high - low) / 2
  if not half:
    return 0.5 if not mean else float(mean < 0)
  error = half / float(stats.t.ppf(0.975, repeats - 1))
  return float(stats.t.cdf(-mean / error, repeats - 1))


def brier(probabilities: Sequence[float], events: Sequence[bool]) -> float:
  """The mean squared distance of probabilities from what came; 1/4 at 1/2."""
  return float(np.mean((np.asarray(probabilities) - np.asarray(events)) ** 2))


def calibration(
    probabilities: Sequence[float], events: Sequence[bool]
) -> list[tuple[int, float, float]]:
  """Of quarters of the range from 0 to 1: events, mean forecast, what came.

  Args:
    probabilities: Of each event.
    events: Whether it came.

  Returns:
    For each quarter with forecasts: their number, their mean, and the share of
    events that came.
  """
  said, came = np.asarray(probabilities, float), np.asarray(events, float)
  quarter = np.minimum((said * 4).astype(int), 3)
  return [
      (
          int((quarter == i).sum()),
          float(said[quarter == i].mean()),
          float(came[quarter == i].mean()),
      )
      for i in range(4)
      if (quarter == i).any()
  ]
