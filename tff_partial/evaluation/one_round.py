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

from tff_partial.evaluation import moments as moments_lib


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
