# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs side by side: schemes over seeds, and how two of them differ.

A scheme is an algorithm with a split, and one of the models that its runs
report; it is run once for every seed. The runs of one seed share their
pretrained model, their cohorts and the clients tested, so schemes are compared
in pairs: client by client, each client's difference averaged over seeds.

What is compared is read from what runs wrote (`run_results`).
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Optional

import numpy as np
from scipy import stats

from tff_partial.evaluation import run_results
from tff_partial.evaluation import summary

_SIZE_GROUPS = 4


@dataclasses.dataclass(frozen=True)
class Difference:
  """By how much a metric differs between two results, in its unit.

  Attributes:
    mean: Mean over clients, weighted by test data, of each client's mean over
      seeds.
    deviation: Sample standard deviation over seeds; NaN of one.
    low: Lower end of the 95% interval over clients (`interval`).
    high: Its upper end.
    clients: How many.
    better: Share of them for whom it is better on average over seeds.
    worse: Share of them for whom it is worse.
  """

  mean: float
  deviation: float
  low: float
  high: float
  clients: int
  better: float
  worse: float


def interval(
    values: np.ndarray, weights: np.ndarray, *, level: float = 0.95
) -> tuple[float, float]:
  """Confidence interval of a weighted mean over clients.

  Clients are what is drawn from the world, each with its value x_i and weight
  w_i: the mean m = sum_i w_i x_i / sum_i w_i is a ratio of sums, with variance
  n/(n-1) sum_i w_i^2 (x_i - m)^2 / (sum_i w_i)^2 by linearization [1], and
  Student's t with n - 1 degrees of freedom.

  Args:
    values: Of each client, float [clients].
    weights: Of each client, float [clients].
    level: The interval's confidence.

  Returns:
    Its ends; NaN with fewer than two clients.

  [1] Cochran. Sampling Techniques, 3rd edition, 1977, section 6.3.
  """
  n = len(values)
  if n < 2:
    return math.nan, math.nan
  mean = np.average(values, weights=weights)
  variance = n / (n - 1) * np.sum((weights * (values - mean)) ** 2)
  half = stats.t.ppf((1 + level) / 2, n - 1) * np.sqrt(variance)
  half /= weights.sum()
  return float(mean - half), float(mean + half)


class Scheme:
  """One algorithm, split and model, over seeds."""

  def __init__(
      self,
      name: str,
      *,
      metric: str,
      higher_is_better: bool,
      full: bool,
      outcomes: Mapping[int, run_results.Outcome],
  ):
    """Takes the outcomes by seed."""
    self.name = name
    self.full = full
    self.outcomes = outcomes
    self._metric = metric
    self._sign = 1 if higher_is_better else -1

  @property
  def seeds(self) -> list[int]:
    return sorted(self.outcomes)

  @property
  def personal_fraction(self) -> float:
    return next(iter(self.outcomes.values())).cost['personal_fraction']

  def mean(self, metric: Optional[str] = None) -> tuple[float, float]:
    """A metric's weighted mean over clients: mean, deviation over seeds."""
    metric = metric or self._metric
    return _over_seeds(
        [
            np.average(o.values[metric], weights=o.weights[metric])
            for o in self.outcomes.values()
        ]
    )

  def uniform_mean(self) -> tuple[float, float]:
    """The same with every client alike."""
    return _over_seeds(
        [o.values[self._metric].mean() for o in self.outcomes.values()]
    )

  def baseline_mean(self) -> float:
    """What clients had under the baseline, likewise."""
    return _over_seeds(
        [
            np.average(
                o.baseline[self._metric], weights=o.weights[self._metric]
            )
            for o in self.outcomes.values()
        ]
    )[0]

  def change(self) -> Difference:
    """Against the baseline of its own runs."""
    difference = self._difference(
        {s: o.baseline[self._metric] for s, o in self.outcomes.items()},
        {s: o.client_ids for s, o in self.outcomes.items()},
    )
    assert difference is not None  # A run has clients in common with itself.
    return difference

  def minus(self, other: 'Scheme') -> Optional[Difference]:
    """Against another scheme, over the seeds that both have; None without."""
    common = set(self.seeds) & set(other.seeds)
    if not common:
      return None
    return self._difference(
        {s: other.outcomes[s].values[self._metric] for s in common},
        {s: other.outcomes[s].client_ids for s in common},
    )

  def hurt(self) -> tuple[float, float]:
    """Shares of clients that are worse at all, and by more than chance."""
    worse, beyond = [], []
    for outcome in self.outcomes.values():
      change = outcome.values[self._metric] - outcome.baseline[self._metric]
      hurt = self._sign * change < 0
      worse.append(hurt.mean())
      beyond.append((hurt & (outcome.p_hurt < summary.LEVEL)).mean())
    return float(np.mean(worse)), float(np.mean(beyond))

  def quantiles(self) -> dict[float, float]:
    """Quantiles over clients, every client alike, averaged over seeds."""
    return {
        q: float(
            np.mean(
                [
                    np.quantile(o.values[self._metric], q)
                    for o in self.outcomes.values()
                ]
            )
        )
        for q in summary.QUANTILES
    }

  def client_changes(self) -> tuple[np.ndarray, np.ndarray]:
    """Each client's (training examples, change averaged over seeds)."""
    by_client = self._by_client(
        {s: o.baseline[self._metric] for s, o in self.outcomes.items()},
        {s: o.client_ids for s, o in self.outcomes.items()},
    )
    sizes = {
        client_id: size
        for o in self.outcomes.values()
        for client_id, size in zip(o.client_ids, o.train_examples)
    }
    changes = np.array([np.mean(d) for d, _ in by_client.values()])
    return np.array([sizes[c] for c in by_client]), changes

  def by_size(self) -> list[dict[str, float]]:
    """Change in quarters of the clients, by their training data."""
    sizes, changes = self.client_changes()
    order = np.argsort(sizes, kind='stable')
    return [
        {
            'clients': len(group),
            'from': float(sizes[group].min()),
            'to': float(sizes[group].max()),
            'change': float(changes[group].mean()),
        }
        for group in np.array_split(order, min(_SIZE_GROUPS, len(order)))
    ]

  def cost(self) -> dict[str, float]:
    """The runs' cost, averaged over seeds."""
    costs = [o.cost for o in self.outcomes.values()]
    return {name: float(np.mean([c[name] for c in costs])) for name in costs[0]}

  def _by_client(self, others, client_ids):
    """Differences and weights of each client, over seeds."""
    found = {}
    for seed in sorted(others):
      outcome = self.outcomes[seed]
      other = dict(zip(client_ids[seed], others[seed]))
      for client_id, value, weight in zip(
          outcome.client_ids,
          outcome.values[self._metric],
          outcome.weights[self._metric],
      ):
        if client_id in other:
          differences, weights = found.setdefault(client_id, ([], []))
          differences.append(value - other[client_id])
          weights.append(weight)
    return found

  def _difference(self, others, client_ids) -> Optional[Difference]:
    by_client = self._by_client(others, client_ids)
    if not by_client:
      return None
    values = np.array([np.mean(d) for d, _ in by_client.values()])
    weights = np.array([np.mean(w) for _, w in by_client.values()])
    by_seed = []
    for seed in others:
      one = self._by_client({seed: others[seed]}, client_ids)
      by_seed.append(
          np.average(
              [d[0] for d, _ in one.values()],
              weights=[w[0] for _, w in one.values()],
          )
      )
    _, deviation = _over_seeds(by_seed)
    low, high = interval(values, weights)
    return Difference(
        mean=float(np.average(values, weights=weights)),
        deviation=deviation,
        low=low,
        high=high,
        clients=len(values),
        better=float((self._sign * values > 0).mean()),
        worse=float((self._sign * values < 0).mean()),
    )


def share_of_full(
    scheme: Scheme, full: Scheme, *, higher_is_better: bool
) -> Optional[float]:
  """The part of full personalization's gain that a scheme gets.

  Returns:
    change(scheme) / change(full), or None where full personalization does not
    gain beyond its interval, so that the ratio would say nothing.
  """
  change = full.change()
  certain = change.low > 0 if higher_is_better else change.high < 0
  return scheme.change().mean / change.mean if certain else None


def schemes(runs: Mapping[run_results.Key, run_results.Run]) -> list[Scheme]:
  """All schemes of some runs, in the order of the runs."""
  return _schemes(runs, lambda run: run.outcomes, plain=True)


def newcomers(runs: Mapping[run_results.Key, run_results.Run]) -> list[Scheme]:
  """The same for clients kept out of training: one of every policy."""
  return _schemes(runs, lambda run: run.newcomers, plain=False)


def _schemes(runs, outcomes_fn, *, plain: bool) -> list[Scheme]:
  """By name over seeds; if plain, a run's first model goes without its name."""
  found = {}
  for key, run in runs.items():
    for i, (model, outcome) in enumerate(outcomes_fn(run).items()):
      name = f'{key.algorithm}, {key.split}'
      if i or not plain:
        name += f', {model}'
      found.setdefault((name, key.full), {})[key.seed] = outcome
  run = next(iter(runs.values()))
  return [
      Scheme(
          name,
          metric=run.metric,
          higher_is_better=run.higher_is_better,
          full=full,
          outcomes=outcomes,
      )
      for (name, full), outcomes in found.items()
  ]


def best_full(
    candidates: Sequence[Scheme], *, higher_is_better: bool
) -> Optional[Scheme]:
  """The fully personal scheme with the best mean, if there is one."""
  full = [s for s in candidates if s.full]
  sign = 1 if higher_is_better else -1
  return max(full, key=lambda s: sign * s.mean()[0], default=None)


def _over_seeds(values: Sequence[float]) -> tuple[float, float]:
  deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
  return float(np.mean(values)), deviation
