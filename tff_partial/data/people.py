# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""People and their examples, and the folder that holds both for training."""

import collections
from collections.abc import Callable, Iterable, Mapping
import dataclasses
import os
from typing import Any, Optional

import numpy as np
import tqdm

from tff_partial import errors
from tff_partial import files
from tff_partial.data import example_protos
from tff_partial.data import sql_writer


@dataclasses.dataclass(frozen=True)
class People:
  """What a source holds.

  Attributes:
    features: Names, types and shapes of what one example holds.
    num_people: How many there are.
    examples: Each person's name and examples, arrays or sequences with one item
      an example for each feature; gone through once.
    labels: What the examples are labelled with, in words; may be empty.
    left_out: Examples that are not among these, by reason; counted while the
      others are gone through.
    texts: Text files to write beside the examples, by name.
    together: A key of a person's examples, which need not be a feature: those
      with the same value are not divided between training and testing.
    in_order: Whether a person's examples are in order of time. The last are
      then for testing.
    finish_fn: Called with the folder once both files are there.
  """

  features: example_protos.Features
  num_people: int
  examples: Iterable[tuple[str, Mapping[str, Any]]]
  labels: str = ''
  left_out: collections.Counter[str] = dataclasses.field(
      default_factory=collections.Counter
  )
  texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
  together: str = ''
  in_order: bool = False
  finish_fn: Optional[Callable[[str], None]] = None


def write_folder(
    people: People,
    output_dir: str,
    *,
    test_fraction: float = 0.2,
    min_examples: int = 2,
    seed: int = 0,
    overwrite: bool = False,
) -> str:
  """Splits each person's examples and writes `train.sqlite` and `test.sqlite`.

  Args:
    people: What to write.
    output_dir: The folder; made if it is not there.
    test_fraction: How much of a person's examples to test on, rounded, but at
      least one and never all.
    min_examples: People with fewer examples are left out.
    seed: Determines, with a person's name, which examples are for testing.
    overwrite: Whether to replace files that are there.

  Returns:
    What was written, in a line or two.

  Raises:
    ValueError: If an argument is out of range, if there is data already, or if
      nobody has enough examples.
    OSError: If the folder cannot be written.
  """
  if not 0 < test_fraction < 1:
    raise errors.DataError(
        f'Expected a test fraction between 0 and 1, found {test_fraction}.'
    )
  if min_examples < 2:
    raise errors.DataError(
        'Expected at least 2 examples a person, one to train and one to test'
        f' on, found a minimum of {min_examples}.'
    )
  if seed < 0:
    raise errors.DataError(f'Expected a seed of at least 0, found {seed}.')
  paths = [os.path.join(output_dir, f'{s}.sqlite') for s in ('train', 'test')]
  for path in paths:
    if os.path.exists(path) and not overwrite:
      raise errors.DataError(
          f'Expected no data in {output_dir} yet, found {path}. Use another'
          ' --output_dir, or --overwrite to replace it.'
      )
  train_sizes, test_sizes, left_out = [], [], 0
  train_labels, test_labels = set(), set()
  with sql_writer.train_and_test(output_dir, people.features) as (train, test):
    for name, examples in tqdm.tqdm(
        people.examples, 'Importing', people.num_people, leave=False
    ):
      size = len(next(iter(examples.values())))
      if size < min_examples:
        left_out += 1
        continue
      pieces = examples.get(people.together, np.arange(size))
      if len(np.unique(pieces)) < 2:
        people.left_out['people whose examples all belong together'] += 1
        continue
      rng = np.random.default_rng([seed, *name.encode()])
      is_test = _choose_test(
          pieces, round(test_fraction * size), None if people.in_order else rng
      )
      train_rows, test_rows = np.where(~is_test)[0], np.where(is_test)[0]
      train.write(name, _take(examples, train_rows))
      test.write(name, _take(examples, test_rows))
      train_sizes.append(len(train_rows))
      test_sizes.append(len(test_rows))
      if 'label' in examples:
        train_labels.update(np.take(examples['label'], train_rows))
        test_labels.update(np.take(examples['label'], test_rows))
    if not train_sizes:
      raise errors.DataError(
          f'Expected people with at least {min_examples} examples, found none'
          f' among {left_out}.'
      )
  for name, text in people.texts.items():
    files.replace_text(os.path.join(output_dir, name), text)
  if people.finish_fn is not None:
    people.finish_fn(output_dir)
  only_test = len(test_labels - train_labels)
  sizes = np.add(train_sizes, test_sizes)
  return (
      f'{output_dir}: {len(sizes):,} people, {sizes.sum():,} examples'
      f' ({sum(train_sizes):,} for training, {sum(test_sizes):,} for testing),'
      f' {sizes.min():,} / {np.median(sizes):,g} / {sizes.max():,} a person'
      ' (min / median / max)'
      + (f', {people.labels}' if people.labels else '')
      + (f', {only_test:,} of them in test examples alone' if only_test else '')
      + f'. Left out: {left_out:,} people with fewer than {min_examples}'
      + ''.join(
          f', {count:,} {reason}'
          for reason, count in sorted(people.left_out.items())
      )
      + '.'
  )


def _choose_test(
    pieces: np.ndarray, num_test: int, rng: Optional[np.random.Generator]
) -> np.ndarray:
  """Which examples are for testing, bool [examples].

  Args:
    pieces: Examples with the same number go together, at least two numbers.
    num_test: About how many examples; at least one piece, and never all.
    rng: Chooses the pieces; `None` takes the last.
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
