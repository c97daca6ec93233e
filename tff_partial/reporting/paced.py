# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes a page again and again without spending much time on it."""

from collections.abc import Callable
import time
from typing import Optional

# The part of the time that writing may take.
_SHARE = 0.05


class Pacer:
  """Does the last of many writes, and of the others those that time allows.

  A page about many runs is written while they go on, so that people can look at
  it. The more runs it is about, the longer that takes, so it is written less
  often: what has been spent on it stays below a twentieth of the time.

  Use it as a context manager. Whatever ends the block, even an interrupt, the
  last write is done then if it was put off.
  """

  def __init__(self, *, clock: Callable[[], float] = time.monotonic):
    """Initializes the pacer.

    Args:
      clock: Gives the time in seconds.
    """
    self._clock = clock
    self._next = -float('inf')
    self._pending: Optional[Callable[[], object]] = None

  def __enter__(self) -> 'Pacer':
    return self

  def __exit__(self, kind: object, *unused_exception: object) -> None:
    try:
      self._write()
    except OSError:
      if kind is None:
        raise  # Otherwise what ended the block says more.

  def offer(self, write_fn: Callable[[], object]) -> None:
    """Calls the function, or keeps it until the end or until the next call.

    Args:
      write_fn: Writes the page as it is to be now, without arguments.
    """
    self._pending = write_fn
    if self._clock() >= self._next:
      self._write()

  def _write(self) -> None:
    write_fn, self._pending = self._pending, None
    if write_fn is None:
      return
    start = self._clock()
    write_fn()
    end = self._clock()
    self._next = end + (end - start) / _SHARE
