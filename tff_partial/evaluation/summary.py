# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers about many clients: how well they do, who is hurt, what it costs.

A mean over clients hides those for whom personalization makes things worse [1].
Therefore every summary has quantiles, and every comparison counts the clients
that are worse. A client with 20 test examples easily loses one of them by
chance. So the raw count comes with the count of clients for whom an exact
paired test shows a loss, and with the count that chance alone would give.

[1] Pillutla et al. Federated Learning with Partial Model Personalization.
ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Optional

import numpy as np
from scipy import stats

from tff_partial import errors
from tff_partial.evaluation import client_table
from tff_partial.evaluation import intervals
from tff_partial.evaluation import metric as metric_lib

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

# The level of each client's test, and the rate of false discoveries among all.
LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Summary:
  """Summarizes one number x_i for each client i, with its test weight w_i.

  Clients without test data count in `left_out` only. If some x_i is NaN because
  a model diverged, the numbers that depend on it are NaN too.

  Attributes:
    clients: n, the number of clients with test data.
    left_out: The number of clients without test data.
    weighted_mean: sum_i w_i x_i / sum_i w_i.
    weighted_error: The standard error of the weighted mean if these clients are
      a small sample of many, as for a ratio of two means [2]:
      sqrt(n / (n - 1) sum_i w_i^2 (x_i - weighted_mean)^2) / sum_i w_i. It is
      NaN for one client.
    uniform_mean: sum_i x_i / n.
    deviation: sqrt(sum_i (x_i - uniform_mean)^2 / n).
    weighted_quantiles: For each q in `QUANTILES`, the smallest x such that
      clients with x_i <= x hold more than the share q of the weight. Where they
      hold exactly q, the midpoint between x and the next value.
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
class AffectedClients:
  """Counts the clients that a model hurts, or those that it helps.

  Attributes:
    clients: The clients whose metric is worse (or better) at all.
    share: `clients` divided by the number of clients with test data.
    beyond_chance: Those of `clients` whose sign test gives p < `LEVEL`.
    beyond_chance_share: `beyond_chance` divided by the number of clients with
      test data.
    expected_by_chance: The mean of `beyond_chance` if every example on which
      the models differ were a fair coin: sum_i a_i, where a_i is the largest
      value below `LEVEL` that client i's test can take. Exact for right and
      wrong answers, an upper bound for other scores.
    discoveries: Those of `clients` that remain if at most the share `LEVEL` of
      them may be false alarms on average [2].

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
  """Compares a candidate model with a baseline on the same test examples.

  Attributes:
    change: Summary of x_i(candidate) - x_i(baseline), in the metric's unit.
    low: The lower end of the 95% interval of the weighted mean of the change
      (`intervals.over_clients`); NaN for one client.
    high: The upper end of that interval.
    hurt: The clients for whom the candidate is worse.
    helped: The clients for whom the candidate is better.
    equal: The number of clients for whom the metric is exactly the same.
    p_sign: The two-sided p-value of the exact sign test over clients. If b of
      the d clients with a change are better, it is the probability that the
      number of heads of d fair coins is as far from d / 2 as b.
    testable: The number of clients whose own test can give p < `LEVEL` at all,
      since enough of their examples are scored differently: 5 or more.
    correlation: Pearson's correlation of the change with x_i(baseline), each
      measured on another half of the client's test examples: the mean of both
      ways to assign the halves. On the same examples, a client with bad luck
      under the baseline would seem to gain (regression to the mean). NaN if
      nothing varies, or with fewer than three clients with data in both halves.
    changes: The change of each client, float64 [clients]; NaN without test
      data.
    p_hurt: A one-sided p-value for each client, float64 [clients]. If b of the
      d examples that are scored differently are worse, it is
      p = P(Binomial(d, 1/2) >= b). For right and wrong answers this is
      McNemar's exact test.
    p_helped: The same for the examples that are scored better.
  """

  change: Summary
  low: float
  high: float
  hurt: AffectedClients
  helped: AffectedClients
  equal: int
  p_sign: float
  testable: int
  correlation: float
  changes: np.ndarray
  p_hurt: np.ndarray
  p_helped: np.ndarray

  def to_dict(self) -> dict[str, object]:
    """The numbers about all clients, without the arrays over clients."""
    numbers = dataclasses.asdict(self)
    for name in ('changes', 'p_hurt', 'p_helped'):
      del numbers[name]
    return numbers


@dataclasses.dataclass(frozen=True)
class Cost:
  """The cost of a run.

  Attributes:
    gradient_steps: Optimizer steps of all clients in all rounds; `None` if
      clients did not send their counts.
    examples_processed: Examples in those steps, counted once for every pass
      over them; likewise.
    bytes_down_per_client: Bytes sent to one client in one round.
    bytes_up_per_client: Bytes sent back by one client in one round.
    bytes_down: Bytes sent to all clients in the whole run, for cohorts of the
      expected size.
    bytes_up: Bytes sent back by all clients in the whole run, likewise.
    bytes_stored: Bytes of all clients' personal variables at the end.
    seconds: Wall-clock time.
    personal_parameters: Number of elements of one client's personal variables.
    shared_parameters: Number of elements of the shared variables.
    bytes_once_per_client: Bytes of constants, which a client is sent once, with
      the program. They are not in the bytes above.
    choice_seconds: Time for choosing what is personal, before training.
    pretraining_seconds: Time of the pretraining before that, if it belongs to
      the run or to its comparison.
  """

  gradient_steps: Optional[int]
  examples_processed: Optional[int]
  bytes_down_per_client: int
  bytes_up_per_client: int
  bytes_down: int
  bytes_up: int
  bytes_stored: int
  seconds: float
  personal_parameters: int
  shared_parameters: int
  bytes_once_per_client: int = 0
  choice_seconds: float = 0.0
  pretraining_seconds: float = 0.0

  @property
  def personal_fraction(self) -> float:
    """The personal share of the parameters of one client's model."""
    total = self.personal_parameters + self.shared_parameters
    return self.personal_parameters / total if total else 0.0

  @property
  def choice_share(self) -> float:
    """The share of the choice in the time with pretraining and training."""
    total = self.pretraining_seconds + self.choice_seconds + self.seconds
    return self.choice_seconds / total if total else 0.0

  def to_dict(self) -> dict[str, Optional[float]]:
    """The attributes and properties, as `report.json` has them."""
    return {
        **dataclasses.asdict(self),
        'personal_fraction': self.personal_fraction,
        'choice_share': self.choice_share,
    }


@np.errstate(invalid='ignore')  # Infinity less itself is NaN.
def summarize(
    table: client_table.ClientTable, model: str, metric: str
) -> Summary:
  """Summarizes a metric under one model, weighted by clients' test data.

  Args:
    table: Results of clients.
    model: The model's name.
    metric: The metric's name.

  Raises:
    errors.SettingsError: If the table has no such scores, or if no client has
      test data.
  """
  _check_scored(table, model, metric)
  return _summarize(table.values(model, metric), table.weights(model, metric))


@np.errstate(invalid='ignore')  # Infinity less itself is NaN.
def compare(
    table: client_table.ClientTable,
    metric: metric_lib.Metric,
    *,
    baseline: str,
    candidate: str,
) -> Comparison:
  """Compares two models client by client, and example by example.

  Args:
    table: Results of clients under both models.
    metric: The metric to compare.
    baseline: The name of the model to compare with.
    candidate: The name of the model that hurts or helps.

  Raises:
    errors.SettingsError: If the table has no such scores, if no client has test
      data, or if the two models were not scored on the same examples.
  """
  _check_scored(table, baseline, metric.name)
  _check_scored(table, candidate, metric.name)
  before = table.scores[baseline][metric.name]
  after = table.scores[candidate][metric.name]
  if not np.array_equal(before.weight, after.weight):
    raise errors.SettingsError(
        f'Expected {baseline!r} and {candidate!r} scored on the same examples,'
        f' found different weights of {metric.name!r}. Evaluate both on the'
        ' same test data, by a metric whose weights do not depend on the'
        ' outputs: accuracy, for example, rather than precision.'
    )
  weights = table.weights(baseline, metric.name)
  before_values = table.values(baseline, metric.name)
  after_values = table.values(candidate, metric.name)
  changes = after_values - before_values
  gain_of_client = metric.gain(before_values, after_values)
  # The weights are equal, so the totals tell which score is better.
  gain_of_example = metric.gain(before.total, after.total)
  count = lambda examples: np.bincount(
      table.client_of_example[examples], minlength=len(table.client_ids)
  )
  worse, better = count(gain_of_example < 0), count(gain_of_example > 0)
  p_hurt, p_helped = _sign_test(worse, better), _sign_test(better, worse)
  measured = weights > 0
  levels = _attainable_level((worse + better)[measured])
  affected = lambda members, p: _affected(
      members[measured], p[measured], levels.sum()
  )
  hurt = affected(gain_of_client < 0, p_hurt)
  helped = affected(gain_of_client > 0, p_helped)
  low, high = intervals.over_clients(changes[measured], weights[measured])
  return Comparison(
      change=_summarize(changes, weights),
      low=low,
      high=high,
      hurt=hurt,
      helped=helped,
      equal=int((changes == 0).sum()),
      p_sign=two_sided_sign_test(hurt.clients, helped.clients),
      testable=int((levels > 0).sum()),
      correlation=_split_correlation(table, before, after),
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
        f'Expected one of the models {sorted(table.scores)}, found {model!r}.'
    )
  if metric not in table.scores[model]:
    raise errors.SettingsError(
        f'Expected one of the metrics {sorted(table.scores[model])} under'
        f' {model!r}, found {metric!r}.'
    )
  if not table.weights(model, metric).any():
    raise errors.SettingsError(
        f'Expected test data for {metric!r} at one client at least, found none'
        f' at {len(table.client_ids)} clients. Evaluate clients with test data.'
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
      weighted_quantiles=quantiles(x, w),
      uniform_quantiles=quantiles(x, np.ones_like(w)),
  )


def quantiles(values: np.ndarray, weights: np.ndarray) -> dict[float, float]:
  """The quantiles in `QUANTILES`, as in `Summary`.

  NumPy's would be NaN next to an infinite value.

  Args:
    values: Each client's value, float [clients].
    weights: Each client's weight, positive, float [clients].

  Returns:
    By q; NaN if a value is NaN.
  """
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


def two_sided_sign_test(one: int, other: int) -> float:
  """2 P(Binomial(one + other, 1/2) >= the larger one), at most 1.

  Args:
    one: The number of clients for whom one model is better.
    other: The number of clients for whom the other one is.
  """
  return min(
      2 * float(stats.binom.sf(max(one, other) - 1, one + other, 0.5)), 1
  )


def _attainable_level(differing: np.ndarray) -> np.ndarray:
  """P(p < LEVEL) if each differing example is a fair coin, elementwise.

  The test is discrete. With 4 examples its smallest p-value is 1/16, so it
  never gives p < 0.05; with 5 examples it does with probability 1/32.
  """
  critical = stats.binom.isf(LEVEL, differing, 0.5)
  return np.where(differing > 0, stats.binom.sf(critical, differing, 0.5), 0.0)


def _affected(
    members: np.ndarray, p: np.ndarray, expected: float
) -> AffectedClients:
  beyond = int((members & (p < LEVEL)).sum())
  ranked = np.sort(p)
  accepted = ranked <= LEVEL * np.arange(1, len(p) + 1) / len(p)
  threshold = ranked[accepted].max(initial=0.0)
  return AffectedClients(
      clients=int(members.sum()),
      share=float(members.mean()),
      beyond_chance=beyond,
      beyond_chance_share=beyond / len(members),
      expected_by_chance=float(expected),
      discoveries=int((members & (p <= threshold)).sum()),
  )


def _split_correlation(
    table: client_table.ClientTable,
    before: client_table.Scores,
    after: client_table.Scores,
) -> float:
  """The correlation of `Comparison`, over the halves of test examples.

  Every client's examples belong to the halves in turn, in their order.
  """
  client = table.client_of_example
  starts = np.cumsum(table.test_examples) - table.test_examples
  half = (np.arange(len(client)) - starts[client]) % 2
  # By half and client, [2, clients].
  sums = lambda terms: np.array(
      [
          np.bincount(
              client, terms * (half == h), minlength=len(table.client_ids)
          )
          for h in range(2)
      ]
  )
  weights = sums(before.weight)
  known = (weights > 0).all(axis=0)
  if known.sum() < 3:
    return math.nan
  weights = weights[:, known]
  baseline = sums(before.total)[:, known] / weights
  change = sums(after.total)[:, known] / weights - baseline
  return (
      _correlation(change[0], baseline[1])
      + _correlation(change[1], baseline[0])
  ) / 2


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
  if np.ptp(x) == 0 or np.ptp(y) == 0:
    return math.nan
  return float(np.corrcoef(x, y)[0, 1])
