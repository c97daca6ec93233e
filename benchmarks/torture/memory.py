# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The most memory that processes take, on Linux."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import time

from benchmarks.torture import outcome as outcome_lib

MAX_BYTES = 3 * 2**29  # For each process.


def peak_bytes(pid: int) -> int:
  """The most memory that a process has taken; 0 if it has ended."""
  with contextlib.suppress(OSError):
    for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
      if line.startswith('VmHWM:'):
        return int(line.split()[1]) * 1024
  return 0


@contextlib.contextmanager
def measured(outcome: outcome_lib.Outcome) -> Iterator[None]:
  """Notes the seconds and the memory of what this process tries."""
  with contextlib.suppress(OSError):
    pathlib.Path('/proc/self/clear_refs').write_text('5')  # Forgets the peak.
  started_at = time.monotonic()
  yield
  outcome.seconds = time.monotonic() - started_at
  outcome.note_peaks({'campaign': peak_bytes(os.getpid())}, MAX_BYTES)
