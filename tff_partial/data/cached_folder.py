# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of data that are made on first use and then stay in a cache."""

from collections.abc import Callable
import os
import tempfile
from typing import Optional


def made_once(
    name: str, make: Callable[[str], object], *, cache_dir: Optional[str] = None
) -> str:
  """Returns a folder of the cache, after making it if it is not there.

  The folder is made under another name and renamed when complete, so that
  neither an interruption nor a second process at the same time can leave, or
  see, half of it. Two processes may both make it; the first one's stays.

  Args:
    name: The folder's name: everything its content depends on, with a version
      that changes when the program that makes it does.
    make: Fills an empty folder.
    cache_dir: Where folders are kept; see `cache_folder`.

  Raises:
    OSError: If the folder cannot be written.
  """
  cache_dir = cache_folder(cache_dir)
  folder = os.path.join(cache_dir, name)
  if os.path.isdir(folder):
    return folder
  os.makedirs(cache_dir, exist_ok=True)
  with tempfile.TemporaryDirectory(
      prefix=f'.{name}-', dir=cache_dir
  ) as scratch:
    complete = os.path.join(scratch, name)
    os.mkdir(complete)
    make(complete)
    try:
      os.rename(complete, folder)
    except OSError:
      if not os.path.isdir(folder):  # Not another process that was faster.
        raise
  return folder


def cache_folder(cache_dir: Optional[str] = None) -> str:
  """`cache_dir`, or `$TFF_PARTIAL_CACHE`, or `~/.cache/tff_partial`."""
  return (
      cache_dir
      or os.environ.get('TFF_PARTIAL_CACHE')
      or os.path.join(os.path.expanduser('~'), '.cache', 'tff_partial')
  )
