# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dates in the forms that people's files have."""

from absl.testing import absltest
from absl.testing import parameterized

from tasks.stackoverflow import dates

_SECONDS = 1_390_363_255  # 2014-01-22T04:00:55Z.


class DatesTest(parameterized.TestCase):

  @parameterized.parameters(
      '2014-01-22T04:00:55',
      '2014-01-22T04:00:55Z',
      ' 2014-01-22 04:00:55 UTC ',
      '2014-01-22T05:00:55+01:00',
      'Wed Jan 22 04:00:55 +0000 2014',
      'Wed Jan 22 05:00:55 +0100 2014',
      'Wed, 22 Jan 2014 04:00:55 GMT',
      'Wed, 22 Jan 2014 05:00:55 +0100',
      '22 Jan 2014 04:00:55 -0000',
  )
  def test_text(self, value):
    self.assertEqual(dates.parse(value), (_SECONDS, ''))

  @parameterized.parameters(
      (_SECONDS, 'seconds'),
      (str(_SECONDS), 'seconds'),
      (f'{_SECONDS}.0', 'seconds'),
      (_SECONDS * 10**3, 'milliseconds'),
      (str(_SECONDS * 10**3), 'milliseconds'),
      (_SECONDS * 10**6, 'microseconds'),
      (_SECONDS * 10**9, 'nanoseconds'),
  )
  def test_numbers(self, value, unit):
    self.assertEqual(dates.parse(value), (_SECONDS, unit))

  def test_days(self):
    for value in ('2014-01-22', '20140122'):
      self.assertEqual(dates.parse(value).seconds, 1_390_348_800)

  @parameterized.parameters(
      *(
          '',
          'May',
          'nan',
          'inf',
          '2014-13-01',
          'Wed Foo 22 04:00:55 +0000 2014',
      ),
      *(float('nan'), float('inf'), 10**400, True, None, ([1],), ({},)),
  )
  def test_others_are_refused(self, value):
    with self.assertRaisesRegex(ValueError, 'Expected a date such as'):
      dates.parse(value)


if __name__ == '__main__':
  absltest.main()
