# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of data that are made on first use and then kept in a cache."""

from collections.abc import Callable
import os
from typing import Optional

from tff_partial import files


def cached_folder(
    name: str, make: Callable[[str], object], *, cache_dir: Optional[str] = None
) -> str:
  """Returns a folder of the cache, after making it if it is not there.

  An interruption leaves nothing behind, and nobody sees half a folder. If two
  processes make the folder at the same time, the one that finishes first wins.

  Args:
    name: The folder's name. It contains everything that the content depends
      on, with a version that changes whenever the program that makes it does.
    make: Fills an empty folder.
    cache_dir: Where folders are kept; see `cache_root`.

  Raises:
    errors.FileError: If the folder cannot be written.
  """
  folder = os.path.join(cache_root(cache_dir), name)
  if os.path.isdir(folder):
    return folder
  try:
    with files.new_folder(folder) as partial:
      make(str(partial))
  except files.ExistsError:
    pass  # Another process was faster.
  return folder


def cache_root(cache_dir: Optional[str] = None) -> str:
  """`cache_dir`, or `$TFF_PARTIAL_CACHE`, or `~/.cache/tff_partial`."""
  return os.path.expanduser(
      cache_dir
      or os.environ.get('TFF_PARTIAL_CACHE')
      or os.path.join('~', '.cache', 'tff_partial')
  )
