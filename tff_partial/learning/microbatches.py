# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The gradients of a batch, computed from a few of its examples at a time.

Memory then depends on the size of a microbatch: the outputs of layers are kept
only until its gradients have been added to those before.

The loss of a batch is a mean over its examples, in which each has the weight
that it has in the metric 'loss', such as its number of words, or 1 if the model
has no such metric. So the gradients of the batch are the mean of those of its
microbatches, with the sums of these weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tff_partial import errors

_LOSS = 'loss'


def check(batch_layers: Sequence[str]) -> None:
  """Checks that a batch's gradients are the mean of those of its parts.

  Args:
    batch_layers: Names of the layers that compute with statistics of a batch.

  Raises:
    errors.SettingsError: If there are any, naming them.
  """
  if batch_layers:
    raise errors.SettingsError(
        'Expected layers that treat each example by itself with'
        f' `microbatch_size`, found {", ".join(batch_layers)}, which'
        ' measure all examples of a batch. Use another normalization, such as'
        ' GroupNormalization, no `mean_regularization`, or no'
        ' `microbatch_size`.'
    )


def mean(
    compute: Callable[[Any, Any, tf.Tensor], tuple[Any, Any, Any]],
    state: Any,
    batch: Any,
    like: Any,
    *,
    size: int,
) -> tuple[Any, Any]:
  """The mean over a batch of values that are means over its microbatches.

  Args:
    compute: Maps a state, a microbatch and its number to a new state, values
      such as gradients, and the two terms of each metric, float32 [microbatch].
    state: The state before the first microbatch.
    batch: Tensors in any structure, each [batch, ...].
    like: Tensors or variables in the structure and of the types of the values.
    size: Examples in a microbatch; the last one may have fewer.

  Returns:
    The last state, and the mean of the values. Microbatches of weight 0, whose
    values may be 0 / 0, are left out; without any weight the mean is 0.
  """
  length = tf.shape(tf.nest.flatten(batch)[0])[0]

  def body(number, state, weight, totals):
    start = number * size
    part = tf.nest.map_structure(lambda t: t[start : start + size], batch)
    state, values, metrics = compute(state, part, number)
    added = _weight(metrics)
    totals = [
        total + tf.where(added > 0, tf.cast(added, v.dtype) * v, 0)
        for total, v in zip(totals, tf.nest.flatten(values))
    ]
    return number + 1, state, weight + added, totals

  _, state, weight, totals = tf.while_loop(
      lambda number, *unused: number * size < length,
      body,
      (
          tf.constant(0),
          state,
          tf.constant(0.0),
          [tf.zeros(v.shape, v.dtype) for v in tf.nest.flatten(like)],
      ),
      # One after another: memory is to be that of one.
      parallel_iterations=1,
  )
  means = [tf.math.divide_no_nan(t, tf.cast(weight, t.dtype)) for t in totals]
  return state, tf.nest.pack_sequence_as(like, means)


def _weight(metrics: Any) -> tf.Tensor:
  """The weight of a microbatch in the loss of its batch, float32 scalar."""
  if _LOSS in metrics:
    _, weights = metrics[_LOSS]
    return tf.reduce_sum(weights)
  return tf.cast(tf.shape(tf.nest.flatten(metrics)[0])[0], tf.float32)
