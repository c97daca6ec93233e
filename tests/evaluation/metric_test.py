# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which of two values of a metric is better."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tff_partial.evaluation import metric as metric_lib

ACCURACY = metric_lib.Metric('accuracy', higher_is_better=True)
ERRORS = metric_lib.Metric('errors', higher_is_better=False)


class MetricTest(parameterized.TestCase):

  @parameterized.parameters((ACCURACY, 1, 0.25), (ERRORS, -1, -0.25))
  def test_gain_is_positive_where_the_second_value_is_better(
      self, metric, sign, gain
  ):
    self.assertEqual(metric.sign, sign)
    self.assertEqual(metric.gain(0.5, 0.75), gain)

  @parameterized.parameters(ACCURACY, ERRORS)
  def test_nan_is_neither_better_nor_worse(self, metric):
    gains = metric.gain(
        np.array([np.nan, 0.5, np.nan]), np.array([0.5, np.nan, np.nan])
    )
    self.assertFalse((gains > 0).any())
    self.assertFalse((gains < 0).any())

  @parameterized.parameters(
      ('accuracy', True, None, [0.2, np.nan], True),
      ('accuracy', True, None, [0.2, 3.0], False),
      ('loss', False, None, [0.2], False),
      ('word_error_rate', False, None, [1.2], True),
      ('wer', False, True, [1.2], True),
      ('auc', True, False, [0.2], False),
  )
  def test_percent(self, name, higher_is_better, percent, values, expected):
    metric = metric_lib.Metric(
        name, higher_is_better=higher_is_better, percent=percent
    )
    self.assertEqual(metric.shown_in_percent(np.array(values)), expected)


if __name__ == '__main__':
  absltest.main()
