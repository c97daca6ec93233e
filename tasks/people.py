# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""People and their examples, and the folder that holds both for training."""

import collections
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import os

import numpy as np
import tqdm

from tasks import example_protos
from tasks import sql_writer


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
  """

  features: example_protos.Features
  num_people: int
  examples: Iterable[tuple[str, Mapping[str, Sequence]]]
  labels: str = ''
  left_out: collections.Counter[str] = dataclasses.field(
      default_factory=collections.Counter
  )
  texts: Mapping[str, str] = dataclasses.field(default_factory=dict)


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
    raise ValueError(
        f'Expected a test fraction between 0 and 1, found {test_fraction}.'
    )
  if min_examples < 2:
    raise ValueError(
        'Expected at least 2 examples a person, one to train and one to test'
        f' on, found a minimum of {min_examples}.'
    )
  if seed < 0:
    raise ValueError(f'Expected a seed of at least 0, found {seed}.')
  paths = [os.path.join(output_dir, f'{s}.sqlite') for s in ('train', 'test')]
  for path in paths:
    if os.path.exists(path) and not overwrite:
      raise ValueError(
          f'Expected no data in {output_dir} yet, found {path}. Use another'
          ' --output_dir, or --overwrite to replace it.'
      )
  train_sizes, test_sizes, left_out = [], [], 0
  train_labels, test_labels = set(), set()
  with (
      sql_writer.SqlWriter(paths[0], people.features) as train,
      sql_writer.SqlWriter(paths[1], people.features) as test,
  ):
    for name, examples in tqdm.tqdm(
        people.examples, 'Importing', people.num_people, leave=False
    ):
      size = len(next(iter(examples.values())))
      if size < min_examples:
        left_out += 1
        continue
      order = np.random.default_rng([seed, *name.encode()]).permutation(size)
      num_test = min(max(1, round(test_fraction * size)), size - 1)
      train.write(name, _take(examples, order[num_test:]))
      test.write(name, _take(examples, order[:num_test]))
      train_sizes.append(size - num_test)
      test_sizes.append(num_test)
      if 'label' in examples:
        train_labels.update(np.take(examples['label'], order[num_test:]))
        test_labels.update(np.take(examples['label'], order[:num_test]))
    if not train_sizes:
      raise ValueError(
          f'Expected people with at least {min_examples} examples, found none'
          f' among {left_out}.'
      )
  for name, text in people.texts.items():
    with open(os.path.join(output_dir, name), 'w', encoding='utf-8') as f:
      f.write(text)
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


def _take(
    examples: Mapping[str, Sequence], rows: np.ndarray
) -> dict[str, Sequence]:
  """Some of a person's examples, in their original order."""
  rows = np.sort(rows)
  return {
      name: values[rows]
      if isinstance(values, np.ndarray)
      else [values[i] for i in rows]
      for name, values in examples.items()
  }
