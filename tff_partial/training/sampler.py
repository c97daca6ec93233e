# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which clients take part in each round."""

from collections.abc import Sequence
import dataclasses
from typing import Optional, Protocol

import numpy as np

from tff_partial import errors
from tff_partial.learning import clients as clients_lib


class Sampler(Protocol):
  """Draws the cohort of each round from a population.

  Everything random must be a function of the seed, the round and the client
  alone, so that a run that is resumed draws the same again.
  """

  @property
  def clients(self) -> clients_lib.Clients:
    """The population."""

  def cohort(self, round_num: int) -> Sequence[str]:
    """Returns the ids of the clients of a round, each once.

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
    population = len(self.clients.client_ids)
    if not 1 <= self.clients_per_round <= population:
      raise errors.SettingsError(
          f'Expected `clients_per_round` from 1 to {population}, the number of'
          f' clients, found {self.clients_per_round}.'
      )

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
    if self.stream is None:
      return clients_lib.seed_for(self.seed, round_num, client_id)
    return clients_lib.seed_for(self.seed, self.stream, round_num, client_id)
