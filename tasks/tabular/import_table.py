# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports tables of numbers by person, from CSV, TSV or Parquet files."""

import collections
from collections.abc import Collection, Sequence
import functools
import math
import os
from typing import Any, Optional

import numpy as np
from pyarrow import lib as arrow
from pyarrow import parquet
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import people
from tff_partial.data import tables
from tff_partial.data import tally

from . import columns as columns_lib

_MAX_VALUES = 100  # Of a column of text, each of which becomes an input.
_MAX_CLASSES = 1_000
_WORDS_FOR_MISSING = ('', 'nan', 'na', 'n/a', 'null', 'none')


def add_parser(kinds: Any, **kwargs: Any) -> None:
  """Adds `table` to the kinds of `tasks.import_client_data`.

  Args:
    kinds: What `ArgumentParser.add_subparsers` returned.
    **kwargs: Keyword arguments of every kind.
  """
  parser = kinds.add_parser(
      'table',
      help='a table of numbers (.csv, .tsv, .parquet), for --task=tabular',
      **kwargs,
  )
  parser.add_argument(
      '--person',
      default='person',
      help='column of people; default: %(default)s',
  )
  parser.add_argument(
      '--label',
      default='label',
      help='column of classes, which are predicted; default: %(default)s',
  )
  parser.add_argument(
      '--features',
      type=lambda text: [name for name in text.split(',') if name],
      help='columns to predict from, separated by commas; default: all others',
  )
  parser.set_defaults(
      read=lambda args: read(
          args.source,
          person=args.person,
          label=args.label,
          features=args.features,
      )
  )


def read(
    path: str,
    *,
    person: str,
    label: str,
    features: Optional[Sequence[str]] = None,
) -> people.ClientSource:
  """Reads the rows of a table, by person.

  A column whose values are all numbers is one input; a column of text has an
  input for each of its values. Rows without a value in some column are left
  out and counted.

  Args:
    path: A CSV, TSV or Parquet file.
    person: The column that says whose row it is.
    label: The column of classes: text or whole numbers.
    features: The columns of the inputs; `None` means all others.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If the table lacks a column, or a column has other values
      than expected, naming it.
  """
  table = _read_parquet(path) if _is_parquet(path) else tables.read(path)
  if features is None:
    features = [c for c in table.columns if c not in (person, label)]
  tables.check_columns(
      table, [person, label, *features], '`person`, `label` and `features`'
  )
  if not features:
    raise errors.DataError(
        f'Expected columns of features in {path}, found none.'
    )
  left_out = tally.Tally()
  rows = _complete_rows(table, [person, label, *features], left_out)
  classes, labels = _labels([row[label] for row in rows], label, path)
  names, inputs = _inputs(rows, features, path)
  by_person = collections.defaultdict(list)
  for number, row in enumerate(rows):
    by_person[people.person_name(row[person])].append(number)
  return people.ClientSource(
      features=collections.OrderedDict(
          features=tf.TensorSpec([len(names)], tf.float32),
          label=tf.TensorSpec([], tf.int32),
      ),
      num_people=len(by_person),
      examples=(
          (name, {'features': inputs[numbers], 'label': labels[numbers]})
          for name, numbers in sorted(by_person.items())
      ),
      labels=f'{len(classes):,} classes',
      left_out=left_out,
      finish_fn=functools.partial(
          columns_lib.write, features=names, classes=classes
      ),
  )


def _is_parquet(path: str) -> bool:
  return path.endswith(('.parquet', '.pq'))


def _read_parquet(path: str) -> tables.Table:
  """Reads a Parquet file as text, as a CSV file is."""
  if not os.path.isfile(path):
    raise errors.MissingFileError(
        f'Expected a table {path}, found no such file.'
    )
  try:
    table = parquet.read_table(path)
  except (arrow.ArrowException, OSError) as e:
    raise errors.DataError(
        f'Expected a Parquet file in {path}, found something else: {e}.'
    ) from e
  rows = [
      {name: _as_text(value) for name, value in row.items()}
      for row in table.to_pylist()
  ]
  return tables.Table(path, table.column_names, rows)


def _as_text(value: Any) -> str:
  if value is None or isinstance(value, float) and math.isnan(value):
    return ''
  if isinstance(value, bytes):
    return value.decode(errors='replace')
  if isinstance(value, bool):
    return str(int(value))
  return str(value)


def _complete_rows(
    table: tables.Table, columns: Sequence[str], left_out: tally.Tally
) -> list[dict[str, str]]:
  """The rows with a value in each column, without blanks around values."""
  stripped = [{c: row[c].strip() for c in columns} for row in table.rows]
  missing = {
      column: _missing({values[column] for values in stripped})
      for column in columns
  }
  rows = []
  for number, values in enumerate(stripped, start=1):
    empty = [c for c in columns if values[c].lower() in missing[c]]
    if empty:
      left_out.add(
          f'rows without a value in {empty[0]!r}',
          f'row {number} of {table.path}',
      )
    else:
      rows.append(values)
  if not rows:
    raise errors.DataError(
        f'Expected rows with a value in every column in {table.path}, found'
        f' none. Left out: {tally.format_line(left_out) or "nothing"}.'
    )
  return rows


def _missing(values: Collection[str]) -> Collection[str]:
  """What stands for no value in a column, in lower case.

  Next to numbers alone it may be a word, which next to text may be a value.
  """
  others = [v for v in values if v.lower() not in _WORDS_FOR_MISSING]
  if others and all(_number(value) is not None for value in others):
    return _WORDS_FOR_MISSING
  return ('', 'nan')


def _number(text: str) -> Optional[float]:
  """The number that a text is; `None` if it is none, or not finite."""
  try:
    number = float(text)
  except ValueError:
    return None
  if '_' in text:  # A number for Python, and a code for people.
    return None
  return number if abs(number) <= np.finfo(np.float32).max else None


def _labels(
    values: Sequence[str], label: str, path: str
) -> tuple[tuple[str, ...], np.ndarray]:
  """The classes in order, of numbers if all are; and each row's, int32 [rows].

  A table may have the same whole number as 1, 1.0 and 01.
  """
  in_one_form: Sequence[Any] = values
  numbers = [n for n in map(_number, values) if n is not None]
  if len(numbers) == len(values):
    if any(number != round(number) for number in numbers):
      raise errors.DataError(
          f'Expected classes in column {label!r} of {path}, text or whole'
          ' numbers, found other numbers. Divide their range into classes.'
      )
    in_one_form = [round(number) for number in numbers]
  classes = sorted(set(in_one_form))
  if not 2 <= len(classes) <= _MAX_CLASSES:
    raise errors.DataError(
        f'Expected 2 to {_MAX_CLASSES:,} classes in column {label!r} of {path},'
        f' found {len(classes):,}.'
    )
  label_of = {value: number for number, value in enumerate(classes)}
  labels = np.array([label_of[value] for value in in_one_form], np.int32)
  return tuple(map(str, classes)), labels


def _inputs(
    rows: Sequence[dict[str, str]], features: Sequence[str], path: str
) -> tuple[tuple[str, ...], np.ndarray]:
  """Returns the names of the inputs, and them, float32 [rows, inputs]."""
  names, inputs = [], []
  for feature in features:
    values = [row[feature] for row in rows]
    numbers = [_number(value) for value in values]
    if None not in numbers:
      names.append(feature)
      inputs.append(np.array(numbers, np.float32))
      continue
    different = sorted(set(values))
    if len(different) > _MAX_VALUES:
      text = next(v for v, number in zip(values, numbers) if number is None)
      raise errors.DataError(
          f'Expected numbers, or at most {_MAX_VALUES} different texts, in'
          f' column {feature!r} of {path}, found {text!r} and'
          f' {len(different) - 1:,} other values. Leave the column out of'
          ' `features`.'
      )
    for value in different:
      names.append(f'{feature}={value}')
      inputs.append(np.array([v == value for v in values], np.float32))
  return tuple(names), np.stack(inputs, axis=1)
