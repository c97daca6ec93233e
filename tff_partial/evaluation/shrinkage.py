# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""How strongly to hold personal variables, by empirical Bayes.

If clients' true personal parameters scatter around the anchor v0 with variance
t^2, and client i estimates its own from N_i examples, the expected risk is
smallest with the penalty lambda_i = s / N_i: the ratio of the noise of one
example to the scatter of clients (docs/theory.md). In observable quantities, at
the anchor,

    s = kappa S_v^2 / delta_v^2,  kappa = tr(H^2) / tr(H)

where S_v^2 is the variance of one example's personal gradient at a personalized
point, delta_v^2 the second moment of clients' personal gradients beyond their
noise, and H the mean personal Hessian. It shrinks client i's solution to the
fraction kappa / (kappa + lambda_i) of the way from the anchor, as James and
Stein do.
"""

from collections.abc import Sequence
import math

import numpy as np

from tff_partial.evaluation import moments as moments_lib

_ITERATIONS = 5


def between_clients(
    norms: np.ndarray, variances: np.ndarray, num_examples: np.ndarray
) -> float:
  """delta_v^2: second moment of clients' gradients beyond their noise.

  The mean over clients of |h_i|^2 - S_i^2 / N_i, weighted by the inverse of
  each term's approximate variance.

  Args:
    norms: |h_i|^2 at the anchor, [M].
    variances: S_i^2 of one example's gradient, [M].
    num_examples: N_i, [M].

  Returns:
    The estimate, not negative.
  """
  excess = norms - variances / num_examples
  pooled = pool(variances, num_examples)
  weights = np.ones(len(norms))
  value = 0.0
  for _ in range(_ITERATIONS):
    value = max(float(np.average(excess, weights=weights)), 0.0)
    weights = 1 / (value + pooled / num_examples + 1e-12) ** 2
  return value


def pool(variances: np.ndarray, num_batches: np.ndarray) -> float:
  """The variance of one example's gradient, pooled by degrees of freedom.

  Args:
    variances: Of each client, [M].
    num_batches: Batches that each was measured on, at least 2, [M].
  """
  freedom = np.asarray(num_batches) - 1
  return float(np.sum(variances * freedom) / np.sum(freedom))


def kappa(squares: Sequence[float], products: Sequence[float]) -> float:
  """tr(H^2) / tr(H) by Hutchinson's estimator.

  Args:
    squares: |H z|^2 for random directions z with independent signs.
    products: The inner product of z and H z for the same directions.
  """
  return float(np.mean(squares) / np.mean(products))


def total(
    norms: np.ndarray,
    variances: np.ndarray,
    num_examples: np.ndarray,
    *,
    curvature: float,
    noise: float,
) -> moments_lib.Estimate:
  """s with its 95% interval over clients, by the jackknife.

  Args:
    norms: |h_i|^2 at the anchor, [M].
    variances: S_i^2 at the anchor, [M].
    num_examples: N_i, [M].
    curvature: kappa.
    noise: S_v^2 at personalized points.

  Returns:
    The estimate; infinite where clients do not differ beyond noise.
  """

  def value(chosen):
    found = between_clients(
        norms[chosen], variances[chosen], num_examples[chosen]
    )
    return curvature * noise / found if found > 0 else math.inf

  everyone = np.arange(len(norms))
  left_out = np.array([value(np.delete(everyone, i)) for i in everyone])
  whole = value(everyone)
  if not np.all(np.isfinite([whole, *left_out])):
    return moments_lib.Estimate(whole, math.nan, math.inf)
  return moments_lib.jackknife(whole, left_out)


def kept(total_weight: float, num_examples: np.ndarray, curvature: float):
  """The fraction of the way from the anchor that clients keep, [M].

  Args:
    total_weight: s.
    num_examples: N_i, [M].
    curvature: kappa.
  """
  return curvature / (curvature + total_weight / np.asarray(num_examples))
