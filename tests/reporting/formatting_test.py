# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""How numbers are shown to readers."""

import math

from absl.testing import absltest
from absl.testing import parameterized

from tff_partial.reporting import formatting


class FormattingTest(parameterized.TestCase):

  @parameterized.parameters(
      (0, '0 bytes'),
      (1, '1 byte'),
      (999, '999 bytes'),
      (1000, '1 kB'),
      (5_630_000, '5.63 MB'),
      (2_150_000_000, '2.15 GB'),
  )
  def test_size(self, num_bytes, expected):
    self.assertEqual(formatting.size(num_bytes), expected)

  @parameterized.parameters(
      (0.5, '0.5 seconds'),
      (12.345, '12.3 seconds'),
      (59.99, '1 minute'),
      (75, '1 minute and 15 seconds'),
      (3599.9, '1 hour'),
      (7384, '2 hours and 3 minutes'),
      (30 * 3600, '30 hours'),
  )
  def test_duration(self, seconds, expected):
    self.assertEqual(formatting.duration(seconds), expected)

  @parameterized.parameters(
      (0.2045, 'cer', '20.45%'),
      (0.5, 'accuracy', '50.00%'),
      (0.81716, 'loss', '0.8172'),
      (None, 'cer', '–'),
  )
  def test_other_metric(self, number, name, expected):
    self.assertEqual(formatting.other_metric(number, name), expected)

  @parameterized.parameters(
      (0.5, True, '+50.00'),
      (-0.5, True, '−50.00'),
      (-0.00001, True, '0.00'),
      (0.0, True, '0.00'),
      (0.25, False, '+0.25'),
      (-6.66e-18, False, '0'),
      (math.nan, True, '–'),
      (None, False, '–'),
  )
  def test_change(self, number, percent, expected):
    self.assertEqual(formatting.change(number, percent), expected)

  @parameterized.parameters(
      (2303.4, '+2,303', '2,303'),
      (12345.6, '+12,346', '12,346'),
      (999.6, '+1,000', '999.6'),
      (-3e6, '\N{MINUS SIGN}3,000,000', '-3,000,000'),
      (3e12, '+3e+12', '3e+12'),
  )
  def test_whole_numbers(self, number, change, value):
    self.assertEqual(formatting.change(number, percent=False), change)
    self.assertEqual(formatting.value(number, percent=False), value)

  @parameterized.parameters(
      (0.0049, '0.01'),
      (2.0, '2.00'),
      (2.001, '2.01'),
      (math.inf, '∞'),
      (None, '∞'),
  )
  def test_epsilon(self, number, expected):
    self.assertEqual(formatting.epsilon(number), expected)

  @parameterized.parameters(
      (836**-1.1, '0.00062'),
      (1e-5, '1e-05'),
      (0.0995, '0.1'),
      (None, '–'),
  )
  def test_delta(self, number, expected):
    self.assertEqual(formatting.delta(number), expected)

  def test_a_rounding_error_is_no_deviation(self):
    self.assertEqual(formatting.value(6.66e-18, percent=False), '0')
    self.assertEqual(formatting.value(1e-6, percent=False), '1e-06')

  @parameterized.parameters(
      (-0.0011, 0.0017, '−0.11 to +0.17', '95% interval −0.11 to +0.17'),
      (math.nan, math.nan, '–', 'no 95% interval'),
      (None, 0.1, '–', 'no 95% interval'),
  )
  def test_interval(self, low, high, ends, interval):
    self.assertEqual(formatting.ends(low, high, percent=True), ends)
    self.assertEqual(formatting.interval(low, high, percent=True), interval)

  def test_plus_minus(self):
    self.assertEqual(formatting.plus_minus(0.0031, percent=True), ' ± 0.31%')
    self.assertEqual(formatting.plus_minus(math.nan, percent=True), '')

  @parameterized.parameters(
      (0.0, '0.0%'), (0.0001, '<0.1%'), (0.125, '12.5%'), (math.nan, '–')
  )
  def test_share(self, number, expected):
    self.assertEqual(formatting.share(number), expected)


if __name__ == '__main__':
  absltest.main()
