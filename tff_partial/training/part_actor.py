# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What runs on a machine that has a part of a store; see `remote_parts.py`.

No TensorFlow here, so that these processes start quickly and are small.
"""

from collections.abc import Sequence
import os
import time
from typing import Any, Optional

import numpy as np
import tree

from tff_partial import errors
from tff_partial import files
from tff_partial.training import store_file
from tff_partial.training import store_part

# The processes of a program that was killed end a moment later.
_SECONDS_FOR_LOCK = 20.0


def which_exist(folders: Sequence[str]) -> list[int]:
  """The numbers of the folders that are on this machine."""
  return [
      i
      for i, folder in enumerate(folders)
      if os.path.exists(os.path.join(folder, store_file.FILE_NAME))
  ]


class PartActor:
  """Has a part open, on the machine where its file is."""

  def __init__(self, default: Any, folder: str):
    self._default = default
    self._folder = folder
    self._part: Optional[store_part.Part] = None

  def open(self) -> None:
    files.make_folder(self._folder)
    deadline = time.monotonic() + _SECONDS_FOR_LOCK
    while self._part is None:
      try:
        self._part = store_part.Part(self._default, self._folder)
      except errors.StoreError as e:
        is_locked = isinstance(e.__cause__, files.LockedError)
        if not is_locked or time.monotonic() > deadline:
          raise
        time.sleep(0.5)

  def call(self, method: str, *arguments: Any) -> Any:
    return getattr(self._part, method)(*arguments)

  def read(self, client_ids: Sequence[str]) -> list[np.ndarray]:
    values = self._opened.read(client_ids)
    return [leaf for value in values for leaf in tree.flatten(value)]

  def write(self, client_ids: Sequence[str], arrays: Any, version: int) -> None:
    values = values_of(arrays, self._default, len(client_ids))
    self._opened.write(client_ids, values, version=version)

  def add(self, client_ids: Sequence[str], arrays: Any) -> None:
    values = values_of(arrays, self._default, len(client_ids))
    self._opened.add(client_ids, values)

  @property
  def _opened(self) -> store_part.Part:
    assert self._part is not None
    return self._part


def values_of(arrays: Any, default: Any, count: int) -> list[Any]:
  """Makes clients' personal variables from arrays that were received.

  Raises:
    errors.WorkerError: If they are not those of such variables.
  """
  leaves = tree.flatten(default)
  expected = [(leaf.dtype, leaf.shape) for leaf in leaves] * count
  found = [(getattr(a, 'dtype', None), np.shape(a)) for a in arrays]
  if found != expected:
    raise errors.WorkerError(
        f'Expected the personal variables of {count} clients from a process of'
        ' the cluster, found other arrays. Do not use this cluster any more: a'
        ' process is damaged, or somebody has replaced it.'
    )
  return [
      tree.unflatten_as(default, arrays[i : i + len(leaves)])
      for i in range(0, len(arrays), len(leaves))
  ]
