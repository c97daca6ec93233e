# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores of forecasts, by hand and from tables."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from benchmarks import scoring


class ScoringTest(parameterized.TestCase):

  @parameterized.parameters(
      # All right: low = 0.025^(1/n). One of two: by symmetry, and
      # P(X >= 1) = 1 - (1 - low)^2 = 0.025.
      (8, 8, 0.025 ** (1 / 8), 1.0),
      (0, 4, 0.0, 1 - 0.025 ** (1 / 4)),
      (1, 2, 1 - math.sqrt(0.975), math.sqrt(0.975)),
      (0, 0, 0.0, 1.0),
  )
  def test_clopper_pearson(self, right, trials, low, high):
    np.testing.assert_allclose(
        scoring.clopper_pearson(right, trials), (low, high), atol=1e-9
    )

  @parameterized.parameters(
      (5, 0, 2 / 2**5),
      (7, 1, 2 * (8 + 1) / 2**8),
      (9, 2, 2 * (55 + 11 + 1) / 2**11),
      (1, 1, 1.0),
      (0, 0, 1.0),
  )
  def test_mcnemar(self, only_first, only_second, expected):
    first = [True] * (only_first + 3) + [False] * (only_second + 2)
    second = [False] * only_first + [True] * (3 + only_second) + [False] * 2
    self.assertAlmostEqual(scoring.mcnemar(first, second), expected)
    self.assertAlmostEqual(scoring.mcnemar(second, first), expected)

  def test_balanced_accuracy(self):
    events = [True] * 4 + [False]
    self.assertEqual(scoring.balanced_accuracy([True] * 5, events), 0.5)
    self.assertEqual(
        scoring.balanced_accuracy([True, False, False, False, False], events),
        (1 / 4 + 1) / 2,
    )
    self.assertTrue(math.isnan(scoring.balanced_accuracy([True], [True])))

  def test_score(self):
    events = [True, True, True, False, False]
    constants = [scoring.better_constant(events)] * 5
    found = scoring.score([True, True, False, False, False], events, constants)
    self.assertEqual((found.events, found.right), (5, 4))
    self.assertEqual(found.constant_right, 3)
    self.assertAlmostEqual(found.balanced, (2 / 3 + 1) / 2)
    self.assertEqual(found.p_value, 1)  # Two discordant events to one.
    self.assertFalse(scoring.better_constant([True, False, False]))

  def test_rank_correlation(self):
    # 1 - 6 sum(d^2) / (n (n^2 - 1)) with d = 0, 1, -1, 0.
    self.assertAlmostEqual(
        scoring.rank_correlation([1, 2, 3, 9], [10, 30, 20, 40]), 1 - 12 / 60
    )
    self.assertTrue(math.isnan(scoring.rank_correlation([1, 1, 1], [1, 2, 3])))
    self.assertTrue(math.isnan(scoring.rank_correlation([1, 2], [1, 2])))

  def test_probability(self):
    of = scoring.probability_negative
    self.assertAlmostEqual(of(0.1, 0.0, 0.2, repeats=4), 0.025)
    self.assertAlmostEqual(of(-0.1, -0.2, 0.0, repeats=4), 0.975)
    self.assertEqual(of(0.0, -1.0, 1.0, repeats=3), 0.5)
    # Student's t with one degree of freedom is Cauchy's distribution.
    half = math.tan(math.pi * 0.475)
    self.assertAlmostEqual(of(-1.0, -1 - half, -1 + half, repeats=2), 0.75)
    self.assertEqual(of(-1.0, -1.0, -1.0, repeats=2), 1)

  def test_brier_and_calibration(self):
    probabilities, events = [0.1, 0.2, 0.8, 1.0], [False, True, True, True]
    self.assertAlmostEqual(
        scoring.brier(probabilities, events), (0.01 + 0.64 + 0.04) / 4
    )
    found = scoring.calibration(probabilities, events)
    np.testing.assert_allclose(found, [(2, 0.15, 0.5), (2, 0.9, 1.0)])


if __name__ == '__main__':
  absltest.main()
