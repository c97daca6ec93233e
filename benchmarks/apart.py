# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds in a process of their own, started from this one.

TensorFlow divides its threads once in a process, so what computes there and
what computes here do not have to agree about it.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import multiprocessing
from multiprocessing import connection
import tempfile

import psutil

from tff_partial.runtime import names
from tff_partial.runtime import runtimes

# Runs the round of this number with its cohort, and returns the seconds.
Round = Callable[[int], float]
# Creates rounds by name; it is called with an empty folder. It is sent to the
# process, so it is a function of a module, or a `functools.partial` of one.
Create = Callable[[str], Mapping[str, Round]]


class Apart:
  """The rounds of another process.

  Attributes:
    rounds: They run there and return their seconds.
    cpu_seconds: What all cores spent on each round, by name, in steps of 0.01,
      in the process and in its worker.
  """

  def __init__(self, pipe: connection.Connection):
    """Receives the names of the rounds."""
    self._pipe = pipe
    names = pipe.recv()
    self.cpu_seconds: dict[str, list[float]] = {name: [] for name in names}
    self.rounds = {name: self._round(name) for name in names}

  def _round(self, name: str) -> Round:
    def run(round_num):
      self._pipe.send((name, round_num))
      seconds, cpu_seconds = self._pipe.recv()
      self.cpu_seconds[name].append(cpu_seconds)
      return seconds

    return run


@contextlib.contextmanager
def start(create: Create, runtime: str = names.IN_PROCESS) -> Iterator[Apart]:
  """Starts a process, which ends with the block.

  Args:
    create: Creates the rounds there.
    runtime: What it computes with, one of `names.RUNTIMES`.
  """
  context = multiprocessing.get_context('spawn')
  pipe, of_process = context.Pipe()
  process = context.Process(
      target=_serve, args=(of_process, create, runtime), daemon=True
  )
  process.start()
  of_process.close()
  try:
    with pipe:  # Closing it ends the process.
      yield Apart(pipe)
  finally:
    process.join()


def _serve(pipe: connection.Connection, create: Create, runtime: str) -> None:
  with (
      pipe,
      tempfile.TemporaryDirectory() as folder,
      runtimes.start(runtime),
      contextlib.suppress(EOFError),
  ):
    rounds = create(folder)
    pipe.send(list(rounds))
    while True:
      name, round_num = pipe.recv()
      before = _cpu_seconds()
      seconds = rounds[name](round_num)
      pipe.send((seconds, _cpu_seconds() - before))


def _cpu_seconds() -> float:
  """The time that this process and its worker have spent, on all cores."""
  process = psutil.Process()
  return sum(
      sum(p.cpu_times()[:2])
      for p in [process, *process.children(recursive=True)]
  )
