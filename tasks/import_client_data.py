# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns people's data into a folder that `--data=<folder>` trains on.

  python -m tasks.import_client_data npz letters.npz --output_dir=letters \
      --examples=pixels --label=label --person=writer

Each person's examples are split into training and test examples, at random but
the same for the same seed. A kind of source is a function from its arguments to
`People`, and a few lines in `_parse`.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import os
import sys
import zipfile
import zlib

# TensorFlow reports missing GPU libraries while it is imported.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

# pylint: disable=g-import-not-at-top
from absl import app  # noqa: E402
from absl.flags import argparse_flags  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tqdm  # noqa: E402

from tasks import example_protos  # noqa: E402
from tasks import sql_writer  # noqa: E402

# pylint: enable=g-import-not-at-top


@dataclasses.dataclass(frozen=True)
class People:
  """What a source holds.

  Attributes:
    features: Names, types and shapes of what one example holds.
    num_people: How many there are.
    examples: Each person's name and examples, arrays or sequences with one item
      an example for each feature; gone through once.
    labels: What the examples are labelled with, in words; may be empty.
  """

  features: example_protos.Features
  num_people: int
  examples: Iterable[tuple[str, Mapping[str, Sequence]]]
  labels: str = ''


def read_npz(path: str, *, examples: str, label: str, person: str) -> People:
  """Images of a NumPy archive, by the person who made them.

  Args:
    path: An `.npz` file.
    examples: The array of images [examples, height, width], uint8 or floats
      from 0 to 1; stored as 'pixels', uint8. Ink is 255, as in the other data
      of the task.
    label: The array of classes [examples], integers from 0; stored as 'label'.
    person: The array of who made each, [examples], integers or text.

  Raises:
    OSError: If there is no such file.
    ValueError: If it is not such an archive, naming the array.
  """
  arrays = _load_npz(path, (examples, label, person))
  pixels = _to_bytes(arrays[examples], examples)
  labels, people = arrays[label], arrays[person]
  for name, array, kinds, words in (
      (label, labels, 'iu', 'integers'),
      (person, people, 'iuUS', 'integers or text'),
  ):
    if array.ndim != 1 or array.dtype.kind not in kinds:
      raise ValueError(
          f'Expected {words} [examples] in array {name!r}, found {array.dtype}'
          f' {list(array.shape)}.'
      )
    if len(array) != len(pixels):
      raise ValueError(
          f'Expected as many values in {name!r} as in {examples!r},'
          f' {len(pixels)}, found {len(array)}.'
      )
  if not len(labels) or labels.min() < 0:
    raise ValueError(
        f'Expected classes from 0 in array {label!r}, found'
        f' {labels.min() if len(labels) else "none"}.'
    )
  order = np.argsort(people, kind='stable')
  names, starts = np.unique(people[order], return_index=True)
  if people.dtype.kind == 'S':
    names = np.char.decode(names, 'utf-8')
  return People(
      features=collections.OrderedDict(
          pixels=tf.TensorSpec(pixels.shape[1:], tf.uint8),
          label=tf.TensorSpec([], tf.int32),
      ),
      num_people=len(names),
      examples=(
          (str(name), {'pixels': pixels[rows], 'label': labels[rows]})
          for name, rows in zip(names, np.split(order, starts[1:]))
      ),
      labels=(
          f'{len(np.unique(labels))} labels from {labels.min()} to'
          f' {labels.max()}'
      ),
  )


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
    if not train_sizes:
      raise ValueError(
          f'Expected people with at least {min_examples} examples, found none'
          f' among {left_out}.'
      )
  sizes = np.add(train_sizes, test_sizes)
  return (
      f'{output_dir}: {len(sizes):,} people, {sizes.sum():,} examples'
      f' ({sum(train_sizes):,} for training, {sum(test_sizes):,} for testing),'
      f' {sizes.min():,} / {np.median(sizes):,g} / {sizes.max():,} a person'
      ' (min / median / max)'
      + (f', {people.labels}' if people.labels else '')
      + f'. Left out: {left_out:,} people with fewer than {min_examples}.'
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


def _load_npz(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
  if not os.path.isfile(path):
    raise FileNotFoundError(f'Expected a file {path}, found none.')
  if not zipfile.is_zipfile(path):
    raise ValueError(
        f'Expected a NumPy archive (.npz) in {path}, found something else, or'
        ' one that was cut short.'
    )
  arrays = {}
  with np.load(path, allow_pickle=False) as archive:
    for name in names:
      if name not in archive.files:
        raise ValueError(
            f'Expected an array {name!r} in {path}, found'
            f' {sorted(archive.files)}. Name it with --examples, --label or'
            ' --person.'
        )
      try:
        arrays[name] = archive[name]
      # Of object arrays and of damaged members; never unpickled.
      except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise ValueError(
            f'Expected numbers or text in array {name!r} of {path}, found one'
            f' that cannot be read: {e}.'
        ) from e
  return arrays


def _to_bytes(array: np.ndarray, name: str) -> np.ndarray:
  """Images as uint8."""
  if array.ndim == 3 and array.dtype == np.uint8:
    return array
  if array.ndim != 3 or array.dtype.kind != 'f':
    raise ValueError(
        f'Expected uint8 or floats [examples, height, width] in array {name!r},'
        f' found {array.dtype} {list(array.shape)}.'
    )
  outside = ~((array >= 0) & (array <= 1))  # NaN is outside too.
  if outside.any():
    example = int(np.argwhere(outside)[0][0])
    raise ValueError(
        f'Expected floats from 0 to 1 in array {name!r}, found'
        f' {array[outside][0]:g} in example {example}.'
    )
  return np.round(255 * array).astype(np.uint8)


def _parse(argv: Sequence[str]):
  """Arguments of the command line; `read` makes `People` of them."""
  common = argparse_flags.ArgumentParser(
      add_help=False, inherited_absl_flags=None
  )
  common.add_argument('source', help='what to import')
  common.add_argument('--output_dir', required=True, help='folder to write')
  common.add_argument('--test_fraction', type=float, default=0.2)
  common.add_argument(
      '--min_examples',
      type=int,
      default=2,
      help='leave out people with fewer',
  )
  common.add_argument('--seed', type=int, default=0)
  common.add_argument('--overwrite', action='store_true')
  parser = argparse_flags.ArgumentParser(
      prog='python -m tasks.import_client_data',
      description="Turns people's data into a folder to train on.",
  )
  kinds = parser.add_subparsers(metavar='KIND', required=True)

  npz = kinds.add_parser(
      'npz',
      help='images in a NumPy archive',
      parents=[common],
      inherited_absl_flags=None,
  )
  npz.add_argument('--examples', default='pixels', help='array of images')
  npz.add_argument('--label', default='label', help='array of classes')
  npz.add_argument('--person', default='person', help='array of who made each')
  npz.set_defaults(
      read=lambda args: read_npz(
          args.source,
          examples=args.examples,
          label=args.label,
          person=args.person,
      )
  )
  return parser.parse_args(argv[1:])


def main(args) -> int:
  try:
    summary = write_folder(
        args.read(args),
        args.output_dir,
        test_fraction=args.test_fraction,
        min_examples=args.min_examples,
        seed=args.seed,
        overwrite=args.overwrite,
    )
  except (ValueError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    return 1
  print(summary)
  return 0


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
