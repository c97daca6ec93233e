# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bare loops, each in a process and on a core of its own.

Two cores that share a cache and memory are not twice as fast as one. Two
independent loops show how much the machine loses, which two workers lose too.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import multiprocessing
from multiprocessing import connection
import os
import tempfile
import time

from benchmarks import apart
from benchmarks import bare_loop
from benchmarks import workload as workload_lib
from tff_partial.runtime import local

# Writes data into a folder and returns the workload. It is pickled, so it must
# be a function of a module, or a `functools.partial` of one.
Create = Callable[[str], workload_lib.Workload]


@contextlib.contextmanager
def rounds(
    create: Create, cores: Sequence[int]
) -> Iterator[tuple[apart.Round, apart.Round]]:
  """Two kinds of rounds that do the same work, on one core and on all.

  Args:
    create: Creates one core's share of the work of a round.
    cores: The cores; each gets a process.

  Yields:
    A round in which the first core does all shares, and one in which each core
    does its own.
  """
  context = multiprocessing.get_context('spawn')
  with contextlib.ExitStack() as stack:
    pipes = []
    for core in cores:
      pipe, of_process = context.Pipe()
      process = context.Process(
          target=_serve, args=(of_process, create, core), daemon=True
      )
      process.start()
      stack.callback(process.join)
      stack.enter_context(pipe)  # Closing it ends the process.
      of_process.close()
      pipes.append(pipe)
    for pipe in pipes:
      pipe.recv()

    def by_one(round_num):
      started_at = time.monotonic()
      for part in range(len(pipes)):
        pipes[0].send(len(pipes) * round_num + part)
        pipes[0].recv()
      return time.monotonic() - started_at

    def by_all(round_num):
      started_at = time.monotonic()
      for pipe in pipes:
        pipe.send(round_num)
      for pipe in pipes:
        pipe.recv()
      return time.monotonic() - started_at

    yield by_one, by_all


def _serve(pipe: connection.Connection, create: Create, core: int):
  """Runs the rounds whose numbers it receives, in a process of its own."""
  os.sched_setaffinity(0, {core})  # TensorFlow then has one thread.
  with pipe, tempfile.TemporaryDirectory() as folder, local.local_worker():
    loop = bare_loop.BareLoop(create(folder), alternating=True)
    pipe.send(None)
    with contextlib.suppress(EOFError):
      while True:
        pipe.send(loop(pipe.recv()))
