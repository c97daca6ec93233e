# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds on a scratch copy: what would happen, without anything happening.

A rehearsal computes some rounds of training from a given state. It reads
personal variables from a store and keeps new ones in memory; it writes and
commits nothing. Several algorithms rehearse with the same cohorts and seeds, so
that their results can be compared in pairs.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, Optional

from tff_partial.learning import process as process_lib
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import sampler as sampler_lib
from tff_partial.training import training

# Client ids to their personal variables.
ReadFn = Callable[[Sequence[str]], Sequence[Any]]


class ScratchVariables:
  """Personal variables in memory, over others that are only read."""

  def __init__(self, default: Any, read_fn: Optional[ReadFn] = None):
    """Makes a copy without changes.

    Args:
      default: The personal variables of a client that never took part.
      read_fn: Maps client ids to the personal variables before the rehearsal;
        by default all clients have `default`.
    """
    self._default = default
    self._read = read_fn or (lambda client_ids: [default] * len(client_ids))
    self._changed: dict[str, Any] = {}

  @property
  def default(self) -> Any:
    return self._default

  def read(self, client_ids: Sequence[str]) -> list[Any]:
    before = [c for c in client_ids if c not in self._changed]
    found = dict(zip(before, self._read(before))) if before else {}
    return [
        self._changed[c] if c in self._changed else found[c] for c in client_ids
    ]

  def write(
      self, client_ids: Sequence[str], values: Sequence[Any], *, version: int
  ) -> None:
    del version  # There are no checkpoints.
    self._changed.update(zip(client_ids, values))


@dataclasses.dataclass(frozen=True)
class Rehearsed:
  """The end of a rehearsal.

  Attributes:
    state: The server's state.
    personal: The clients' personal variables.
    gradient_steps: Steps of all clients together.
    seconds: Time of the rounds.
  """

  state: Any
  personal: ScratchVariables
  gradient_steps: int
  seconds: float


def rehearse(
    process: process_lib.PartialProcess,
    sampler: sampler_lib.Sampler,
    *,
    state: Any,
    personal: ScratchVariables,
    first_round: int,
    rounds: int,
    sharding: sharding_lib.Sharding,
    after_round: Callable[[], None] = lambda: None,
) -> Rehearsed:
  """Computes rounds of training, and commits nothing.

  Args:
    process: Computes one round.
    sampler: The population, and the cohort of each round.
    state: The server's state before the first round, of this process or of one
      with another algorithm.
    personal: The personal variables, which the rounds change.
    first_round: Number of rounds before the first one.
    rounds: How many rounds to compute.
    sharding: As in `training.train`.
    after_round: Called after each round, for a progress bar.
  """
  state = process.set_learning_rates(state)
  all_rounds = training.Rounds(process, sampler, personal, sharding)
  steps, seconds = 0, 0.0
  for round_num in range(first_round, first_round + rounds):
    state, row, _ = all_rounds.run(round_num, state)
    steps += int(row['counts/steps'])
    seconds += row['seconds']
    after_round()
  return Rehearsed(state, personal, steps, seconds)
