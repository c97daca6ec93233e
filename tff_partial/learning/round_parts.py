# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The parts that a round is composed of, and where they are placed.

The computations of clients (`client_work.py`) and TFF's distributors,
aggregators and finalizers are placed at `tff.CLIENTS` and `tff.SERVER` here.
"""

import collections
import dataclasses
from typing import Any, Optional

import tensorflow_federated as tff

from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import round_metrics


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
    metrics: Aggregates metrics and counts; `None` if clients send none.
    finalizer: Applies the aggregated update to the shared variables.
  """

  types: client_work_lib.ModelTypes
  distributor: tff.learning.templates.DistributionProcess
  client_work: tff.Computation
  next_client_work: tff.Computation
  aggregator: tff.templates.AggregationProcess
  metrics: Optional[round_metrics.RoundMetrics]
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

  @property
  def _metrics_have_state(self) -> bool:
    if self.metrics is None:
      return False
    member = self.metrics.aggregator.state_type.member
    return not isinstance(member, tff.StructType) or len(member) > 0

  def initialize_aggregators(self) -> Any:
    """The state of the aggregator, and of that of the metrics if it has one."""
    if not self._metrics_have_state:
      return self.aggregator.initialize()
    return tff.federated_zip(
        collections.OrderedDict(
            update=self.aggregator.initialize(),
            metrics=self.metrics.aggregator.initialize(),
        )
    )

  @property
  def sent_types(self) -> list[tff.FederatedType]:
    """The types of what `sent` returns."""
    output = self.client_work.type_signature.result
    types = [output.update, output.weight]
    if self.metrics is not None:
      types.append(self.metrics.value_type)
    return [at_clients(member) for member in types]

  def sent(self, output: Any) -> list[Any]:
    """What clients send of their `ClientOutput`: nothing personal."""
    values = [output.update, output.weight]
    if self.metrics is not None:
      values.append(self.metrics.sent(output))
    return values

  def aggregate(self, states: Any, update: Any, weight: Any, *sent: Any) -> Any:
    """Aggregates what clients send.

    Args:
      states: As `initialize_aggregators` returns.
      update: Updates of the shared variables.
      weight: Their weights.
      *sent: What clients send for the metrics, if they do.

    Returns:
      The new states; the aggregator's result and its measurements; and those of
      the metrics' aggregator, if there is one.
    """
    if not self._metrics_have_state:
      aggregated = self.aggregator.next(states, update, weight)
      new_states = aggregated.state
      metrics_state = tff.federated_value((), tff.SERVER)
    else:
      aggregated = self.aggregator.next(states.update, update, weight)
      metrics_state = states.metrics
    reported: tuple[Any, ...] = ()
    if self.metrics is not None:
      [value] = sent
      total = self.metrics.aggregator.next(metrics_state, value)
      reported = (total.result, total.measurements)
      if self._metrics_have_state:
        new_states = tff.federated_zip(
            collections.OrderedDict(
                update=aggregated.state, metrics=total.state
            )
        )
    return (
        new_states,
        aggregated.result,
        aggregated.measurements,
        *reported,
    )

  def update_server(self, state: Any, distributed: Any, aggregated: Any) -> Any:
    """Applies the result of `aggregate`; returns the new state and metrics."""
    aggregator_state, update, measurements, *reported = aggregated
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
    of_clients: dict[str, Any] = {}
    if self.metrics is not None:
      of_clients = self.metrics.of_round(*reported)
    metrics = tff.federated_zip(
        collections.OrderedDict(
            **of_clients,
            distributor=distributed.measurements,
            aggregator=measurements,
            finalizer=finalized.measurements,
        )
    )
    return new_state, metrics


def at_clients(member: tff.Type) -> tff.FederatedType:
  """The type of one value of type `member` at each client."""
  return tff.FederatedType(member, tff.CLIENTS)
