# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0

import dataclasses
import math

from absl.testing import absltest
import numpy as np

from tff_partial.evaluation import client_table
from tff_partial.evaluation import comparison
from tff_partial.evaluation import gate
from tff_partial.evaluation import intervals
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import run_results

_COST = {'personal_fraction': 0.25, 'gradient_steps': 10}


def _outcome(values, baseline, weights=None, ids=None, p_hurt=None):
  values = np.array(values, float)
  n = len(values)
  return run_results.Outcome(
      client_ids=tuple(ids or [f'c{i}' for i in range(n)]),
      train_examples=np.arange(10.0, 10 * n + 1, 10),
      values={'accuracy': values},
      weights={'accuracy': np.array(weights or [1] * n, float)},
      baseline={'accuracy': np.array(baseline, float)},
      p_hurt=np.array(p_hurt or [1] * n, float),
      cost=_COST,
  )


def _scheme(outcomes, *, full=False, higher_is_better=True, name='a, b'):
  return comparison.Scheme(
      name,
      metric=metric_lib.Metric('accuracy', higher_is_better=higher_is_better),
      full=full,
      outcomes=dict(enumerate(outcomes)),
  )


class SchemeTest(absltest.TestCase):

  def test_change_by_hand(self):
    scheme = _scheme(
        [
            _outcome([0.5, 0.9], [0.4, 0.5], weights=[1, 3]),
            _outcome([0.7, 0.3], [0.4, 0.5], weights=[1, 3]),
        ]
    )
    change = scheme.change()
    # Clients: (0.1 + 0.3)/2 and (0.4 - 0.2)/2; seeds: 1.3/4 and -0.3/4.
    self.assertAlmostEqual(change.mean, (0.2 + 3 * 0.1) / 4)
    self.assertAlmostEqual(
        change.deviation, np.std([1.3 / 4, -0.3 / 4], ddof=1)
    )
    self.assertEqual((change.better, change.worse), (1.0, 0.0))
    self.assertEqual(change.p_sign, 0.5)  # Two heads or two tails of two.
    mean, deviation = scheme.mean()
    self.assertAlmostEqual(mean, ((0.5 + 2.7) / 4 + (0.7 + 0.9) / 4) / 2)
    self.assertAlmostEqual(
        deviation, np.std([(0.5 + 2.7) / 4, (0.7 + 0.9) / 4], ddof=1)
    )
    self.assertAlmostEqual(scheme.uniform_mean()[0], (0.7 + 0.5) / 2)
    self.assertAlmostEqual(scheme.baseline_mean(), (0.4 + 1.5) / 4)

  def test_cost_is_the_mean_over_seeds(self):
    outcome = _outcome([0.5], [0.4])
    # Seeds may choose different layers, and may not count their steps.
    other = dataclasses.replace(
        outcome, cost={'personal_fraction': 0.75, 'gradient_steps': None}
    )
    scheme = _scheme([outcome, other])
    self.assertEqual(scheme.personal_fraction, 0.5)
    self.assertTrue(math.isnan(scheme.cost()['gradient_steps']))

  def test_means_differ_by_the_change(self):
    # Each seed evaluates other clients, of which x is in both.
    scheme = _scheme(
        [
            _outcome([0.5, 0.9], [0.4, 0.5], [1, 3], ids='xy'),
            _outcome([0.7, 0.3], [0.2, 0.5], [1, 2], ids='xz'),
        ]
    )
    mean, deviation = scheme.mean()
    self.assertAlmostEqual(mean, (0.6 + 3 * 0.9 + 2 * 0.3) / 6)
    self.assertAlmostEqual(scheme.baseline_mean(), (0.3 + 1.5 + 1.0) / 6)
    self.assertAlmostEqual(scheme.change().mean, mean - scheme.baseline_mean())
    self.assertAlmostEqual(deviation, np.std([3.2 / 4, 1.3 / 3], ddof=1))
    self.assertEqual(scheme.change().seeds, 2)

  def test_equal_means_over_seeds_are_ties(self):
    # Three seeds, of 10 examples: 3, 0, 0 right and 2, 1, 0.
    one = _scheme([_outcome([k / 10], [0]) for k in (3, 0, 0)])
    other = _scheme([_outcome([k / 10], [0]) for k in (2, 1, 0)])
    found = one.minus(other)
    self.assertEqual((found.better, found.worse), (0, 0))

  def test_difference_is_over_common_seeds_and_clients(self):
    one = _scheme(
        [
            _outcome([0.5, 0.6], [0, 0], ids=['x', 'y']),
            _outcome([9, 9], [0, 0]),
        ]
    )
    other = _scheme([_outcome([0.1, 0.4], [0, 0], ids=['y', 'z'])])
    difference = one.minus(other)
    self.assertAlmostEqual(difference.mean, 0.5)  # Only y is in both.
    self.assertEqual((difference.clients, difference.seeds), (1, 1))
    stranger = _scheme([_outcome([1], [0], ids=['q'])])
    self.assertIsNone(other.minus(stranger))

  def test_interval_is_over_clients_and_seeds(self):
    # As seen by the two-way interval: z is not evaluated with the second seed.
    scheme = _scheme(
        [
            _outcome([0.5, 0.9, 0.3], [0.4, 0.5, 0.1], [1, 3, 2], ids='xyz'),
            _outcome([0.3, 0.7], [0.5, 0.4], [3, 1], ids='yx'),
        ]
    )
    change = scheme.change()
    expected = intervals.two_way(
        np.array([[0.1, 0.3], [0.4, -0.2], [0.2, 9]]),
        np.array([[1.0, 1], [3, 3], [2, 0]]),
    )
    np.testing.assert_allclose([change.low, change.high], expected)
    self.assertAlmostEqual(change.mean, (1 * 0.2 + 3 * 0.1 + 2 * 0.2) / 6)

  def test_an_infinite_loss_is_infinite_without_a_warning(self):
    outcome = _outcome([np.inf, 0.9, 1.0], [np.inf, 0.5, 2.0])
    scheme = _scheme([outcome, outcome, outcome], higher_is_better=False)
    self.assertEqual(scheme.mean()[0], np.inf)
    self.assertTrue(np.isnan(scheme.mean()[1]))
    self.assertEqual(scheme.quantiles()[0.9], np.inf)
    change = scheme.change()
    self.assertTrue(np.isnan([change.mean, change.low, change.high]).all())
    self.assertEqual((change.better, change.worse), (1 / 3, 1 / 3))
    self.assertTrue(np.isnan(scheme.by_size()[0]['change']))

  def test_a_client_that_diverged_is_not_averaged_away(self):
    scheme = _scheme(
        [_outcome([np.nan, 0.9], [0, 0]), _outcome([0.5, 0.5], [0, 0])]
    )
    change = scheme.change()
    self.assertTrue(np.isnan([change.mean, change.low, change.high]).all())

  def test_hurt_depends_on_the_direction(self):
    outcome = _outcome([0.2, 0.4, 0.6], [0.3, 0.3, 0.3], p_hurt=[0.01, 1, 1])
    self.assertEqual(_scheme([outcome]).hurt(), (1 / 3, 1 / 3))
    errors = _scheme([outcome], higher_is_better=False)
    worse, beyond = errors.hurt()
    self.assertAlmostEqual(worse, 2 / 3)
    self.assertEqual(beyond, 0)

  def test_quarters_by_training_data(self):
    scheme = _scheme([_outcome([4, 3, 2, 1], [0, 0, 0, 0])])
    self.assertEqual(
        [(g['from'], g['change']) for g in scheme.by_size()],
        [(10, 4), (20, 3), (30, 2), (40, 1)],
    )

  def test_worth_of_the_gate(self):
    # The model hurts two, three and two of four clients. The gate lets two,
    # three and two take it, of whom it hurts one, two and one.
    baseline, weights = [0.5] * 4, [1, 2, 3, 4]
    few, more = [0, 0, 1, 1], [0, 0, 0, 1]
    gated_few, gated_more = [0, 0.5, 0.5, 1], [0.5, 0, 0, 1]
    without = [_outcome(v, baseline, weights) for v in (few, more, few)]
    gated = [
        dataclasses.replace(_outcome(v, baseline, weights), takers=k)
        for v, k in ((gated_few, 2), (gated_more, 3), (gated_few, 2))
    ]
    found = _scheme(without).worth_of_gate(_scheme(gated))
    self.assertAlmostEqual(found['takers'], (2 + 3 + 2) / 12)
    self.assertAlmostEqual(found['hurt'], (1 + 2 + 1) / 12)
    self.assertAlmostEqual(found['hurt_without_gate'], (2 + 3 + 2) / 12)
    self.assertAlmostEqual(
        found['hurt_by_coin'], (2 * 2 + 3 * 3 + 2 * 2) / 4 / 12
    )
    # The coin hurts 0, 1 or 2 (1/6, 4/6, 1/6), and 2 or 3 (3/4, 1/4): in all
    # more than 2 in 1 - 1/48 of the cases, and more than 6 in 1/144. The ranges
    # of single runs go from 2 to 7 in all.
    self.assertAlmostEqual(found['coin_low'], 3 / 12)
    self.assertAlmostEqual(found['coin_high'], 6 / 12)
    # By the gate, clients gain (0, 0.5, -0.5, 0) and (0.5, 0, 0, 0).
    low, high = intervals.two_way(
        np.array([[0, 0.5, 0], [0.5, 0, 0.5], [-0.5, 0, -0.5], [0, 0, 0]]),
        np.array([weights] * 3).T,
    )
    self.assertAlmostEqual(found['mean'], (1 * 0.5 + 2 * 1 - 3 * 1) / 3 / 10)
    self.assertAlmostEqual(found['mean_low'], low)
    self.assertAlmostEqual(found['mean_high'], high)
    # The lower deciles of 0, 1/2, 1/2, 1 and of 0, 0, 1, 1 are 0.15 and 0.
    self.assertAlmostEqual(found['decile'], (0.15 + 0 + 0.15) / 3)
    self.assertBetween(found['decile'], found['decile_low'], 0.5)
    self.assertBetween(found['decile'], -0.5, found['decile_high'])

  def test_worth_of_the_gate_with_one_seed_is_that_of_the_run(self):
    values = np.array([1.0, 0, 0, 1, 0.5])
    baseline = np.array([0, 0.5, 1, 1, 0])
    takes = np.array([True, True, False, False, True])
    gated = np.where(takes, values, baseline)
    scores = {
        name: {'accuracy': client_table.Scores(v, np.ones(5))}
        for name, v in (('b', baseline), ('c', values), (gate.GATED, gated))
    }
    ids = tuple('vwxyz')
    table = client_table.ClientTable(
        ids, np.ones(5, int), np.ones(5, int), np.ones(5, bool), scores
    )
    expected = gate.worth(
        table,
        metric_lib.Metric('accuracy', higher_is_better=True),
        frozenset(np.array(ids)[takes]),
        baseline='b',
        candidate='c',
    )
    found = _scheme([_outcome(values, baseline, ids=ids)]).worth_of_gate(
        _scheme(
            [dataclasses.replace(_outcome(gated, baseline, ids=ids), takers=3)]
        )
    )
    self.assertEqual(found.pop('takers'), 3 / 5)
    self.assertEqual(found, expected)

  def test_worth_of_the_gate_where_seeds_have_other_clients(self):
    outcome = lambda values, ids, takers=None: dataclasses.replace(
        _outcome(values, [0] * len(ids), ids=ids), takers=takers
    )
    found = _scheme([outcome([1], 'x'), outcome([1, 1], 'yz')]).worth_of_gate(
        _scheme([outcome([0], 'x', 0), outcome([1, 1], 'yz', 2)])
    )
    self.assertEqual(found['takers'], 1 / 2)
    self.assertEqual(found['decile'], -1 / 2)
    # Samples without x, or with nobody else.
    self.assertEqual((found['decile_low'], found['decile_high']), (-1, 0))

  def test_share_of_full(self):
    full = [_outcome([0.8, 0.9, 0.7], [0.3, 0.4, 0.2])]
    part = [_outcome([0.7, 0.8, 0.6], [0.3, 0.4, 0.2])]
    share = lambda **kwargs: comparison.share_of_full(
        _scheme(part, **kwargs), _scheme(full, full=True, **kwargs)
    )
    self.assertAlmostEqual(share(higher_is_better=True), 0.8)
    # All clients got more errors: nothing to have a share of.
    self.assertIsNone(share(higher_is_better=False))

  def test_best_full(self):
    low, high = [_outcome([0.4, 0.5], [0, 0])], [_outcome([0.5, 0.6], [0, 0])]
    part = _scheme([_outcome([0.9, 0.9], [0, 0])])
    worse, better = _scheme(low, full=True), _scheme(high, full=True)
    self.assertIs(comparison.best_full([part, worse, better]), better)
    fewer, more = (
        _scheme(outcomes, full=True, higher_is_better=False)
        for outcomes in (low, high)
    )
    self.assertIs(comparison.best_full([more, fewer]), fewer)
    self.assertIsNone(comparison.best_full([part]))


if __name__ == '__main__':
  absltest.main()
