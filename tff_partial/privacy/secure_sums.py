# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sums of which the server learns nothing but the sum, in integers.

Clients round their numbers to integers of 32 bits, which a cryptographic
protocol adds [1]. This is a simulation: no runtime of TFF has the protocol, so
the integers are added in the clear. What the server computes is the same.

[1] Bonawitz et al. Practical Secure Aggregation for Privacy-Preserving Machine
Learning. CCS 2017. https://eprint.iacr.org/2017/281
"""

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

_BITS = 32
_HALF = 2 ** (_BITS - 1)


class BoundedSecureSumFactory(tff.aggregators.UnweightedAggregationFactory):
  """Sums numbers between fixed bounds securely.

  Unlike those of `tff.aggregators.SecureSumFactory`, clients send nothing else:
  that also counts the clients whose numbers are out of bounds. And if the bound
  is a power of 2, sums of whole numbers are exact.
  """

  def __init__(self, bound: float):
    """Creates the factory.

    Args:
      bound: Numbers are rounded to multiples of `bound / 2^31`, and clipped to
        lie between `-bound` and `bound`.
    """
    self._steps_per_one = _HALF / bound

  def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
    """Builds the sum of float32 values of this type."""

    @tff.tensorflow.computation(value_type)
    def to_integers(value):
      def round_one(v):
        steps = tf.round(tf.cast(v, tf.float64) * self._steps_per_one)
        steps = tf.clip_by_value(steps, 1.0 - _HALF, _HALF - 1.0)
        return tf.cast(steps, tf.int64) + _HALF  # At least 0.

      return tf.nest.map_structure(round_one, value)

    @tff.tensorflow.computation(to_integers.type_signature.result, np.int32)
    def to_numbers(total, num_clients):
      zero = tf.cast(num_clients, tf.int64) * _HALF
      return tf.nest.map_structure(
          lambda t: tf.cast(
              tf.cast(t - zero, tf.float64) / self._steps_per_one, tf.float32
          ),
          total,
      )

    @tff.federated_computation
    def initialize():
      return tff.federated_value((), tff.SERVER)

    @tff.federated_computation(
        initialize.type_signature.result,
        tff.FederatedType(value_type, tff.CLIENTS),
    )
    def next_fn(state, value):
      total = tff.federated_secure_sum_bitwidth(
          tff.federated_map(to_integers, value), _BITS
      )
      num_clients = tff.federated_secure_sum_bitwidth(
          tff.federated_value(1, tff.CLIENTS), 1
      )
      return tff.templates.MeasuredProcessOutput(
          state,
          tff.federated_map(to_numbers, (total, num_clients)),
          tff.federated_value((), tff.SERVER),
      )

    return tff.templates.AggregationProcess(initialize, next_fn)
