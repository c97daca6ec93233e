# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learning rates round by round."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_partial.learning import schedules


class SchedulesTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('constant', schedules.constant(0.5), [0.5] * 4),
      # 1/2 and 2/2 of 6, then 3/3, 2/3 and 1/3 of 6, and 0 after the end.
      (
          'linear',
          schedules.linear(6.0, total_rounds=5, warmup_rounds=2),
          [3, 6, 6, 4, 2, 0, 0],
      ),
      (
          'linear_without_warmup',
          schedules.linear(1.0, total_rounds=4),
          [1, 0.75, 0.5, 0.25, 0],
      ),
      ('staircase', schedules.staircase(8.0, every=2), [8, 8, 4, 4, 2]),
      (
          'staircase_factor',
          schedules.staircase(8.0, every=1, factor=0.25),
          [8, 2, 0.5],
      ),
  )
  def test_rates(self, schedule, expected):
    in_graph = tf.function(schedule)
    rates = [in_graph(tf.constant(r)) for r in range(len(expected))]
    self.assertEqual({rate.dtype for rate in rates}, {tf.float32})
    np.testing.assert_allclose(rates, expected, rtol=1e-6)

  @parameterized.named_parameters(
      (
          'rate',
          lambda: schedules.constant(0),
          'learning_rate above 0, found 0',
      ),
      (
          'rounds',
          lambda: schedules.linear(1, total_rounds=0),
          'total_rounds above 0',
      ),
      (
          'warmup',
          lambda: schedules.linear(1, total_rounds=5, warmup_rounds=5),
          'fewer warm-up rounds than the 5 rounds of training, found 5',
      ),
      (
          'negative_warmup',
          lambda: schedules.linear(1, total_rounds=5, warmup_rounds=-1),
          'found -1',
      ),
      ('every', lambda: schedules.staircase(1, every=0), 'every above 0'),
      (
          'factor',
          lambda: schedules.staircase(1, every=1, factor=0),
          'factor above 0',
      ),
  )
  def test_bad_arguments(self, create, message):
    with self.assertRaisesRegex(ValueError, message):
      create()


if __name__ == '__main__':
  absltest.main()
