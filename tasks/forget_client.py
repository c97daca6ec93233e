# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Removes clients from the folders of runs, comparisons and imported data.

  python -m tasks.forget_client --run=out/adapter --data=out/mine --client=ann

Every flag may be given several times. `tff_partial.experiments.forget` says
what is removed and what is not.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from tff_partial.experiments import command
from tff_partial.experiments import forget

PROG = 'python -m tasks.forget_client'


def parse(argv: Sequence[str]):
  parser = argparse.ArgumentParser(
      allow_abbrev=False,
      prog=PROG,
      description='Removes clients from folders. Give each flag once or more.',
  )
  several: dict[str, Any] = {'action': 'append', 'default': []}
  parser.add_argument(
      '--client', required=True, help='id of a client to forget', **several
  )
  parser.add_argument('--run', help='folder of a run or comparison', **several)
  parser.add_argument('--data', help='folder of imported data', **several)
  return parser.parse_args(argv[1:])


def main(args) -> None:
  forgotten = forget.forget(args.client, runs=args.run, data=args.data)
  for line in forgotten.lines:
    print(line)
  for path in forgotten.still_named:
    print(f'{path}: has the same characters as an id; look at it')
  print('What cannot be undone:')
  for line in forget.LASTING:
    print(f'* {line}')


if __name__ == '__main__':
  command.start(main, parse, PROG)
