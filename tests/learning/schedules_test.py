# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Factors of learning rates, round by round."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_partial.learning import schedules


class SchedulesTest(parameterized.TestCase):

  @parameterized.named_parameters(
      # 1/2 and 2/2, then 3/3, 2/3 and 1/3, and 0 after the end.
      (
          'linear',
          schedules.Linear(total_rounds=5, warmup_rounds=2),
          [1 / 2, 1, 1, 2 / 3, 1 / 3, 0, 0],
      ),
      (
          'linear_without_warmup',
          schedules.Linear(total_rounds=4),
          [1, 0.75, 0.5, 0.25, 0],
      ),
      ('staircase', schedules.Staircase(every=2), [1, 1, 0.5, 0.5, 0.25]),
      (
          'staircase_factor',
          schedules.Staircase(every=1, factor=0.25),
          [1, 0.25, 0.0625],
      ),
  )
  def test_factors(self, schedule, expected):
    in_graph = tf.function(schedule)
    factors = [in_graph(tf.constant(r)) for r in range(len(expected))]
    self.assertEqual({factor.dtype for factor in factors}, {tf.float32})
    np.testing.assert_allclose(factors, expected, rtol=1e-6)

  @parameterized.named_parameters(
      (
          'rounds',
          lambda: schedules.Linear(total_rounds=0),
          'total_rounds above 0',
      ),
      (
          'warmup',
          lambda: schedules.Linear(total_rounds=5, warmup_rounds=5),
          'fewer warm-up rounds than the 5 rounds of training, found 5',
      ),
      (
          'negative_warmup',
          lambda: schedules.Linear(total_rounds=5, warmup_rounds=-1),
          'found -1',
      ),
      ('every', lambda: schedules.Staircase(every=0), 'every above 0'),
      (
          'factor',
          lambda: schedules.Staircase(every=1, factor=0),
          'factor above 0',
      ),
  )
  def test_bad_arguments(self, create, message):
    with self.assertRaisesRegex(ValueError, message):
      create()


if __name__ == '__main__':
  absltest.main()
