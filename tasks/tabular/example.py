# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Classifies the rows of a table. Needs TensorFlow and this folder alone.

python example.py rows.csv

The table has the columns that the model was trained with, separated by commas,
semicolons or tabs.
"""

import csv
import json
import pathlib
import sys

import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent


def read(path: str) -> list[dict[str, str]]:
  """The rows of a table, as the import reads them (tff_partial.data.tables).

  An export is used where that is not installed.
  """
  with open(path, encoding='utf-8-sig', newline='') as f:
    head = f.readline()
    f.seek(0)
    if '\t' in head:
      reader = csv.DictReader(f, delimiter='\t', quoting=csv.QUOTE_NONE)
    else:
      only_semicolons = ';' in head and ',' not in head
      reader = csv.DictReader(f, delimiter=';' if only_semicolons else ',')
    return [
        {name: (row[name] or '').strip() for name in row if name is not None}
        for row in reader
    ]


def encode(row: dict[str, str], features: list[str]) -> list[float]:
  """The model's inputs: a number, or whether a column of text has a value.

  Raises:
    ValueError: If the row lacks a column, a number or a known value.
  """
  inputs, values = [], {}
  for name in features:
    if name in row:
      inputs.append(float(row[name]))
      continue
    # A column of text, of which both the name and the values may have a "=".
    column = next((c for c in row if name.startswith(f'{c}=')), '')
    if not column:
      raise ValueError(f'no column for {name}')
    value = name[len(column) + 1 :]
    inputs.append(float(row[column] == value))
    values.setdefault(column, []).append(value)
  for column, known in values.items():
    if row[column] not in known:
      raise ValueError(f'{row[column]!r} in {column}, where {known} are known')
  return inputs


def main(path: str) -> None:
  columns = json.loads((FOLDER / 'columns.json').read_text('utf-8'))
  rows = []
  for number, row in enumerate(read(path), 1):
    try:
      rows.append(encode(row, columns['features']))
    except ValueError as e:
      sys.exit(f'Row {number} of {path}: {e}')
  model = tf.saved_model.load(str(FOLDER / 'saved_model'))
  logits = model.signatures['raw'](features=tf.constant(rows))['outputs']
  for chances in tf.nn.softmax(logits):
    best = int(tf.argmax(chances))
    print(f'{columns["classes"][best]}\t{chances[best]:.1%}')


if __name__ == '__main__':
  main(*sys.argv[1:])
