# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes one file of a personal store that is in parts."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import functools
import os
import pathlib
import shutil
from typing import Optional, Protocol

import numpy as np

from tff_partial import errors
from tff_partial import files
from tff_partial.training import parted_store
from tff_partial.training import store_file
from tff_partial.training import store_layout
from tff_partial.training import store_rows

_MERGED = 'merged'  # The new file, before it replaces the record.
_ROWS_AT_A_TIME = 100
_INSERT = (
    'INSERT INTO clients (client_id, version, data, crc) VALUES (?, ?, ?, ?)'
)
_SELECT = (
    'SELECT client_id, version, data, crc FROM clients {}'
    f' ORDER BY client_id LIMIT {_ROWS_AT_A_TIME}'
)


class Source(Protocol):
  """The rows of a part."""

  def describe(
      self,
  ) -> tuple[list[tuple[str, str]], store_file.Header]:
    """The kinds of the personal variables, and the header."""

  def rows_after(
      self, client_id: Optional[str]
  ) -> list[tuple[str, int, bytes, int]]:
    """Some rows in order, those behind a client; the first ones if None."""


class PartRows:
  """The rows of a part on this machine, whatever its variables are."""

  def __init__(self, folder: str | os.PathLike[str]):
    """Opens the part's file.

    Raises:
      errors.StoreError: If it cannot be read.
    """
    self._file = store_file.StoreFile(os.fspath(folder), None, read_only=True)
    self._header = self._file.read_header()

  def describe(self) -> tuple[list[tuple[str, str]], store_file.Header]:
    """See `Source`."""
    return list(self._file.schema), self._header

  def rows_after(
      self, client_id: Optional[str]
  ) -> list[tuple[str, int, bytes, int]]:
    """See `Source`."""
    if client_id is None:
      return self._file.run(_SELECT.format(''))
    return self._file.run(_SELECT.format('WHERE client_id > ?'), [client_id])

  def close(self) -> None:
    """Releases the file."""
    self._file.close()


# Opens the parts that machines of a cluster have, in order.
OpenSourcesFn = Callable[
    [store_layout.Layout], contextlib.AbstractContextManager[Sequence[Source]]
]


def merge(
    directory: str | os.PathLike[str],
    *,
    open_sources_fn: Optional[OpenSourcesFn] = None,
) -> int:
  """Makes one file of a folder's store; after an interruption, call it again.

  The parts next to the record are removed, those on other machines stay.

  Args:
    directory: The folder of a run that is not going on.
    open_sources_fn: Opens parts on machines of a cluster, if one is connected.

  Returns:
    The number of clients in the store.

  Raises:
    errors.SettingsError: If the store has no parts.
    errors.StoreError: If a file is damaged, a checkpoint was interrupted, or
      the parts are on machines that cannot be reached from here. Or if another
      program reads the store.
  """
  folder = pathlib.Path(directory)
  layout = store_layout.read(folder)
  if layout is None:
    raise errors.SettingsError(
        f'Expected a store in parts in {folder}, found none. If it was merged'
        ' before, there is nothing to do.'
    )
  with contextlib.ExitStack() as stack:
    record = store_file.StoreFile(os.fspath(folder), None, read_only=False)
    stack.callback(record.close)
    header = record.read_header()
    # Else an earlier call was interrupted when it had only to clean up.
    is_record = parted_store.is_record(record.schema)
    if is_record:
      open_sources = open_sources_fn or functools.partial(_local, folder)
      sources = stack.enter_context(open_sources(layout))
      header = _write(folder / _MERGED, record, header, sources)
  if is_record:
    path = folder / store_file.FILE_NAME
    # While somebody reads the record, its log stays, which SQLite would take
    # for that of the new file.
    if path.with_name(path.name + '-wal').exists():
      raise errors.StoreError(
          f'Expected no other program to read {path}, found one. End it, and do'
          ' this again.'
      )
    os.replace(folder / _MERGED / store_file.FILE_NAME, path)
    files.sync(folder)
  shutil.rmtree(folder / _MERGED, ignore_errors=True)
  shutil.rmtree(folder / store_layout.PARTS, ignore_errors=True)
  (folder / store_layout.FILE_NAME).unlink()
  return header.num_clients


def _write(
    folder: pathlib.Path,
    record: store_file.StoreFile,
    header: store_file.Header,
    sources: Sequence[Source],
) -> store_file.Header:
  """Writes a store with the state of a record and the clients of all parts.

  Returns:
    Its header.
  """
  rows = record.run('SELECT client_id, version, data, crc FROM clients')
  if not rows:
    raise errors.StoreError(
        f'Expected a store with a checkpoint in {folder.parent}, found none'
        ' yet. Give the command of the run again first.'
    )
  [versions] = rows
  if not store_rows.is_intact(versions):
    raise record.damaged('the versions of its parts')
  header = header._replace(num_clients=0, ids_crc=0, rows_crc=0)
  parts = []
  for expected, source in zip(np.frombuffer(versions[2], np.int64), sources):
    schema, part = source.describe()
    if part.version != expected:
      raise errors.StoreError(
          f'Expected a part at version {expected}, found one at {part.version}:'
          ' a checkpoint was interrupted. Give the command of the run again'
          ' first.'
      )
    header = header._replace(
        num_clients=header.num_clients + part.num_clients,
        ids_crc=header.ids_crc + part.ids_crc,
        rows_crc=header.rows_crc + part.rows_crc,
    )
    parts.append((schema, source))
  if folder.exists():
    shutil.rmtree(folder)  # Of a call that was interrupted.
  merged = store_file.StoreFile(os.fspath(folder), parts[0][0], read_only=False)
  with contextlib.closing(merged), merged.writing():
    merged.run('DELETE FROM state')
    merged.run_many(
        'INSERT INTO state VALUES (?, ?, ?, ?)',
        record.iterate('SELECT position, spec, data, crc FROM state'),
    )
    found = store_file.Header()
    for schema, source in parts:
      merged.compare('a part', parts[0][0], schema)
      for rows in _pages(source):
        if not all(map(store_rows.is_intact, rows)):
          raise merged.damaged('a row of a part')
        ids = [row[0] for row in rows]
        merged.run_many(_INSERT, rows)
        merged.add_to_chain(ids)
        found = found._replace(
            num_clients=found.num_clients + len(rows),
            ids_crc=found.ids_crc + store_rows.sum_of_crcs(ids),
            rows_crc=found.rows_crc + sum(row[-1] for row in rows),
        )
    if found[1:4] != header[1:4]:
      raise merged.damaged('the rows of its parts are not those last written')
    merged.put_header(header)
    merged.commit()
  return header


def _pages(source: Source) -> Iterator[list[tuple[str, int, bytes, int]]]:
  last = None
  while rows := source.rows_after(last):
    yield rows
    last = rows[-1][0]


@contextlib.contextmanager
def _local(
    folder: pathlib.Path, layout: store_layout.Layout
) -> Iterator[Sequence[Source]]:
  del layout  # The folder's own.
  with contextlib.ExitStack() as stack:
    yield [
        stack.enter_context(contextlib.closing(PartRows(part)))
        for part in store_layout.part_folders(folder)
    ]
