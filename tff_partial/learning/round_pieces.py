# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A round in pieces, for cohorts that are too large for one machine.

The server's sums over clients are divided where they can be added later: any
number of partial rounds each return partial sums, which are merged before the
server's last step (`tff_partial/training/sharded_round.py`). All work of
clients happens in the partial rounds.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import round_parts


class RoundPieces:
  """A round whose cohort is divided into shards.

  `PartialProcess.next` is equivalent to `partial_round` on the whole cohort,
  followed by `finalize`. Floating-point sums are in the order of the shards.

  Attributes:
    partial_round: `(<state=S'@SERVER, personal={P}@CLIENTS,
      examples={E}@CLIENTS> -> <{P}@CLIENTS, A@SERVER>)`, the work of some
      clients. S' is the type of `for_clients(state)`. A are the partial sums of
      the aggregator and of the metrics over these clients.
  """

  def __init__(
      self,
      partial_round: tff.Computation,
      build_merge: Callable[[int], tff.Computation],
      build_last_step: Callable[[int], tff.Computation],
  ):
    """Creates the pieces.

    Args:
      partial_round: As described above.
      build_merge: Takes a number n of partial sums; returns `(<A,...> -> A)`
        with n parameters.
      build_last_step: Takes a number n of partial sums; returns
        `(<S@SERVER, A@SERVER,..., {}@CLIENTS,...> -> <S@SERVER, M@SERVER>)`
        with n parameters of type A, and then some without clients.
    """
    self.partial_round = partial_round
    self._merge = functools.lru_cache(build_merge)
    self._last_step = functools.lru_cache(build_last_step)

  def for_clients(
      self, state: tff.learning.templates.LearningAlgorithmState
  ) -> tff.learning.templates.LearningAlgorithmState:
    """The state without the optimizer state.

    Clients do not need it, and it may be large.
    """
    return state._replace(finalizer=())

  def merge(self, count: int) -> tff.Computation:
    """Builds `(<A,...> -> A)`, which merges partial sums from left to right.

    Args:
      count: Number of partial sums.
    """
    return self._merge(count)

  def finalize(
      self,
      state: tff.learning.templates.LearningAlgorithmState,
      sums: Sequence[Any],
  ) -> tuple[tff.learning.templates.LearningAlgorithmState, Any]:
    """Merges the remaining partial sums and updates the server.

    Args:
      state: The state before the round.
      sums: Partial sums that together cover the cohort, in its order.

    Returns:
      The new state, and the metrics of the round.
    """
    last_step = self._last_step(len(sums))
    # After merging, TFF keeps the parameters that the sums were computed from;
    # they are placed at clients, of which there are none here.
    num_unused = len(last_step.type_signature.parameter) - 1 - len(sums)
    return last_step(state, *sums, *([] for _ in range(num_unused)))


def build_round_pieces(
    parts: round_parts.RoundParts, state_type: tff.FederatedType
) -> RoundPieces:
  """Builds a round in pieces.

  Args:
    parts: What the round is composed of.
    state_type: The type of the server's state, S@SERVER.

  Raises:
    errors.SettingsError: If the aggregator cannot be divided.
  """
  states_type = tff.FederatedType(state_type.member.aggregator, tff.SERVER)
  divided = _divide(
      tff.federated_computation(
          lambda arguments: parts.aggregate(*arguments),
          tff.StructType([states_type, *parts.sent_types]),
      )
  )
  return RoundPieces(
      _build_partial_round(parts, state_type, divided),
      functools.partial(_build_merge, divided),
      functools.partial(_build_last_step, parts, state_type, divided),
  )


def _divide(server_step: tff.Computation) -> Any:
  """Splits a computation at its sums over clients.

  Args:
    server_step: Sums values of clients, and computes with the results.

  Returns:
    TFF's `MergeableCompForm`: `up_to_merge`, `merge` and `after_merge`.

  Raises:
    errors.SettingsError: If one sum depends on another.
  """
  # Secure sums cannot be divided, but the sums of integers that stand for them.
  server_step = tff.framework.ConcreteComputation.with_type(
      tff.backends.test.replace_secure_intrinsics_with_bodies(server_step),
      server_step.type_signature,  # With the classes of its structures.
  )
  try:
    return tff.backends.native.compile_to_mergeable_comp_form(server_step)
  except ValueError as e:
    raise errors.SettingsError(
        'Expected an `aggregator` whose sums over clients do not depend on each'
        ' other, found one that needs an earlier sum, so that a round cannot be'
        " divided into shards. Use TFF's MeanFactory or robust_aggregator, or"
        ' compute the whole cohort at once, without `clients_per_shard`.'
    ) from e


def _build_partial_round(
    parts: round_parts.RoundParts, state_type: tff.FederatedType, divided: Any
) -> tff.Computation:
  """Builds the work of some clients, up to their partial sums."""
  whole = state_type.member
  state_for_clients = tff.learning.templates.LearningAlgorithmState(
      global_model_weights=whole.global_model_weights,
      distributor=whole.distributor,
      client_work=whole.client_work,
      aggregator=whole.aggregator,
      finalizer=(),
  )

  @tff.federated_computation(
      tff.FederatedType(state_for_clients, tff.SERVER),
      round_parts.at_clients(parts.types.personal),
      round_parts.at_clients(parts.types.examples),
  )
  def partial_round(state, personal, examples):
    output = parts.train_clients(
        state, parts.distribute(state), personal, examples
    )
    return output.personal, divided.up_to_merge(
        state.aggregator, *parts.sent(output)
    )

  return partial_round


def _build_merge(divided: Any, count: int) -> tff.Computation:
  """Builds `(<A,...> -> A)`, which merges partial sums from left to right.

  Args:
    divided: The result of `_divide`.
    count: Number of partial sums.
  """
  # TFF has no functions with any number of parameters, but the elements of a
  # single parameter that is a tuple can be passed one by one.
  sums_type = divided.up_to_merge.type_signature.result.member
  return tff.federated_computation(
      lambda sums: functools.reduce(divided.merge, list(sums)),
      tff.StructType([sums_type] * count),
  )


def _build_last_step(
    parts: round_parts.RoundParts,
    state_type: tff.FederatedType,
    divided: Any,
    count: int,
) -> tff.Computation:
  """Builds what the server does with `count` partial sums."""
  sums_type = divided.up_to_merge.type_signature.result

  @tff.federated_computation(
      tff.StructType([state_type, *[sums_type] * count, *parts.sent_types])
  )
  def last_step(arguments):
    state, *others = arguments
    sums, sent_by_nobody = others[:count], others[count:]
    merged = sums[0]
    if count > 1:
      merged = tff.federated_map(_build_merge(divided, count), sums)
    return parts.update_server(
        state,
        # For the distributor's next state. The partial rounds have broadcast
        # already, from the same state.
        parts.distribute(state),
        divided.after_merge((state.aggregator, *sent_by_nobody), merged),
    )

  return last_step
