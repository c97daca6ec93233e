# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Aggregation that a minority of malicious clients cannot move far [1].

TFF's `robust_aggregator` bounds the norm of an update. Clients that stay within
the bound still move the mean together, by their share of it. Here each number
of the result lies between numbers of honest clients, provided that the
malicious ones are fewer than what is left out at either end.

[1] Yin, Chen, Ramchandran, Bartlett. Byzantine-Robust Distributed Learning:
Towards Optimal Statistical Rates. ICML 2018. https://arxiv.org/abs/1803.01498
"""

import collections
from typing import Optional, Union

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.learning import changed_updates

_FLIPPED_SCALE = -10.0


class TrimmedMeanFactory(tff.aggregators.WeightedAggregationFactory):
  """The mean of each number over clients without the largest and smallest.

  Clients count equally, but those of weight 0 not at all. The server has the
  updates of a whole cohort in memory. Without clients, it is not a number.
  """

  def __init__(self, trim: Optional[float]):
    """Creates the factory.

    Args:
      trim: The share of the clients that is left out at either end, below 1/2,
        rounded down to whole clients; `None` for the median.
    """
    self._trim = trim

  def create(
      self, value_type: tff.Type, weight_type: tff.Type
  ) -> tff.templates.AggregationProcess:
    """Builds the aggregation of updates of this type."""
    one = tff.types.to_type(
        collections.OrderedDict(update=value_type, weight=weight_type)
    )

    @tff.tensorflow.computation(one)
    def alone(update):
      # TensorFlow must not know that there is one, as there will be more.
      return tf.nest.map_structure(
          lambda v: tf.compat.v1.placeholder_with_default(
              v[tf.newaxis], [None, *v.shape]
          ),
          update,
      )

    several = alone.type_signature.result

    @tff.tensorflow.computation
    def nobody():
      return tff.types.structure_from_tensor_type_tree(
          lambda t: tf.zeros([0, *t.shape], t.dtype), one
      )

    @tff.tensorflow.computation(several, one)
    def add(updates, update):
      return tf.nest.map_structure(
          lambda all, v: tf.concat([all, v[tf.newaxis]], 0), updates, update
      )

    @tff.tensorflow.computation(several, several)
    def merge(first, second):
      return tf.nest.map_structure(
          lambda a, b: tf.concat([a, b], 0), first, second
      )

    @tff.tensorflow.computation(several)
    def report(updates):
      takes_part = updates['weight'] > 0
      return tf.nest.map_structure(
          lambda v: self._mean(tf.boolean_mask(v, takes_part)),
          updates['update'],
      )

    @tff.federated_computation
    def initialize():
      return tff.federated_value((), tff.SERVER)

    @tff.federated_computation(
        initialize.type_signature.result,
        tff.FederatedType(value_type, tff.CLIENTS),
        tff.FederatedType(weight_type, tff.CLIENTS),
    )
    def next_fn(state, update, weight):
      sent = tff.federated_zip(
          collections.OrderedDict(update=update, weight=weight)
      )
      result = tff.federated_aggregate(sent, nobody(), add, merge, report)
      return tff.templates.MeasuredProcessOutput(
          state, result, tff.federated_value((), tff.SERVER)
      )

    return tff.templates.AggregationProcess(initialize, next_fn)

  def _mean(self, values: tf.Tensor) -> tf.Tensor:
    """The mean of the middle of `[clients, ...]`."""
    count = tf.shape(values)[0]
    if self._trim is None:
      left_out = tf.maximum(count - 1, 0) // 2
    else:
      left_out = tf.cast(
          tf.floor(tf.cast(count, tf.float64) * self._trim), tf.int32
      )
    ordered = tf.sort(values, axis=0)
    return tf.reduce_mean(ordered[left_out : count - left_out], axis=0)


def sign_flipping(
    inner: Union[
        tff.aggregators.WeightedAggregationFactory,
        tff.aggregators.UnweightedAggregationFactory,
    ],
    share: float,
) -> tff.aggregators.WeightedAggregationFactory:
  """Has some clients send their update times -10, to simulate an attack.

  Who does so is drawn in each round, as a function of the update and the round.

  Args:
    inner: Aggregates the updates.
    share: The probability that a client is malicious in a round.
  """

  def send(update, round_num):
    own = tf.add_n(
        [
            tf.reduce_sum(tf.reshape(tf.bitcast(v, tf.int32), [-1]))
            for v in tf.nest.flatten(update)
        ]
    )
    number = tf.random.stateless_uniform([], tf.stack([own, round_num]))
    scale = tf.where(number < share, _FLIPPED_SCALE, 1.0)
    sent = tf.nest.map_structure(lambda v: scale * v, update)
    return sent, tf.constant(0, tf.int64)

  return changed_updates.ChangedUpdatesFactory(inner, send)
