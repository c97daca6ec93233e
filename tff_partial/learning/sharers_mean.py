# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mean of each shared variable over the clients that share it.

Clients that differ in what is personal (`nested_model.py`) send, next to their
updates, which variables they share. The server's sums contain nothing of a
variable that a client does not share, and its mean is divided by the share of
the clients, by weight, that do. A variable that nobody in a round shares has an
update of zero.
"""

from typing import Any, NamedTuple, Union

import tensorflow as tf
import tensorflow_federated as tff


class PartialUpdate(NamedTuple):
  """What a client sends that shares some of the variables.

  Attributes:
    update: Of each variable; zeros where it is not shared.
    shares: For each variable whether the client shares it, 1 or 0, float32
      scalars.
  """

  update: Any
  shares: Any


def sends_shares(update_type: tff.Type) -> bool:
  """Whether updates of this type are `PartialUpdate`s."""
  return (
      isinstance(update_type, tff.StructWithPythonType)
      and update_type.python_container is PartialUpdate
  )


class SharersMeanFactory(tff.aggregators.WeightedAggregationFactory):
  """Takes `PartialUpdate`s; its result is one update of all variables."""

  def __init__(
      self,
      inner: Union[
          tff.aggregators.WeightedAggregationFactory,
          tff.aggregators.UnweightedAggregationFactory,
      ],
  ):
    """Creates the factory.

    Args:
      inner: A linear aggregator, such as the mean.
    """
    if isinstance(inner, tff.aggregators.UnweightedAggregationFactory):
      inner = tff.aggregators.as_weighted_aggregator(inner)
    self._inner = inner

  def create(
      self, value_type: tff.Type, weight_type: tff.Type
  ) -> tff.templates.AggregationProcess:
    """Builds the aggregation of `PartialUpdate`s of this type."""
    inner = self._inner.create(value_type, weight_type)

    @tff.tensorflow.computation(value_type)
    def divide(mean):
      # If nobody has a weight, both are not numbers, and so is the result.
      return [
          tf.math.divide_no_nan(update, share)
          for update, share in zip(mean.update, mean.shares)
      ]

    @tff.federated_computation(
        inner.initialize.type_signature.result,
        tff.FederatedType(value_type, tff.CLIENTS),
        tff.FederatedType(weight_type, tff.CLIENTS),
    )
    def next_fn(state, value, weight):
      output = inner.next(state, value, weight)
      return tff.templates.MeasuredProcessOutput(
          output.state,
          tff.federated_map(divide, output.result),
          output.measurements,
      )

    return tff.templates.AggregationProcess(inner.initialize, next_fn)
