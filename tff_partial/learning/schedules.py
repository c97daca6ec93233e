# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Clients' learning rates as functions of the round.

A schedule takes the number of rounds finished before this one, an int32 scalar
(0 in the first round), and returns a float32 scalar. It is traced into the
clients' computation.
"""

import tensorflow as tf

from tff_partial import errors
from tff_partial.learning import local_update


def constant(learning_rate: float) -> local_update.Schedule:
  """`learning_rate` in every round."""
  _check(learning_rate=learning_rate)
  return lambda round_num: tf.constant(learning_rate, tf.float32)


def linear(
    learning_rate: float, *, total_rounds: int, warmup_rounds: int = 0
) -> local_update.Schedule:
  """Up in a line over the warm-up, then down in a line towards 0.

  The rate is `learning_rate * (r + 1) / warmup_rounds` in round r of the
  warm-up and `learning_rate * (total_rounds - r) / (total_rounds -
  warmup_rounds)` after it, so that no round from 0 to `total_rounds - 1` is
  lost to a rate of 0 (the paper's code has one in its first).

  Raises:
    ValueError: If the warm-up is not shorter than the training.
  """
  _check(learning_rate=learning_rate, total_rounds=total_rounds)
  if not 0 <= warmup_rounds < total_rounds:
    raise errors.SettingsError(
        f'Expected fewer warm-up rounds than the {total_rounds} in all, found'
        f' {warmup_rounds}.'
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
) -> local_update.Schedule:
  """`learning_rate`, multiplied by `factor` after each `every` rounds."""
  _check(learning_rate=learning_rate, every=every, factor=factor)
  return lambda round_num: learning_rate * tf.pow(
      factor, tf.cast(round_num // every, tf.float32)
  )


def _check(**positive):
  for name, value in positive.items():
    if value <= 0:
      raise errors.SettingsError(f'Expected {name} above 0, found {value}.')
