# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Changes updates at clients before another aggregator takes them."""

import collections
from collections.abc import Callable
from typing import Any, Optional, Union

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

# (update, number of completed rounds) -> (changed update, a number to report).
ChangeFn = Callable[[Any, tf.Tensor], tuple[Any, Any]]


class ChangedUpdatesFactory(tff.aggregators.WeightedAggregationFactory):
  """Changes updates by a function of the update and the round.

  The state is `(number of rounds, state inside)`.
  """

  def __init__(
      self,
      inner: Union[
          tff.aggregators.WeightedAggregationFactory,
          tff.aggregators.UnweightedAggregationFactory,
      ],
      change_fn: ChangeFn,
      *,
      sum_name: Optional[str] = None,
  ):
    """Creates the factory.

    Args:
      inner: Aggregates the changed updates.
      change_fn: The change, and a number, int64.
      sum_name: What the sum of the numbers is called among the measurements;
        `None` if clients do not send them.
    """
    if isinstance(inner, tff.aggregators.UnweightedAggregationFactory):
      inner = tff.aggregators.as_weighted_aggregator(inner)
    self._inner = inner
    self._change = change_fn
    self._sum_name = sum_name

  def create(
      self, value_type: tff.Type, weight_type: tff.Type
  ) -> tff.templates.AggregationProcess:
    """Builds the aggregation of updates of this type."""
    inner = self._inner.create(value_type, weight_type)

    @tff.tensorflow.computation(value_type, np.int32)
    def change(update, round_num):
      changed, number = self._change(update, round_num)
      return collections.OrderedDict(update=changed, number=number)

    @tff.tensorflow.computation(
        np.int64, inner.next.type_signature.result.measurements.member
    )
    def with_sum(total, measurements):
      return collections.OrderedDict(
          measurements or {}, **{str(self._sum_name): total}
      )

    next_round = tff.tensorflow.computation(lambda n: n + 1, np.int32)

    @tff.federated_computation
    def initialize():
      return tff.federated_zip(
          (tff.federated_value(0, tff.SERVER), inner.initialize())
      )

    @tff.federated_computation(
        initialize.type_signature.result,
        tff.FederatedType(value_type, tff.CLIENTS),
        tff.FederatedType(weight_type, tff.CLIENTS),
    )
    def next_fn(state, update, weight):
      round_num, inner_state = state
      changed = tff.federated_map(
          change, (update, tff.federated_broadcast(round_num))
      )
      output = inner.next(inner_state, changed.update, weight)
      measurements = output.measurements
      if self._sum_name is not None:
        measurements = tff.federated_map(
            with_sum, (tff.federated_sum(changed.number), measurements)
        )
      new_round = tff.federated_map(next_round, round_num)
      return tff.templates.MeasuredProcessOutput(
          tff.federated_zip((new_round, output.state)),
          output.result,
          measurements,
      )

    return tff.templates.AggregationProcess(initialize, next_fn)
