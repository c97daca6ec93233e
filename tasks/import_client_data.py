# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns people's data into a folder that `--data=<folder>` trains on.

  python -m tasks.import_client_data npz letters.npz --output_dir=letters \
      --examples=pixels --label=label --person=writer

Each person's examples are split into training and test examples, at random but
the same for the same seed. A kind of source is a function from its arguments to
`people.ClientSource`, and a few lines in `_parse`.
"""

import collections
from collections.abc import Sequence
import os
import sys

# TensorFlow reports missing GPU libraries while it is imported.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

# pylint: disable=g-import-not-at-top
from absl import app  # noqa: E402
from absl.flags import argparse_flags  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from tff_partial import errors
from tff_partial.data import npz as npz_lib  # noqa: E402
from tff_partial.data import people as people_lib  # noqa: E402

from .landmarks import import_photos as photos_lib  # noqa: E402
from .speech import import_speech  # noqa: E402
from .stackoverflow import import_text  # noqa: E402

# pylint: enable=g-import-not-at-top


def read_npz(
    path: str, *, examples: str, label: str, person: str
) -> people_lib.ClientSource:
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
  arrays = npz_lib.load(path, (examples, label, person))
  pixels = _to_bytes(arrays[examples], examples)
  labels, people = arrays[label], arrays[person]
  for name, array, kinds, words in (
      (label, labels, 'iu', 'integers'),
      (person, people, 'iuUS', 'integers or text'),
  ):
    if array.ndim != 1 or array.dtype.kind not in kinds:
      raise errors.DataError(
          f'Expected {words} [examples] in array {name!r}, found {array.dtype}'
          f' {list(array.shape)}.'
      )
    if len(array) != len(pixels):
      raise errors.DataError(
          f'Expected as many values in {name!r} as in {examples!r},'
          f' {len(pixels)}, found {len(array)}.'
      )
  if not len(labels) or labels.min() < 0:
    raise errors.DataError(
        f'Expected classes from 0 in array {label!r}, found'
        f' {labels.min() if len(labels) else "none"}.'
    )
  order = np.argsort(people, kind='stable')
  names, starts = np.unique(people[order], return_index=True)
  if people.dtype.kind == 'S':
    names = np.char.decode(names, 'utf-8')
  return people_lib.ClientSource(
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


def _parse(argv: Sequence[str]):
  """Arguments of the command line; `read` makes `ClientSource` of them."""
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
      # Otherwise what begins like a flag of absl's is taken for it.
      allow_abbrev=False,
      prog='python -m tasks.import_client_data',
      description="Turns people's data into a folder to train on.",
  )
  kinds = parser.add_subparsers(metavar='KIND', required=True)

  npz = kinds.add_parser(
      'npz',
      help='images, or features of speech, in a NumPy archive',
      parents=[common],
      inherited_absl_flags=None,
  )
  npz.add_argument('--examples', default='pixels', help='array of images')
  npz.add_argument('--label', default='label', help='array of classes')
  npz.add_argument('--person', default='person', help='array of who made each')
  npz.add_argument(
      '--lengths',
      help='of speech: array of frames of each utterance; --examples are then'
      ' all frames, --label the transcripts',
  )
  npz.set_defaults(read=_read_npz)

  librispeech = kinds.add_parser(
      'librispeech',
      help="a folder in LibriSpeech's layout: <speaker>/<chapter>/*.flac",
      parents=[common],
      inherited_absl_flags=None,
  )
  librispeech.set_defaults(
      read=lambda args: import_speech.read_librispeech(args.source)
  )

  photos = kinds.add_parser(
      'images',
      help='photos in a folder, with a table of what and whose they are',
      parents=[common],
      inherited_absl_flags=None,
  )
  photos.add_argument('--csv', required=True, help='table, one line a photo')
  photos.add_argument('--file', default='file', help='column of file names')
  photos.add_argument('--label', default='label', help='column of classes')
  photos.add_argument(
      '--person', default='person', help='column of who took it'
  )
  photos.add_argument(
      '--size',
      type=int,
      default=256,
      help='pixels a side to keep of each photo',
  )
  photos.set_defaults(
      read=lambda args: photos_lib.read(
          args.source,
          table=args.csv,
          file=args.file,
          label=args.label,
          person=args.person,
          size=args.size,
      )
  )

  jsonl = kinds.add_parser(
      'jsonl',
      help='text in JSON lines (.jsonl or .jsonl.gz)',
      parents=[common],
      inherited_absl_flags=None,
  )
  jsonl.add_argument(
      '--text', default='text', help='field of text, or of a list of sentences'
  )
  jsonl.add_argument('--person', default='person', help='field of who wrote it')
  jsonl.add_argument(
      '--date', help='field of when; what is latest is then for testing'
  )
  jsonl.set_defaults(
      read=lambda args: import_text.read_jsonl(
          args.source, text=args.text, person=args.person, date=args.date
      )
  )
  return parser.parse_args(argv[1:])


def _read_npz(args) -> people_lib.ClientSource:
  arrays = {
      'examples': args.examples,
      'label': args.label,
      'person': args.person,
  }
  if args.lengths is not None:
    return import_speech.read_npz(args.source, lengths=args.lengths, **arrays)
  return read_npz(args.source, **arrays)


def main(args) -> int:
  try:
    summary = people_lib.write_folder(
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
