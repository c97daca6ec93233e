# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fewer bytes between server and clients, and how many they are.

Up, updates are quantized: each tensor is scaled by its largest number, rounded
at random so that the mean is right [1], and sent as integers of a few bits, or
by Elias's gamma code [2] where that is shorter, as it is if most are 0. Down,
shared variables are sent as float16.

TFF's quantization (`tff.aggregators.EncodedSumFactory`) rounds by a generator
without a seed, so that a run cannot be resumed with the same bits, and TFF has
no entropy coding. Here the rounding is a function of the update and the round.

[1] Alistarh et al. QSGD: Communication-Efficient SGD via Gradient Quantization
and Encoding. NeurIPS 2017. https://arxiv.org/abs/1610.02132
[2] Elias. Universal Codeword Sets and Representations of the Integers. IEEE
Transactions on Information Theory, 1975.
"""

from collections.abc import Sequence
import functools
import math
from typing import Any, Union

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.learning import changed_updates

# Of each tensor: its scale, and which code follows.
_HEADER_BITS = 32 + 1
_MAX_FLOAT16 = 65504.0


def quantizing(
    inner: Union[
        tff.aggregators.WeightedAggregationFactory,
        tff.aggregators.UnweightedAggregationFactory,
    ],
    *,
    bits: int,
    measure: bool = True,
) -> tff.aggregators.WeightedAggregationFactory:
  """Quantizes updates at clients before another aggregator takes them.

  Differential privacy inside clips what is quantized, so its guarantee is not
  touched.

  Args:
    inner: Aggregates the updates as the server decodes them.
    bits: Number of bits of each number, from 2 to 16.
    measure: Whether clients send how many bytes they sent, whose sum is
      `bytes_up` among the measurements. It depends on their data.
  """
  return changed_updates.ChangedUpdatesFactory(
      inner,
      functools.partial(quantize, bits=bits),
      sum_name='bytes_up' if measure else None,
  )


def quantize(
    update: Any, round_num: tf.Tensor, *, bits: int
) -> tuple[Any, tf.Tensor]:
  """Quantizes an update; returns what the server decodes, and its size.

  Args:
    update: A structure of float32 tensors.
    round_num: Number of completed rounds; others are rounded differently.
    bits: Number of bits of each number.

  Returns:
    The decoded update, whose mean over rounds is the update; and the number of
    bytes, int64.
  """
  most = 2 ** (bits - 1) - 1
  decoded, num_bits = [], tf.constant(0, tf.int64)
  for i, tensor in enumerate(tf.nest.flatten(update)):
    step = tf.reduce_max(tf.abs(tensor)) / most
    steps = tf.math.divide_no_nan(tensor, step)
    # Depends on the update, so that clients are rounded independently.
    own = tf.reduce_sum(tf.reshape(tf.bitcast(tensor, tf.int32), [-1]))
    fold_in = tf.random.experimental.stateless_fold_in
    seed = fold_in(tf.stack([own, round_num]), i)
    levels = tf.floor(steps + tf.random.stateless_uniform(steps.shape, seed))
    levels = tf.clip_by_value(levels, -most, most)
    decoded.append(levels * step)
    code = tf.reduce_sum(_gamma_bits(tf.cast(levels, tf.int32)))
    num_bits += _HEADER_BITS + tf.cast(
        tf.minimum(code, bits * levels.shape.num_elements()), tf.int64
    )
  return tf.nest.pack_sequence_as(update, decoded), (num_bits + 7) // 8


def most_bytes(sizes: Sequence[int], *, bits: int) -> int:
  """The size of a quantized update at most.

  Args:
    sizes: How many numbers each tensor has.
    bits: Number of bits of each number.
  """
  return math.ceil(sum(_HEADER_BITS + bits * size for size in sizes) / 8)


def _gamma_bits(levels: tf.Tensor) -> tf.Tensor:
  """The lengths of the codes of integers: 0, -1, 1, -2, 2 are 1, 2, 3, 4, 5."""
  numbers = tf.where(levels < 0, -2 * levels, 2 * levels + 1)
  # The exponent of a float32, which is exact below 2^24.
  exponents = tf.bitcast(tf.cast(numbers, tf.float32), tf.int32) // 2**23 - 127
  return 2 * exponents + 1


def build_float16_broadcast(
    weights_type: tff.Type,
) -> tff.learning.templates.DistributionProcess:
  """Builds a distributor that sends float32 variables as float16.

  Args:
    weights_type: The type of the shared variables, U. Numbers beyond 65,504
      become this, and other types are sent as they are.
  """

  def narrow(v):
    if v.dtype != tf.float32:
      return v
    return tf.cast(tf.clip_by_value(v, -_MAX_FLOAT16, _MAX_FLOAT16), tf.float16)

  def widen(v):
    return tf.cast(v, tf.float32) if v.dtype == tf.float16 else v

  down = tff.tensorflow.computation(
      lambda weights: tf.nest.map_structure(narrow, weights), weights_type
  )
  up = tff.tensorflow.computation(
      lambda weights: tf.nest.map_structure(widen, weights),
      down.type_signature.result,
  )

  @tff.federated_computation
  def initialize():
    return tff.federated_value((), tff.SERVER)

  @tff.federated_computation(
      initialize.type_signature.result,
      tff.FederatedType(weights_type, tff.SERVER),
  )
  def next_fn(state, weights):
    sent = tff.federated_broadcast(tff.federated_map(down, weights))
    return tff.templates.MeasuredProcessOutput(
        state,
        tff.federated_map(up, sent),
        tff.federated_value((), tff.SERVER),
    )

  return tff.learning.templates.DistributionProcess(initialize, next_fn)
