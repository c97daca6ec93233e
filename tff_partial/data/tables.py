# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads tables in CSV or TSV files."""

from collections.abc import Mapping, Sequence
import csv
import os
from typing import Any, NamedTuple

from tff_partial import errors


class Table(NamedTuple):
  """A table of text.

  Attributes:
    path: The file.
    columns: The names of the columns.
    rows: For each row, the text in each column; empty if the row is too short.
  """

  path: str
  columns: Sequence[str]
  rows: Sequence[Mapping[str, str]]


def read(path: str) -> Table:
  """Reads a table whose first line names the columns.

  Columns are separated by tabs if the first line has one, otherwise by commas,
  or by semicolons if it has no comma. In a file with tabs, quotes stand for
  themselves.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If it is not text in UTF-8, names no columns, or has a row
      with more cells than columns.
  """
  if not os.path.isfile(path):
    raise errors.MissingFileError(
        f'Expected a table {path}, found no such file.'
    )
  try:
    with open(path, encoding='utf-8-sig', newline='') as f:
      head = f.readline()
      f.seek(0)
      if '\t' in head:
        reader = csv.DictReader(f, delimiter='\t', quoting=csv.QUOTE_NONE)
      else:
        only_semicolons = ';' in head and ',' not in head
        reader = csv.DictReader(f, delimiter=';' if only_semicolons else ',')
      rows = [_cells(row, number, path) for number, row in enumerate(reader, 1)]
      columns = list(reader.fieldnames or ())  # Reads on if there is no line.
  except (UnicodeDecodeError, csv.Error) as e:
    raise errors.DataError(
        f'Expected a CSV file in UTF-8 in {path}, found something else: {e}.'
    ) from e
  return Table(path, columns, rows)


def _cells(row: Mapping[Any, Any], number: int, path: str) -> Mapping[str, str]:
  """The cells of a row; those beyond the columns must be empty."""
  beyond = [cell for cell in row.get(None, ()) if cell.strip()]
  if beyond:
    raise errors.DataError(
        f'Expected no more cells than columns in {path}, found {beyond[0]!r}'
        f' beyond them in row {number}. Put quotes around text that has the'
        ' character which separates columns.'
    )
  return {name: row[name] or '' for name in row if name is not None}


def check_columns(table: Table, columns: Sequence[str], arguments: str) -> None:
  """Checks that a table has some columns.

  Args:
    table: A table.
    columns: The names that it must have.
    arguments: The arguments that name the columns, for the error.

  Raises:
    errors.DataError: If there is no such column, or there are two.
  """
  for column in columns:
    if column not in table.columns:
      raise errors.DataError(
          f'Expected a column {column!r} in {table.path}, found'
          f' {table.columns or "an empty file"}. Name the columns with'
          f' {arguments}.'
      )
    number = list(table.columns).count(column)
    if number > 1:
      raise errors.DataError(
          f'Expected one column {column!r} in {table.path}, found {number}.'
          ' Give them different names.'
      )
