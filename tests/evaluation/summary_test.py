# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0

import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats

from tff_partial.evaluation import client_table
from tff_partial.evaluation import intervals
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import summary


def _table(**models):
  """A table of right and wrong answers, from a list per model and client."""
  first = next(iter(models.values()))
  sizes = np.array([len(client) for client in first])
  scores = {}
  for name, clients in models.items():
    total = np.array([x for client in clients for x in client], float)
    scores[name] = {'accuracy': client_table.Scores(total, np.ones_like(total))}
  return client_table.ClientTable(
      client_ids=tuple(f'c{i}' for i in range(len(sizes))),
      train_examples=10 * sizes,
      test_examples=sizes,
      participated=np.ones(len(sizes), bool),
      scores=scores,
  )


def _compare(table, higher_is_better=True):
  return summary.compare(
      table,
      metric_lib.Metric('accuracy', higher_is_better=higher_is_better),
      baseline='before',
      candidate='after',
  )


class SummarizeTest(parameterized.TestCase):

  def test_standard_error_is_the_spread_of_means_of_samples(self):
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 20, 5000).astype(float)
    values = rng.normal(size=5000) + weights / 10
    means, errors = [], []
    for _ in range(1000):
      chosen = rng.choice(5000, 50, replace=False)
      found = summary._summarize(values[chosen], weights[chosen])
      means.append(found.weighted_mean)
      errors.append(found.weighted_error)
    # 1,000 numbers give a standard deviation to within 2%, and the formula is
    # about 2% too small for 50 clients.
    self.assertAlmostEqual(np.mean(errors) / np.std(means), 1, delta=0.08)

  def test_one_client_has_no_standard_error(self):
    found = summary._summarize(np.ones(1), np.ones(1))
    self.assertTrue(math.isnan(found.weighted_error))

  def test_means_deviation_and_quantiles_by_hand(self):
    # Values 1 (weight 1) and 1/3 (weight 3); the third client has no data.
    table = _table(model=[[1], [1, 0, 0], []])
    found = summary.summarize(table, 'model', 'accuracy')
    self.assertEqual(found.clients, 2)
    self.assertEqual(found.left_out, 1)
    self.assertAlmostEqual(found.weighted_mean, 2 / 4)
    self.assertAlmostEqual(found.uniform_mean, (1 + 1 / 3) / 2)
    self.assertAlmostEqual(found.deviation, 1 / 3)
    # 1/3 holds exactly 3/4 of the weight, and exactly half of the clients.
    self.assertAlmostEqual(found.weighted_quantiles[0.5], 1 / 3)
    self.assertAlmostEqual(found.weighted_quantiles[0.75], 2 / 3)
    self.assertAlmostEqual(found.weighted_quantiles[0.9], 1)
    self.assertAlmostEqual(found.uniform_quantiles[0.25], 1 / 3)
    self.assertAlmostEqual(found.uniform_quantiles[0.5], 2 / 3)
    self.assertAlmostEqual(found.uniform_quantiles[0.75], 1)

  @parameterized.parameters(1, 7, 20, 30, 100)
  def test_quantiles_equal_numpys(self, clients):
    rng = np.random.default_rng(clients)
    sizes = rng.integers(1, 9, clients)
    table = _table(model=[list(rng.random(size)) for size in sizes])
    found = summary.summarize(table, 'model', 'accuracy')
    values = table.values('model', 'accuracy')
    for q in summary.QUANTILES:
      expected = np.quantile(values, q, method='averaged_inverted_cdf')
      self.assertAlmostEqual(found.uniform_quantiles[q], expected)
      # A client with weight w counts like w clients with weight 1.
      expected = np.quantile(
          np.repeat(values, sizes), q, method='averaged_inverted_cdf'
      )
      self.assertAlmostEqual(found.weighted_quantiles[q], expected)

  def test_a_client_that_diverged_is_not_averaged_away(self):
    table = _table(model=[[1], [math.nan], [0]])
    found = summary.summarize(table, 'model', 'accuracy')
    self.assertEqual(found.clients, 3)
    self.assertTrue(math.isnan(found.weighted_mean))
    self.assertTrue(math.isnan(found.uniform_quantiles[0.01]))

  def test_an_infinite_loss_is_infinite_without_a_warning(self):
    table = _table(before=[[1], [math.inf], [0]], after=[[1], [math.inf], [2]])
    for name in ('before', 'after'):
      found = summary.summarize(table, name, 'accuracy')
      self.assertEqual(found.weighted_mean, math.inf)
      self.assertTrue(math.isnan(found.weighted_error))
      self.assertEqual(found.weighted_quantiles[0.9], math.inf)
    found = _compare(table, higher_is_better=False)
    np.testing.assert_array_equal(found.changes, [0, np.nan, 2])

  def test_selected_clients_are_summarized_separately(self):
    table = _table(model=[[1], [1, 0, 0], [0, 0], []])
    part = table.select(np.array([False, True, False, True]))
    self.assertEqual(part.client_ids, ('c1', 'c3'))
    self.assertSequenceEqual(list(part.train_examples), [30, 0])
    found = summary.summarize(part, 'model', 'accuracy')
    self.assertEqual((found.clients, found.left_out), (1, 1))
    self.assertAlmostEqual(found.weighted_mean, 1 / 3)

  @parameterized.parameters(
      ('other', 'accuracy', r"models \['model'\], found 'other'"),
      ('model', 'loss', r"metrics \['accuracy'\] under 'model'.*'loss'"),
  )
  def test_unknown_names(self, model, metric, message):
    with self.assertRaisesRegex(ValueError, message):
      summary.summarize(_table(model=[[1]]), model, metric)

  def test_no_test_data(self):
    with self.assertRaisesRegex(ValueError, 'found none at 2 clients'):
      summary.summarize(_table(model=[[], []]), 'model', 'accuracy')


class CompareTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    # Hurt on 5 of 5, hurt on 4 of 4, one loss and one gain, helped, no data.
    self.table = _table(
        before=[[1] * 5, [1] * 4, [1, 0], [0], []],
        after=[[0] * 5, [0] * 4, [0, 1], [1], []],
    )

  def test_hurt_and_helped_by_hand(self):
    found = _compare(self.table)
    # With 4 fair coins p is 1/16 at best, and with 5 coins 1/32: only the first
    # client can raise an alarm, and it does.
    np.testing.assert_allclose(found.p_hurt[:4], [1 / 32, 1 / 16, 3 / 4, 1])
    np.testing.assert_allclose(found.p_helped[:4], [1, 1, 3 / 4, 1 / 2])
    self.assertEqual(
        found.hurt,
        summary.AffectedClients(
            clients=2,
            share=2 / 4,
            beyond_chance=1,
            beyond_chance_share=1 / 4,
            expected_by_chance=1 / 32,
            discoveries=0,  # 1/32 > 0.05 * 1/4.
        ),
    )
    self.assertEqual(found.helped.clients, 1)
    self.assertEqual(found.helped.beyond_chance, 0)
    self.assertEqual(found.equal, 1)
    # Only the first client has 5 examples that are scored differently.
    self.assertEqual(found.testable, 1)
    # Two of three are worse: 2 P(Binomial(3, 1/2) >= 2) = 1.
    self.assertEqual(found.p_sign, 1)

  def test_change_by_hand(self):
    found = _compare(self.table)
    np.testing.assert_array_equal(found.changes, [-1, -1, 0, 1, np.nan])
    self.assertAlmostEqual(found.change.weighted_mean, (-5 - 4 + 0 + 1) / 12)
    self.assertAlmostEqual(found.change.uniform_mean, -1 / 4)
    self.assertEqual(found.change.left_out, 1)

  def test_correlation_by_hand(self):
    # First halves: baseline 1, 0, 1/2, change -1, 1, 0. Second ones: baseline
    # 1, 0, 0, change 0, 1, 0. A client with one example is left out.
    table = _table(
        before=[[1, 1], [0, 0], [1, 0, 0], [1]],
        after=[[0, 1], [1, 1], [1, 0, 0], [0]],
    )
    expected = (
        np.corrcoef([-1, 1, 0], [1, 0, 0])[0, 1]
        + np.corrcoef([0, 1, 0], [1, 0, 0.5])[0, 1]
    ) / 2
    self.assertAlmostEqual(_compare(table).correlation, expected)

  @parameterized.parameters(10, 150)
  def test_correlation_without_an_effect_is_zero(self, examples):
    # Clients differ, but both models are right equally often. On the same
    # examples the correlation would be -.5 or so.
    rng = np.random.default_rng(examples)
    right = rng.uniform(0.5, 0.9, 2000)
    draw = lambda: [list(rng.random(examples) < p) for p in right]
    before, after = draw(), draw()
    found = _compare(_table(before=before, after=after))
    self.assertBetween(found.correlation, -0.07, 0.07)
    values = np.mean(before, axis=1)
    naive = np.corrcoef(np.mean(after, axis=1) - values, values)[0, 1]
    self.assertLess(naive, -0.1)

  def test_correlation_with_an_effect_is_found(self):
    # The worse the baseline, the larger the gain.
    rng = np.random.default_rng(0)
    right = rng.uniform(0.2, 0.9, 500)
    draw = lambda chances: [list(rng.random(100) < p) for p in chances]
    found = _compare(_table(before=draw(right), after=draw(0.5 * right + 0.45)))
    self.assertLess(found.correlation, -0.5)

  @parameterized.parameters((3, 41), (0, 6), (1, 5), (4, 4))
  def test_sign_test_over_clients_equals_scipys(self, helped, hurt):
    table = _table(
        before=[[0]] * helped + [[1]] * hurt + [[1]],
        after=[[1]] * helped + [[0]] * hurt + [[1]],
    )
    expected = stats.binomtest(helped, helped + hurt).pvalue
    self.assertAlmostEqual(_compare(table).p_sign, expected, places=12)

  def test_interval_of_the_change(self):
    found = _compare(self.table)
    expected = intervals.over_clients(
        np.array([-1.0, -1, 0, 1]), np.array([5.0, 4, 2, 1])
    )
    self.assertEqual((found.low, found.high), expected)

  def test_lower_is_better_swaps_hurt_and_helped(self):
    higher, lower = _compare(self.table), _compare(self.table, False)
    self.assertEqual(lower.hurt, higher.helped)
    self.assertEqual(lower.helped, higher.hurt)
    self.assertEqual(lower.change, higher.change)

  def test_discoveries_by_hand(self):
    # p = 1/1024, 1/32 and 1: the limits of three tests are 1/60, 2/60, 3/60.
    table = _table(
        before=[[1] * 10, [1] * 5, [0]], after=[[0] * 10, [0] * 5, [0]]
    )
    self.assertEqual(_compare(table).hurt.discoveries, 2)
    # With a fourth client the second limit is 2/80 < 1/32.
    table = _table(
        before=[[1] * 10, [1] * 5, [0], [0]],
        after=[[0] * 10, [0] * 5, [0], [0]],
    )
    self.assertEqual(_compare(table).hurt.discoveries, 1)

  def test_p_values_equal_scipys(self):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 60, 40)
    before = [list(rng.integers(0, 2, size)) for size in sizes]
    after = [list(rng.integers(0, 2, size)) for size in sizes]
    found = _compare(_table(before=before, after=after))
    for i in range(40):
      gain = np.array(after[i]) - np.array(before[i])
      differing = int((gain != 0).sum())
      if differing:
        expected = stats.binomtest(
            int((gain < 0).sum()), differing, alternative='greater'
        )
        self.assertAlmostEqual(found.p_hurt[i], expected.pvalue)

  @parameterized.parameters(0, 1, 4, 5, 7, 8, 50, 333)
  def test_expectation_is_the_tests_level_under_the_null(self, differing):
    table = _table(
        before=[[1] * differing + [1]], after=[[0] * differing + [1]]
    )
    # Sums the probabilities of all outcomes of the coins with p < 0.05.
    outcomes = np.arange(differing + 1)
    p = np.array(
        [
            sum(math.comb(differing, k) for k in range(b, differing + 1))
            / 2**differing
            for b in outcomes
        ]
    )
    chance = np.array(
        [math.comb(differing, b) / 2**differing for b in outcomes]
    )
    self.assertAlmostEqual(
        _compare(table).hurt.expected_by_chance, chance[p < 0.05].sum()
    )

  def test_scores_that_are_counts(self):
    # Wrong words and spoken words. Five utterances are worse by a word, one is
    # better by ten, and three words are heard in silence. Six of seven are
    # worse, so p = 8/128. Yet the speaker is helped: 17 wrong words become 15.
    table = client_table.ClientTable(
        client_ids=('speaker',),
        train_examples=np.array([7]),
        test_examples=np.array([7]),
        participated=np.array([True]),
        scores={
            name: {
                'accuracy': client_table.Scores(
                    np.array(errors, float), np.array([9, 9, 9, 9, 9, 20, 0.0])
                )
            }
            for name, errors in (
                ('before', [1, 1, 1, 1, 1, 12, 0]),
                ('after', [2, 2, 2, 2, 2, 2, 3]),
            )
        },
    )
    found = _compare(table, higher_is_better=False)
    np.testing.assert_allclose(found.p_hurt, [8 / 128])
    self.assertEqual((found.hurt.clients, found.helped.clients), (0, 1))

  def test_models_that_do_not_differ(self):
    table = _table(before=[[1, 0], [1]], after=[[1, 0], [1]])
    found = _compare(table)
    self.assertEqual(found.equal, 2)
    self.assertEqual(found.hurt.share, 0)
    self.assertEqual(found.hurt.expected_by_chance, 0)
    self.assertTrue(math.isnan(found.correlation))

  def test_different_examples_are_refused(self):
    table = _table(before=[[1, 0]], after=[[1, 0]])
    table.scores['after']['accuracy'].weight[0] = 2
    with self.assertRaisesRegex(
        ValueError, "scored on the same examples.*'accuracy'"
    ):
      _compare(table)

  def test_to_dict_leaves_out_what_is_per_client(self):
    numbers = _compare(self.table).to_dict()
    self.assertCountEqual(
        numbers,
        [
            'change',
            'low',
            'high',
            'hurt',
            'helped',
            'equal',
            'p_sign',
            'testable',
            'correlation',
        ],
    )
    self.assertEqual(numbers['hurt']['clients'], 2)


class CostTest(absltest.TestCase):

  def test_personal_fraction(self):
    cost = summary.Cost(
        *range(1, 8), seconds=2.5, personal_parameters=1, shared_parameters=3
    )
    self.assertEqual(cost.personal_fraction, 0.25)
    self.assertEqual(cost.to_dict()['personal_fraction'], 0.25)
    self.assertEqual(cost.to_dict()['gradient_steps'], 1)
    self.assertEqual(cost.choice_share, 0)

  def test_share_of_the_choice(self):
    cost = summary.Cost(
        *range(1, 8),
        seconds=5.0,
        personal_parameters=1,
        shared_parameters=3,
        choice_seconds=2.0,
        pretraining_seconds=1.0,
    )
    self.assertEqual(cost.choice_share, 0.25)
    self.assertEqual(cost.to_dict()['choice_share'], 0.25)


if __name__ == '__main__':
  absltest.main()
