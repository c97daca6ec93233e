# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Starts commands as processes that can be killed, many in a short time.

A command is a fork of this process, which has imported TensorFlow but computed
nothing, so that a start takes a second less often wasted on imports. Each has
a session of its own and finds what it left behind by a variable of the
environment.
"""

from collections.abc import Sequence
import contextlib
import os
import pathlib
import secrets
import signal
import sys
import time
from typing import Optional

import psutil

MARK = 'TFF_PARTIAL_TORTURE'
MAX_SECONDS = 60  # A command that takes longer hangs.
IMPORTS = (
    'tensorflow',
    'tensorflow_federated',
    'tff_partial.experiments.compare',
    'tff_partial.experiments.export',
    'tff_partial.runtime.local',
    'tff_partial.runtime.sharding',
    'tasks.import_client_data',
)


class Command:
  """A command that runs in a process of its own.

  Attributes:
    log: The file with what it prints.
    status: The exit status; negative for a signal, None while it runs.
  """

  def __init__(self, arguments: Sequence[str], log: pathlib.Path):
    """Starts a command.

    Args:
      arguments: `run_experiment` or a module's name, and its arguments.
      log: The file to append its output to.
    """
    self.log = log
    self.status: Optional[int] = None
    self._mark = secrets.token_hex(8)
    sys.stdout.flush()
    sys.stderr.flush()
    self.pid = os.fork()
    if not self.pid:
      _run(arguments, log, self._mark)

  def wait(self, seconds: float = MAX_SECONDS) -> Optional[int]:
    """Waits for the end; the status, or None if it did not come in time."""
    deadline = time.monotonic() + seconds
    while self.status is None:
      pid, status = os.waitpid(self.pid, os.WNOHANG)
      if pid:
        self.status = os.waitstatus_to_exitcode(status)
      elif time.monotonic() > deadline:
        return None
      else:
        time.sleep(0.005)
    return self.status

  def send(self, number: int) -> None:
    if self.status is None:
      os.kill(self.pid, number)

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


def _run(arguments: Sequence[str], log: pathlib.Path, mark: str) -> None:
  """Runs a command in the child; does not return."""
  status = 70
  try:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ[MARK] = mark
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
