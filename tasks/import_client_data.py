# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports people's data into a folder that `--data=<folder>` trains on.

  python -m tasks.import_client_data npz letters.npz --output_dir=letters \
      --examples=pixels --label=label --person=writer

Each person's examples are split into training and test examples, at random but
the same for the same seed. Each kind of data has its importer, which adds its
arguments to the command line and makes a `people.ClientSource` from them.
"""

import argparse
from collections.abc import Sequence
import os

from tff_partial.data import npz
from tff_partial.data import people
from tff_partial.experiments import command

from .landmarks import import_photos
from .speech import import_speech
from .speech import import_table as import_speech_table
from .stackoverflow import import_text
from .tabular import import_table

# pylint: enable=g-import-not-at-top

PROG = 'python -m tasks.import_client_data'


def parse(argv: Sequence[str]):
  """Parses the command line; `read` makes a `ClientSource` of the result."""
  common = argparse.ArgumentParser(add_help=False)
  common.add_argument(
      'source', type=os.path.expanduser, help='file or folder to import'
  )
  common.add_argument(
      '--output_dir',
      type=os.path.expanduser,
      required=True,
      help='folder to write, for --data of run_experiment.py',
  )
  common.add_argument(
      '--test_fraction',
      type=float,
      default=0.2,
      help="fraction of each person's examples for testing; default: 0.2",
  )
  common.add_argument(
      '--min_examples',
      type=int,
      default=2,
      help='leave out people with fewer examples; default: %(default)s',
  )
  common.add_argument(
      '--seed',
      type=int,
      default=0,
      help='seed of the random split; default: %(default)s',
  )
  common.add_argument(
      '--overwrite',
      action='store_true',
      help='replace data that are in --output_dir already',
  )
  parser = argparse.ArgumentParser(
      allow_abbrev=False,
      prog=PROG,
      description="Imports people's data into a folder to train on.",
  )
  kinds = parser.add_subparsers(metavar='KIND', required=True)
  shared = {'parents': [common]}
  import_speech.add_npz_arguments(npz.add_parser(kinds, **shared))
  for importer in (
      import_text,
      import_speech,
      import_speech_table,
      import_photos,
      import_table,
  ):
    importer.add_parser(kinds, **shared)
  return parser.parse_args(argv[1:])


def main(args) -> None:
  print(
      people.write_folder(
          args.read(args),
          args.output_dir,
          test_fraction=args.test_fraction,
          min_examples=args.min_examples,
          seed=args.seed,
          overwrite=args.overwrite,
      )
  )


if __name__ == '__main__':
  command.start(main, parse, PROG)
