# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Forecasts from paired rehearsals."""

import math

from absl.testing import absltest
import numpy as np

from tff_partial import errors
from tff_partial.evaluation import forecast


class ForecastTest(absltest.TestCase):

  def test_interval_by_hand(self):
    ratios = np.array([0.02, 0.04, 0.06, 0.04])
    found = forecast.forecast(np.exp(ratios), np.ones(4))
    # Student's t with 3 degrees of freedom; the deviation is sqrt(8e-4 / 3).
    half = 3.182446305284263 * math.sqrt(8e-4 / 3) / 2
    np.testing.assert_allclose(
        [found.log_ratio, found.low, found.high],
        [0.04, 0.04 - half, 0.04 + half],
    )
    self.assertIs(found.call, False)  # The second algorithm's loss is smaller.

  def test_calls_the_first(self):
    found = forecast.forecast([0.9, 0.91, 0.89], [1.0, 1.0, 1.0])
    self.assertIs(found.call, True)

  def test_ties_and_small_differences_are_not_called(self):
    self.assertIsNone(forecast.forecast([1.0, 2.0], [2.0, 1.0]).call)
    close = forecast.forecast([1.005, 1.0051], [1.0, 1.0])
    self.assertGreater(close.low, 0)
    self.assertIsNone(close.call)

  def test_one_repeat_makes_no_call(self):
    found = forecast.forecast([0.5], [1.0])
    self.assertAlmostEqual(found.log_ratio, math.log(0.5))
    self.assertIsNone(found.call)

  def test_names_repeats_without_a_number(self):
    found = forecast.forecast([1.0, math.nan, 1.0], [1.0, 1.0, math.inf])
    self.assertEqual(found.not_finite, (1, 2))
    self.assertIsNone(found.call)
    self.assertTrue(math.isnan(found.log_ratio))

  def test_refuses_unpaired_losses(self):
    with self.assertRaisesRegex(errors.SettingsError, 'every repeat'):
      forecast.forecast([1.0], [1.0, 2.0])


if __name__ == '__main__':
  absltest.main()
