# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes one file of the personal variables of a run with --store_parts.

  python -m tasks.merge_store --run=out/many

Parts on the machines of a cluster are read from there, with --cluster, and
stay; parts next to the run are removed.
"""

import argparse
from collections.abc import Sequence
import contextlib
import pathlib

from tff_partial import errors
from tff_partial import files
from tff_partial.experiments import command
from tff_partial.experiments import run_folder
from tff_partial.training import merge_store

PROG = 'python -m tasks.merge_store'


def parse(argv: Sequence[str]):
  parser = argparse.ArgumentParser(
      allow_abbrev=False,
      prog=PROG,
      description='Makes one file of a store in parts.',
  )
  parser.add_argument('--run', required=True, help='folder of the run')
  parser.add_argument(
      '--cluster',
      help='the cluster whose machines have the parts: local, auto or'
      ' ray://host:port',
  )
  parser.add_argument(
      '--insecure_cluster',
      action='store_true',
      help='use a cluster that asks nobody for a token',
  )
  return parser.parse_args(argv[1:])


def main(args) -> None:
  folder = pathlib.Path(args.run).expanduser()
  if not (folder / run_folder.CONFIG).exists():
    raise errors.MissingFileError(f'Expected a run in {folder}, found none.')
  open_sources = None
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(files.lock(folder / run_folder.LOCK))
    except files.LockedError as e:
      raise errors.SettingsError(
          f'Expected nobody to write to {folder}, found a run that goes on. Let'
          ' it finish, or end it.'
      ) from e
    if args.cluster is not None:
      from tff_partial.runtime import ray_connection
      from tff_partial.training import remote_parts

      stack.enter_context(
          ray_connection.connect(
              args.cluster, insecure_cluster=args.insecure_cluster
          )
      )
      open_sources = remote_parts.open_sources
    count = merge_store.merge(folder, open_sources_fn=open_sources)
  print(f'{folder}: personal variables of {count:,} clients in one file')


if __name__ == '__main__':
  command.start(main, parse, PROG)
