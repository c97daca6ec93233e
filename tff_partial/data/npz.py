# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads images by person from a NumPy archive that somebody else made."""

import collections
from collections.abc import Sequence
import lzma
import os
import tokenize
from typing import Any
import zipfile
import zlib

import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import people
from tff_partial.data import tally

# Raised for arrays of objects, for damaged members, and for headers that claim
# more than memory, encryption, or what Python cannot parse or unpack.
_UNREADABLE = (
    EOFError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    ValueError,
    lzma.LZMAError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def add_parser(kinds: Any, **kwargs: Any) -> Any:
  """Adds `npz` to the kinds of `tasks.import_client_data`.

  Args:
    kinds: What `ArgumentParser.add_subparsers` returned.
    **kwargs: Keyword arguments of every kind.

  Returns:
    The parser of this kind. Its default `read` makes a `ClientSource` from the
    parsed arguments.
  """
  parser = kinds.add_parser(
      'npz',
      help='images, or features of speech, in a NumPy archive (.npz)',
      **kwargs,
  )
  parser.add_argument(
      '--examples',
      default='pixels',
      help='array of images [examples, height, width]; default: %(default)s',
  )
  parser.add_argument(
      '--label',
      default='label',
      help='array of classes, integers from 0; default: %(default)s',
  )
  parser.add_argument(
      '--person',
      default='person',
      help='array that says who made each example; default: %(default)s',
  )
  parser.set_defaults(
      read=lambda args: read_images(
          args.source,
          examples=args.examples,
          label=args.label,
          person=args.person,
      )
  )
  return parser


def read_images(
    path: str, *, examples: str, label: str, person: str
) -> people.ClientSource:
  """Reads images by the person who made them.

  Args:
    path: An `.npz` file.
    examples: Name of the array of images [examples, height, width], uint8 or
      floats from 0 to 1. They are stored as 'pixels', uint8. Ink is 255, as in
      the other data of the task.
    label: Name of the array of classes [examples], integers from 0. They are
      stored as 'label', int32.
    person: Name of the array [examples] that says who made each, integers or
      text.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If the file is no archive, or an array is not as
      expected, naming the array.
  """
  arrays = load(path, (examples, label, person))
  pixels = _to_bytes(arrays[examples], examples)
  labels, persons = arrays[label], arrays[person]
  _check_column(labels, label, 'iu', 'integers', len(pixels), examples)
  _check_column(
      persons, person, 'iuUS', 'integers or text', len(pixels), examples
  )
  if not len(labels) or labels.min() < 0:
    raise errors.DataError(
        f'Expected classes from 0 in array {label!r}, found'
        f' {labels.min() if len(labels) else "none"}.'
    )
  persons = names_of(persons, person)
  order = np.argsort(persons, kind='stable')
  names, starts = np.unique(persons[order], return_index=True)
  changed = tally.Tally()
  return people.ClientSource(
      features=collections.OrderedDict(
          pixels=tf.TensorSpec(pixels.shape[1:], tf.uint8),
          label=tf.TensorSpec([], tf.int32),
      ),
      num_people=len(names),
      examples=(
          (
              str(name),
              {
                  'pixels': pixels[rows],
                  'label': labels[rows],
                  'image': people.number_by_first(
                      (pixels[row].tobytes() for row in rows),
                      [f'example {row} of {path}' for row in rows],
                      changed,
                  ),
              },
          )
          for name, rows in zip(names, np.split(order, starts[1:]))
      ),
      changed=changed,
      together='image',
      labels=(
          f'{len(np.unique(labels))} labels from {labels.min()} to'
          f' {labels.max()}'
      ),
  )


def names_of(persons: np.ndarray, array_name: str) -> np.ndarray:
  """Returns people's names, each in one form; numbers stay as they are.

  Args:
    persons: Integers or text [examples].
    array_name: The name of this array.

  Raises:
    errors.DataError: If names are bytes but not UTF-8, or empty.
  """
  if persons.dtype.kind == 'S':
    try:
      persons = np.char.decode(persons, 'utf-8')
    except UnicodeDecodeError as e:
      raise errors.DataError(
          f'Expected UTF-8 text in array {array_name!r}, found {e}.'
      ) from e
  if persons.dtype.kind == 'U' and len(persons):
    persons = np.array([people.person_name(name) for name in persons])
    nameless = np.flatnonzero(persons == '')
    if len(nameless):
      raise errors.DataError(
          f'Expected a name for every example in array {array_name!r}, found'
          f' none for {len(nameless):,}, the first at {nameless[0]:,}. Leave'
          ' these examples out, or name them.'
      )
  return persons


def load(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
  """Loads some of an archive's arrays, without unpickling anything.

  Args:
    path: An `.npz` file.
    names: Names of the arrays.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If the file is no archive or damaged, or lacks an array,
      naming the array.
  """
  if not os.path.isfile(path):
    raise errors.MissingFileError(f'Expected a file {path}, found none.')
  arrays = {}
  with _open(path) as archive:
    for name in names:
      if name not in archive.files:
        raise errors.DataError(
            f'Expected an array {name!r} in {path}, found'
            f' {sorted(archive.files)}. Name the arrays with `examples`,'
            ' `label`, `person` and, for speech, `lengths`.'
        )
      try:
        arrays[name] = archive[name]
      except (*_UNREADABLE, OSError) as e:  # The latter for a place before 0.
        raise errors.DataError(
            f'Expected numbers or text in array {name!r} of {path}, found an'
            f' array that cannot be read: {e}.'
        ) from e
  return arrays


def _open(path: str) -> Any:
  """Opens an archive; its arrays may still be damaged."""
  try:
    if zipfile.is_zipfile(path):
      archive = np.load(path, allow_pickle=False)
      if isinstance(archive, np.lib.npyio.NpzFile):
        return archive
  except _UNREADABLE:
    pass  # Its list of files is damaged, or its first bytes are.
  raise errors.DataError(
      f'Expected a NumPy archive (.npz) in {path}, found something else, or one'
      ' that was cut short.'
  )


def _check_column(
    array: np.ndarray,
    name: str,
    kinds: str,
    kinds_in_words: str,
    size: int,
    examples: str,
) -> None:
  """Checks that an array has one value of a kind for each example."""
  if array.ndim != 1 or array.dtype.kind not in kinds:
    raise errors.DataError(
        f'Expected {kinds_in_words} [examples] in array {name!r}, found'
        f' {array.dtype} {list(array.shape)}.'
    )
  if len(array) != size:
    raise errors.DataError(
        f'Expected as many values in {name!r} as in {examples!r}, {size}, found'
        f' {len(array)}.'
    )


def _to_bytes(array: np.ndarray, name: str) -> np.ndarray:
  """Images as uint8."""
  if array.ndim == 3 and array.dtype == np.uint8:
    return array
  if array.ndim != 3 or array.dtype.kind != 'f':
    raise errors.DataError(
        f'Expected uint8 or floats [examples, height, width] in array {name!r},'
        f' found {array.dtype} {list(array.shape)}.'
    )
  outside = ~((array >= 0) & (array <= 1))  # NaN is outside too.
  if outside.any():
    example = int(np.argwhere(outside)[0][0])
    raise errors.DataError(
        f'Expected floats from 0 to 1 in array {name!r}, found'
        f' {array[outside][0]:g} in example {example}.'
    )
  return np.round(255 * array).astype(np.uint8)
