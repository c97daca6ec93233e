# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Examples by person, and the folder of training and test data made of them."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
import dataclasses
import json
import os
import pathlib
from typing import Any, Optional
import unicodedata

import numpy as np
import tqdm

from tff_partial import errors
from tff_partial import files
from tff_partial.data import example_protos
from tff_partial.data import sql_writer
from tff_partial.data import tally as tally_lib

# Names the files of an import, so that the next one can remove them.
_MANIFEST = 'import.json'


@dataclasses.dataclass(frozen=True)
class ClientSource:
  """People, who become clients, and their examples.

  Attributes:
    features: Names, types and shapes of what one example holds.
    num_people: The number of people.
    examples: Yields each person's name and examples: for each feature an array,
      or a sequence with one item per example. It is read once.
    labels: A description of the labels, for the summary; may be empty.
    left_out: Counts what is not among the examples, by reason. It may grow
      while the examples are read.
    changed: Counts what is among the examples but not as it was found, by what
      was done to it. It may grow too.
    texts: Text files to write next to the examples, by name.
    together: A key of a person's examples, which need not be a feature.
      Examples with the same value are either all for training or all for
      testing.
    in_order: Whether a person's examples are in order of time. If so, the last
      ones are for testing.
    finish_fn: Called with the folder once both files are there; may write more
      files, and count more in `left_out` and `changed`.
  """

  features: example_protos.Features
  num_people: int
  examples: Iterable[tuple[str, Mapping[str, Any]]]
  labels: str = ''
  left_out: tally_lib.Tally = dataclasses.field(default_factory=tally_lib.Tally)
  changed: tally_lib.Tally = dataclasses.field(default_factory=tally_lib.Tally)
  texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
  together: str = ''
  in_order: bool = False
  finish_fn: Optional[Callable[[str], None]] = None


def person_name(value: Any) -> str:
  """Returns the name that stands for a person or a class, in one form.

  Blanks around a name, and the two ways in which Unicode writes an accented
  letter, do not make two people of one.
  """
  return unicodedata.normalize('NFC', str(value)).strip()


def number_by_first(
    contents: Iterable[Hashable],
    names: Sequence[str],
    changed: tally_lib.Tally,
) -> np.ndarray:
  """Gives equal contents the number of the first of them, int64 [contents].

  As the examples of `ClientSource.together`, these numbers keep the copies of
  one text or photo together, so that none is tested on that was trained on.

  Args:
    contents: A person's texts, photos, or other contents, as hashable values.
    names: What names each of them for the user.
    changed: Counts the contents that repeat an earlier one.
  """
  first: dict[Hashable, int] = {}
  numbers = []
  for i, (content, name) in enumerate(zip(contents, names)):
    number = first.setdefault(content, i)
    if number != i:
      changed.add(
          'copies, for training or testing as the first one is',
          f'{name} repeats {names[number]}',
      )
    numbers.append(number)
  return np.array(numbers, np.int64)


class _Written:
  """Counts the examples written to a folder."""

  def __init__(self):
    self._train_sizes, self._test_sizes = [], []
    self._train_labels, self._test_labels = set(), set()

  def __bool__(self) -> bool:
    return bool(self._train_sizes)

  def add(self, train: Mapping[str, Any], test: Mapping[str, Any]) -> None:
    """Counts a person's examples."""
    self._train_sizes.append(len(next(iter(train.values()))))
    self._test_sizes.append(len(next(iter(test.values()))))
    # A feature of this name may also be a vector.
    scalars = lambda values: (v for v in values if not np.ndim(v))
    self._train_labels.update(scalars(train.get('label', ())))
    self._test_labels.update(scalars(test.get('label', ())))

  def summary(self, people: ClientSource, output_dir: str) -> str:
    """Says what was written, what was left out and what was changed."""
    sizes = np.add(self._train_sizes, self._test_sizes)
    only_test = len(self._test_labels - self._train_labels)
    noun = 'people' if len(sizes) > 1 else 'person'
    return (
        f'{output_dir}: {len(sizes):,} {noun},'
        f' {sizes.sum():,} examples ({sum(self._train_sizes):,} for training,'
        f' {sum(self._test_sizes):,} for testing), {sizes.min():,} /'
        f' {np.median(sizes):,g} / {sizes.max():,} per person (min / median /'
        ' max)'
        + (f', {people.labels}' if people.labels else '')
        + (
            f', {only_test:,} of them only in test examples'
            if only_test
            else ''
        )
        + '.\n\n'
        + tally_lib.format_table(
            sizes.sum(),
            {'left out': people.left_out, 'changed': people.changed},
        )
    )


def write_folder(
    people: ClientSource,
    output_dir: str,
    *,
    test_fraction: float = 0.2,
    min_examples: int = 2,
    seed: int = 0,
    overwrite: bool = False,
) -> str:
  """Splits each person's examples and writes `train.sqlite` and `test.sqlite`.

  Args:
    people: The people and their examples.
    output_dir: The folder to write; made if it is not there.
    test_fraction: Fraction of a person's examples to test on. The number is
      rounded, but at least one example is for training and one for testing.
    min_examples: People with fewer examples are left out.
    seed: Determines, with a person's name, which examples are for testing.
    overwrite: Whether to replace an earlier import, all of whose files are
      removed.

  Returns:
    A summary of what was written, in a line or two, and a table of what was
    kept, left out and changed, with the first example of each reason.

  Raises:
    errors.SettingsError: If an argument is out of range, or the folder holds
      data already.
    errors.DataError: If nobody has enough examples, giving the reasons why
      examples were left out, or if the examples cannot be stored.
    OSError: If the folder cannot be written.
  """
  output_dir = os.path.expanduser(output_dir)
  _check_arguments(output_dir, test_fraction, min_examples, seed, overwrite)
  written = _Written()
  with sql_writer.train_and_test(output_dir, people.features) as (train, test):
    for name, examples in tqdm.tqdm(
        people.examples, 'Importing', people.num_people, leave=False
    ):
      size = len(next(iter(examples.values())))
      if size < min_examples:
        people.left_out.add(
            f'people with fewer than {min_examples} examples',
            f'{name!r} with {size}',
        )
        continue
      pieces = examples.get(people.together, np.arange(size))
      if len(np.unique(pieces)) < 2:
        people.left_out.add(
            'people whose examples all belong together', repr(name)
        )
        continue
      rng = np.random.default_rng([seed, *name.encode()])
      is_test = _choose_test(
          pieces, round(test_fraction * size), None if people.in_order else rng
      )
      for_training = _take(examples, np.where(~is_test)[0])
      for_testing = _take(examples, np.where(is_test)[0])
      train.write(name, for_training)
      test.write(name, for_testing)
      written.add(for_training, for_testing)
    if not written:
      raise errors.DataError(
          f'Expected people with at least {min_examples} examples, found none'
          f' among {people.num_people:,}. Left out:'
          f' {tally_lib.format_line(people.left_out)}.'
      )
    # Now, so that no interruption leaves files of two imports side by side.
    _remove_earlier(pathlib.Path(output_dir))
    others = set(os.listdir(output_dir))
  try:
    for name, text in people.texts.items():
      files.replace_text(os.path.join(output_dir, name), text)
    if people.finish_fn is not None:
      people.finish_fn(output_dir)
    made = sorted(set(os.listdir(output_dir)) - others)
    files.replace_text(
        os.path.join(output_dir, _MANIFEST), json.dumps({'files': made}) + '\n'
    )
  except BaseException:
    for name in set(os.listdir(output_dir)) - others:
      os.unlink(os.path.join(output_dir, name))
    raise
  return written.summary(people, output_dir)


def _check_arguments(
    output_dir: str,
    test_fraction: float,
    min_examples: int,
    seed: int,
    overwrite: bool,
) -> None:
  if not 0 < test_fraction < 1:
    raise errors.SettingsError(
        f'Expected `test_fraction` between 0 and 1, found {test_fraction}.'
    )
  if min_examples < 2:
    raise errors.SettingsError(
        'Expected `min_examples` of at least 2, one example to train and one to'
        f' test on, found {min_examples}.'
    )
  if seed < 0:
    raise errors.SettingsError(f'Expected `seed` of at least 0, found {seed}.')
  for name in ('train.sqlite', 'test.sqlite'):
    path = os.path.join(output_dir, name)
    if os.path.exists(path) and not overwrite:
      raise errors.SettingsError(
          f'Expected no data in {output_dir} yet, found {path}. Use another'
          ' `output_dir`, or `overwrite` to replace it.'
      )


def _remove_earlier(folder: pathlib.Path) -> None:
  """Removes the files of an earlier import, and no others."""
  manifest = folder / _MANIFEST
  try:
    text = manifest.read_text(encoding='utf-8')
    names = [pathlib.PurePath(name).name for name in json.loads(text)['files']]
  except FileNotFoundError:
    names = []
  except (ValueError, LookupError, TypeError) as e:
    raise errors.DataError(
        f'Expected the files of an import in {manifest}, found: {e}. Remove'
        ' the folder, or use another `output_dir`.'
    ) from e
  for name in (*names, _MANIFEST, 'train.sqlite', 'test.sqlite'):
    (folder / name).unlink(missing_ok=True)


def _choose_test(
    pieces: np.ndarray, num_test: int, rng: Optional[np.random.Generator]
) -> np.ndarray:
  """Chooses the examples for testing, bool [examples].

  Args:
    pieces: int [examples]. Examples with the same number go together; there are
      at least two numbers.
    num_test: About how many examples to choose: at least one piece, never all.
    rng: Chooses the pieces; `None` takes the last ones.
  """
  _, piece_of, sizes = np.unique(
      pieces, return_inverse=True, return_counts=True
  )
  last_first = np.arange(len(sizes))[::-1]
  order = last_first if rng is None else rng.permutation(len(sizes))
  taken = np.abs(np.cumsum(sizes[order]) - num_test).argmin() + 1
  return np.isin(piece_of, order[: min(taken, len(sizes) - 1)])


def _take(examples: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
  """Some of a person's examples, in their original order."""
  return {
      name: values[rows]
      if isinstance(values, np.ndarray)
      else [values[i] for i in rows]
      for name, values in examples.items()
  }
