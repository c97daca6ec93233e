# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Starts commands as processes that can be killed, many in a short time.

A command is a fork of this process, which has imported TensorFlow but computed
nothing, so that no time is spent on imports; one with other variables in its
environment is a new process. Each has a session of its own, and what it left
behind is found by a variable of the environment.
"""

import collections
from collections.abc import Mapping, Sequence
import contextlib
import os
import pathlib
import secrets
import signal
import sys
import time
from typing import Optional

import psutil

from benchmarks.torture import memory

MARK = 'TFF_PARTIAL_TORTURE'
WORKER = 'worker_binary'
MAX_SECONDS = 60  # A command that takes longer on an idle machine hangs.
_PEAK_SECONDS = 0.2  # Peaks of memory are read this often.
IMPORTS = (
    'tensorflow',
    'tensorflow_federated',
    'tff_partial.experiments.comparisons.compare',
    'tff_partial.experiments.exports.export',
    'tff_partial.runtime.local',
    'tff_partial.runtime.sharding',
    'tasks.import_client_data',
)


class Command:
  """A command that runs in a process of its own.

  Attributes:
    log: The file with what it prints.
    status: The exit status; negative for a signal, None while it runs.
    peaks: The most memory that it ('driver') and TFF's worker ('worker') have
      taken so far, in bytes.
  """

  def __init__(
      self,
      arguments: Sequence[str],
      log: pathlib.Path,
      variables: Optional[Mapping[str, str]] = None,
  ):
    """Starts a command.

    Args:
      arguments: `run_experiment` or a module's name, and its arguments.
      log: The file to append its output to.
      variables: What to add to the environment, for the dynamic linker too.
    """
    self.log = log
    self.status: Optional[int] = None
    self.peaks: collections.Counter = collections.Counter()
    self._peaks_read_at = 0.0
    self._mark = secrets.token_hex(8)
    sys.stdout.flush()
    sys.stderr.flush()
    self.pid = os.fork()
    if not self.pid:
      _run(arguments, log, {MARK: self._mark}, variables)

  def wait(self, seconds: Optional[float] = None) -> Optional[int]:
    """Waits for the end; the status, or None if it did not come in time.

    Args:
      seconds: How long to wait; None for `MAX_SECONDS`, and for as many times
        longer as there are programs for each core.
    """
    started_at = time.monotonic()
    crowd = 1.0
    while self.status is None:
      self._read_peaks()
      pid, status = os.waitpid(self.pid, os.WNOHANG)
      limit = seconds
      if limit is None:
        crowd = max(crowd, os.getloadavg()[0] / (os.cpu_count() or 1))
        limit = MAX_SECONDS * crowd
      if pid:
        self.status = os.waitstatus_to_exitcode(status)
      elif time.monotonic() - started_at > limit:
        return None
      else:
        time.sleep(0.005)
    return self.status

  def send(self, number: int) -> None:
    if self.status is None:
      os.kill(self.pid, number)

  def _read_peaks(self) -> None:
    if time.monotonic() - self._peaks_read_at < _PEAK_SECONDS:
      return
    with contextlib.suppress(psutil.Error):
      driver = psutil.Process(self.pid)
      found = [('driver', self.pid)]
      found += [
          ('worker', p.pid) for p in driver.children() if p.name() == WORKER
      ]
      for name, pid in found:
        self.peaks[name] = max(self.peaks[name], memory.peak_bytes(pid))
    self._peaks_read_at = time.monotonic()

  def others(self) -> list[psutil.Process]:
    """The processes that the command has started and that still live."""
    found = []
    for process in psutil.process_iter():
      try:
        if (
            process.pid != self.pid
            and process.environ().get(MARK) == self._mark
            and process.status() != psutil.STATUS_ZOMBIE
        ):
          found.append(process)
      except psutil.Error:
        continue  # It ended, or is another user's.
    return found

  def leftovers(self, seconds: float = 10) -> list[str]:
    """Ends the processes that outlived the command; their names."""
    deadline = time.monotonic() + seconds
    while (left := self.others()) and time.monotonic() < deadline:
      time.sleep(0.05)
    names = []
    for process in left:
      with contextlib.suppress(psutil.NoSuchProcess):
        names.append(process.name())
        process.kill()
    return names

  def end(self) -> None:
    self.send(signal.SIGKILL)
    self.wait()
    self.leftovers(0)


def _run(
    arguments: Sequence[str],
    log: pathlib.Path,
    mark: Mapping[str, str],
    variables: Optional[Mapping[str, str]],
) -> None:
  """Runs a command in the child; does not return."""
  status = 70
  try:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(mark)
    if variables is not None:
      os.environ.update(variables)
      this = [sys.executable, '-m', 'benchmarks.torture.programs', *arguments]
      os.execve(this[0], this, os.environ)
    status = _call(arguments)
  except SystemExit as e:
    status = e.code if isinstance(e.code, int) else 1
  except BaseException:  # pylint: disable=broad-exception-caught
    import traceback

    traceback.print_exc()
  finally:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


def _call(arguments: Sequence[str]) -> int:
  import importlib

  name, *rest = arguments
  if name == 'run_experiment':
    from absl import flags

    import tasks
    from tff_partial.experiments import flags as flags_lib
    from tff_partial.experiments import program

    flags_lib.define()
    program.main(flags.FLAGS([name, *rest]), tasks=tasks.TASKS)
    return 0
  from tff_partial.experiments import command

  module = importlib.import_module(name)
  args = module.parse([name, *rest])
  return command.run(
      lambda: module.main(args), module.PROG, flag_names=vars(args)
  )


if __name__ == '__main__':
  sys.exit(_call(sys.argv[1:]))
