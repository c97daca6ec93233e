# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks whether this machine can run experiments, and says what to fix.

This is `python run_experiment.py --doctor`. Each check compares what it found
with what is expected and, where they differ, says what to do.
"""

from collections.abc import Iterator
import dataclasses
from importlib import metadata
import os
import pathlib
import platform
import re
import shutil
import socket
import sys
from typing import Optional

import humanize
import psutil

from tff_partial import errors
from tff_partial.runtime import local

_MIN_DISK_BYTES = 2 * 2**30
_MIN_MEMORY_BYTES = 4 * 2**30
_PIN = re.compile(r'^([A-Za-z0-9._-]+)==([^\s;\\]+)', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Check:
  """The result of one check.

  Attributes:
    name: What was checked.
    ok: Whether it is as expected.
    found: What was found, in words.
    expected: What is expected, in words.
    advice: What to do if it is not ok.
  """

  name: str
  ok: bool
  found: str
  expected: str
  advice: str

  def __str__(self) -> str:
    if self.ok:
      return f'ok    {self.name}: {self.found}'
    return (
        f'FAIL  {self.name}: expected {self.expected}, found {self.found}.'
        f' {self.advice}'
    )


def checks(requirements: str, output_dir: str) -> Iterator[Check]:
  """Runs and yields one check after another; the last one starts a worker.

  Args:
    requirements: The file of pinned packages, `requirements.txt`.
    output_dir: The folder for results, which need not exist.
  """
  yield _python()
  yield _packages(pathlib.Path(requirements))
  yield _cores()
  yield _memory()
  folder = pathlib.Path(output_dir).expanduser()
  yield _folder(folder)
  yield _disk(folder)
  yield _localhost()
  yield _worker()


def report(requirements: str, output_dir: str) -> bool:
  """Prints every check when it is finished; returns whether all are ok."""
  all_ok = True
  for check in checks(requirements, output_dir):
    print(check, flush=True)
    all_ok = all_ok and check.ok
  print(
      'All checks passed.'
      if all_ok
      else 'Fix the failures above and try again.'
  )
  return all_ok


def _python() -> Check:
  return Check(
      'Python',
      sys.version_info[:2] == (3, 11),
      platform.python_version(),
      '3.11',
      'Install Python 3.11 and create a new environment with it.',
  )


def _packages(requirements: pathlib.Path) -> Check:
  """Compares the installed packages with the pinned versions."""
  advice = f'Run `pip install --no-deps --require-hashes -r {requirements}`.'
  expected = f'the versions of {requirements}'
  text = _own_requirements()
  if requirements.is_file():
    text = requirements.read_text()
  elif text is None:
    advice = 'Run in a complete copy of the repository.'
    return Check('Packages', False, 'no such file', expected, advice)
  pins = _PIN.findall(text)
  wrong = []
  for package, version in pins:
    try:
      installed = metadata.version(package)
    except metadata.PackageNotFoundError:
      installed = 'absent'
    if installed != version:
      wrong.append(f'{package} {installed} instead of {version}')
  found = f'{len(pins) - len(wrong)} of {len(pins)} as pinned'
  if wrong:
    found += f' ({", ".join(wrong[:5])}{", ..." if wrong[5:] else ""})'
  return Check('Packages', bool(pins) and not wrong, found, expected, advice)


def _own_requirements() -> Optional[str]:
  """What this package requires, if it was installed from a wheel."""
  try:
    package = metadata.distribution('tff-partial')
  except metadata.PackageNotFoundError:
    return None
  if package.read_text('WHEEL') is None:  # What a build left in a checkout.
    return None
  return '\n'.join(r for r in package.requires or () if 'extra ==' not in r)


def _cores() -> Check:
  cores = os.cpu_count() or 1
  return Check('Cores', True, f'{cores}', 'any number', '')


def _memory() -> Check:
  free = psutil.virtual_memory().available
  return Check(
      'Free memory',
      free >= _MIN_MEMORY_BYTES,
      _size(free),
      f'at least {_size(_MIN_MEMORY_BYTES)}',
      'End other programs, or use few clients in a round.',
  )


def _existing(folder: pathlib.Path) -> pathlib.Path:
  """Returns the folder, or the nearest folder above it that exists."""
  folder = folder.absolute()
  # What is below an unreadable folder does not exist for `os.path.exists`, and
  # is an error for `pathlib`.
  return next(p for p in (folder, *folder.parents) if os.path.exists(p))


def _folder(output_dir: pathlib.Path) -> Check:
  folder = _existing(output_dir)
  ok = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
  return Check(
      'Output folder',
      ok,
      f'{folder}, {"" if ok else "not "}writable',
      f'a writable folder at {output_dir}',
      'Use another output folder.',
  )


def _disk(output_dir: pathlib.Path) -> Check:
  free = shutil.disk_usage(_existing(output_dir)).free
  return Check(
      'Free disk',
      free >= _MIN_DISK_BYTES,
      _size(free),
      f'at least {_size(_MIN_DISK_BYTES)} for {output_dir}',
      'Free some disk space, or use an output folder on another disk.',
  )


def _localhost() -> Check:
  try:
    found = ' '.join(
        sorted(
            {
                address[0]
                for *_, address in socket.getaddrinfo('localhost', None)
            }
        )
    )
  except OSError as error:
    found = str(error)
  return Check(
      'localhost',
      found.startswith(('127.', '::1')),
      found,
      '127.0.0.1 or ::1',
      'Add the line `127.0.0.1 localhost` to /etc/hosts.',
  )


def _worker() -> Check:
  """Starts TFF's worker and waits until it is ready."""
  expected = "an answer from TFF's worker"
  advice = (
      'Install tensorflow-federated again, and allow local connections, or do'
      ' without --runtime=worker.'
  )
  try:
    with local.local_worker():
      pass
  except (errors.WorkerError, OSError) as error:
    return Check('Worker', False, str(error), expected, advice)
  return Check('Worker', True, 'starts, answers and stops', expected, advice)


def _size(num_bytes: float) -> str:
  return humanize.naturalsize(num_bytes, binary=True)
