# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports photos, with a table that says what each shows and who took it."""

import collections
from collections.abc import Iterator, Sequence
import os
from typing import Any

import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial import files
from tff_partial.data import people
from tff_partial.data import tables
from tff_partial.data import tally

from . import photo_folder


def add_parser(kinds: Any, **kwargs: Any) -> None:
  """Adds `images` to the kinds of `tasks.import_client_data`.

  Args:
    kinds: What `ArgumentParser.add_subparsers` returned.
    **kwargs: Keyword arguments of every kind.
  """
  parser = kinds.add_parser(
      'images',
      help='photos in a folder, with a table that says what and whose they are',
      **kwargs,
  )
  parser.add_argument(
      '--csv',
      type=os.path.expanduser,
      required=True,
      help='table with one line per photo (.csv)',
  )
  parser.add_argument(
      '--file',
      default='file',
      help='column of file names; default: %(default)s',
  )
  parser.add_argument(
      '--label',
      default='label',
      help='column of classes; default: %(default)s',
  )
  parser.add_argument(
      '--person',
      default='person',
      help='column that says who took the photo; default: %(default)s',
  )
  parser.add_argument(
      '--size',
      type=int,
      default=256,
      help='pixels on a side to which photos are scaled; default: %(default)s',
  )
  parser.set_defaults(
      read=lambda args: read(
          args.source,
          table=args.csv,
          file=args.file,
          label=args.label,
          person=args.person,
          size=args.size,
      )
  )


def read(
    folder: str, *, table: str, file: str, label: str, person: str, size: int
) -> people.ClientSource:
  """Reads the photos of a folder, by the person who took them.

  Photos that cannot be read are left out and counted. Copies of a photo are all
  for training or all for testing. Photos with other than
  three channels, such as gray ones, are converted.

  Args:
    folder: The folder of the files, or of a folder of files for each class.
    table: A CSV file with one line per photo.
    file: The column of file names.
    label: The column of classes, any text. Classes are numbered in the order of
      these texts.
    person: The column that says who took the photo.
    size: Pixels on a side. Photos are stored as 'pixels', uint8 [size, size,
      3].

  Raises:
    errors.SettingsError: If `size` is below 16.
    errors.MissingFileError: If the table or the folder is not there.
    errors.DataError: If the table lacks a column or a value, or names fewer
      than two classes.
  """
  if size < 16:
    raise errors.SettingsError(
        f'Expected `size` of at least 16 pixels, found {size}.'
    )
  if not os.path.isdir(folder):
    raise errors.MissingFileError(f'Expected a folder {folder}, found none.')
  rows = _read_table(table, (file, label, person)).rows
  class_of = {row[label]: people.person_name(row[label]) for row in rows}
  names = sorted(set(class_of.values()))
  if len(names) < 2:
    raise errors.DataError(
        f'Expected at least two classes in column {label!r} of {table}, found'
        f' {names}.'
    )
  label_of = {name: number for number, name in enumerate(names)}
  by_person = collections.defaultdict(list)
  for row in rows:
    by_person[people.person_name(row[person])].append((row[file], row[label]))
  left_out, changed = tally.Tally(), tally.Tally()

  def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, photos in sorted(by_person.items()):
      pixels, labels, files = [], [], []
      for file_name, class_name in photos:
        square = _read_photo(
            folder, file_name, class_name, size, left_out, changed
        )
        if square is not None:
          pixels.append(square)
          labels.append(label_of[class_of[class_name]])
          files.append(file_name)
      yield name, {
          'pixels': pixels,
          'label': np.array(labels, np.int32),
          'photo': people.number_by_first(
              (square.tobytes() for square in pixels), files, changed
          ),
      }

  return people.ClientSource(
      features=collections.OrderedDict(
          pixels=tf.TensorSpec([size, size, 3], tf.uint8),
          label=tf.TensorSpec([], tf.int32),
      ),
      num_people=len(by_person),
      examples=examples(),
      labels=f'{len(names):,} classes',
      left_out=left_out,
      changed=changed,
      together='photo',
      texts={photo_folder.CLASSES: photo_folder.format_classes(names)},
  )


def _read_table(path: str, columns: Sequence[str]) -> tables.Table:
  """Reads a table and checks that each row has a value in these columns."""
  table = tables.read(path)
  tables.check_columns(table, columns, '`file`, `label` and `person`')
  for number, row in enumerate(table.rows, start=1):
    for column in columns:
      if not row[column].strip():
        raise errors.DataError(
            f'Expected a value in column {column!r} of {path} for every photo,'
            f' found none for photo {number}.'
        )
  return table


def _read_photo(
    folder: str,
    file_name: str,
    class_name: str,
    size: int,
    left_out: tally.Tally,
    changed: tally.Tally,
):
  """Reads a photo, uint8 [size, size, 3]; `None` if it had to be left out."""
  path = os.path.join(folder, file_name)
  if not os.path.isfile(path):
    path = os.path.join(folder, class_name, file_name)
  if not os.path.isfile(path):
    left_out.add('photos without a file', f'{file_name} in {folder}')
    return None
  if not files.is_inside(path, folder):
    left_out.add('photos outside of the folder', f'{path} in {folder}')
    return None
  notes = []
  try:
    square = photo_folder.read_square(path, size, note_fn=notes.append)
  except photo_folder.UNREADABLE as e:
    left_out.add('photos that cannot be read', f'{path}: {e}')
    return None
  for note in notes:
    changed.add(note, path)
  return square
