# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The parts that a round is composed of, and where they are placed.

The computations of clients (`client_work.py`) and TFF's distributors,
aggregators and finalizers are placed at `tff.CLIENTS` and `tff.SERVER` here.
"""

import collections
import dataclasses
from typing import Any

import tensorflow_federated as tff

from tff_partial.learning import client_work as client_work_lib


@dataclasses.dataclass(frozen=True)
class RoundParts:
  """The parts that rounds are composed of.

  The methods are called while a federated computation is traced. They take and
  return placed values.

  Attributes:
    types: U, P and E, the types of shared and personal variables and examples.
    distributor: Sends the shared variables to clients.
    client_work: `(<U,W,P,E> -> ClientOutput)`, where W is the type of a
      `ClientWorkState`.
    next_client_work: `(W -> W)`.
    aggregator: Aggregates updates and their weights.
    ratios: Divides the terms of the metrics, summed over clients.
    finalizer: Applies the aggregated update to the shared variables.
  """

  types: client_work_lib.ModelTypes
  distributor: tff.learning.templates.DistributionProcess
  client_work: tff.Computation
  next_client_work: tff.Computation
  aggregator: tff.templates.AggregationProcess
  ratios: tff.Computation
  finalizer: tff.learning.templates.FinalizerProcess

  def distribute(self, state: Any) -> Any:
    """Sends the shared variables to clients."""
    return self.distributor.next(state.distributor, state.global_model_weights)

  def train_clients(
      self, state: Any, distributed: Any, personal: Any, examples: Any
  ) -> Any:
    """Returns each client's `ClientOutput`."""
    return tff.federated_map(
        self.client_work,
        (
            distributed.result,
            tff.federated_broadcast(state.client_work),
            personal,
            examples,
        ),
    )

  def aggregate(
      self,
      aggregator_state: Any,
      update: Any,
      weight: Any,
      metrics: Any,
      counts: Any,
  ) -> Any:
    """Aggregates what clients send.

    Returns:
      The aggregator's new state, its result and its measurements; the sums of
      the metrics' terms; and the sums of the counts.
    """
    aggregated = self.aggregator.next(aggregator_state, update, weight)
    return (
        aggregated.state,
        aggregated.result,
        aggregated.measurements,
        tff.federated_sum(metrics),
        tff.federated_sum(counts),
    )

  def update_server(self, state: Any, distributed: Any, aggregated: Any) -> Any:
    """Applies the result of `aggregate`; returns the new state and metrics."""
    aggregator_state, update, measurements, totals, counts = aggregated
    finalized = self.finalizer.next(
        state.finalizer, state.global_model_weights, update
    )
    new_state = tff.federated_zip(
        tff.learning.templates.LearningAlgorithmState(
            global_model_weights=finalized.result,
            distributor=distributed.state,
            client_work=tff.federated_map(
                self.next_client_work, state.client_work
            ),
            aggregator=aggregator_state,
            finalizer=finalized.state,
        )
    )
    metrics = tff.federated_zip(
        collections.OrderedDict(
            train=tff.federated_map(self.ratios, totals),
            counts=counts,
            distributor=distributed.measurements,
            aggregator=measurements,
            finalizer=finalized.measurements,
        )
    )
    return new_state, metrics


def sent(output: Any) -> tuple[Any, Any, Any, Any]:
  """The parts of a `ClientOutput` that clients send: nothing personal."""
  return output.update, output.weight, output.metrics, output.counts


def at_clients(member: tff.Type) -> tff.FederatedType:
  """The type of one value of type `member` at each client."""
  return tff.FederatedType(member, tff.CLIENTS)
