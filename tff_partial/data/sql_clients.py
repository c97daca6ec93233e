# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads clients' examples from an SQLite file, one client at a time, as arrays.

`tff.simulation.datasets.SqlClientData` reads the same files with a dataset for
each client, which takes about 5 ms to start. Here a client's rows are fetched
and parsed at once. The population is never listed, since there may be millions
of clients of which a round reads a few. A file made by `sql_writer.SqlWriter`
says how many clients it has; any other file is scanned once when it is opened.
"""

import bisect
import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import copy
import json
import os
import pathlib
import sqlite3
import threading
from typing import Any, Optional, Union

from absl import logging
import cachetools
import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import example_protos
from tff_partial.data import sql_fingerprint

_COLUMNS = {
    'examples': ('split_name', 'client_id', 'serialized_example_proto'),
    'client_metadata': ('client_id', 'split_name', 'num_examples'),
}
# From the index of ids, since a scan would find the row itself.
_ROW_OF_ID = (
    'SELECT b.rowid FROM client_metadata b INDEXED BY client'
    ' WHERE b.client_id = a.client_id'
)
ADVICE = (
    'Make one with "python -m tasks.import_client_data npz <file.npz>'
    ' --output_dir=<folder>".'
)


class SqlClients:
  """The clients of one split of a file, in the file's order.

  It satisfies `tff_partial.learning.clients.Clients` and may be used from
  several threads. Memory is bounded by the cache, plus 8 bytes per client if
  the clients' rows are not consecutive, as in a view of some clients.

  Attributes:
    path: The file.
    split_name: The split.
    features: Names, types and shapes of what one example holds.
    client_ids: A lazy sequence of the clients' ids.
  """

  def __init__(
      self,
      path: str,
      *,
      split_name: Optional[str] = None,
      features: Optional[example_protos.Features] = None,
      cache_bytes: int = 128 * 2**20,
  ):
    """Opens a file, read-only.

    Args:
      path: A file made by `sql_writer.SqlWriter`, or any in TFF's format.
      split_name: Which of the file's splits to read; may be `None` if there is
        only one.
      features: The features to read. `None` means all that the file names; a
        file of TFF's names none, so they must be given.
      cache_bytes: Bytes of recently read examples to keep in memory.

    Raises:
      errors.MissingFileError: If the file is not there.
      errors.DataError: If it is not such a file, or lacks a feature.
      errors.SettingsError: If it has no such split.
    """
    self.path = os.path.abspath(path)
    if not os.path.isfile(self.path):
      raise errors.MissingFileError(
          f'Expected client data in {self.path}, found no such file. {ADVICE}'
      )
    self._lock = threading.Lock()
    self._connection = sqlite3.connect(
        self._uri, uri=True, check_same_thread=False, isolation_level=None
    )
    self._cache = _Cache(cache_bytes)
    for table, columns in _COLUMNS.items():
      found = [row[1] for row in self._query(f'PRAGMA table_info({table})')]
      if not set(columns) <= set(found):
        raise errors.DataError(
            f'Expected a table {table!r} with columns {list(columns)} in'
            f' {self.path}, found {found}. {ADVICE}'
        )
    self._has_checksums = 'crc' in found  # Of the last table, the clients'.
    try:
      counts = self._read_counts()
      self.split_name = self._choose_split(split_name, sorted(counts))
      self.features = self._choose_features(features)
      self._rows = self._find_rows(counts)
    except (TypeError, ValueError) as e:
      if isinstance(e, errors.UserError):
        raise
      raise self._damaged(str(e)) from e
    self._find_client = self._make_findable('client_metadata')
    self._find_examples = self._make_findable('examples')

  @property
  def client_ids(self) -> Sequence[str]:
    return _ClientIds(self)

  @property
  def fingerprint(self) -> str:
    """Changes with the content; see `sql_fingerprint`."""
    with self._reading() as connection:
      return sql_fingerprint.read(connection, self.path)

  def num_examples(self, client_id: str) -> int:
    """Returns the number of a client's examples, as stated in the file.

    Raises:
      errors.SettingsError: If there is no such client.
      errors.DataError: If the file has another number of them.
    """
    [(stated,)] = self._query(
        'SELECT num_examples FROM client_metadata WHERE rowid = :row',
        row=int(self._rows[self._position(client_id)]),
    )
    if self._has_checksums:
      # The index has the answer, so that no example is read.
      [(found,)] = self._query(
          'SELECT count(*) FROM examples WHERE client_id = :client_id',
          client_id=client_id,
      )
      if found != stated:
        raise self._damaged(
            f'{found} examples of client {client_id!r} instead of {stated}'
        )
    return stated

  def read(self, client_id: str) -> collections.OrderedDict[str, np.ndarray]:
    """Reads all examples of a client, in the order they were stored.

    Returns:
      A read-only array [examples, ...] for each feature. Strings, and tensors
      of varying length, are arrays of objects: `bytes` and arrays.

    Raises:
      errors.SettingsError: If there is no such client.
      errors.DataError: If its examples are damaged or do not have the
        features, naming client and example.
    """
    self._position(client_id)  # Raises if there is no such client.
    return self._cache.get(client_id, self._read)

  def check(self, client_id: str) -> None:
    """Checks a client's examples, if the file has their checksum.

    Raises:
      errors.SettingsError: If there is no such client.
      errors.DataError: If they are damaged, naming the client.
    """
    if self._has_checksums:
      self._check(client_id, self._protos(client_id))

  def _check(self, client_id: str, protos: Sequence[bytes]) -> None:
    if self._has_checksums:
      row = int(self._rows[self._position(client_id)])
      [(crc,)] = self._query(
          'SELECT crc FROM client_metadata WHERE rowid = :row', row=row
      )
      if crc != sql_fingerprint.checksum(client_id, protos):
        raise self._damaged(f'the examples of client {client_id!r}')

  def _damaged(self, what: str) -> errors.DataError:
    return errors.DataError(
        f'Expected the data that were written to {self.path}, found others:'
        f' {what}. The file is damaged: restore it from a copy, or import the'
        ' data again.'
    )

  def select(self, rows: np.ndarray) -> 'SqlClients':
    """Returns a view of the clients at these rows of `client_metadata`."""
    view = copy.copy(self)
    view._rows = np.sort(rows)
    return view

  def rows_shared_with(
      self,
      other: 'SqlClients',
      *,
      min_examples: int = 0,
      min_other_examples: int = 0,
  ) -> np.ndarray:
    """Finds the clients that both have.

    Args:
      other: Other examples of the same clients.
      min_examples: Clients with fewer examples in `self` are left out.
      min_other_examples: Clients with fewer examples in `other` are left out.

    Returns:
      Rows in `self` and in `other`, int64 [clients, 2], for `select`.

    Raises:
      errors.DataError: If a file is damaged.
    """
    self._check_clients(min_examples)
    other._check_clients(min_other_examples)
    with self._reading() as connection:
      connection.execute('ATTACH ? AS other', [other._uri])
      try:
        found = connection.execute(
            'SELECT a.rowid, b.rowid FROM main.client_metadata a JOIN'
            ' other.client_metadata b ON a.client_id = b.client_id'
            ' WHERE a.split_name = ? AND a.num_examples >= ?'
            ' AND b.split_name = ? AND b.num_examples >= ? ORDER BY a.rowid',
            [
                self.split_name,
                min_examples,
                other.split_name,
                min_other_examples,
            ],
        )
        rows = np.fromiter(found, np.dtype((np.int64, 2)))
      finally:
        connection.execute('DETACH other')
    both = _isin(rows[:, 0], self._rows) & _isin(rows[:, 1], other._rows)
    return rows[both]

  def _check_clients(self, min_examples: int) -> None:
    """Checks what decides who is selected, if the file has checksums.

    These are the ids, which stand in the table and in its index, and the
    numbers of examples of those who are left out. The others' numbers are
    checked when they are used.
    """
    if not self._has_checksums:
      return
    wrong = self._query(
        f'SELECT a.rowid, a.client_id FROM client_metadata a WHERE a.rowid IS'
        f' NOT ({_ROW_OF_ID}) OR a.num_examples < :least AND a.num_examples !='
        ' (SELECT count(*) FROM examples e WHERE e.client_id = a.client_id)'
        ' LIMIT 1',
        least=min_examples,
    )
    for row, client_id in wrong:
      raise self._damaged(f'client {client_id!r} in row {row}')

  @property
  def _uri(self) -> str:
    """The URI with which SQLite opens the file read-only."""
    return f'{pathlib.Path(self.path).as_uri()}?mode=ro'

  def _protos(self, client_id: str) -> list[bytes]:
    rows = self._query(
        'SELECT serialized_example_proto FROM examples WHERE rowid IN'
        f' ({self._find_examples}) ORDER BY rowid',
        client_id=client_id,
        split_name=self.split_name,
    )
    protos = [proto for (proto,) in rows]
    if not all(isinstance(proto, bytes) for proto in protos):
      raise self._damaged(f'the examples of client {client_id!r}')
    return protos

  def _read(self, client_id: str) -> collections.OrderedDict[str, np.ndarray]:
    protos = self._protos(client_id)
    try:
      examples = example_protos.decode(protos, self.features)
    except ValueError as e:
      raise errors.DataError(
          f'Client {client_id!r} of {self.path}: {e}.'
      ) from e
    self._check(client_id, protos)
    return examples

  def _position(self, client_id: object) -> int:
    rows = self._query(
        self._find_client, client_id=client_id, split_name=self.split_name
    )
    if rows:
      position = bisect.bisect_left(self._rows, rows[0][0])
      if position < len(self._rows) and self._rows[position] == rows[0][0]:
        return position
    raise errors.SettingsError(
        f'Expected one of the {len(self._rows)} clients of {self.path}, found'
        f' {client_id!r}.'
    )

  def _read_counts(self) -> dict[str, int]:
    """The number of clients in each split, if the file has a plausible one."""
    if not self._query('PRAGMA table_info(splits)'):
      return {}
    counts = dict(self._query('SELECT split_name, num_clients FROM splits'))
    [(last,)] = self._query('SELECT max(rowid) FROM client_metadata')
    plausible = sum(counts.values()) == last
    # A file without any client is refused in words of its own.
    if self._has_checksums and last and not plausible:
      raise self._damaged(f'{last} clients instead of {sum(counts.values())}')
    return counts if plausible else {}

  def _choose_split(self, split_name: Optional[str], names: list[str]) -> str:
    names = names or [
        name
        for name, in self._query(
            'SELECT DISTINCT split_name FROM client_metadata'
        )
    ]
    if not names:
      raise errors.DataError(
          f'Expected clients in {self.path}, found none. {ADVICE}'
      )
    if split_name is None and len(names) == 1:
      return names[0]
    if split_name is None or split_name not in names:
      raise errors.SettingsError(
          f'Expected `split_name` of {sorted(names)} in {self.path}, found'
          f' {split_name!r}.'
      )
    return split_name

  def _find_rows(self, counts: Mapping[str, int]) -> Union[range, np.ndarray]:
    """The clients' rows, in order; a range if the file has one split only."""
    if list(counts) == [self.split_name]:
      return range(1, counts[self.split_name] + 1)
    with self._reading() as connection:
      rows = connection.execute(
          'SELECT rowid FROM client_metadata WHERE split_name = ?'
          ' ORDER BY rowid',
          [self.split_name],
      )
      return np.fromiter((row for row, in rows), np.int64)

  def _choose_features(
      self, expected: Optional[example_protos.Features]
  ) -> example_protos.Features:
    """The features that the file names, checked against those expected."""
    if not self._query('PRAGMA table_info(features)'):
      if expected is None:
        raise errors.DataError(
            f'Expected a table "features" in {self.path} that says what'
            f' examples hold, found none. {ADVICE}'
        )
      return expected
    found = collections.OrderedDict(
        (name, tf.TensorSpec(json.loads(shape), dtype))
        for name, dtype, shape in self._query(
            'SELECT name, dtype, shape FROM features ORDER BY rowid'
        )
    )
    for name, spec in (expected or {}).items():
      if name not in found or not (
          spec.dtype == found[name].dtype
          and spec.shape.as_list() == found[name].shape.as_list()
      ):
        raise errors.DataError(
            f'Expected feature {example_protos.format_features({name: spec})}'
            f' in {self.path}, found {example_protos.format_features(found)}.'
        )
    return expected or found

  def _make_findable(self, table: str) -> str:
    """SQL for the rows of a client that does not scan the table."""
    sql = (
        f'SELECT rowid FROM {table} WHERE client_id = :client_id'
        ' AND split_name = :split_name'
    )
    values = {'client_id': '', 'split_name': ''}
    plan = self._query(f'EXPLAIN QUERY PLAN {sql}', **values)
    if plan[0][-1].startswith('SEARCH'):
      return sql
    logging.info('%s has no index of clients; building one.', self.path)
    # In a temporary table, since the file is not ours to change.
    self._query(
        f'CREATE TEMP TABLE {table}_of (client_id TEXT, example INTEGER,'
        ' PRIMARY KEY (client_id, example)) WITHOUT ROWID'
    )
    self._query(
        f'INSERT INTO {table}_of SELECT client_id, rowid FROM {table}'
        ' WHERE split_name = :split_name',
        split_name=self.split_name,
    )
    return f'SELECT example FROM {table}_of WHERE client_id = :client_id'

  def _query(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    with self._reading() as connection:
      return connection.execute(sql, values).fetchall()

  @contextlib.contextmanager
  def _reading(self) -> Iterator[sqlite3.Connection]:
    try:
      with self._lock:
        yield self._connection
    except (sqlite3.DatabaseError, UnicodeDecodeError) as e:
      raise errors.DataError(
          f'Expected an SQLite file with client data in {self.path}, found a'
          f' file that cannot be read: {e}. It may have been cut short: delete'
          ' it and make it again.'
      ) from e


class _ClientIds(Sequence):
  """The ids of an `SqlClients`, each looked up when it is needed."""

  def __init__(self, clients: SqlClients):
    self._clients = clients

  def __len__(self) -> int:
    return len(self._clients._rows)

  def __getitem__(self, index: Union[int, slice]) -> Union[str, list[str]]:
    if isinstance(index, slice):
      return [self._id(row) for row in self._clients._rows[index]]
    return self._id(self._clients._rows[index])

  def _id(self, row: int) -> str:
    # The index has every id once more, and must lead to the same row.
    checked = _ROW_OF_ID if self._clients._has_checksums else 'a.rowid'
    found = self._clients._query(
        f'SELECT a.client_id, ({checked}) FROM client_metadata a'
        ' WHERE a.rowid = :row',
        row=int(row),
    )
    if found and found[0][1] != row:
      raise self._clients._damaged(f'client {found[0][0]!r} in row {row}')
    if not found:
      raise errors.DataError(
          f'Expected a client in row {row} of {self._clients.path}, found none.'
          ' The file is damaged: delete it and make it again.'
      )
    return found[0][0]

  def index(self, client_id: str, *unused_bounds: int) -> int:
    return self._clients._position(client_id)

  def __contains__(self, client_id: object) -> bool:
    try:
      self._clients._position(client_id)
    except errors.SettingsError:  # A file that cannot be read is a DataError.
      return False
    return True


def _isin(rows: np.ndarray, some: Union[range, np.ndarray]) -> np.ndarray:
  """Like `np.isin`, without listing the numbers of a range."""
  if isinstance(some, range):
    return (rows >= some.start) & (rows < some.stop)
  return np.isin(rows, some)


class _Cache:
  """Keeps the most recently used examples, up to a number of bytes."""

  def __init__(self, max_bytes: int):
    self._lock = threading.Lock()
    self._values = cachetools.LRUCache(max_bytes, getsizeof=_num_bytes)

  def get(self, key: str, read: Callable[[str], Any]) -> Any:
    with self._lock:
      if key in self._values:
        return self._values[key]
    value = read(key)  # Outside the lock, so two threads may both read it.
    with self._lock, contextlib.suppress(ValueError):  # Larger than the cache.
      self._values[key] = value
    return value


def _num_bytes(examples: collections.OrderedDict[str, np.ndarray]) -> int:
  return sum(
      sum(memoryview(value).nbytes for value in array)
      if array.dtype == object
      else array.nbytes
      for array in examples.values()
  )
