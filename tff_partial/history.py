# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metrics of past rounds, as TFF's `CSVFileReleaseManager` writes them."""

import csv
import os
import pathlib

KEY = 'round'


def read(path: str | os.PathLike[str]) -> list[dict[str, float]]:
  """The rows of a metrics file, a dictionary each; values absent are left out.

  A last line that was cut short is not a row. No file has no rows.
  """
  rows = []
  if not pathlib.Path(path).exists():
    return rows
  with open(path, newline='') as f:
    reader = csv.reader(f)
    names = next(reader, [])
    for values in reader:
      try:
        row = {n: float(v) for n, v in zip(names, values) if v != ''}
      except ValueError:
        continue
      if len(values) == len(names) and KEY in row:
        rows.append(row)
  return rows


def trim(path: str | os.PathLike[str], last_round: int) -> None:
  """Drops what a stopped run wrote about rounds after `last_round`.

  The release manager does so too when such a round comes again, but cannot
  open a file whose last line was cut short.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return
  rows = [row for row in read(path) if row[KEY] <= last_round]
  names = list(dict.fromkeys(name for row in rows for name in row)) or [KEY]
  temporary = path.with_name(path.name + '.tmp')
  with open(temporary, 'w', newline='') as f:
    writer = csv.DictWriter(f, names)
    writer.writeheader()
    for row in rows:
      writer.writerow({**row, KEY: int(row[KEY])})
  os.replace(temporary, path)
