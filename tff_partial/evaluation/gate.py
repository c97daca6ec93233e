# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The gate: a client keeps the shared model unless its own data say otherwise.

Personalization hurts some clients [1, Section 5], and nobody knows which ones
before they are tested. With the gate, each client holds a share of its training
examples out of all training, its own and that of the shared model. It then
evaluates two models on them: the baseline without personalization, and its
personalized model. It takes the personalized model if that is strictly better
there, and keeps the baseline otherwise, also with a tie or without held-out
examples. Test examples have no part in the decision, which each client takes by
itself: nothing more is sent.

The cost of the gate is fewer examples to train on and two more passes over the
held-out examples. For clients with few examples the measurement is coarse.

[1] Pillutla et al. Federated Learning with Partial Model Personalization.
ICML 2022. https://arxiv.org/abs/2204.03809
"""

import dataclasses

import numpy as np
from scipy import stats

from tff_partial.evaluation import client_table
from tff_partial.evaluation import intervals
from tff_partial.evaluation import metric as metric_lib

GATED = 'gated'  # The name of the chosen models in a table.


def helped(
    held_out: client_table.ClientTable,
    metric: metric_lib.Metric,
    *,
    baseline: str,
    candidate: str,
) -> frozenset[str]:
  """The clients for which the candidate is better on held-out examples.

  Args:
    held_out: Results on the held-out examples.
    metric: The metric that decides.
    baseline: The name of the model without personalization.
    candidate: The name of the personalized model.
  """
  gain = metric.gain(
      held_out.values(baseline, metric.name),
      held_out.values(candidate, metric.name),
  )
  # NaN compares false: no gain.
  return frozenset(np.array(held_out.client_ids, object)[gain > 0])


def add(
    table: client_table.ClientTable,
    client_ids: frozenset[str],
    *,
    baseline: str,
    candidate: str,
) -> client_table.ClientTable:
  """Adds the model `gated`: the model that each client has behind the gate.

  Args:
    table: Results on test examples.
    client_ids: The clients that take the candidate; the others keep the
      baseline.
    baseline: The name of the model without personalization.
    candidate: The name of the personalized model.

  Returns:
    The table with the scores of one more model.
  """
  takes = np.array([c in client_ids for c in table.client_ids], bool)
  takes = takes[table.client_of_example]
  gated = {
      metric: client_table.Scores(
          np.where(takes, scores.total, table.scores[baseline][metric].total),
          np.where(takes, scores.weight, table.scores[baseline][metric].weight),
      )
      for metric, scores in table.scores[candidate].items()
  }
  return dataclasses.replace(table, scores={**table.scores, GATED: gated})


@np.errstate(invalid='ignore')  # Infinity less itself is NaN.
def worth(
    table: client_table.ClientTable,
    metric: metric_lib.Metric,
    client_ids: frozenset[str],
    *,
    baseline: str,
    candidate: str,
) -> dict[str, float]:
  """What the gate is worth, compared with a coin and with no gate.

  A gate that keeps many baselines hurts few clients, whatever decides. The coin
  lets as many clients take the candidate as the gate, chosen at random. If K of
  n clients take it and it would hurt H of n, the coin hurts a hypergeometric
  number of clients with mean K H / n.

  Args:
    table: Results on test examples, with the model `gated`.
    metric: The metric that decides.
    client_ids: The clients that take the candidate.
    baseline: The name of the model without personalization.
    candidate: The name of the personalized model.

  Returns:
    By name, over clients with test data: `hurt` and `hurt_without_gate`, the
    shares of clients that are worse than under the baseline; `hurt_by_coin`,
    the coin's mean share, with the ends of its central 95% in `coin_low` and
    `coin_high`; `mean`, the weighted mean of gated minus candidate; `decile`,
    the difference of the unweighted lower decile of clients (the upper one
    where lower is better); and their 95% intervals in `mean_low`, `mean_high`,
    `decile_low` and `decile_high`. The mean's is `intervals.over_clients`; the
    decile's is that of `change_of_decile`.
  """
  weights = table.weights(baseline, metric.name)
  measured = weights > 0
  values = lambda model: table.values(model, metric.name)[measured]
  before, after, gated = values(baseline), values(candidate), values(GATED)
  n = len(before)
  takes = np.array([c in client_ids for c in table.client_ids])[measured]
  hurt = metric.gain(before, after) < 0
  coin = stats.hypergeom(n, hurt.sum(), takes.sum())
  mean = intervals.over_clients(gated - after, weights[measured])
  decile, decile_range = change_of_decile(
      gated[:, None], after[:, None], np.ones([n, 1], bool), metric
  )
  return {
      'hurt': float((metric.gain(before, gated) < 0).mean()),
      'hurt_without_gate': float(hurt.mean()),
      'hurt_by_coin': float(hurt.mean() * takes.mean()),
      'coin_low': float(coin.ppf(0.025) / n),
      'coin_high': float(coin.ppf(0.975) / n),
      'mean': float(np.average(gated - after, weights=weights[measured])),
      'mean_low': mean.low,
      'mean_high': mean.high,
      'decile': decile,
      'decile_low': decile_range.low,
      'decile_high': decile_range.high,
  }


@np.errstate(invalid='ignore')  # Infinity less itself is NaN.
def change_of_decile(
    gated: np.ndarray,
    after: np.ndarray,
    measured: np.ndarray,
    metric: metric_lib.Metric,
) -> tuple[float, intervals.Interval]:
  """What the gate does to the decile of the clients that are worst off.

  Args:
    gated: Clients' values with the gate, by seed, float [clients, seeds].
    after: Their values without it, float [clients, seeds].
    measured: Where a client has values with a seed, bool [clients, seeds].
    metric: Says whether the lower decile is the worst one, or the upper one.

  Returns:
    The change of the unweighted decile, averaged over seeds; and its 95%
    interval over clients, the percentiles of 2,000 bootstrap samples of
    clients, each with all of their seeds.
  """
  q = 0.1 if metric.higher_is_better else 0.9

  def change(rows):
    by_seed = [
        np.quantile(gated[rows, s][here], q)
        - np.quantile(after[rows, s][here], q)
        for s, here in enumerate(measured[rows].T)
        if here.any()
    ]
    return float(np.mean(by_seed))

  n = len(gated)
  rng = np.random.default_rng(0)
  samples = [change(rng.integers(n, size=n)) for _ in range(2000)]
  low, high = np.quantile(samples, [0.025, 0.975])
  return change(np.arange(n)), intervals.Interval(float(low), float(high))
