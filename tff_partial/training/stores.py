# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Opens the personal store of a folder, whether it is one file or several."""

from collections.abc import Callable
import time
from typing import Any, Optional

from tff_partial.training import parted_store
from tff_partial.training import personal_store
from tff_partial.training import store_layout
from tff_partial.training import store_part

_TRIES = 20  # To read between two checkpoints of a run that goes on.
_SECONDS_BETWEEN_TRIES = 0.25

AnyStore = personal_store.PersonalStore | parted_store.PartedStore


def open_store(
    default: Any,
    directory: str,
    *,
    read_only: bool = False,
    default_fn: Optional[Callable[[str], Any]] = None,
) -> AnyStore:
  """Opens the store of a folder, or creates it as `create` has said.

  Args:
    default: As for `PersonalStore`.
    directory: The folder.
    read_only: As for `PersonalStore`.
    default_fn: As for `PersonalStore`, which a store of several files is not.

  Raises:
    errors.StoreError: As for `PersonalStore`, or if parts are on machines that
      cannot be reached from here.
  """
  layout = store_layout.read(directory)
  if layout is None:
    return personal_store.PersonalStore(
        default, directory, read_only=read_only, default_fn=default_fn
    )
  assert default_fn is None
  if layout.machines_folder is not None:
    from tff_partial.training import remote_parts  # Needs Ray.

    return remote_parts.open_store(
        default, directory, layout, read_only=read_only
    )
  for tries in range(1, _TRIES + 1):
    try:
      return _open_parts(default, directory, read_only)
    except store_part.OtherVersionError:
      if not read_only or tries == _TRIES:
        raise
    time.sleep(_SECONDS_BETWEEN_TRIES)
  raise AssertionError('The last try returns or raises.')


def _open_parts(
    default: Any, directory: str, read_only: bool
) -> parted_store.PartedStore:
  parts: list[store_part.Part] = []
  try:
    for folder in store_layout.part_folders(directory):
      parts.append(store_part.Part(default, folder, read_only=read_only))
    return parted_store.PartedStore(
        default, directory, parts, read_only=read_only
    )
  except BaseException:
    for part in parts:
      part.close()
    raise
