# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a personal store tells without knowing the variables in it."""

from collections.abc import Iterator
import contextlib
import heapq
import os
import pathlib

from tff_partial.training import store_file
from tff_partial.training import store_layout
from tff_partial.training import store_rows


def num_rounds(directory: str | os.PathLike[str]) -> int:
  """The number of rounds of the last checkpoint; 0 without one.

  Raises:
    errors.StoreError: If the file is damaged.
  """
  if not exists(directory):
    return 0
  with _open(directory) as file:
    return file.read_header().version


def trained_clients(directory: str | os.PathLike[str]) -> Iterator[str]:
  """Yields the clients that took part in rounds, up to the last checkpoint.

  One is in memory at a time, by the order of their UTF-8 bytes.

  Raises:
    errors.StoreError: If there is no store, its ids are damaged, or it is on
      other machines.
  """
  by_part = [_trained_in(f) for f in store_layout.part_folders(directory)]
  yield from heapq.merge(*by_part, key=str.encode)


def _trained_in(directory: pathlib.Path) -> Iterator[str]:
  with _open(directory) as file:
    header = file.read_header()
    count = crcs = 0
    for client_id, version in file.iterate(
        'SELECT client_id, version FROM clients ORDER BY client_id'
    ):
      count += 1
      crcs += store_rows.crc(client_id)
      if version:
        yield client_id
    if (count, crcs) != (header.num_clients, header.ids_crc):
      raise file.damaged('its client ids')


def exists(directory: str | os.PathLike[str]) -> bool:
  """Whether the folder has a store."""
  return (pathlib.Path(directory) / store_file.FILE_NAME).exists()


@contextlib.contextmanager
def _open(directory: str | os.PathLike[str]) -> Iterator[store_file.StoreFile]:
  file = store_file.StoreFile(os.fspath(directory), None, read_only=True)
  with contextlib.closing(file):
    yield file
