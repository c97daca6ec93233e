# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metrics of past rounds, as TFF's `CSVFileReleaseManager` writes them.

Its `key_fieldname` must be 'round', which is not its default.
"""

from collections.abc import Iterable, Mapping
import csv
import os
import pathlib
from typing import Any
import zlib

from absl import logging

from tff_partial import files

KEY = 'round'
CHECKSUM = 'crc'  # Of a row; files of other programs need not have it.


def checksum(row: Mapping[str, float]) -> int:
  """CRC-32 of the names and values of a row, in any order."""
  text = ''.join(f'{k}={float(v)!r}\n' for k, v in sorted(row.items()))
  return zlib.crc32(text.encode())


def read(path: str | os.PathLike[str]) -> list[dict[str, float]]:
  """Returns the rows of a metrics file as dictionaries, without empty values.

  A truncated or damaged line is left out. If there is no file, there are no
  rows.

  Args:
    path: A file that `tff.program.CSVFileReleaseManager(path,
      key_fieldname='round')` wrote. Lines without a column of this name count
      as damaged.
  """
  rows, _ = _complete_rows(path)
  return [
      {name: float(v) for name, v in row.items() if name != CHECKSUM}
      for row in rows
  ]


def missing(rows: Iterable[Mapping[str, Any]], last_round: int) -> list[int]:
  """The rounds from 1 to `last_round` that no row is about."""
  found = {float(row[KEY]) for row in rows}
  return [n for n in range(1, last_round + 1) if n not in found]


def trim(path: str | os.PathLike[str], last_round: int) -> None:
  """Removes the rows that a stopped run wrote after its last checkpoint.

  TFF's release manager removes them too when such a round is run again, but it
  cannot open a file with a truncated last line. A file that it was writing when
  the run was stopped is removed as well. The manager does not wait for
  the disk, so after a power failure rows of earlier rounds may be missing; a
  warning says so.

  Args:
    path: The metrics file; need not exist.
    last_round: The last round to keep.

  Raises:
    OSError: If the file cannot be written.
  """
  path = pathlib.Path(path)
  for partial in path.parent.glob(f'{path.name}_temp*'):
    partial.unlink()
  rows, damaged = _complete_rows(path)
  kept = [row for row in rows if float(row[KEY]) <= last_round]
  lost = missing(kept, last_round)
  if lost:
    logging.warning(
        '%s lacks %d of %d rounds, the first of them round %d. Curves and cost'
        ' leave them out.',
        path,
        len(lost),
        last_round,
        lost[0],
    )
  if len(kept) == len(rows) and not damaged:
    return
  names = list(dict.fromkeys(name for row in kept for name in row)) or [KEY]
  with files.replace(path) as partial, open(partial, 'w', newline='') as f:
    writer = csv.DictWriter(f, names)
    writer.writeheader()
    writer.writerows(kept)


def _complete_rows(
    path: str | os.PathLike[str],
) -> tuple[list[dict[str, str]], bool]:
  """Returns the complete rows, as text, and whether the file has more."""
  rows, damaged = [], False
  if not pathlib.Path(path).exists():
    return rows, damaged
  with open(path, newline='', encoding='utf-8', errors='replace') as f:
    # Each line by itself: a quote that was not there must not join others.
    lines = map(_split, f)
    names = next(lines, [])
    for values in lines:
      row = {n: v for n, v in zip(names, values) if v != ''}
      complete = len(values) == len(names) and KEY in row
      if complete and _are_numbers(row) and _is_intact(row):
        rows.append(row)
      else:
        damaged = True
  return rows, damaged or KEY not in names


def _split(line: str) -> list[str]:
  try:
    return next(csv.reader([line]))
  except csv.Error:  # A line of damage that is too long.
    return []


def _is_intact(row: Mapping[str, str]) -> bool:
  rest = {name: float(v) for name, v in row.items() if name != CHECKSUM}
  return CHECKSUM not in row or float(row[CHECKSUM]) == checksum(rest)


def _are_numbers(row: Mapping[str, str]) -> bool:
  try:
    for value in row.values():
      float(value)
  except ValueError:
    return False
  return True
