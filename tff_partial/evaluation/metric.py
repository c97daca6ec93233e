# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Metrics that decide who gains from personalization and who is hurt by it."""

import dataclasses
from typing import Optional, TypeVar

import numpy as np

_Values = TypeVar('_Values', float, np.ndarray)


@dataclasses.dataclass(frozen=True)
class Metric:
  """A metric's name, and which of its values are better.

  Attributes:
    name: The name under which the model reports it, such as `accuracy`.
    higher_is_better: Whether higher values are better, as for accuracy, or
      lower values, as for a word error rate.
    percent: Whether readers expect values in percent. By default they do if the
      name ends with `error_rate`, or if higher values are better and all values
      are between 0 and 1.
  """

  name: str
  higher_is_better: bool
  percent: Optional[bool] = None

  @property
  def sign(self) -> int:
    """1 if higher values are better, otherwise -1."""
    return 1 if self.higher_is_better else -1

  def shown_in_percent(self, values: np.ndarray) -> bool:
    """Whether to show the metric in percent if these are its values."""
    if self.percent is not None:
      return self.percent
    values = values[np.isfinite(values)]
    return self.name.endswith('error_rate') or (
        self.higher_is_better and bool(((0 <= values) & (values <= 1)).all())
    )

  def gain(self, before: _Values, after: _Values) -> _Values:
    """By how much `after` is better than `before`; negative if it is worse.

    A gain is NaN where one of the values is. NaN compares false, so such a
    client counts neither as helped (`gain > 0`) nor as hurt (`gain < 0`).

    Args:
      before: Values of the metric, float or float [clients].
      after: Values of the same shape.
    """
    return self.sign * (after - before)
