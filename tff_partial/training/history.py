# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metrics of past rounds, as TFF's `CSVFileReleaseManager` writes them."""

from collections.abc import Mapping
import csv
import os
import pathlib

KEY = 'round'


def read(path: str | os.PathLike[str]) -> list[dict[str, float]]:
  """The rows of a metrics file, a dictionary each; values absent are left out.

  A last line that was cut short is not a row. No file has no rows.
  """
  rows, _ = _complete_rows(path)
  return [{name: float(v) for name, v in row.items()} for row in rows]


def trim(path: str | os.PathLike[str], last_round: int) -> None:
  """Drops what a stopped run wrote about rounds after `last_round`.

  The release manager does so too when such a round comes again, but cannot
  open a file whose last line was cut short.
  """
  path = pathlib.Path(path)
  rows, damaged = _complete_rows(path)
  kept = [row for row in rows if float(row[KEY]) <= last_round]
  if len(kept) == len(rows) and not damaged:
    return
  names = list(dict.fromkeys(name for row in kept for name in row)) or [KEY]
  temporary = path.with_name(path.name + '.tmp')
  with open(temporary, 'w', newline='') as f:
    writer = csv.DictWriter(f, names)
    writer.writeheader()
    writer.writerows(kept)
  os.replace(temporary, path)


def _complete_rows(
    path: str | os.PathLike[str],
) -> tuple[list[dict[str, str]], bool]:
  """Rows as they were written, and whether there was more than these."""
  rows, damaged = [], False
  if not pathlib.Path(path).exists():
    return rows, damaged
  with open(path, newline='') as f:
    reader = csv.reader(f)
    names = next(reader, [])
    for values in reader:
      row = {n: v for n, v in zip(names, values) if v != ''}
      if len(values) == len(names) and KEY in row and _are_numbers(row):
        rows.append(row)
      else:
        damaged = True
  return rows, damaged or KEY not in names


def _are_numbers(row: Mapping[str, str]) -> bool:
  try:
    for value in row.values():
      float(value)
  except ValueError:
    return False
  return True
