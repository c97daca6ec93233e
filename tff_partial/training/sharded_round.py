# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds whose cohort is divided into shards, each computed separately.

A shard's values are in memory at a time, not the cohort's, and any number of
processes and machines can compute shards. The shards and the order in which
their sums are added depend on the cohort alone, so the result has the same bits
no matter who computed which shard and which one finished first.
"""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import humanize

from tff_partial import errors
from tff_partial.learning import process as process_lib
from tff_partial.runtime import sharding as sharding_lib

_MAX_MESSAGE_BYTES = 2**31 - 1  # The limit of protocol buffers, not of gRPC.

# Personal variables of some clients.
Values = Sequence[Any] | sharding_lib.Elsewhere
# Client ids to their (personal variables, examples).
ReadFn = Callable[[Sequence[str]], tuple[Values, Sequence[Any]]]
# Takes client ids and their new personal variables.
WriteFn = Callable[[Sequence[str], Values], None]
# Maps a client to the part that has its personal variables, and its machine.
PlaceFn = Callable[[str], tuple[int, str]]


def run_round(
    process: process_lib.PartialProcess,
    state: Any,
    cohort: Sequence[str],
    *,
    sharding: sharding_lib.Sharding,
    read_fn: ReadFn,
    write_fn: WriteFn,
    place_fn: Optional[PlaceFn] = None,
) -> tuple[Any, Any]:
  """Computes one round, shard by shard.

  Args:
    process: Computes the parts of a round.
    state: The server's state.
    cohort: Ids of the clients; shards are consecutive parts of it, or of its
      clients with the same place.
    sharding: The size of a shard, and who computes it.
    read_fn: Called in this thread, once for each shard, when it is handed out.
    write_fn: Called in this thread, once for each shard, in order.
    place_fn: Where personal variables are, if that is not here. The clients of
      a shard then have the same place.

  Returns:
    The server's new state, and the round's metrics.

  Raises:
    errors.SettingsError: If the process's aggregator cannot be divided, or a
      shard is too large for a message.
    errors.WorkerError: If nobody is left who computes. What was written is then
      part of a round only, and must not be committed.
  """
  pieces = process.pieces
  step = sharding_lib.Step(pieces.partial_round, [pieces.for_clients(state)])
  # A cohort without clients is one shard: the server's step takes a sum.
  size = sharding.clients_per_shard or len(cohort) or 1
  shards = [s for some in _by_place(cohort, place_fn) for s in cut(some, size)]
  shards = shards or [[]]

  def task(i):
    personal, examples = read_fn(shards[i])
    _check_size(examples)
    if not isinstance(personal, sharding_lib.Elsewhere):
      _check_size(personal)
      personal = list(personal)
    return step, (personal, list(examples))

  sums = sharding.engine.add_up(
      len(shards),
      task,
      lambda i, personal: write_fn(shards[i], personal),
      pieces.merge,
      machines=place_fn
      and [place_fn(shard[0])[1] for shard in shards if shard],
  )
  return pieces.finalize(state, sums)


def _by_place(
    cohort: Sequence[str], place_fn: Optional[PlaceFn]
) -> list[Sequence[str]]:
  """Divides a cohort by the places of its clients, each in its order."""
  if place_fn is None:
    return [cohort]
  places: dict[int, list[str]] = {}
  for client_id in cohort:
    places.setdefault(place_fn(client_id)[0], []).append(client_id)
  return [places[part] for part in sorted(places)]


def cut(cohort: Sequence[str], clients_per_shard: int) -> list[Sequence[str]]:
  """Divides a cohort into parts of this size; the last may be smaller."""
  return [
      cohort[start : start + clients_per_shard]
      for start in range(0, len(cohort), clients_per_shard)
  ]


def _check_size(values: Sequence[Any]) -> None:
  """Checks that the clients' values fit into one message to a worker.

  Raises:
    errors.SettingsError: If they do not.
  """
  sizes = [sharding_lib.num_bytes(value) for value in values]
  if sum(sizes) > _MAX_MESSAGE_BYTES:
    largest = max(sizes)
    advice = max(1, _MAX_MESSAGE_BYTES // largest)
    raise errors.SettingsError(
        f'Expected a shard of at most {_size(_MAX_MESSAGE_BYTES)}, the limit of'
        f' a message, found {_size(sum(sizes))} for {len(values)} clients, up'
        f' to {_size(largest)} for one. Use `clients_per_shard` of {advice} or'
        ' less.'
    )


def _size(num_bytes: int) -> str:
  return humanize.naturalsize(num_bytes, format='%.2f')
