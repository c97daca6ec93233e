# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Intervals by hand, and how often they contain the mean."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats

from benchmarks import coverage
from tff_partial.evaluation import intervals


class OverClientsTest(parameterized.TestCase):

  def test_equal_weights_are_students_interval(self):
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.3])
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    found = intervals.over_clients(values, np.full(5, 7.0))
    np.testing.assert_allclose(found, expected)

  def test_weights_by_hand(self):
    # Shares 1/6, 1/3, 1/2 with squares 14/36; mean 0/6 + 3/3 + 6/2 = 4.
    low, high = intervals.over_clients(
        np.array([0.0, 3.0, 6.0]), np.array([1.0, 2.0, 3.0])
    )
    variance = (
        (4 / 6) ** 2 / (1 - 2 / 6 + 14 / 36)
        + (1 / 3) ** 2 / (1 - 2 / 3 + 14 / 36)
        + (2 / 2) ** 2 / (1 - 2 / 2 + 14 / 36)
    )
    half = stats.t.ppf(0.975, 36 / 14 - 1) * math.sqrt(variance)
    np.testing.assert_allclose([low, high], [4 - half, 4 + half])

  def test_variance_is_unbiased_for_skewed_weights(self):
    rng = np.random.default_rng(0)
    weights = np.exp(1.5 * rng.normal(size=20))
    found = [
        intervals._variance_over_clients(rng.normal(size=20), weights)[0]
        for _ in range(4000)
    ]
    expected = np.square(weights).sum() / weights.sum() ** 2
    self.assertAlmostEqual(np.mean(found) / expected, 1, delta=0.06)

  @parameterized.parameters(
      (10, 0.0), (20, 1.0), (20, 1.5), (45, 1.0), (45, 1.5), (320, 1.0)
  )
  def test_covers_the_mean_at_its_level(self, clients, weight_deviation):
    found = coverage.simulate(
        {'clients': coverage.clients_alone},
        clients=clients,
        seeds=1,
        seed_deviation=0.0,
        weight_deviation=weight_deviation,
        trials=2000,
    )
    # 0.95 +- 3 standard deviations.
    self.assertBetween(found['clients'][0], 0.935, 0.965)

  def test_one_client_has_no_interval(self):
    low, high = intervals.over_clients(np.array([1.0]), np.array([1.0]))
    self.assertTrue(math.isnan(low) and math.isnan(high))


class TwoWayTest(parameterized.TestCase):

  def test_by_hand(self):
    # d_i = 1, 5; m = 3; d_s = 1, 5; r = d_is - d_i - d_s + m = +-1.
    values = np.array([[0.0, 2.0], [2.0, 8.0]])
    low, high = intervals.two_way(values, np.ones([2, 2]))
    # V_c = (4/4 + 4/4)/(1/2), V_s = (4 + 4)/2, V_x = 4/(2 * 1 * 4).
    over_clients, over_seeds = 4.0, 4.0 - 0.5
    variance = over_clients + over_seeds
    freedom = variance**2 / (over_clients**2 / 1 + over_seeds**2 / 1)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    np.testing.assert_allclose([low, high], [3 - half, 3 + half])

  def test_formula_for_complete_cells(self):
    rng = np.random.default_rng(0)
    n, s = 30, 4
    values = rng.normal(size=(n, s)) + 3 * rng.normal(size=s)
    weights = np.repeat(rng.integers(1, 20, [n, 1]), s, axis=1).astype(float)
    w = weights[:, 0]
    by_client = values.mean(axis=1)
    by_seed = np.average(values, axis=0, weights=w)
    mean = by_seed.mean()
    residuals = values - by_client[:, np.newaxis] - by_seed + mean
    cells = s / (s - 1) * ((w[:, np.newaxis] * residuals) ** 2).sum()
    cells /= (s * w.sum()) ** 2
    shares = w / w.sum()
    f = 1 / (shares**2).sum() - 1
    low, high = intervals.over_clients(by_client, w)
    clients = ((high - low) / 2 / stats.t.ppf(0.975, f)) ** 2
    seeds = by_seed.var(ddof=1) / s - cells
    self.assertGreater(seeds, 0)
    freedom = (clients + seeds) ** 2 / (clients**2 / f + seeds**2 / (s - 1))
    half = stats.t.ppf(0.975, freedom) * math.sqrt(clients + seeds)
    np.testing.assert_allclose(
        intervals.two_way(values, weights), [mean - half, mean + half]
    )

  def test_seeds_that_do_not_differ_add_nothing(self):
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.3])
    weights = np.arange(1.0, 6)
    expected = intervals.over_clients(values, weights)
    for seeds in (1, 3):
      found = intervals.two_way(
          np.repeat(values[:, np.newaxis], seeds, axis=1),
          np.repeat(weights[:, np.newaxis], seeds, axis=1),
      )
      np.testing.assert_allclose(found, expected)

  def test_clients_that_seeds_do_not_share_are_not_counted_twice(self):
    # Each seed evaluates its own clients, and seeds make no difference.
    rng = np.random.default_rng(0)
    covered, trials, widths = 0, 500, []
    weights = np.kron(np.eye(3), np.ones([40, 1]))
    for _ in range(trials):
      values = rng.normal(size=(120, 3))
      low, high = intervals.two_way(values, weights)
      covered += low <= 0 <= high
      widths.append(high - low)
    self.assertBetween(covered / trials, 0.93, 0.99)
    # The interval over all 120 clients is 2 * 1.98 / sqrt(120) = 0.36 wide.
    self.assertLess(np.median(widths), 0.4)

  # Over 320 clients alone, 95% intervals cover .95, .88 and .77.
  @parameterized.parameters(
      (320, 3, 0.0), (320, 3, 0.1), (320, 3, 0.2), (45, 3, 0.2), (320, 5, 0.1)
  )
  def test_covers_the_mean_when_seeds_differ(self, clients, seeds, deviation):
    found = coverage.simulate(
        coverage.INTERVALS,
        clients=clients,
        seeds=seeds,
        seed_deviation=deviation,
        trials=600,
    )
    two_way, _ = found['two-way']
    alone, _ = found['clients alone']
    self.assertBetween(two_way, 0.88, 0.985)
    if deviation >= 0.1:
      self.assertGreater(two_way, alone)


if __name__ == '__main__':
  absltest.main()
