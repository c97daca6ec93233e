# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Full and read-only disks, clocks that jump, and two runs in one folder."""

from collections.abc import Sequence
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np

from benchmarks.torture import kills
from benchmarks.torture import outcome as outcome_lib
from benchmarks.torture import programs
from tff_partial import files

NAME = 'fed_alt with all options'
_ENOUGH = '64m'
_DISKS = 'no disk can be mounted here'
_CLOCKS = 'no libfaketime (Debian: faketime) is installed'
_MAX_JUMP_DAYS = 3650


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
  for kind, trial, can_prepare, missing in (
      ('full disk', _full_disk, _mount, _DISKS),
      ('read-only disk', _read_only_disk, _mount, _DISKS),
      ('clock that jumps', _jumping_clock, _clock_can_jump, _CLOCKS),
      ('two runs in one folder', _two_runs, lambda _: True, ''),
  ):
    outcome = outcome_lib.Outcome(kind)
    started_at = time.monotonic()
    for number in range(times):
      disk = folder / f'{kind} {number}'
      disk.mkdir()
      if not can_prepare(disk):
        outcome.counts[f'left out: {missing}'] += 1
        continue
      try:
        end, wrong = trial(campaign, disk, rng, seconds, expected)
      finally:
        subprocess.run(['umount', str(disk)], stderr=subprocess.DEVNULL)
      outcome.counts[end] += 1
      if wrong:
        outcome.violations.append(f'{kind}, trial {number}: {wrong}')
      campaign.note_peaks(outcome)
    outcome.seconds = time.monotonic() - started_at
    outcomes.append(outcome)
  return outcomes


def _mount(path: pathlib.Path) -> bool:
  done = subprocess.run(
      ['mount', '-t', 'tmpfs', '-o', f'size={_ENOUGH}', 'tmpfs', str(path)],
      stderr=subprocess.DEVNULL,
  )
  return not done.returncode


def _with_clock(path: pathlib.Path, jump: str) -> dict[str, str]:
  """Variables for programs whose clock is set by a file, which is written."""
  libraries = sorted(pathlib.Path('/usr/lib').glob('**/libfaketimeMT.so.1'))
  path.write_text(jump)
  return {
      'LD_PRELOAD': str(libraries[0]) if libraries else '',
      'FAKETIME_TIMESTAMP_FILE': str(path),
      'FAKETIME_CACHE_DURATION': '1',  # Seconds until it is read again.
      # Nothing that is set can move the monotonic clock.
      'FAKETIME_DONT_FAKE_MONOTONIC': '1',
  }


def _clock_can_jump(folder: pathlib.Path) -> bool:
  variables = _with_clock(folder / 'probe', '-1000d')
  done = subprocess.run(
      [sys.executable, '-c', 'import time; print(time.time())'],
      env={**os.environ, **variables},
      capture_output=True,
      text=True,
      check=True,
  )
  return time.time() - float(done.stdout) > 999 * 24 * 3600


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


def _jumping_clock(campaign, disk, rng, seconds, expected) -> tuple[str, str]:
  """Sets the clock while a command runs, which may be killed then."""
  clock = disk / 'clock'
  variables = _with_clock(clock, '+0d')
  run = campaign.start(NAME, disk / 'run', variables)
  try:
    # Python starts, which takes about as long as all that follows.
    for _ in range(4):
      run.wait(float(rng.uniform(0, seconds)))
      days = int(rng.integers(-_MAX_JUMP_DAYS, _MAX_JUMP_DAYS))
      files.replace_text(clock, f'{days:+d}d')
    end = 'went on'
    allowed: tuple[int, ...] = (0,)
    if rng.integers(2):
      run.send(signal.SIGKILL)
      end, allowed = 'killed later', (0, -signal.SIGKILL)
    if run.wait() is None:
      return 'hang', f'still runs after {programs.MAX_SECONDS} s'
    wrong = kills.what_is_wrong(run, allowed)
    return end, wrong or campaign.finish(NAME, disk / 'run', expected)
  finally:
    run.end()


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
