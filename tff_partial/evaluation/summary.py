# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers about many clients: how well they do, who was hurt, what it cost.

A mean over clients hides those for whom personalization made things worse [1],
so every summary carries quantiles, and every comparison counts the clients that
lost. A client with 20 test examples loses one of them by luck soon enough: the
raw count stands beside the count of an exact paired test, which in turn stands
beside the count that luck alone would give that test.

[1] Pillutla et al. Federated Learning with Partial Model Personalization.
ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Mapping
import dataclasses
import math

import numpy as np
from scipy import stats

from tff_partial import errors
from tff_partial.evaluation import client_table

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

# Level of each client's test, and rate of false discoveries over all clients.
LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Summary:
  """One number a client, x_i with test weight w_i, summarized over clients.

  Clients without test data are left out of everything but `left_out`. If some
  x_i is not a number (a model that diverged), so is what depends on it.

  Attributes:
    clients: n, the clients with test data.
    left_out: Clients without.
    weighted_mean: sum_i w_i x_i / sum_i w_i.
    weighted_error: Its standard error, if these clients are a small sample of
      many: sqrt(n / (n - 1) sum_i w_i^2 (x_i - weighted_mean)^2) / sum_i w_i,
      as of a ratio of two means [2]; NaN for one client.
    uniform_mean: sum_i x_i / n.
    deviation: sqrt(sum_i (x_i - uniform_mean)^2 / n).
    weighted_quantiles: By q in `QUANTILES`, the smallest x such that clients
      with x_i <= x hold more than q of the weight; where they hold exactly q,
      the middle between x and the next value.
    uniform_quantiles: The same with all w_i = 1.

  [2] Cochran. Sampling Techniques, 3rd edition, section 6.4. Wiley, 1977.
  """

  clients: int
  left_out: int
  weighted_mean: float
  weighted_error: float
  uniform_mean: float
  deviation: float
  weighted_quantiles: Mapping[float, float]
  uniform_quantiles: Mapping[float, float]


@dataclasses.dataclass(frozen=True)
class Side:
  """The clients that a model hurts, or those that it helps.

  Attributes:
    clients: Clients whose metric is worse (or better) at all.
    share: `clients` out of those with test data.
    beyond_chance: Of `clients`, those whose sign test gives p < `LEVEL`.
    beyond_chance_share: `beyond_chance` out of those with test data.
    expected_by_chance: What `beyond_chance` would be on average if every
      example on which the models differ were a fair coin: sum_i a_i, with a_i
      the largest value below `LEVEL` that client i's test can take. Exact for
      right/wrong examples, an upper bound for other scores.
    discoveries: Of `clients`, those that remain when at most `LEVEL` of them
      may be false alarms on average [2].

  [2] Benjamini and Hochberg. Controlling the False Discovery Rate. Journal of
  the Royal Statistical Society B, 1995.
  """

  clients: int
  share: float
  beyond_chance: int
  beyond_chance_share: float
  expected_by_chance: float
  discoveries: int


@dataclasses.dataclass(frozen=True)
class Comparison:
  """A candidate model against a baseline on the same test examples.

  Attributes:
    change: Summary of x_i(candidate) - x_i(baseline), in the metric's unit.
    hurt: Clients for whom the candidate is worse.
    helped: Clients for whom it is better.
    equal: Clients for whom the metric is exactly the same.
    correlation: Pearson correlation between change and x_i(baseline); NaN if
      one of them does not vary.
    changes: Change of each client, float64 [clients]; NaN without test data.
    p_hurt: One-sided p-value of each client, float64 [clients]: of the d
      examples scored differently b are worse; p = P(Binomial(d, 1/2) >= b).
      For right/wrong examples this is McNemar's exact test.
    p_helped: The same for the examples scored better.
  """

  change: Summary
  hurt: Side
  helped: Side
  equal: int
  correlation: float
  changes: np.ndarray
  p_hurt: np.ndarray
  p_helped: np.ndarray

  def to_dict(self) -> dict[str, object]:
    """The numbers over all clients, without the arrays of each client."""
    numbers = dataclasses.asdict(self)
    for name in ('changes', 'p_hurt', 'p_helped'):
      del numbers[name]
    return numbers


@dataclasses.dataclass(frozen=True)
class Cost:
  """What a run took.

  Attributes:
    gradient_steps: Optimizer steps over all clients and rounds.
    examples_processed: Examples in those steps; an example counts once for
      every pass over it.
    bytes_down_per_client: Sent to one client in one round.
    bytes_up_per_client: Sent back by one client in one round.
    bytes_down: Sent to clients in the whole run.
    bytes_up: Sent back by clients in the whole run.
    bytes_stored: Personal variables kept at the end, over all clients.
    seconds: Wall-clock time.
    personal_parameters: Elements of the personal variables of one client.
    shared_parameters: Elements of the shared variables.
  """

  gradient_steps: int
  examples_processed: int
  bytes_down_per_client: int
  bytes_up_per_client: int
  bytes_down: int
  bytes_up: int
  bytes_stored: int
  seconds: float
  personal_parameters: int
  shared_parameters: int

  @property
  def personal_fraction(self) -> float:
    """Personal out of all parameters of one client's model."""
    total = self.personal_parameters + self.shared_parameters
    return self.personal_parameters / total if total else 0.0

  def to_dict(self) -> dict[str, float]:
    return {
        **dataclasses.asdict(self),
        'personal_fraction': self.personal_fraction,
    }


def summarize(
    table: client_table.ClientTable, model: str, metric: str
) -> Summary:
  """Summarizes a metric under one model; weights are those of its examples.

  Raises:
    ValueError: If the table has no such scores, or no client has test data.
  """
  _check_scored(table, model, metric)
  return _summarize(table.values(model, metric), table.weights(model, metric))


def compare(
    table: client_table.ClientTable,
    metric: str,
    *,
    baseline: str,
    candidate: str,
    higher_is_better: bool,
) -> Comparison:
  """Compares two models client by client, and their examples in pairs.

  Raises:
    ValueError: If the table has no such scores, if no client has test data, or
      if the two models were not scored on the same examples.
  """
  _check_scored(table, baseline, metric)
  _check_scored(table, candidate, metric)
  before = table.scores[baseline][metric]
  after = table.scores[candidate][metric]
  if not np.array_equal(before.weight, after.weight):
    raise errors.SettingsError(
        f'Expected {baseline!r} and {candidate!r} scored on the same examples,'
        f' found different weights of {metric!r}. Evaluate both on the same'
        ' test data.'
    )
  sign = 1 if higher_is_better else -1
  weights = table.weights(baseline, metric)
  values = table.values(baseline, metric)
  changes = table.values(candidate, metric) - values
  # Weights are equal, so totals tell which of two examples is better.
  gain = sign * (after.total - before.total)
  count = lambda examples: np.bincount(
      table.client_of_example[examples], minlength=len(table.client_ids)
  )
  worse, better = count(gain < 0), count(gain > 0)
  p_hurt, p_helped = _sign_test(worse, better), _sign_test(better, worse)
  measured = weights > 0
  expected = _attainable_level((worse + better)[measured]).sum()
  side = lambda members, p: _side(members[measured], p[measured], expected)
  return Comparison(
      change=_summarize(changes, weights),
      hurt=side(sign * changes < 0, p_hurt),
      helped=side(sign * changes > 0, p_helped),
      equal=int((changes == 0).sum()),
      correlation=_correlation(changes[measured], values[measured]),
      changes=changes,
      p_hurt=p_hurt,
      p_helped=p_helped,
  )


def _check_scored(
    table: client_table.ClientTable, model: str, metric: str
) -> None:
  """Checks that a metric can be summarized under a model."""
  if model not in table.scores:
    raise errors.SettingsError(
        f'Expected a model of {sorted(table.scores)}, found {model!r}.'
    )
  if metric not in table.scores[model]:
    raise errors.SettingsError(
        f'Expected a metric of {sorted(table.scores[model])} under {model!r},'
        f' found {metric!r}.'
    )
  if not table.weights(model, metric).any():
    raise errors.SettingsError(
        f'Expected test data for {metric!r} at one client at least, found none'
        f' at {len(table.client_ids)} clients.'
    )


def _summarize(values: np.ndarray, weights: np.ndarray) -> Summary:
  measured = weights > 0
  x, w = values[measured], weights[measured]
  n, mean = len(x), np.average(x, weights=w)
  squares = np.square(w * (x - mean)).sum()
  return Summary(
      clients=n,
      left_out=len(values) - n,
      weighted_mean=float(mean),
      weighted_error=(
          math.sqrt(n / (n - 1) * squares) / float(w.sum())
          if n > 1
          else math.nan
      ),
      uniform_mean=float(x.mean()),
      deviation=float(x.std()),
      weighted_quantiles=_quantiles(x, w),
      uniform_quantiles=_quantiles(x, np.ones_like(w)),
  )


def _quantiles(values: np.ndarray, weights: np.ndarray) -> dict[float, float]:
  """Quantiles as in `Summary`, NaN if some value is."""
  if np.isnan(values).any():
    return {q: math.nan for q in QUANTILES}
  order = np.argsort(values)
  ordered, held = values[order], np.cumsum(weights[order])
  result = {}
  for q in QUANTILES:
    below = np.searchsorted(held, q * held[-1], side='left')
    above = np.searchsorted(held, q * held[-1], side='right')
    result[q] = float((ordered[below] + ordered[above]) / 2)
  return result


def _sign_test(count: np.ndarray, opposite: np.ndarray) -> np.ndarray:
  """P(Binomial(count + opposite, 1/2) >= count), elementwise."""
  return stats.binom.sf(count - 1, count + opposite, 0.5)


def _attainable_level(differing: np.ndarray) -> np.ndarray:
  """P(p < LEVEL) if each of so many examples is a fair coin, elementwise.

  The test is discrete: with 4 examples its smallest p-value is 1/16, so it
  never gives p < 0.05; with 5 it does with probability 1/32.
  """
  critical = stats.binom.isf(LEVEL, differing, 0.5)
  return np.where(differing > 0, stats.binom.sf(critical, differing, 0.5), 0.0)


def _side(members: np.ndarray, p: np.ndarray, expected: float) -> Side:
  beyond = int((members & (p < LEVEL)).sum())
  ranked = np.sort(p)
  accepted = ranked <= LEVEL * np.arange(1, len(p) + 1) / len(p)
  threshold = ranked[accepted].max(initial=0.0)
  return Side(
      clients=int(members.sum()),
      share=float(members.mean()),
      beyond_chance=beyond,
      beyond_chance_share=beyond / len(members),
      expected_by_chance=float(expected),
      discoveries=int((members & (p <= threshold)).sum()),
  )


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
  if np.ptp(x) == 0 or np.ptp(y) == 0:
    return math.nan
  return float(np.corrcoef(x, y)[0, 1])
