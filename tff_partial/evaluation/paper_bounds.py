# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which of the paper's two upper bounds is the smaller one.

The paper [1] bounds the squared gradient norms of FedAlt and FedSim. Comparing
the bounds does not forecast which algorithm is faster; docs/theory.md says why.
Notation: m of n clients take part in a round.

[1] Pillutla et al. Federated Learning with Partial Model Personalization.
ICML 2022. https://arxiv.org/abs/2204.03809
"""

import math
from typing import NamedTuple

import numpy as np

from tff_partial.evaluation import moments as moments_lib


class BoundTerms(NamedTuple):
  """The terms of the paper's bounds, in units of the loss.

  Attributes:
    shared_noise: sigma_u^2 / (tau L_u).
    personal_noise: sigma_v^2 / (tau L_v).
    diversity: delta^2 / L_u.
  """

  shared_noise: float
  personal_noise: float
  diversity: float


def bound_terms(
    moments: moments_lib.ClientMoments,
    *,
    population: int,
    batch_size: int,
    steps: np.ndarray,
    drawn: bool,
) -> BoundTerms:
  """The terms from measured constants, tau being the local steps of a round.

  Args:
    moments: What clients measured.
    population: Number of clients.
    batch_size: Examples per gradient step.
    steps: Gradient steps of each client in a phase, [M].
    drawn: Whether batches are as training draws them, rather than independent
      as in [1].
  """
  noise = moments_lib.drawn_noise if drawn else moments_lib.independent_noise
  per_round = lambda variance: float(
      np.mean(
          noise(
              variance, moments.num_examples, batch_size=batch_size, steps=steps
          )
      )
  )
  shared = float(np.mean(moments.shared_curvature))
  personal = float(np.mean(moments.personal_curvature))
  return BoundTerms(
      per_round(moments.shared_variances) / shared,
      per_round(moments.personal_variances) / personal,
      max(0.0, moments_lib.diversity(moments, population=population)) / shared,
  )


def criterion(
    terms: BoundTerms, *, clients_per_round: int, population: int
) -> float:
  """By how much FedSim's bound exceeds FedAlt's, up to a factor chi^2 > 0.

  The condition as printed on the authors' slides: FedAlt's bound is the smaller
  one if (sigma_v^2 / L_v) (1 - 2m/n) < sigma_u^2 / (m L_u)
  + (delta^2 / (m L_u)) (1 - m/n). Another use of Young's inequality in the same
  proof gives another condition (docs/theory.md), so this compares two bounds
  and forecasts nothing.

  Args:
    terms: The terms of the bounds.
    clients_per_round: m.
    population: n.

  Returns:
    The right minus the left side: above 0, FedAlt's bound is the smaller one.
  """
  m, p = clients_per_round, clients_per_round / population
  right = terms.shared_noise / m + terms.diversity * (1 - p) / m
  return right - terms.personal_noise * (1 - 2 * p)


def flip_points(terms: BoundTerms, *, population: int) -> tuple[float, ...]:
  """The numbers of clients per round between which FedSim's bound is smaller.

  Args:
    terms: The terms of the bounds.
    population: Number of clients.

  Returns:
    Two numbers below half the population; none if there is no such range.
  """
  if not terms.personal_noise > 0:
    return ()
  a = -2 * terms.personal_noise / population
  b = terms.personal_noise + terms.diversity / population
  c = -(terms.shared_noise + terms.diversity)
  inside = b**2 - 4 * a * c
  if inside < 0:
    return ()
  root = math.sqrt(inside)
  low, high = sorted([(-b + root) / (2 * a), (-b - root) / (2 * a)])
  return (low, high)


def criterion_probability(
    moments: moments_lib.ClientMoments,
    *,
    clients_per_round: int,
    population: int,
    batch_size: int,
    steps: np.ndarray,
    drawn: bool,
    seed: int = 0,
    samples: int = 2000,
) -> float:
  """The share of bootstrap samples of clients in which FedAlt's bound wins.

  Args:
    moments: What clients measured.
    clients_per_round: m.
    population: n.
    batch_size: Examples per gradient step.
    steps: Gradient steps of each client in a phase, [M].
    drawn: As in `bound_terms`.
    seed: Of the bootstrap.
    samples: Number of bootstrap samples.
  """
  rng = np.random.default_rng(seed)
  num = len(moments.num_examples)
  margins = []
  for _ in range(samples):
    chosen = rng.integers(num, size=num)
    terms = bound_terms(
        moments.take(chosen),
        population=population,
        batch_size=batch_size,
        steps=np.asarray(steps)[chosen],
        drawn=drawn,
    )
    margins.append(
        criterion(
            terms, clients_per_round=clients_per_round, population=population
        )
    )
  return float(np.mean(np.array(margins) > 0))
