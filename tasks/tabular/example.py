# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Classifies the rows of a table. Needs TensorFlow and this folder alone.

python example.py rows.csv
"""

import csv
import json
import pathlib
import sys

import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent


def encode(row: dict[str, str], features: list[str]) -> list[float]:
  """The model's inputs: a number, or whether a column of text has a value."""
  return [
      float(row[name])
      if name in row
      else float(row[name.split('=')[0]] == name.split('=', 1)[1])
      for name in features
  ]


def main(path: str) -> None:
  columns = json.loads((FOLDER / 'columns.json').read_text('utf-8'))
  with open(path, encoding='utf-8-sig', newline='') as f:
    rows = [encode(row, columns['features']) for row in csv.DictReader(f)]
  model = tf.saved_model.load(str(FOLDER / 'saved_model'))
  logits = model.signatures['raw'](features=tf.constant(rows))['outputs']
  for chances in tf.nn.softmax(logits):
    best = int(tf.argmax(chances))
    print(f'{columns["classes"][best]}\t{chances[best]:.1%}')


if __name__ == '__main__':
  main(*sys.argv[1:])
