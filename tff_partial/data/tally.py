# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts of what an importer left out or changed, and the table of them."""

import collections
from collections.abc import Mapping

_MAX_LENGTH = 100  # Characters of a first example.


class Tally(collections.Counter):
  """Counts by reason, and remembers the first example of each reason.

  Attributes:
    first: The first example of each reason that has one.
  """

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self.first: dict[str, str] = {}

  def add(self, reason: str, example: str) -> None:
    """Counts one more.

    Args:
      reason: What happened to what, such as 'photos without a file'.
      example: Names what was counted, such as a file or a line, and what was
        found there.
    """
    self[reason] += 1
    if reason not in self.first:
      words = ' '.join(example.split())
      self.first[reason] = (
          words
          if len(words) <= _MAX_LENGTH
          else words[: _MAX_LENGTH - 3] + '...'
      )


def format_line(tally: Tally) -> str:
  """Formats a tally for an error: 'a (2, the first: x), b (1)'."""
  return ', '.join(
      f'{reason} ({count:,}'
      + (f', the first: {tally.first[reason]}' if reason in tally.first else '')
      + ')'
      for reason, count in _sorted(tally)
  )


def format_table(kept: int, tallies: Mapping[str, Tally]) -> str:
  """Formats the table that an import ends with.

  Args:
    kept: The number of examples that were written.
    tallies: What happened to others, by a heading such as 'left out'.

  Returns:
    One line for each reason: heading, reason, count and the first example.
  """
  rows = [('', '', 'count', 'first'), ('kept', 'examples', f'{kept:,}', '')]
  for heading, tally in tallies.items():
    rows += [
        (heading, reason, f'{count:,}', tally.first.get(reason, ''))
        for reason, count in _sorted(tally)
    ]
  widths = [max(len(row[i]) for row in rows) for i in range(3)]
  return '\n'.join(
      f'{heading:<{widths[0]}}  {reason:<{widths[1]}}  {count:>{widths[2]}}'
      f'  {first}'.rstrip()
      for heading, reason, count, first in rows
  )


def _sorted(tally: Tally) -> list[tuple[str, int]]:
  return sorted((reason, n) for reason, n in tally.items() if n)
