# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whose data it is: client ids, their examples, and seeds that follow them."""

from collections.abc import Collection, Mapping, Sequence
import hashlib
from typing import Protocol

import numpy as np

from tff_partial import errors


class Clients(Protocol):
  """A population of clients and their examples.

  The library asks for one client's examples at a time and never goes through
  the whole population, which may be large.
  """

  @property
  def client_ids(self) -> Sequence[str]:
    """The clients; a sequence that need not hold them in memory."""

  def num_examples(self, client_id: str) -> int:
    """How many examples a client has."""

  def read(self, client_id: str) -> Mapping[str, np.ndarray]:
    """A client's examples, 'x' and 'y', each [examples, ...]."""


class ExcludingClients:
  """A population but for some clients, who are kept out of training."""

  def __init__(self, clients: Clients, client_ids: Collection[str]):
    """Makes the view; looks each of the few `client_ids` up, and no others."""
    self._clients = clients
    self._left_out = frozenset(client_ids)
    self._client_ids = clients.client_ids
    if self._left_out:
      self._client_ids = _ExcludingIds(clients.client_ids, self._left_out)

  @property
  def client_ids(self) -> Sequence[str]:
    return self._client_ids

  def num_examples(self, client_id: str) -> int:
    return self._clients.num_examples(client_id)

  def read(self, client_id: str) -> Mapping[str, np.ndarray]:
    return self._clients.read(client_id)


class _ExcludingIds(Sequence):
  """A sequence of ids without some, which does not hold the others."""

  def __init__(self, client_ids: Sequence[str], left_out: Collection[str]):
    self._client_ids = client_ids
    self._left_out = left_out
    self._positions = sorted(client_ids.index(c) for c in left_out)

  def __len__(self):
    return len(self._client_ids) - len(self._positions)

  def __getitem__(self, index):
    if not 0 <= index < len(self):
      raise IndexError(index)
    for position in self._positions:
      if position > index:
        break
      index += 1
    return self._client_ids[index]

  def __contains__(self, client_id):
    return client_id not in self._left_out and client_id in self._client_ids


def seed_for(*parts: object) -> np.ndarray:
  """An int32 [2] seed that depends on the parts alone.

  Used with (seed, round, client id): a client's shuffling in a round is the
  same whoever else takes part and wherever the round is resumed.
  """
  digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
  return np.frombuffer(digest, np.int32)


def sample(
    client_ids: Sequence[str], size: int, *, seed: int, round_num: int
) -> list[str]:
  """A round's cohort: `size` clients, uniformly without replacement.

  Depends on (seed, round) alone, and neither lists nor shuffles the population:
  time and memory are those of the cohort.

  Raises:
    ValueError: If there are fewer clients than that.
  """
  population = len(client_ids)
  if not 1 <= size <= population:
    raise errors.SettingsError(
        f'Expected from 1 to {population} clients per round, the number there'
        f' are, found {size}.'
    )
  rng = np.random.default_rng([seed, round_num])
  chosen = rng.choice(population, size, replace=False, shuffle=True)
  return [client_ids[int(i)] for i in chosen]
