# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learning rates of clients as functions of the round.

A schedule maps the number of completed rounds, an int32 scalar (0 in the first
round), to what the optimizer's learning rate is multiplied by, a float32
scalar. It is traced as part of the computation of clients. Equal schedules are
the same function.
"""

import dataclasses

import tensorflow as tf

from tff_partial import errors


@dataclasses.dataclass(frozen=True)
class Linear:
  """Linear warm-up, then linear decay towards 0.

  The factor is `(r + 1) / warmup_rounds` in round r of the warm-up, and
  `(total_rounds - r) / (total_rounds - warmup_rounds)` after it. It is positive
  in all rounds from 0 to `total_rounds - 1`, while the code of the paper has a
  learning rate of 0 in its first round.

  Attributes:
    total_rounds: Rounds of training, above 0.
    warmup_rounds: Rounds of the warm-up, fewer than those of training.
  """

  total_rounds: int
  warmup_rounds: int = 0

  def __post_init__(self):
    """Checks the numbers.

    Raises:
      errors.SettingsError: If the number of rounds is not positive, or if the
        warm-up is not shorter than the training.
    """
    _check(total_rounds=self.total_rounds)
    if not 0 <= self.warmup_rounds < self.total_rounds:
      raise errors.SettingsError(
          f'Expected fewer warm-up rounds than the {self.total_rounds} rounds'
          f' of training, found {self.warmup_rounds}. Use `warmup_rounds` from'
          f' 0 to {self.total_rounds - 1}.'
      )

  def __call__(self, round_num: tf.Tensor) -> tf.Tensor:
    r = tf.cast(round_num, tf.float32)
    up = (r + 1) / max(self.warmup_rounds, 1)
    down = (self.total_rounds - r) / (self.total_rounds - self.warmup_rounds)
    return tf.where(r < self.warmup_rounds, up, tf.maximum(down, 0.0))


@dataclasses.dataclass(frozen=True)
class Staircase:
  """Multiplies the learning rate by a factor at regular intervals.

  Attributes:
    every: Number of rounds after which it is multiplied, again and again.
    factor: The factor, above 0.
  """

  every: int
  factor: float = 0.5

  def __post_init__(self):
    """Checks the numbers.

    Raises:
      errors.SettingsError: If one of them is not positive.
    """
    _check(every=self.every, factor=self.factor)

  def __call__(self, round_num: tf.Tensor) -> tf.Tensor:
    return tf.pow(self.factor, tf.cast(round_num // self.every, tf.float32))


def _check(**positive):
  for name, value in positive.items():
    if value <= 0:
      raise errors.SettingsError(f'Expected {name} above 0, found {value}.')
