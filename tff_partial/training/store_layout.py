# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the parts of a personal store are, which its folder says."""

import dataclasses
import json
import os
import pathlib
import secrets
from typing import Optional

from tff_partial import errors
from tff_partial import files
from tff_partial.training import store_file

FILE_NAME = 'store_parts.json'
PARTS = 'parts'  # The folder of parts that are next to the record.


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where the parts of a store are.

  Attributes:
    store: A random name, which parts and record have in common.
    num_parts: Number of parts.
    machines_folder: The folder on the machines of a cluster that has the parts;
      None if they are next to the record.
  """

  store: str
  num_parts: int
  machines_folder: Optional[str] = None


def create(
    directory: str | os.PathLike[str],
    num_parts: int,
    *,
    machines_folder: Optional[str] = None,
) -> None:
  """Decides that the store of a folder has several parts.

  Args:
    directory: The folder of a run; if it has a store, it must be this one.
    num_parts: Number of parts.
    machines_folder: As in `Layout`.

  Raises:
    errors.SettingsError: If the folder has another store.
  """
  path = pathlib.Path(directory) / FILE_NAME
  wanted = (num_parts, machines_folder)
  found = read(directory)
  if found is None and not (path.parent / store_file.FILE_NAME).exists():
    new = Layout(secrets.token_hex(8), *wanted)
    files.replace_text(path, json.dumps(dataclasses.asdict(new)) + '\n')
    return
  parts = (found.num_parts, found.machines_folder) if found else (1, None)
  if parts != wanted:
    raise errors.SettingsError(
        f'Expected `store_parts` {parts[0]} and `store_folder` {parts[1]} as in'
        f' {directory}, found {num_parts} and {machines_folder}. Go on with'
        ' those, or use another `output_dir`.'
    )


def read(directory: str | os.PathLike[str]) -> Optional[Layout]:
  """Where the parts of a folder's store are; None if it has no parts.

  Raises:
    errors.StoreError: If the file that says it is damaged.
  """
  path = pathlib.Path(directory) / FILE_NAME
  try:
    return Layout(**json.loads(path.read_text(encoding='utf-8')))
  except FileNotFoundError:
    return None
  except (OSError, ValueError, TypeError) as e:
    raise errors.StoreError(
        f'Expected where the parts of a store are in {path}, found a file that'
        f' cannot be read: {e}. Restore it from a copy.'
    ) from e


def part_folders(directory: str | os.PathLike[str]) -> list[pathlib.Path]:
  """The folders with clients of a store: the parts, or the folder itself.

  Raises:
    errors.StoreError: If the parts are on other machines.
  """
  found = read(directory)
  folder = pathlib.Path(directory)
  if found is None:
    return [folder]
  if found.machines_folder is not None:
    raise elsewhere(folder, found)
  return [folder / PARTS / str(i) for i in range(found.num_parts)]


def elsewhere(folder: pathlib.Path, found: Layout) -> errors.StoreError:
  """The error for parts that are on other machines."""
  return errors.StoreError(
      f'Expected the personal variables of {folder} here, found'
      f' {found.num_parts} parts in {found.machines_folder} of a cluster. Go on'
      ' with that cluster, or make one file of them by tasks.merge_store with'
      ' `cluster`.'
  )
