# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text in CSV files that people open with a spreadsheet.

A spreadsheet computes cells that begin with such as `=`, also if the text is
what somebody chose as a name. A quote in front makes it show the text.
"""

from collections.abc import Iterable
import csv
import io

_COMPUTED = ('=', '+', '-', '@', '\t', '\r')
_QUOTE = "'"


def escape(text: str) -> str:
  """The cell for a text; numbers need no escape."""
  return _QUOTE + text if text.startswith((*_COMPUTED, _QUOTE)) else text


def line(cells: Iterable[object]) -> str:
  """A line of a CSV file, which ends with a line feed.

  The writer of Python 3.11 quotes a carriage return, at which readers end a
  line, only if its own lines end with one.
  """
  text = io.StringIO()
  csv.writer(text).writerow(cells)
  return text.getvalue().removesuffix('\r\n') + '\n'


def unescape(cell: str) -> str:
  """The text that `escape` made the cell of."""
  return cell.removeprefix(_QUOTE)
