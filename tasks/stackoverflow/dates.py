# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dates as people's files have them: ISO 8601, RFC 2822, Twitter's, epochs."""

import datetime
import email.utils
import math
import re
from typing import Any, NamedTuple

from tff_partial import errors

_NUMBER = re.compile(r'[-+]?\d+(\.\d+)?')
_COMPACT_DAY = re.compile(r'\d{8}')  # 20140122, ISO 8601's basic format.
_TWITTER = '%a %b %d %H:%M:%S %z %Y'
_UTC = re.compile(r'\s*(UTC|GMT)$')
# Units of numbers from the least magnitude that each may have: the smallest is
# the year 1973 in that unit, and the year 5138 in the unit before.
_UNITS = (
    (1e17, 'nanoseconds', 1e9),
    (1e14, 'microseconds', 1e6),
    (1e11, 'milliseconds', 1e3),
    (0, 'seconds', 1.0),
)


class Date(NamedTuple):
  """A point in time.

  Attributes:
    seconds: Seconds since 1970, in UTC.
    unit: The unit of a number; empty if the date was not a number.
  """

  seconds: float
  unit: str


def parse(value: Any) -> Date:
  """Parses a date.

  Args:
    value: Text in ISO 8601, RFC 2822 ('Wed, 22 Jan 2014 04:00:55 +0100') or
      Twitter's format ('Wed Jan 22 04:00:55 +0000 2014'), or the time since
      1970 in seconds, milliseconds, microseconds or nanoseconds, as a number or
      as text. A date without a time zone is in UTC.

  Raises:
    errors.DataError: If it is none of these.
  """
  try:
    if isinstance(value, str):
      return _parse_text(value.strip())
    if isinstance(value, (int, float)) and not isinstance(value, bool):
      return _parse_number(float(value))
  except (ValueError, TypeError, OverflowError, IndexError):
    pass
  raise errors.DataError(
      'Expected a date such as 2014-01-22T04:00:55, Wed, 22 Jan 2014 04:00:55'
      ' +0000 or seconds since 1970, found'
      f' {value!r}.'
  )


def _parse_text(text: str) -> Date:
  if _NUMBER.fullmatch(text) and not _COMPACT_DAY.fullmatch(text):
    return _parse_number(float(text))
  for parse_fn in (
      lambda t: datetime.datetime.fromisoformat(_UTC.sub('+00:00', t)),
      lambda t: datetime.datetime.strptime(t, _TWITTER),
      email.utils.parsedate_to_datetime,
  ):
    try:
      time = parse_fn(text)
    except (ValueError, TypeError, IndexError):
      continue
    if time.tzinfo is None:
      time = time.replace(tzinfo=datetime.UTC)
    return Date(time.timestamp(), '')
  raise ValueError(text)


def _parse_number(number: float) -> Date:
  if not math.isfinite(number):
    raise ValueError(number)
  for least, unit, per_second in _UNITS:
    if abs(number) >= least:
      return Date(number / per_second, unit)
  raise AssertionError(number)
