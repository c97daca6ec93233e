# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The frontier of a comparison."""

from absl.testing import absltest
from absl.testing import parameterized

from tff_partial.reporting import comparison_plots
from tff_partial.reporting import formatting

POINTS = [
    ('large', 400, 3.0),
    ('small', 100, 1.0),
    ('same size', 100, 2.0),
    ('no better', 200, 2.0),
    ('worse', 300, -1.0),
]


class FrontierTest(parameterized.TestCase):

  @parameterized.parameters(
      (1, [(100, 2.0), (400, 3.0)]),
      (-1, [(100, 1.0), (300, -1.0)]),
  )
  def test_nobody_who_stores_as_little_is_better(self, sign, expected):
    self.assertEqual(comparison_plots.frontier(POINTS, sign=sign), expected)

  def test_gain_per_kilobyte(self):
    self.assertEqual(formatting.per_kilobyte(0.5, 250), 2.0)
    self.assertIsNone(formatting.per_kilobyte(0.5, 0))


if __name__ == '__main__':
  absltest.main()
