# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs on disks that are full or read-only, and two runs in one folder."""

from collections.abc import Sequence
import pathlib
import subprocess
import time

import numpy as np

from benchmarks.torture import kills
from benchmarks.torture import outcome as outcome_lib
from benchmarks.torture import programs

NAME = 'fed_alt with all options'
_ENOUGH = '64m'


def try_all(
    campaign: kills.Campaign, folder: pathlib.Path, times: int, *, seed: int
) -> list[outcome_lib.Outcome]:
  """Tries each condition this many times.

  Args:
    campaign: Starts the commands.
    folder: An empty folder, to mount disks at.
    times: The number of trials of each condition.
    seed: Of the sizes of disks and of moments.
  """
  rng = np.random.default_rng([seed, 2])
  expected, seconds = campaign.reference(NAME)
  outcomes = []
  for kind, trial in (
      ('full disk', _full_disk),
      ('read-only disk', _read_only_disk),
      ('two runs in one folder', _two_runs),
  ):
    outcome = outcome_lib.Outcome(kind)
    started_at = time.monotonic()
    for number in range(times):
      disk = folder / f'{kind} {number}'
      disk.mkdir()
      mounted = kind == 'two runs in one folder' or _mount(disk, _ENOUGH)
      if not mounted:
        outcome.counts['left out: no disk can be mounted here'] += 1
        continue
      try:
        end, wrong = trial(campaign, disk, rng, seconds, expected)
      finally:
        subprocess.run(['umount', str(disk)], stderr=subprocess.DEVNULL)
      outcome.counts[end] += 1
      if wrong:
        outcome.violations.append(f'{kind}, trial {number}: {wrong}')
    outcome.seconds = time.monotonic() - started_at
    outcomes.append(outcome)
  return outcomes


def _mount(path: pathlib.Path, size: str, *others: str) -> bool:
  done = subprocess.run(
      [
          'mount',
          '-t',
          'tmpfs',
          '-o',
          ','.join((f'size={size}', *others)),
          'tmpfs',
          str(path),
      ],
      stderr=subprocess.DEVNULL,
  )
  return not done.returncode


def _remount(path: pathlib.Path, options: str) -> None:
  subprocess.run(['mount', '-o', f'remount,{options}', str(path)], check=True)


def _failing(campaign, out: pathlib.Path) -> tuple[str, str]:
  """Runs a command that should not succeed; how it ended, what was wrong."""
  run = campaign.start(NAME, out)
  try:
    if run.wait() is None:
      return 'hang', f'still runs after {programs.MAX_SECONDS} s'
    end = 'succeeded' if run.status == 0 else 'refused'
    return end, kills.what_is_wrong(run, (0, 1))
  finally:
    run.end()


def _full_disk(campaign, disk, rng, seconds, expected) -> tuple[str, str]:
  del seconds
  # From too small for the settings to almost enough.
  _remount(disk, f'size={int(np.exp(rng.uniform(np.log(8), np.log(900))))}k')
  end, wrong = _failing(campaign, disk / 'run')
  _remount(disk, f'size={_ENOUGH}')
  return end, wrong or campaign.finish(NAME, disk / 'run', expected)


def _read_only_disk(campaign, disk, rng, seconds, expected) -> tuple[str, str]:
  run = campaign.start(NAME, disk / 'run')
  run.wait(float(rng.uniform(0, seconds)))
  run.end()  # Nothing may have the disk open.
  _remount(disk, 'ro')
  end, wrong = _failing(campaign, disk / 'run')
  _remount(disk, 'rw')
  return end, wrong or campaign.finish(NAME, disk / 'run', expected)


def _two_runs(campaign, disk, rng, seconds, expected) -> tuple[str, str]:
  runs: Sequence[programs.Command] = [campaign.start(NAME, disk / 'run')]
  time.sleep(float(rng.uniform(0, 0.8 * seconds)))
  runs = [*runs, campaign.start(NAME, disk / 'run')]
  try:
    for run in runs:
      if run.wait() is None:
        return 'hang', f'still runs after {programs.MAX_SECONDS} s'
    wrong = ' '.join(kills.what_is_wrong(run, (0, 1)) for run in runs).strip()
    refused = sum(run.status != 0 for run in runs)
    if refused == 2:
      wrong = wrong or 'both were refused'
    end = 'one was refused' if refused else 'one after the other'
    return end, wrong or campaign.finish(NAME, disk / 'run', expected)
  finally:
    for run in runs:
      run.end()
