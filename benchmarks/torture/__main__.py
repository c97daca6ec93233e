# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tries to break runs, their files and the importers; prints a table.

  python -m benchmarks.torture --kills=200 --damages=1000 --inputs=2500

What must hold: a command that was ended, stopped or starved at any moment ends
with the same bits when it is run again; every damage to a file is reported or
has no effect; no input makes a traceback; nothing hangs for a minute (longer
where other programs use the machine); memory is bounded; no process and no
temporary file is left. The exit status is 1 if something did not hold.

Some conditions take root (disks) or Debian's package faketime (clocks); what
cannot be tried is counted as left out.
"""

import argparse
from collections.abc import Sequence
import pathlib
import sys
import tempfile
import time

from benchmarks.torture import damage
from benchmarks.torture import inputs
from benchmarks.torture import kills
from benchmarks.torture import machine
from benchmarks.torture import outcome as outcome_lib

# pylint: enable=g-import-not-at-top


def parse(argv: Sequence[str]):
  parser = argparse.ArgumentParser(
      prog='python -m benchmarks.torture',
      description='Tries to break runs, their files and the importers.',
  )
  parser.add_argument(
      '--kills', type=int, default=24, help='interruptions, of all scenarios'
  )
  parser.add_argument(
      '--conditions',
      type=int,
      default=1,
      help=(
          'trials with each: full disk, read-only disk, clock that jumps, two'
          ' runs in a folder'
      ),
  )
  parser.add_argument(
      '--damages', type=int, default=200, help='damages to files of all kinds'
  )
  parser.add_argument(
      '--inputs', type=int, default=250, help='inputs, for all that take them'
  )
  parser.add_argument('--seed', type=int, default=0, help='seed of everything')
  parser.add_argument(
      '--scenarios',
      default=','.join(kills.SCENARIOS),
      help='what to interrupt; default: %(default)s',
  )
  parser.add_argument(
      '--kinds',
      default=','.join(kills.KINDS),
      help='how to interrupt it; default: %(default)s',
  )
  return parser.parse_args(argv[1:])


def run(args) -> list[outcome_lib.Outcome]:
  """Runs the campaign."""
  outcomes = []
  with tempfile.TemporaryDirectory(prefix='torture-') as name:
    folder = pathlib.Path(name)
    for part in ('kills', 'machine', 'damage', 'inputs'):
      (folder / part).mkdir()
    # First, before this process starts threads: commands are forks of it.
    if args.kills or args.conditions:
      campaign = kills.Campaign(folder / 'kills', args.seed)
      scenarios = args.scenarios.split(',')
      for i, scenario in enumerate(scenarios):
        times = (i + 1) * args.kills // len(scenarios)
        times -= i * args.kills // len(scenarios)
        if times:
          outcome = campaign.interrupt(scenario, args.kinds.split(','), times)
          outcomes.append(outcome)
          print(outcome_lib.table([outcome]).splitlines()[2], flush=True)
      if args.conditions:
        outcomes += machine.try_all(
            campaign, folder / 'machine', args.conditions, seed=args.seed
        )
    if args.damages:
      outcomes += damage.try_all(
          args.damages, folder / 'damage', seed=args.seed
      )
    if args.inputs:
      outcomes += inputs.try_all(
          args.inputs // inputs.NUM_KINDS, folder / 'inputs', seed=args.seed
      )
  return outcomes


def main(argv: Sequence[str]) -> int:
  args = parse(argv)
  started_at = time.monotonic()
  outcomes = run(args)
  print(f'\n{outcome_lib.table(outcomes)}\n')
  print(f'Seed {args.seed}; {time.monotonic() - started_at:.0f} seconds.')
  return int(any(o.violations for o in outcomes))


if __name__ == '__main__':
  sys.exit(main(sys.argv))
