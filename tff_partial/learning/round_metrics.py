# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a round reports: metrics and counts, aggregated over its clients.

They leave clients next to the update, so they have an aggregator too. By
default they are summed exactly.
"""

import collections
import dataclasses
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.learning import client_work as client_work_lib


@dataclasses.dataclass(frozen=True)
class RoundMetrics:
  """How metrics and counts of clients become those of a round.

  The methods are called while a federated computation is traced.

  Attributes:
    aggregator: Aggregates values of `value_type`.
    value_type: The type of what a client sends.
    prepare: `(<metrics,counts> -> value_type)` at a client, or `None` if the
      parts are sent as they are.
    ratios: Divides the terms of the metrics, summed over clients.
  """

  aggregator: tff.templates.AggregationProcess
  value_type: tff.Type
  prepare: Optional[tff.Computation]
  ratios: tff.Computation

  def sent(self, output: Any) -> Any:
    """What clients send, from their `ClientOutput`."""
    parts = collections.OrderedDict(
        metrics=output.metrics, counts=output.counts
    )
    if self.prepare is None:
      return tff.federated_zip(parts)
    return tff.federated_map(self.prepare, tff.federated_zip(parts))

  def of_round(
      self, total: Any, measurements: Any
  ) -> collections.OrderedDict[str, Any]:
    """The metrics of a round, from what the aggregator returns."""
    found = collections.OrderedDict(
        train=tff.federated_map(self.ratios, total.metrics),
        counts=total.counts,
    )
    if self.prepare is not None:
      found['metrics_aggregator'] = measurements
    return found


def build_round_metrics(
    output_type: tff.StructType,
    factory: Optional[tff.aggregators.UnweightedAggregationFactory],
) -> RoundMetrics:
  """Builds the aggregation of metrics and counts.

  Args:
    output_type: The type of a `ClientOutput`.
    factory: Creates the aggregator; `None` for exact sums.
  """
  exact_type = tff.types.to_type(
      collections.OrderedDict(
          metrics=output_type.metrics, counts=output_type.counts
      )
  )
  ratios = client_work_lib.build_ratios(output_type.metrics)
  if factory is None:
    aggregator = tff.aggregators.SumFactory().create(exact_type)
    return RoundMetrics(aggregator, exact_type, None, ratios)

  # TFF's secure and private sums take structures of a single dtype.
  @tff.tensorflow.computation(exact_type)
  def as_floats(value):
    return tf.nest.map_structure(lambda t: tf.cast(t, tf.float32), value)

  value_type = as_floats.type_signature.result
  return RoundMetrics(factory.create(value_type), value_type, as_floats, ratios)
