# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""FedAlt and FedSim after one round, from gradients and curvatures.

* `leading_difference`: the exact difference of the expected losses after one
  round, up to terms of third order in the learning rates.
* `lookahead`: the expected loss after one round for any number of clients per
  round, from one local update of each client.

A forecast comes from paired rehearsals (`rehearsal.py`). docs/theory.md has the
derivations. Notation: u is shared and v_i personal; m of n clients take part in
a round, p = m/n; g_i and h_i are the gradients of client i's loss with respect
to u and v_i, G is the mean of g_i, and C_i the mixed second derivative.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy import stats

from tff_partial.evaluation import moments as moments_lib

_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Rates:
  """Learning rates of a client's steps."""

  shared: float
  personal: float


def leading_difference(
    moments: moments_lib.ClientMoments,
    *,
    rates: Rates,
    steps: np.ndarray,
    participation: float,
) -> moments_lib.Estimate:
  """Expected loss after a round of FedAlt minus that of FedSim, to 2nd order.

  From the same point, with equally many steps in each phase, SGD at clients and
  averaging at the server (docs/theory.md, equation D):

      rate_u rate_v mean_i [ tau (tau + 1) / 2 <G, C_i h_i>
                             - p tau (tau - 1) / 2 <g_i, C_i h_i> ]

  The noise of gradients and the diversity of clients do not appear: their
  effects are the same for both algorithms at this order.

  Args:
    moments: What clients measured.
    rates: Learning rates.
    steps: Gradient steps tau of each client in a phase, [M].
    participation: p, the share of clients in a round; 0 if personal variables
      are not kept.

  Returns:
    The difference with its interval over clients; below 0, FedAlt is ahead.
  """
  steps = np.asarray(steps)
  terms = (
      rates.shared
      * rates.personal
      * (
          steps * (steps + 1) / 2 * moments.global_coupling
          - participation * steps * (steps - 1) / 2 * moments.own_coupling
      )
  )
  return moments_lib.mean_over_clients(terms)


class LookaheadParts(NamedTuple):
  """An algorithm's expected loss after one round, taken apart.

  Attributes:
    everyone: Loss after the mean shared update, with old personal variables.
    personal: Mean change of the loss by the new personal variables, after it.
    between: Half the trace of the shared curvature times the covariance of the
      clients' updates, as far as clients differ.
    within: The same, as far as a client's update differs from draw to draw.
  """

  everyone: float
  personal: float
  between: float
  within: float


def lookahead(
    parts: LookaheadParts, *, clients_per_round: np.ndarray, population: int
) -> np.ndarray:
  """Expected loss after one round, for numbers of clients per round.

  It is exact for quadratic losses up to O(1/n), and the difference of two
  algorithms' values says who is ahead after one round.

  Args:
    parts: One algorithm's.
    clients_per_round: Numbers m, [K].
    population: n, at least 2.

  Returns:
    The losses, [K].
  """
  m = np.asarray(clients_per_round, float)
  without_replacement = (population - m) / ((population - 1) * m)
  return (
      parts.everyone
      + m / population * parts.personal
      + without_replacement * parts.between
      + parts.within / m
  )


class LookaheadLosses(NamedTuple):
  """An algorithm's losses at N clients, from which its parts are made.

  K times, the clients are split into halves at random. Half the difference of
  the halves' mean updates is a contrast, whose covariance is that of the mean
  update of all of them.

  Attributes:
    everyone: Sum of losses of each client after the mean shared update, with
      old personal variables, [N].
    personal: The same with new personal variables, [N].
    forward: The same as `everyone`, with each contrast added to the shared
      variables, [K, N].
    backward: With each contrast subtracted, [K, N].
    weights: The weight of each client's sum, [N].
  """

  everyone: np.ndarray
  personal: np.ndarray
  forward: np.ndarray
  backward: np.ndarray
  weights: np.ndarray

  def parts(self, *, updates: int) -> LookaheadParts:
    """The parts of the expected loss.

    Args:
      updates: M, the clients whose updates were averaged.
    """
    mean = lambda sums: sums.sum(axis=-1) / self.weights.sum()
    after = float(mean(self.everyone))
    curvatures = mean(self.forward) + mean(self.backward) - 2 * after
    return LookaheadParts(
        everyone=after,
        personal=float(mean(self.personal)) - after,
        # A contrast has the covariance of updates over M - 1.
        between=float(np.mean(curvatures)) / 2 * (updates - 1),
        within=0.0,
    )


def lookahead_difference(
    first: LookaheadLosses,
    second: LookaheadLosses,
    *,
    signs: np.ndarray,
    updates: int,
    clients_per_round: np.ndarray,
    population: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The difference of two algorithms' lookaheads, with its interval.

  The interval is about other samples of clients. Each contrast is also a half
  sample: it says what the difference would be if one half counted more than the
  other, both in the mean update and in the mean loss. The mean square over
  contrasts estimates the variance, as in repeated half samples [1]. The
  variance of the mean over contrasts that `between` is comes on top. How
  `personal` and `between` depend on the mean update is of third order, and left
  out.

  Args:
    first: One algorithm's losses.
    second: The other one's, with the same clients and contrasts.
    signs: The half that each client is in, 1 or -1, [K, N].
    updates: M, the clients whose updates were averaged.
    clients_per_round: Numbers m, [S].
    population: n, at least 2.

  Returns:
    The difference, first minus second, and the ends of its 95% interval, [S].

  [1] McCarthy. Pseudo-Replication: Half Samples. Review of the International
  Statistical Institute 37, 1969.
  """
  m = np.asarray(clients_per_round, float)
  value = np.subtract(
      *(
          lookahead(
              losses.parts(updates=updates),
              clients_per_round=m,
              population=population,
          )
          for losses in (first, second)
      )
  )
  change = LookaheadLosses(
      first.everyone - second.everyone,
      first.personal - second.personal,
      first.forward - second.forward,
      first.backward - second.backward,
      first.weights,
  )
  total = change.weights.sum()
  # What each client adds to the difference, [S, N], and to its variation.
  curvatures = change.forward + change.backward - 2 * change.everyone
  factor = (population - m) / ((population - 1) * m) / 2 * (updates - 1)
  sums = (
      change.everyone
      + np.outer(m / population, change.personal - change.everyone)
      + np.outer(factor, curvatures.mean(axis=0))
  )
  influence = (sums - np.outer(value, change.weights)) / total
  slopes = (change.forward - change.backward).sum(axis=-1) / (2 * total)
  variance = np.mean((influence @ signs.T + slopes) ** 2, axis=-1)
  contrasts = len(signs)
  spread = np.var(curvatures.sum(axis=-1) / total, ddof=1)
  variance += factor**2 * spread / contrasts
  half = stats.t.ppf((1 + _CONFIDENCE) / 2, contrasts - 1) * np.sqrt(variance)
  return value, value - half, value + half
