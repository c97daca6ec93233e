# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares schemes: each one over its seeds, and two of them with each other.

A scheme is an algorithm with a split, and one of the models that its runs
report. It is run once for every seed. The runs of a seed share the pretrained
model, the cohorts and the evaluated clients. Therefore schemes are compared in
pairs: client by client, with each client's difference averaged over seeds.

The results of runs are read by `run_results`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Optional

import numpy as np

from tff_partial.evaluation import gate
from tff_partial.evaluation import intervals
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import run_results
from tff_partial.evaluation import summary
from tff_partial.evaluation import yardstick as yardstick_lib

# With fewer seeds, intervals tell little about other seeds.
ENOUGH_SEEDS = 3
_ROUNDING = 1e-12
_SIZE_GROUPS = 4


@dataclasses.dataclass(frozen=True)
class Difference:
  """The difference of a metric between two results, in the metric's unit.

  Attributes:
    mean: The mean over clients, weighted by test data, of each client's mean
      over seeds.
    deviation: The sample standard deviation over seeds; NaN for one seed.
    low: The lower end of the 95% interval over clients and seeds
      (`intervals.two_way`).
    high: The upper end of that interval.
    clients: The number of clients.
    seeds: The number of seeds.
    better: The share of clients for whom the first result is better, on average
      over seeds.
    worse: The share of clients for whom it is worse.
    p_sign: The two-sided p-value of the exact sign test over clients, as in
      `summary.Comparison`, of their means over seeds.
  """

  mean: float
  deviation: float
  low: float
  high: float
  clients: int
  seeds: int
  better: float
  worse: float
  p_sign: float


class Scheme:
  """One algorithm, split and model, over seeds."""

  def __init__(
      self,
      name: str,
      *,
      metric: metric_lib.Metric,
      full: bool,
      outcomes: Mapping[int, run_results.Outcome],
  ):
    """Initializes the scheme.

    Args:
      name: The scheme's name: algorithm, split and, where needed, model.
      metric: The metric that decides who gains and who is hurt.
      full: Whether all of the model is personal.
      outcomes: Clients' results by seed.
    """
    self.name = name
    self.metric = metric
    self.full = full
    self.outcomes = outcomes

  @property
  def seeds(self) -> list[int]:
    return sorted(self.outcomes)

  @property
  def personal_fraction(self) -> float:
    """The personal share of the parameters, averaged over seeds."""
    return self.cost()['personal_fraction']

  @property
  def guarantee(self) -> tuple[float, Optional[float]]:
    """Epsilon and delta of a single run, the worst over seeds."""
    outcomes = self.outcomes.values()
    deltas = [o.delta for o in outcomes if o.delta is not None]
    return max(o.epsilon for o in outcomes), max(deltas, default=None)

  @property
  def compared_models(self) -> tuple[str, str]:
    """Names of the candidate and the baseline of the scheme's own runs."""
    outcome = next(iter(self.outcomes.values()))
    return outcome.candidate, outcome.baseline_model

  def mean(self, metric: Optional[str] = None) -> tuple[float, float]:
    """The weighted mean of a metric over clients.

    Args:
      metric: The metric's name; by default the one that decides.

    Returns:
      The mean over clients of each client's mean over the seeds with which it
      was evaluated, as in differences, which therefore are differences of such
      means; and the standard deviation over seeds of a seed's mean.
    """
    metric = metric or self.metric.name
    values = {s: o.values[metric] for s, o in self.outcomes.items()}
    return self._mean(
        values, {s: o.weights[metric] for s, o in self.outcomes.items()}
    )

  def uniform_mean(self) -> tuple[float, float]:
    """The mean and its deviation with equal weights for all clients."""
    metric = self.metric.name
    values = {s: o.values[metric] for s, o in self.outcomes.items()}
    return self._mean(values, {s: np.ones_like(v) for s, v in values.items()})

  def baseline_mean(self) -> float:
    """The weighted mean under the baseline."""
    metric = self.metric.name
    values = {s: o.baseline[metric] for s, o in self.outcomes.items()}
    weights = {s: o.weights[metric] for s, o in self.outcomes.items()}
    return self._mean(values, weights)[0]

  def change(self) -> Difference:
    """The difference from the baseline of the scheme's own runs."""
    difference = self._difference(
        {s: o.baseline[self.metric.name] for s, o in self.outcomes.items()},
        {s: o.client_ids for s, o in self.outcomes.items()},
    )
    assert difference is not None  # A run shares its clients with itself.
    return difference

  def minus(self, other: 'Scheme') -> Optional[Difference]:
    """The difference from another scheme, over the seeds that both have.

    Returns:
      The difference, or `None` without a seed and a client in common.
    """
    common = set(self.seeds) & set(other.seeds)
    if not common:
      return None
    return self._difference(
        {s: other.outcomes[s].values[self.metric.name] for s in common},
        {s: other.outcomes[s].client_ids for s in common},
    )

  def hurt(self) -> tuple[float, float]:
    """The shares of clients that are worse at all, and by more than chance."""
    worse, beyond, name = [], [], self.metric.name
    for outcome in self.outcomes.values():
      hurt = self.metric.gain(outcome.baseline[name], outcome.values[name]) < 0
      worse.append(hurt.mean())
      beyond.append((hurt & (outcome.p_hurt < summary.LEVEL)).mean())
    return float(np.mean(worse)), float(np.mean(beyond))

  def quantiles(self) -> dict[float, float]:
    """Unweighted quantiles over clients, averaged over seeds."""
    values = [o.values[self.metric.name] for o in self.outcomes.values()]
    by_seed = [summary.quantiles(v, np.ones_like(v)) for v in values]
    return {q: float(np.mean([s[q] for s in by_seed])) for q in by_seed[0]}

  def client_changes(self) -> tuple[np.ndarray, np.ndarray]:
    """Each client's training examples, and its change averaged over seeds.

    Returns:
      Two arrays, float [clients].
    """
    client_ids, differences, weights = self._by_client(
        {s: o.baseline[self.metric.name] for s, o in self.outcomes.items()},
        {s: o.client_ids for s, o in self.outcomes.items()},
    )
    sizes = {
        client_id: size
        for o in self.outcomes.values()
        for client_id, size in zip(o.client_ids, o.train_examples)
    }
    changes = np.mean(differences, axis=1, where=weights > 0)
    return np.array([sizes[c] for c in client_ids]), changes

  def worth_of_gate(self, gated: 'Scheme') -> dict[str, float]:
    """What the gate is worth, compared with a coin and with no gate.

    Args:
      gated: What clients of the same runs have with the gate.

    Returns:
      By name, shares of each run's clients, averaged over seeds: `takers`, who
      take the model; `hurt` and `hurt_without_gate`; and `hurt_by_coin`, the
      mean of a coin that lets as many clients of each run take it, with the
      central 95% of 20,000 throws from `coin_low` to `coin_high`. `mean`,
      `mean_low` and `mean_high` are the difference from no gate, as of `minus`;
      `decile`, `decile_low` and `decile_high` that of the worst decile of
      clients, as of `gate.change_of_decile`.
    """
    takers, by_coin, throws = [], [], []
    name, rng = self.metric.name, np.random.default_rng(0)
    for seed, outcome in self.outcomes.items():
      gain = self.metric.gain(outcome.baseline[name], outcome.values[name])
      n, hurt = len(gain), int((gain < 0).sum())
      taken = gated.outcomes[seed].takers
      assert taken is not None
      takers.append(taken / n)
      by_coin.append(hurt * taken / n**2)
      throws.append(rng.hypergeometric(hurt, n - hurt, taken, 20_000) / n)
    coin_low, coin_high = np.quantile(np.mean(throws, axis=0), [0.025, 0.975])
    change = gated.minus(self)
    assert change is not None  # They have the same clients.
    after, measured = self._by_seed()
    decile, ends = gate.change_of_decile(
        gated._by_seed()[0], after, measured, self.metric
    )
    return {
        'takers': float(np.mean(takers)),
        'hurt': gated.hurt()[0],
        'hurt_without_gate': self.hurt()[0],
        'hurt_by_coin': float(np.mean(by_coin)),
        'coin_low': float(coin_low),
        'coin_high': float(coin_high),
        'mean': change.mean,
        'mean_low': change.low,
        'mean_high': change.high,
        'decile': decile,
        'decile_low': ends.low,
        'decile_high': ends.high,
    }

  @np.errstate(invalid='ignore')  # Infinity less itself is NaN.
  def by_size(self) -> list[dict[str, float]]:
    """The mean change in quarters of the clients, by their training data."""
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
    """The cost of the runs, averaged over seeds; NaN if it is not counted."""
    costs = [o.cost for o in self.outcomes.values()]
    return {
        name: float(np.mean([_or_nan(cost[name]) for cost in costs]))
        for name in costs[0]
    }

  def power(self) -> tuple[float, float]:
    """What the tests behind `hurt` can show.

    Returns:
      The share of clients who would seem hurt by more than chance if only
      chance decided, and the share of clients whose test could say so at all;
      both are NaN if they are not known.
    """
    outcomes = self.outcomes.values()
    return (
        float(np.mean([o.hurt_by_chance for o in outcomes])),
        float(np.mean([o.testable for o in outcomes])),
    )

  @np.errstate(invalid='ignore')  # Infinity less itself is NaN.
  def _mean(
      self, values: Mapping[int, np.ndarray], weights: Mapping[int, np.ndarray]
  ) -> tuple[float, float]:
    """The mean over clients of means over seeds, and the deviation of seeds."""
    sums: dict[str, np.ndarray] = {}
    means = []
    for seed, outcome in self.outcomes.items():
      means.append(np.average(values[seed], weights=weights[seed]))
      for cell in zip(outcome.client_ids, values[seed], weights[seed]):
        total = sums.setdefault(cell[0], np.zeros(3))
        total += (*cell[1:], 1.0)
    value, weight, count = np.array([*sums.values()]).T
    mean = np.average(value / count, weights=weight / count)
    return float(mean), _over_seeds(means)[1]

  def _by_seed(self) -> tuple[np.ndarray, np.ndarray]:
    """The values and where there are some, both [clients, seeds]."""
    nothing = {s: np.zeros(len(o.client_ids)) for s, o in self.outcomes.items()}
    _, values, weights = self._by_client(
        nothing, {s: o.client_ids for s, o in self.outcomes.items()}
    )
    return values, weights > 0

  @np.errstate(invalid='ignore')  # Infinity less itself is NaN.
  def _by_client(self, others, client_ids):
    """The differences from other values of the same clients and seeds.

    Returns:
      The clients in common; the differences and their weights, both float
      [clients, seeds]. The weight is 0 where a client was not evaluated.
    """
    seeds, found = sorted(others), {}
    for column, seed in enumerate(seeds):
      outcome = self.outcomes[seed]
      other = dict(zip(client_ids[seed], others[seed]))
      for client_id, value, weight in zip(
          outcome.client_ids,
          outcome.values[self.metric.name],
          outcome.weights[self.metric.name],
      ):
        if client_id in other:
          cells = found.setdefault(client_id, np.zeros([2, len(seeds)]))
          cells[:, column] = value - other[client_id], weight
    cells = np.array([*found.values()]).reshape([-1, 2, len(seeds)])
    return list(found), cells[:, 0], cells[:, 1]

  @np.errstate(invalid='ignore')  # Infinity less itself is NaN.
  def _difference(self, others, client_ids) -> Optional[Difference]:
    common, differences, weights = self._by_client(others, client_ids)
    if not common:
      return None
    measured = (weights > 0).any(axis=0)  # Seeds with clients in common.
    differences, weights = differences[:, measured], weights[:, measured]
    _, deviation = _over_seeds(np.average(differences, axis=0, weights=weights))
    low, high = intervals.two_way(differences, weights)
    by_client = np.mean(differences, axis=1, where=weights > 0)
    # Means over seeds that are equal may differ in the last place.
    by_client = np.where(np.abs(by_client) < _ROUNDING, 0.0, by_client)
    client_weights = np.mean(weights, axis=1, where=weights > 0)
    better = self.metric.sign * by_client > 0
    worse = self.metric.sign * by_client < 0
    return Difference(
        mean=float(np.average(by_client, weights=client_weights)),
        deviation=deviation,
        low=low,
        high=high,
        clients=len(common),
        seeds=int(measured.sum()),
        better=float(better.mean()),
        worse=float(worse.mean()),
        p_sign=summary.two_sided_sign_test(int(better.sum()), int(worse.sum())),
    )


def share_of_full(scheme: Scheme, full: Scheme) -> Optional[float]:
  """A scheme's share of the gain of full personalization.

  Returns:
    change(scheme) / change(full), or `None` unless the whole interval of full
    personalization's change is a gain: the ratio would say nothing.
  """
  change = full.change()
  certain = change.low > 0 if full.metric.higher_is_better else change.high < 0
  return scheme.change().mean / change.mean if certain else None


def schemes(runs: Mapping[run_results.Key, run_results.Run]) -> list[Scheme]:
  """All schemes of the runs, in the order of the runs."""
  return _schemes(runs, lambda run: run.outcomes, plain=True)


def shared(
    runs: Mapping[run_results.Key, run_results.Run],
) -> dict[str, Scheme]:
  """By scheme, its shared variables with the same personal ones for all.

  Returns:
    A scheme for each of those whose runs measured it: what is left of the
    scheme without clients' own variables.
  """
  found = _schemes(
      runs,
      lambda run: {} if run.shared is None else {'': run.shared},
      plain=True,
  )
  return {scheme.name: scheme for scheme in found}


def gated(
    runs: Mapping[run_results.Key, run_results.Run],
) -> dict[str, Scheme]:
  """By scheme, what its clients have behind the gate, where there is one."""
  outcomes = lambda run: {
      name: outcome
      for name, outcome in run.outcomes.items()
      if name == gate.GATED and outcome.takers is not None
  }
  found = _schemes(runs, outcomes, plain=True)
  return {scheme.name: scheme for scheme in found}


def newcomers(runs: Mapping[run_results.Key, run_results.Run]) -> list[Scheme]:
  """Schemes of clients kept out of training, one for each policy."""
  return _schemes(runs, lambda run: run.newcomers, plain=False)


def yardstick(
    runs: Mapping[run_results.Key, run_results.Run],
) -> Optional[Scheme]:
  """The clients' most frequent labels as a scheme.

  For each seed they are those of the first run, since a seed decides who is
  evaluated and what is held out.

  Returns:
    The scheme, or `None` if no run has such results.
  """
  outcomes = {}
  for key, run in runs.items():
    if run.yardstick is not None:
      outcomes.setdefault(key.seed, run.yardstick)
  if not outcomes:
    return None
  metric = next(iter(runs.values())).metric
  return Scheme(
      yardstick_lib.MOST_FREQUENT, metric=metric, full=False, outcomes=outcomes
  )


def _schemes(runs, outcomes_fn, *, plain: bool) -> list[Scheme]:
  """Groups results by name, over seeds.

  If `plain`, the first model of each run does not appear in the scheme's name.
  """
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
          full=full,
          outcomes=outcomes,
      )
      for (name, full), outcomes in found.items()
  ]


def best_full(candidates: Sequence[Scheme]) -> Optional[Scheme]:
  """The fully personal scheme with the best mean, if there is one."""
  full = [s for s in candidates if s.full]
  return max(full, key=lambda s: s.metric.sign * s.mean()[0], default=None)


def _or_nan(number: Optional[float]) -> float:
  return math.nan if number is None else number


@np.errstate(invalid='ignore')  # Infinity less itself is NaN.
def _over_seeds(values: Sequence[float]) -> tuple[float, float]:
  """Mean and sample standard deviation; the latter is NaN for one value."""
  deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
  return float(np.mean(values)), deviation
