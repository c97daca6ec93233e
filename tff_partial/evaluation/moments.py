# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Constants of a task that theory speaks of, from what clients measure.

The paper [1] compares FedAlt and FedSim by upper bounds whose constants are
the noise of stochastic gradients, the diversity of clients' gradients, and the
smoothness of the loss. They are estimated here from numbers that clients
compute (`probes.py`). `paper_bounds.py` and `one_round.py` say what follows.

[1] Pillutla et al. Federated Learning with Partial Model Personalization.
ICML 2022. https://arxiv.org/abs/2204.03809
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from tff_partial import errors
from tff_partial.evaluation import intervals

_CONFIDENCE = 0.95
_MIN_CLIENTS = 3  # Two are left when one is left out.


@dataclasses.dataclass(frozen=True)
class ClientMoments:
  """Numbers that clients measured at one point, one entry for each of M.

  Attributes:
    num_examples: Examples in the pass over the client's data.
    num_batches: Batches in that pass, at least 2.
    shared_squares: Sum over batches b of |b| |g_b|^2, where g_b is the shared
      gradient on batch b.
    personal_squares: The same for personal gradients.
    shared_norms: |g_i|^2 of the gradient on all of the client's examples.
    personal_norms: |h_i|^2, likewise.
    shared_distances: |g_i - G|^2.
    shared_curvature: L_u along the step that a round takes.
    personal_curvature: L_v along the client's own step.
    mixed_curvature: L_uv, the larger one of both directions.
    global_coupling: The inner product of G and C_i h_i.
    own_coupling: The inner product of g_i and C_i h_i.
    weights: The client's weight in the mean update, of any scale.
  """

  num_examples: np.ndarray
  num_batches: np.ndarray
  shared_squares: np.ndarray
  personal_squares: np.ndarray
  shared_norms: np.ndarray
  personal_norms: np.ndarray
  shared_distances: np.ndarray
  shared_curvature: np.ndarray
  personal_curvature: np.ndarray
  mixed_curvature: np.ndarray
  global_coupling: np.ndarray
  own_coupling: np.ndarray
  weights: np.ndarray

  def __post_init__(self):
    lengths = {f.name: len(getattr(self, f.name)) for f in _fields(self)}
    if len(set(lengths.values())) != 1:
      raise errors.SettingsError(
          f'Expected arrays of one length, found {lengths}.'
      )
    if np.any(np.asarray(self.num_batches) < 2):
      raise errors.SettingsError(
          'Expected at least 2 batches from every client, found'
          f' {np.min(self.num_batches)}: the variance of a gradient needs two.'
          ' Use smaller batches, or leave out clients with a single example.'
      )

  def take(self, positions: np.ndarray) -> 'ClientMoments':
    """The moments of some clients, by position and perhaps repeated."""
    return ClientMoments(
        **{f.name: getattr(self, f.name)[positions] for f in _fields(self)}
    )

  @property
  def shared_variances(self) -> np.ndarray:
    """S_u^2: unbiased variance of one example's shared gradient, [M]."""
    return example_variance(
        self.shared_squares,
        self.shared_norms,
        self.num_examples,
        self.num_batches,
    )

  @property
  def personal_variances(self) -> np.ndarray:
    """S_v^2: unbiased variance of one example's personal gradient, [M]."""
    return example_variance(
        self.personal_squares,
        self.personal_norms,
        self.num_examples,
        self.num_batches,
    )


def _fields(moments: ClientMoments) -> tuple[dataclasses.Field, ...]:
  return dataclasses.fields(moments)


def example_variance(
    squares: np.ndarray,
    norms: np.ndarray,
    num_examples: np.ndarray,
    num_batches: np.ndarray,
) -> np.ndarray:
  """Unbiased variance of one example's gradient, summed over coordinates.

  It holds for batches of unequal sizes that are drawn without replacement.

  Args:
    squares: Sum over batches b of |b| |g_b|^2, [M].
    norms: Squared norm of the gradient on all examples, [M].
    num_examples: Examples of each client, [M].
    num_batches: Batches of each client, at least 2, [M].
  """
  spread = np.asarray(squares, float) - np.asarray(num_examples) * norms
  return spread / (np.asarray(num_batches) - 1)


def drawn_noise(
    variance: np.ndarray,
    num_examples: np.ndarray,
    *,
    batch_size: int,
    steps: np.ndarray,
) -> np.ndarray:
  """Variance of the mean of a round's gradients, batches being as drawn.

  An epoch sees each example once, so the sum of its gradients at a fixed point
  is a constant: with whole epochs there is no noise.

  Args:
    variance: Of one example's gradient, [M].
    num_examples: Examples of each client, [M].
    batch_size: Examples per step.
    steps: Gradient steps of each client in a round, [M].
  """
  num_examples = np.asarray(num_examples)
  per_epoch = -(-num_examples // batch_size)
  rest = np.asarray(steps) % per_epoch
  seen = np.maximum(rest * batch_size, 1)
  part = (rest / np.asarray(steps)) ** 2
  return part * variance / seen * (1 - seen / num_examples)


def independent_noise(
    variance: np.ndarray,
    num_examples: np.ndarray,
    *,
    batch_size: int,
    steps: np.ndarray,
) -> np.ndarray:
  """The variance for batches that are drawn independently, as in [1]."""
  size = np.minimum(batch_size, np.asarray(num_examples))
  return np.asarray(variance) / (size * np.asarray(steps))


def diversity(moments: ClientMoments, *, population: int) -> float:
  """delta^2: unbiased mean of |g_i - G|^2 over the population.

  With weights that differ, w_i (g_i - G) takes the place of g_i - G, where the
  mean of w_i is 1. The estimate may be negative if clients hardly differ.

  Args:
    moments: Of M clients, sampled without replacement.
    population: Number n of clients.
  """
  weights = moments.weights / np.mean(moments.weights)
  sampled = len(moments.num_examples)
  return float(
      (population - 1)
      / population
      * sampled
      / (sampled - 1)
      * np.mean(weights**2 * moments.shared_distances)
  )


class Estimate(NamedTuple):
  """A number with its 95% interval over clients."""

  value: float
  low: float
  high: float


@dataclasses.dataclass(frozen=True)
class Constants:
  """Constants of a task at one point; norms are Euclidean, losses are means.

  Attributes:
    shared_noise: sigma_u^2, the variance of a batch's shared gradient.
    personal_noise: sigma_v^2, likewise.
    diversity: delta^2, the mean squared distance of shared gradients from their
      mean.
    shared_curvature: L_u.
    personal_curvature: L_v.
    coupling: chi = L_uv / sqrt(L_u L_v).
  """

  shared_noise: Estimate
  personal_noise: Estimate
  diversity: Estimate
  shared_curvature: Estimate
  personal_curvature: Estimate
  coupling: Estimate


def estimate(
    moments: ClientMoments, *, population: int, batch_size: int
) -> Constants:
  """Estimates the constants, with jackknife intervals over clients.

  Intervals are on a log scale where all leave-one-out values are positive.

  Args:
    moments: What clients measured.
    population: Number of clients in the population.
    batch_size: Examples per gradient step of training.

  Raises:
    errors.SettingsError: If there are fewer than 3 clients.
  """
  values = lambda chosen: _values(
      chosen, population=population, batch_size=batch_size
  )
  num = len(moments.num_examples)
  if num < _MIN_CLIENTS:
    raise errors.SettingsError(
        f'Expected moments of at least {_MIN_CLIENTS} clients, found {num}.'
        ' Measure more clients.'
    )
  everyone = np.arange(num)
  left_out = [values(moments.take(np.delete(everyone, i))) for i in range(num)]
  whole = values(moments)
  return Constants(
      **{
          name: jackknife(whole[name], np.array([v[name] for v in left_out]))
          for name in whole
      }
  )


def _values(
    moments: ClientMoments, *, population: int, batch_size: int
) -> dict[str, float]:
  """The constants' values, by name."""
  one_step = np.ones(len(moments.num_examples), int)
  noise = lambda variance: float(
      np.mean(
          independent_noise(
              variance,
              moments.num_examples,
              batch_size=batch_size,
              steps=one_step,
          )
      )
  )
  shared = float(np.mean(moments.shared_curvature))
  personal = float(np.mean(moments.personal_curvature))
  mixed = float(np.mean(moments.mixed_curvature))
  return {
      'shared_noise': noise(moments.shared_variances),
      'personal_noise': noise(moments.personal_variances),
      'diversity': diversity(moments, population=population),
      'shared_curvature': shared,
      'personal_curvature': personal,
      'coupling': mixed / math.sqrt(shared * personal)
      if shared * personal > 0
      else math.nan,
  }


def jackknife(value: float, left_out: np.ndarray) -> Estimate:
  """A 95% interval over clients, on a log scale if all values are positive.

  Args:
    value: The estimate from all clients.
    left_out: The estimates without one client each, [M].
  """
  num = len(left_out)
  on_log_scale = value > 0 and bool(np.all(left_out > 0))
  center = math.log(value) if on_log_scale else value
  spread = np.log(left_out) if on_log_scale else left_out
  error = math.sqrt((num - 1) / num * np.sum((spread - spread.mean()) ** 2))
  half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, num - 1)) * error
  low, high = center - half, center + half
  if on_log_scale:
    low, high = math.exp(low), math.exp(high)
  return Estimate(value, low, high)


def mean_over_clients(values: np.ndarray) -> Estimate:
  """The mean of numbers that each client has, float [clients]."""
  low, high = intervals.over_clients(
      values, np.ones(len(values)), level=_CONFIDENCE
  )
  return Estimate(float(np.mean(values)), low, high)
