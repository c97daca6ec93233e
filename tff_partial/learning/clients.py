# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Client populations, and per-client seeds."""

from collections.abc import Callable, Collection, Mapping, Sequence
import hashlib
from typing import Any, Optional, Protocol

import numpy as np

from tff_partial import errors


class Clients(Protocol):
  """A population of clients and their examples.

  The library reads the examples of one client at a time and never iterates over
  the whole population, which may be large.

  It may have one more property, `fingerprint`: text that changes with the
  examples. A run does not go on with clients of another fingerprint.
  """

  @property
  def client_ids(self) -> Sequence[str]:
    """The ids of all clients, in a sequence that may read them lazily."""

  def num_examples(self, client_id: str) -> int:
    """The number of examples of a client."""

  def read(self, client_id: str) -> Any:
    """The examples of a client, in the form that `client_examples` takes.

    For `Tensors`, 'x' and 'y', each arrays [examples, ...]; for `Sequences`, a
    `tf.data.Dataset` of batches.

    Args:
      client_id: The client.
    """


def fingerprint(clients: Clients) -> Optional[str]:
  """The fingerprint of some clients; `None` if they have none."""
  return getattr(clients, 'fingerprint', None)


class CheckedClients:
  """A view of a population that checks the examples that it reads."""

  def __init__(
      self, clients: Clients, check_fn: Callable[[Any], None], *, data: str
  ):
    """Creates the view.

    Args:
      clients: The population.
      check_fn: Raises an `errors.SettingsError` for examples that do not fit.
      data: Where the data come from, in words, for messages.
    """
    self._clients = clients
    self._check = check_fn
    self._data = data

  @property
  def client_ids(self) -> Sequence[str]:
    return self._clients.client_ids

  @property
  def fingerprint(self) -> Optional[str]:
    return fingerprint(self._clients)

  def num_examples(self, client_id: str) -> int:
    return self._clients.num_examples(client_id)

  def read(self, client_id: str) -> Mapping[str, np.ndarray]:
    """The examples of a client.

    Raises:
      errors.DataError: If they do not fit, naming the client.
    """
    examples = self._clients.read(client_id)
    try:
      self._check(examples)
    except errors.SettingsError as e:
      raise errors.DataError(
          f'Client {client_id!r} of {self._data} does not fit the task. {e}'
      ) from e
    return examples


class ExcludingClients:
  """A view of a population that leaves out some clients."""

  def __init__(self, clients: Clients, excluded: Collection[str]):
    """Creates the view.

    Args:
      clients: The whole population.
      excluded: The ids of the clients to leave out. The view looks up these
        ids only, and not those of the other clients.
    """
    self._clients = clients
    self._client_ids = clients.client_ids
    if excluded:
      self._client_ids = _ExcludingIds(clients.client_ids, frozenset(excluded))

  @property
  def client_ids(self) -> Sequence[str]:
    return self._client_ids

  def num_examples(self, client_id: str) -> int:
    return self._clients.num_examples(client_id)

  def read(self, client_id: str) -> Mapping[str, np.ndarray]:
    return self._clients.read(client_id)


class _ExcludingIds(Sequence):
  """A view of a sequence of ids that leaves out some of them."""

  def __init__(self, client_ids: Sequence[str], excluded: Collection[str]):
    self._client_ids = client_ids
    self._excluded = excluded
    self._positions = sorted(client_ids.index(c) for c in excluded)

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
    return client_id not in self._excluded and client_id in self._client_ids


def seed_for(*parts: object) -> np.ndarray:
  """Returns an int32 [2] seed that depends only on the parts.

  With the parts (seed, round, client id), the order of a client's examples in a
  round does not depend on the other clients, nor on where a run was resumed.
  """
  digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
  return np.frombuffer(digest, np.int32)


def stream(seed: int, purpose: str) -> int:
  """Returns the seed of a stream of random numbers for this purpose."""
  return abs(int(seed_for(seed, purpose)[0]))


def sample(
    client_ids: Sequence[str], size: int, *, seed: int, round_num: int
) -> list[str]:
  """Samples the cohort of a round, uniformly without replacement.

  The cohort depends only on `seed` and `round_num`. The function does not list
  or shuffle the population: its time and memory are proportional to `size`.

  Args:
    client_ids: The population.
    size: Number of clients in the cohort.
    seed: Seed of the run.
    round_num: Number of the round.

  Raises:
    errors.SettingsError: If the population has fewer clients than `size`.
  """
  population = len(client_ids)
  if not 1 <= size <= population:
    raise errors.SettingsError(
        f'Expected from 1 to {population} clients per round, because there are'
        f' {population} clients, found {size}. Use fewer `clients_per_round`.'
    )
  rng = np.random.default_rng([seed, round_num])
  chosen = rng.choice(population, size, replace=False, shuffle=True)
  return [client_ids[int(i)] for i in chosen]
