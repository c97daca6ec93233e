# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A round whose cohort is cut into shards, each computed by itself.

Memory is that of a shard, and shards go to any number of workers. The shards
and the order in which their sums are merged depend on the cohort alone, so the
result has the same bits whoever computed what and finished first.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tff_partial import errors
from tff_partial.learning import process as process_lib
from tff_partial.runtime import connection
from tff_partial.runtime import dispatcher as dispatcher_lib

_MAX_MESSAGE_BYTES = 2**31 - 1  # Protocol buffers', whatever gRPC allows.

_MOST_WAITING = 8
_MAX_WAITING_BYTES = 2**25

# Client ids to their (personal variables, examples).
ReadFn = Callable[[Sequence[str]], tuple[Sequence[Any], Sequence[Any]]]
# Takes client ids and their new personal variables.
WriteFn = Callable[[Sequence[str], Sequence[Any]], None]


def run_round(
    process: process_lib.PartialProcess,
    state: Any,
    cohort: Sequence[str],
    *,
    clients_per_shard: int,
    dispatcher: dispatcher_lib.Dispatcher,
    read_fn: ReadFn,
    write_fn: WriteFn,
) -> tuple[Any, Any]:
  """Does one round, shard by shard.

  Args:
    process: What a round is.
    state: The server's state.
    cohort: Ids of the clients, in the order of their shards.
    clients_per_shard: How many are computed together; the last may be fewer.
    dispatcher: Computes the shards.
    read_fn: Called for a shard when it is handed out, in this thread.
    write_fn: Called for each shard once, in order, in this thread.

  Returns:
    The server's new state, and the round's metrics.

  Raises:
    ValueError: If the process's aggregator cannot be divided, or a shard is too
      large for a message.
    errors.WorkerError: If no worker is left. What was written is not a
      whole round then, and must not be committed.
  """
  pieces = process.pieces
  state_for_clients = pieces.for_clients(state)
  shards = cut(cohort, clients_per_shard)

  def task(i):
    personal, examples = read_fn(shards[i])
    _check_size(personal)
    _check_size(examples)
    return (
        pieces.partial_round,
        (state_for_clients, list(personal), list(examples)),
    )

  waiting = []  # To be merged, in order, when that is worth a call.
  results = dispatcher.compute(len(shards), task)
  for shard, (personal, sums) in zip(shards, results):
    write_fn(shard, personal)
    del personal  # Not to be held while the next shard is awaited.
    waiting.append(sums)
    del sums
    if _is_to_be_merged(waiting):
      waiting = [pieces.merge(waiting)]
    connection.give_back_memory()
  return pieces.finalize(state, waiting)


def cut(cohort: Sequence[str], clients_per_shard: int) -> list[Sequence[str]]:
  """The cohort in parts of that size; the last may be smaller."""
  return [
      cohort[start : start + clients_per_shard]
      for start in range(0, len(cohort), clients_per_shard)
  ]


def _is_to_be_merged(waiting: Sequence[Any]) -> bool:
  """Whether sums have waited enough: calls and memory have their price."""
  return len(waiting) > 1 and (
      len(waiting) > _MOST_WAITING or _num_bytes(waiting) > _MAX_WAITING_BYTES
  )


def _num_bytes(value: Any) -> int:
  return sum(getattr(leaf, 'nbytes', 0) for leaf in tf.nest.flatten(value))


def _check_size(values: Sequence[Any]):
  """Raises if clients' values do not fit in one message to a worker."""
  sizes = [_num_bytes(value) for value in values]
  if sum(sizes) > _MAX_MESSAGE_BYTES:
    raise errors.SettingsError(
        f'Expected at most {_MAX_MESSAGE_BYTES:,} bytes for a shard, the most'
        f' that a message holds, found {sum(sizes):,} of {len(values)} clients,'
        f' up to {max(sizes):,} of one. Use --clients_per_shard='
        f'{max(1, _MAX_MESSAGE_BYTES // max(sizes))} or fewer.'
    )
