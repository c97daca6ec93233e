# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads arrays of a NumPy archive that somebody else made."""

from collections.abc import Sequence
import os
import zipfile
import zlib

import numpy as np

from tff_partial import errors


def load(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
  """Reads some of an archive's arrays.

  Args:
    path: An `.npz` file.
    names: The arrays.

  Raises:
    OSError: If there is no such file.
    ValueError: If it is not such an archive, naming the array.
  """
  if not os.path.isfile(path):
    raise errors.MissingFileError(f'Expected a file {path}, found none.')
  if not zipfile.is_zipfile(path):
    raise errors.DataError(
        f'Expected a NumPy archive (.npz) in {path}, found something else, or'
        ' one that was cut short.'
    )
  arrays = {}
  with np.load(path, allow_pickle=False) as archive:
    for name in names:
      if name not in archive.files:
        raise errors.DataError(
            f'Expected an array {name!r} in {path}, found'
            f' {sorted(archive.files)}. Name it with --examples, --label,'
            ' --person or --lengths.'
        )
      try:
        arrays[name] = archive[name]
      # Of object arrays and of damaged members; never unpickled.
      except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise errors.DataError(
            f'Expected numbers or text in array {name!r} of {path}, found one'
            f' that cannot be read: {e}.'
        ) from e
  return arrays
