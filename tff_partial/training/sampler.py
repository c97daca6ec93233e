# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which clients take part in each round."""

from collections.abc import Sequence
import dataclasses
from typing import Any, Optional, Protocol

import numpy as np

from tff_partial import errors
from tff_partial.learning import clients as clients_lib
from tff_partial.privacy import secret_key


class Sampler(Protocol):
  """Draws the cohort of each round from a population.

  Everything random must be a function of the seed or key, the round and the
  client alone, so that a run that is resumed draws the same again.
  """

  @property
  def clients(self) -> clients_lib.Clients:
    """The population."""

  def cohort(self, round_num: int) -> Sequence[str]:
    """Returns the ids of the clients of a round, each once; may be empty.

    Args:
      round_num: Number of rounds before this one.
    """

  def shuffle_seed(self, round_num: int, client_id: str) -> np.ndarray:
    """Returns the seed of a client's order of examples, an int32 [2] array."""


@dataclasses.dataclass(frozen=True)
class UniformSampler:
  """Samples a fixed number of clients, uniformly without replacement.

  Neither lists nor shuffles the population: a cohort takes time and memory in
  proportion to its own size. This is the sampling of Federated Averaging [1,
  Algorithm 1].

  Attributes:
    clients: The population.
    clients_per_round: Size of a cohort.
    seed: Determines the cohorts and the order of each client's examples.
    stream: A name for another stream of random numbers with the same seed, such
      as that of a run that goes on from the model of another.

  [1] McMahan et al. Communication-Efficient Learning of Deep Networks from
  Decentralized Data. AISTATS 2017. https://arxiv.org/abs/1602.05629
  """

  clients: clients_lib.Clients
  clients_per_round: int
  seed: int = 0
  stream: Optional[str] = None

  def __post_init__(self):
    """Checks the size of a cohort.

    Raises:
      errors.SettingsError: If the population has fewer clients.
    """
    _check_size(self)

  def cohort(self, round_num: int) -> list[str]:
    """Returns the ids of the clients of a round, in the order drawn.

    Args:
      round_num: Number of rounds before this one.
    """
    return clients_lib.sample(
        self.clients.client_ids,
        self.clients_per_round,
        seed=self.seed
        if self.stream is None
        else clients_lib.stream(self.seed, self.stream),
        round_num=round_num,
    )

  def shuffle_seed(self, round_num: int, client_id: str) -> np.ndarray:
    """Returns the seed of a client's order of examples, int32 [2].

    Args:
      round_num: Number of rounds before this one.
      client_id: The client.
    """
    return _shuffle_seed(self, round_num, client_id)


@dataclasses.dataclass(frozen=True)
class PoissonSampler:
  """Samples every client independently, with the same probability.

  The size of a cohort is random, and may be 0. This is what amplification by
  sampling in differential privacy requires, also for clients that keep personal
  variables, provided that nobody can guess the cohorts: they come from a secret
  key, and not from the seed [1]. A cohort takes time and memory in proportion
  to its own size: drawing its size from the binomial distribution, and then as
  many different clients, gives the same distribution.

  Attributes:
    clients: The population.
    clients_per_round: Expected size of a cohort.
    key: Determines the cohorts.
    seed: Determines the order of each client's examples.
    stream: As of `UniformSampler`.

  [1] Mironov, Talwar, Zhang. Renyi Differential Privacy of the Sampled Gaussian
  Mechanism. 2019. https://arxiv.org/abs/1908.10530
  """

  clients: clients_lib.Clients
  clients_per_round: int
  key: secret_key.SecretKey
  seed: int = 0
  stream: Optional[str] = None

  def __post_init__(self):
    """Checks the expected size of a cohort.

    Raises:
      errors.SettingsError: If the population has fewer clients.
    """
    _check_size(self)

  def cohort(self, round_num: int) -> list[str]:
    """Returns the ids of the clients of a round, in the order drawn.

    Args:
      round_num: Number of rounds before this one.
    """
    population = len(self.clients.client_ids)
    rng = self.key.generator(f'cohort {self.stream or ""}', round_num)
    size = rng.binomial(population, self.clients_per_round / population)
    chosen = rng.choice(population, size, replace=False, shuffle=True)
    return [self.clients.client_ids[int(i)] for i in chosen]

  def shuffle_seed(self, round_num: int, client_id: str) -> np.ndarray:
    """Returns the seed of a client's order of examples, int32 [2].

    Args:
      round_num: Number of rounds before this one.
      client_id: The client.
    """
    return _shuffle_seed(self, round_num, client_id)


@dataclasses.dataclass(frozen=True)
class CyclicSampler:
  """Takes one group of clients after the other, in a fixed order.

  With n clients, the groups are those at positions g, g + G, g + 2 G, ..., for
  G = floor(n / clients_per_round), so that a group has at least
  `clients_per_round` clients, and a client takes part every G rounds. Nothing
  is random or secret [1, Section 4].

  Attributes:
    clients: The population.
    clients_per_round: Smallest size of a cohort.
    seed: Determines the order of each client's examples.
    stream: As of `UniformSampler`.

  [1] Kairouz et al. Practical and Private (Deep) Learning without Sampling or
  Shuffling. ICML 2021. https://arxiv.org/abs/2103.00039
  """

  clients: clients_lib.Clients
  clients_per_round: int
  seed: int = 0
  stream: Optional[str] = None

  def __post_init__(self):
    """Checks the size of a cohort.

    Raises:
      errors.SettingsError: If the population has fewer clients.
    """
    _check_size(self)

  @property
  def num_groups(self) -> int:
    """The number of rounds after which a client takes part again."""
    return len(self.clients.client_ids) // self.clients_per_round

  def cohort(self, round_num: int) -> list[str]:
    """Returns the ids of the clients of a round, in their own order.

    Args:
      round_num: Number of rounds before this one.
    """
    ids = self.clients.client_ids
    group = round_num % self.num_groups
    return [ids[i] for i in range(group, len(ids), self.num_groups)]

  def shuffle_seed(self, round_num: int, client_id: str) -> np.ndarray:
    """Returns the seed of a client's order of examples, int32 [2].

    Args:
      round_num: Number of rounds before this one.
      client_id: The client.
    """
    return _shuffle_seed(self, round_num, client_id)


def _check_size(sampler: Any) -> None:
  """Checks that there are enough clients for a cohort."""
  population = len(sampler.clients.client_ids)
  if not 1 <= sampler.clients_per_round <= population:
    raise errors.SettingsError(
        f'Expected `clients_per_round` from 1 to {population}, the number of'
        f' clients, found {sampler.clients_per_round}.'
    )


def _shuffle_seed(sampler: Any, round_num: int, client_id: str) -> np.ndarray:
  if sampler.stream is None:
    return clients_lib.seed_for(sampler.seed, round_num, client_id)
  return clients_lib.seed_for(
      sampler.seed, sampler.stream, round_num, client_id
  )
