# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a sequence of noisy releases guarantees, and the noise for a guarantee.

A user is a client with all of its data. The guarantee is about the sequence of
all shared variables, after every round, and whatever is computed from them
without the client's data. With Poisson sampling it also holds for clients that
keep personal variables: given everything else, whether a client is in a round
stays as unknown as before the run. It does not for cohorts of a fixed size,
where the others' participation tells a client's own.

Epsilons are those of the PLD accountant of Google's dp_accounting.
"""

import collections
from collections.abc import Sequence
import dataclasses
import functools
from importlib import metadata
import math
from typing import Any

import dp_accounting
from dp_accounting import pld
from dp_accounting import rdp
import numpy as np

from tff_partial import errors

_LEAST_NOISE, _MOST_NOISE = 0.05, 1000.0
_TOLERANCE = 1e-3

# Privacy losses are rounded to a grid. Its step is one of these times epsilon
# over the root of the number of compositions, whose errors are independent. To
# epsilon this adds some multiple of the square: less than 0.005% and 0.1%.
_FINE, _COARSE = 0.002, 0.01
_LEAST_STEP, _MOST_STEP = 1e-6, 1e-2
# Of Renyi accounting, which says where to look.
_ORDERS = (1.1, 1.25, 1.5, *range(2, 13), 16, 24, 32, 64, 128, 256, 512)


@dataclasses.dataclass(frozen=True)
class Mechanism:
  """Rounds of Gaussian noise on a sum over sampled clients.

  Attributes:
    noise_multiplier: Standard deviation of the noise over the bound on one
      client's effect.
    sampling: 'poisson' or 'cyclic', as the samplers.
    num_clients: Size of the population.
    clients_per_round: Expected size of a cohort.
    rounds: Number of rounds.
    kind: 'gaussian' for noise on each round's sum, or 'tree' for noise on sums
      of rounds (DP-FTRL), which takes cyclic sampling.
  """

  noise_multiplier: float
  sampling: str
  num_clients: int
  clients_per_round: int
  rounds: int
  kind: str = 'gaussian'

  def __post_init__(self):
    """Checks that these go together.

    Raises:
      errors.SettingsError: If a tree is to have another sampling, or if there
        are too few clients for a cohort.
    """
    if not 1 <= self.clients_per_round <= self.num_clients:
      raise errors.SettingsError(
          f'Expected `clients_per_round` from 1 to {self.num_clients}, the'
          f' number of clients, found {self.clients_per_round}.'
      )
    if self.kind == 'tree' and self.sampling != 'cyclic':
      raise errors.SettingsError(
          "Expected `sampling` 'cyclic' for a tree, found"
          f' {self.sampling!r}. Use cyclic sampling.'
      )

  def event(self) -> dp_accounting.SelfComposedDpEvent:
    """The rounds as dp_accounting describes them."""
    gaussian = dp_accounting.GaussianDpEvent(self.noise_multiplier)
    if self.sampling == 'cyclic':
      groups = self.num_clients // self.clients_per_round
      if self.kind == 'tree':
        of_all_nodes = dp_accounting.GaussianDpEvent(
            self.noise_multiplier
            / math.sqrt(tree_sensitivity(self.rounds, groups))
        )
        return dp_accounting.SelfComposedDpEvent(of_all_nodes, 1)
      return dp_accounting.SelfComposedDpEvent(
          gaussian, math.ceil(self.rounds / groups)
      )
    sampled = dp_accounting.PoissonSampledDpEvent(
        self.clients_per_round / self.num_clients, gaussian
    )
    return dp_accounting.SelfComposedDpEvent(sampled, self.rounds)

  def to_dict(self) -> dict[str, Any]:
    """For JSON."""
    return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Guarantee:
  """(epsilon, delta)-differential privacy of a user.

  Attributes:
    epsilon: The bound; infinite if there is none.
    delta: The probability with which the bound may fail.
    against: Which change of the data the guarantee is about.
  """

  epsilon: float
  delta: float
  against: str


@functools.cache
def tree_sensitivity(rounds: int, groups: int) -> int:
  """The squared effect of one client on all nodes of a tree, over the clip.

  The client takes part in one round of every `groups`. Its effect on a node is
  the number of the node's rounds in which it took part. This is the sum of the
  squares over all nodes, for the group with the largest one [1, Appendix D.2].

  Args:
    rounds: Number of rounds, the leaves of the tree.
    groups: Number of rounds after which a client takes part again.

  [1] Kairouz et al. Practical and Private (Deep) Learning without Sampling or
  Shuffling. ICML 2021. https://arxiv.org/abs/2103.00039
  """
  found = []
  for group in range(min(groups, rounds)):
    counts = np.arange(rounds) % groups == group
    squares = 0
    while len(counts):
      squares += int(np.square(counts.astype(np.int64)).sum())
      pairs = len(counts) // 2  # A node without a sibling has no parent.
      counts = counts[: 2 * pairs].reshape([pairs, 2]).sum(axis=1)
    found.append(squares)
  return max(found)


def name() -> str:
  """The accountant, with its version."""
  return f'PLD accountant, dp-accounting {metadata.version("dp-accounting")}'


def default_delta(num_clients: int) -> float:
  """The delta that is usual for a population, `n^-1.1`."""
  return num_clients**-1.1


def is_cyclic(parts: Sequence[Mechanism]) -> bool:
  """Whether the clients of some mechanisms take turns.

  Args:
    parts: All that the same clients took part in.

  Raises:
    errors.SettingsError: If their clients are sampled in different ways, so
      that their guarantees are about different changes of the data.
  """
  sampling = {part.sampling for part in parts}
  if len(sampling) > 1:
    raise errors.SettingsError(
        'Expected one way of sampling clients in all runs of a budget, found'
        f' {sorted(sampling)}. Use the `client_sampling` of the earlier run.'
    )
  return sampling == {'cyclic'}


def guarantee(parts: Sequence[Mechanism], delta: float) -> Guarantee:
  """What some mechanisms guarantee together, one after the other.

  Args:
    parts: All that the same clients took part in.
    delta: The delta.

  Raises:
    errors.SettingsError: As `is_cyclic`.
  """
  return guarantees(parts, [delta])[0]


def guarantees(
    parts: Sequence[Mechanism], deltas: Sequence[float]
) -> list[Guarantee]:
  """Computes the guarantee for several deltas, in the time of one.

  Args:
    parts: All that the same clients took part in.
    deltas: The deltas.

  Raises:
    errors.SettingsError: As `is_cyclic`.
  """
  in_turns = is_cyclic(parts)
  if all(part.rounds == 0 for part in parts):
    epsilons = [0.0 for _ in deltas]
  elif any(part.rounds and not part.noise_multiplier for part in parts):
    epsilons = [math.inf for _ in deltas]
  else:
    event = _event(parts)
    near = _rdp_accountant(in_turns).compose(event).get_epsilon(max(deltas))
    step = _step(_FINE, near, parts)
    accountant = _pld_accountant(in_turns, step).compose(event)
    epsilons = [float(accountant.get_epsilon(delta)) for delta in deltas]
  against = 'adding or removing one person'
  if in_turns:
    against = "replacing one person's updates by nothing"
  return [Guarantee(e, delta, against) for e, delta in zip(epsilons, deltas)]


def calibrate(
    mechanisms: Sequence[Mechanism],
    *,
    epsilon: float,
    delta: float,
    before: Sequence[Mechanism] = (),
) -> float:
  """The noise multiplier with which mechanisms have a guarantee together.

  Args:
    mechanisms: What is to be run; their noise multipliers are not read.
    epsilon: The epsilon to reach, which is not exceeded.
    delta: The delta.
    before: What the same clients took part in before.

  Raises:
    errors.SettingsError: If no multiplier up to 1000 is enough, or as
      `is_cyclic`.
  """
  in_turns = is_cyclic([*before, *mechanisms])

  def parts(noise_multiplier):
    given = [
        dataclasses.replace(m, noise_multiplier=noise_multiplier)
        for m in mechanisms
    ]
    return [*before, *given]

  def epsilon_of(accountant_fn, noise_multiplier):
    event = _event(parts(noise_multiplier))
    return accountant_fn().compose(event).get_epsilon(delta)

  def search(accountant_fn, low, high):
    return dp_accounting.calibrate_dp_mechanism(
        accountant_fn,
        lambda noise_multiplier: _event(parts(noise_multiplier)),
        epsilon,
        delta,
        dp_accounting.ExplicitBracketInterval(low, high),
        tol=_TOLERANCE * low,
    )

  # Renyi accounting is fast, and needs more noise: somewhat, or much where
  # little is left of the epsilon.
  close = lambda: _rdp_accountant(in_turns)
  step = _step(_COARSE, epsilon, [*before, *mechanisms])
  exact = lambda: _pld_accountant(in_turns, step)
  if epsilon_of(close, _LEAST_NOISE) <= epsilon:
    return _LEAST_NOISE
  high = _MOST_NOISE
  if epsilon_of(close, high) <= epsilon:
    high = min(high, 1.1 * search(close, _LEAST_NOISE, high))
  elif epsilon_of(exact, high) > epsilon:
    raise errors.SettingsError(
        f'Expected a noise multiplier up to {_MOST_NOISE:.0f} for'
        f' `target_epsilon` of {epsilon:g}, found none: take fewer rounds or'
        ' more clients.'
    )
  low = high / 2
  while epsilon_of(exact, low) <= epsilon:
    low, high = low / 2, low
  noise = search(exact, low, high)
  while guarantee(parts(noise), delta).epsilon > epsilon:
    noise += _TOLERANCE * noise
  return noise


def _event(parts: Sequence[Mechanism]) -> dp_accounting.DpEvent:
  """All rounds; those that are equal once, because each event takes long."""
  counts = collections.Counter()
  for part in parts:
    if part.rounds:
      rounds = part.event()
      counts[rounds.event] += rounds.count
  return dp_accounting.ComposedDpEvent(
      [dp_accounting.SelfComposedDpEvent(e, n) for e, n in counts.items()]
  )


def _step(
    precision: float, epsilon: float, parts: Sequence[Mechanism]
) -> float:
  """The step of the grid; Gaussians without sampling are composed exactly."""
  compositions = sum(1 if p.sampling == 'cyclic' else p.rounds for p in parts)
  step = precision * epsilon / math.sqrt(compositions)
  return min(max(step, _LEAST_STEP), _MOST_STEP)


def _relation(is_cyclic: bool) -> dp_accounting.NeighboringRelation:
  relations = dp_accounting.NeighboringRelation
  if is_cyclic:
    return relations.REPLACE_SPECIAL
  return relations.ADD_OR_REMOVE_ONE


def _pld_accountant(
    is_cyclic: bool, step: float
) -> dp_accounting.PrivacyAccountant:
  return pld.PLDAccountant(
      _relation(is_cyclic), value_discretization_interval=step
  )


def _rdp_accountant(is_cyclic: bool) -> dp_accounting.PrivacyAccountant:
  return rdp.RdpAccountant(_ORDERS, _relation(is_cyclic))
