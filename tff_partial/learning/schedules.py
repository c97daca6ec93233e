# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learning rates of clients as functions of the round.

A schedule maps the number of completed rounds, an int32 scalar (0 in the first
round), to a learning rate, a float32 scalar. It is traced as part of the
computation of clients.
"""

import tensorflow as tf

from tff_partial import errors
from tff_partial.learning import phase as phase_lib


def constant(learning_rate: float) -> phase_lib.Schedule:
  """A learning rate that is the same in every round.

  Args:
    learning_rate: The learning rate.

  Raises:
    errors.SettingsError: If the learning rate is not positive.
  """
  _check(learning_rate=learning_rate)
  return lambda round_num: tf.constant(learning_rate, tf.float32)


def linear(
    learning_rate: float, *, total_rounds: int, warmup_rounds: int = 0
) -> phase_lib.Schedule:
  """Linear warm-up, then linear decay towards 0.

  The learning rate is `learning_rate * (r + 1) / warmup_rounds` in round r of
  the warm-up, and `learning_rate * (total_rounds - r) / (total_rounds -
  warmup_rounds)` after it. It is positive in all rounds from 0 to
  `total_rounds - 1`, while the code of the paper has a learning rate of 0 in
  its first round.

  Args:
    learning_rate: The highest learning rate.
    total_rounds: Rounds of training.
    warmup_rounds: Rounds of the warm-up.

  Raises:
    errors.SettingsError: If the learning rate or the number of rounds is not
      positive, or if the warm-up is not shorter than the training.
  """
  _check(learning_rate=learning_rate, total_rounds=total_rounds)
  if not 0 <= warmup_rounds < total_rounds:
    raise errors.SettingsError(
        f'Expected fewer warm-up rounds than the {total_rounds} rounds of'
        f' training, found {warmup_rounds}. Use `warmup_rounds` from 0 to'
        f' {total_rounds - 1}.'
    )

  def schedule(round_num):
    r = tf.cast(round_num, tf.float32)
    up = (r + 1) / max(warmup_rounds, 1)
    down = (total_rounds - r) / (total_rounds - warmup_rounds)
    return learning_rate * tf.where(
        r < warmup_rounds, up, tf.maximum(down, 0.0)
    )

  return schedule


def staircase(
    learning_rate: float, *, every: int, factor: float = 0.5
) -> phase_lib.Schedule:
  """A learning rate that is multiplied by a factor at regular intervals.

  Args:
    learning_rate: The learning rate of the first rounds.
    every: Number of rounds after which it is multiplied, again and again.
    factor: The factor.

  Raises:
    errors.SettingsError: If an argument is not positive.
  """
  _check(learning_rate=learning_rate, every=every, factor=factor)
  return lambda round_num: learning_rate * tf.pow(
      factor, tf.cast(round_num // every, tf.float32)
  )


def _check(**positive):
  for name, value in positive.items():
    if value <= 0:
      # Not in backticks: a program has several flags for learning rates.
      raise errors.SettingsError(f'Expected {name} above 0, found {value}.')
