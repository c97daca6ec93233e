# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Client id -> personal variables: versioned, checksummed, all or nothing.

A cohort's variables are read before a round and written after it; `commit` then
makes all that was written durable, together with the server state of the same
version, in one SQLite transaction. After a crash at any moment the store is at
the last committed version, in every part.

Why the file can be trusted:

*   It is in WAL mode with synchronous=FULL: a commit ends with an fsync, so it
    survives power loss, and readers neither wait for the writer nor hold it up.
    (SQLite's WAL needs a local disk, not a network folder.)
*   A new file gets its name only when it is complete, so a file that is empty
    or cut short is never taken for a new store.
*   SQLite does not notice a flipped byte inside a value. Every row has a CRC-32
    of all its columns (which finds any damage within four bytes, and took a
    quarter of BLAKE2b's time).
*   A damaged id must not pass for a client never seen. The table `ids` is a
    chain: each id, in order, with the one after it. That a client is not stored
    is believed only if a link of the chain leads over its id, so nothing has to
    be gone through when the store is opened.

Values are the raw bytes of the arrays; nothing is pickled. No TensorFlow here.
"""

from collections.abc import Iterator, Sequence
import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import sqlite3
from typing import Any, Optional

import numpy as np
import tree

from tff_partial import errors
from tff_partial.training import store_rows

FILE_NAME = 'personal_store.sqlite'

_CREATE = (
    'CREATE TABLE store (schema TEXT, version INTEGER, num_clients INTEGER,'
    ' ids_crc INTEGER, state_crc INTEGER, crc INTEGER)',
    'CREATE TABLE state (position INTEGER PRIMARY KEY, spec TEXT, data BLOB,'
    ' crc INTEGER)',
    'CREATE TABLE clients (client_id TEXT PRIMARY KEY, version INTEGER,'
    ' data BLOB, crc INTEGER)',
    # BLOB leaves values as they are: the chain begins at the integer 0, which
    # SQLite orders before all text, and ends at NULL.
    'CREATE TABLE ids (client_id BLOB PRIMARY KEY, next BLOB, crc INTEGER)'
    ' WITHOUT ROWID',
)
_UPSERT_CLIENT = (
    'INSERT INTO clients VALUES (?, ?, ?, ?) ON CONFLICT (client_id) DO UPDATE'
    ' SET version = excluded.version, data = excluded.data, crc = excluded.crc'
)
_FIND_LINK = (
    'SELECT client_id, next, crc FROM ids WHERE client_id <= ?'
    ' ORDER BY client_id DESC LIMIT 1'
)
_FORMAT_VERSION = 1  # To be raised when the same tables come to mean another.
_PAGE_BYTES = 16384
_IDS_PER_QUERY = 500  # Some builds of SQLite allow 999 parameters in a query.
_MAX_VALUE_BYTES = 10**9  # SQLite's own limit for one value.
_DAMAGED = 'Restore the file from a copy, or start in a new folder.'
_ADVICE = {
    'SQLITE_FULL': 'Free some disk space and run again.',
    'SQLITE_BUSY': 'Let the other program that uses the store finish.',
    'SQLITE_CORRUPT': _DAMAGED,
    'SQLITE_ERROR': _DAMAGED,  # The names of its tables are no longer right.
    'SQLITE_NOTADB': _DAMAGED,
    'OperationalError': _DAMAGED,  # Text that is not UTF-8 any more.
    'UnicodeDecodeError': _DAMAGED,  # The same, in SQLite's own message.
    'ProgrammingError': 'Open the store again.',
}
_OTHER_ADVICE = 'Check that the folder exists, is writable and is not full.'


class PersonalStore:
  """Personal variables of every client that took part, by client id.

  Iterating gives the stored client ids in a stable order. Arrays handed out are
  read-only, since all unseen clients share one copy of the default.

  One program at a time may write. With `read_only` any number may look on, also
  while another trains: they see the version last committed when they opened the
  store or last called `restore`.
  """

  def __init__(
      self,
      default: Any,
      directory: Optional[str] = None,
      *,
      read_only: bool = False,
  ):
    """Opens the store in `directory`, or makes a new one.

    Args:
      default: Structure of NumPy arrays, the initial personal variables that an
        unseen client starts from. Every stored value has its structure, shapes
        and dtypes.
      directory: Where the file is or will be; None keeps the store in memory.
      read_only: Refuse to write, and allow another program to.

    Raises:
      StoreError: If the file is damaged, has another writer, cannot be read or
        written, is absent (read only), or was made for other variables.
    """
    self._default = tree.map_structure(_frozen, default)
    self._schema = store_rows.describe(self._default)
    self._value_bytes = sum(leaf.nbytes for leaf in tree.flatten(self._default))
    if self._value_bytes > _MAX_VALUE_BYTES:
      raise errors.StoreError(
          f'Expected at most {_MAX_VALUE_BYTES:,} bytes of personal variables'
          f' for a client, found {self._value_bytes:,}. Make fewer variables'
          ' personal.'
      )
    self._read_only = read_only
    self._path = (
        pathlib.Path(directory).absolute() / FILE_NAME if directory else None
    )
    self._version = self._num_clients = self._ids_crc = 0
    self._connection = self._lock = None
    try:
      with self._errors():
        self._connection = self._open()
      self._load()
    except BaseException:
      self.close()
      raise

  def read(self, client_ids: Sequence[str]) -> list[Any]:
    """Returns each client's personal variables; the default if it is unseen.

    Raises:
      StoreError: If a value is not what was written.
    """
    stored = {}
    for row in self._select('client_id, version, data, crc', client_ids):
      if not store_rows.is_intact(row):
        raise self._damaged(f'the variables of client {row[0]!r}')
      stored[row[0]] = self._decode(row[2])
    return [stored.get(client_id, self._default) for client_id in client_ids]

  def mean(self) -> Any:
    """Returns the mean over stored clients, each of whom counts alike.

    One client is in memory at a time, and sums are of 64 bits. Without clients
    it is the default.

    Raises:
      StoreError: If a value is not what was written.
    """
    if not self._num_clients:
      return self._default
    leaves = tree.flatten(self._default)
    sums = [np.zeros(leaf.shape, np.float64) for leaf in leaves]
    count = crcs = 0
    with self._errors():
      # In one order, on which the last bits of a sum depend.
      for row in self._connection.execute(
          'SELECT client_id, version, data, crc FROM clients ORDER BY client_id'
      ):
        if not store_rows.is_intact(row):
          raise self._damaged(f'the variables of client {row[0]!r}')
        count += 1
        crcs += store_rows.crc(row[0])
        for total, leaf in zip(sums, tree.flatten(self._decode(row[2]))):
          total += leaf
    self._check_ids(count, crcs)
    means = [
        (total / self._num_clients).astype(leaf.dtype)
        for total, leaf in zip(sums, leaves)
    ]
    return tree.unflatten_as(self._default, means)

  def write(
      self,
      client_ids: Sequence[str],
      values: Sequence[Any],
      *,
      version: Optional[int] = None,
  ):
    """Replaces clients' personal variables; durable at the next `commit`.

    Args:
      client_ids: The clients, each once.
      values: Their personal variables, in the same order.
      version: What `last_written` will say; by default the number after the
        last committed version.

    Raises:
      ValueError: If a value differs from the default in structure, shape or
        dtype; then nothing is written.
      StoreError: If writing fails. The store is then closed, at its last
        committed version.
    """
    if not len(client_ids) == len(values) == len(set(client_ids)):
      raise errors.SettingsError(
          f'Expected one value for each of {len(client_ids)} different clients,'
          f' found {len(values)} values and {len(set(client_ids))} different'
          ' clients. Give each client once.'
      )
    for client_id, value in zip(client_ids, values):
      where = f'the personal variables of client {client_id!r}'
      self._compare(where, self._schema, store_rows.describe(value))
    known = {row[0] for row in self._select('client_id', client_ids)}
    new = [client_id for client_id in client_ids if client_id not in known]
    version = self._version + 1 if version is None else int(version)
    rows = (
        store_rows.row(
            client_id,
            version,
            b''.join(map(store_rows.to_bytes, tree.flatten(value))),
        )
        for client_id, value in zip(client_ids, values)
    )
    with self._writing():
      self._connection.executemany(_UPSERT_CLIENT, rows)
      self._put_into_chain(new)
    self._num_clients += len(new)
    self._ids_crc += store_rows.sum_of_crcs(new)

  def commit(self, version: int, state: Any = ()):
    """Makes all that was written durable as `version`, with `state`.

    Args:
      version: Any number above the last committed one: the round.
      state: What belongs to the same version, such as the server state: a
        structure of NumPy arrays and scalars, Python numbers, strings and None.

    Raises:
      ValueError: If the version is not above the last, or the state has a leaf
        of another kind.
      StoreError: If writing fails. The store is then closed, at its last
        committed version.
    """
    version = int(version)
    if version <= self._version:
      raise errors.SettingsError(
          f'Expected a version above {self._version}, the last committed one,'
          f' found {version}. Go on from what restore() returns.'
      )
    leaves = [
        store_rows.row(
            position, store_rows.kind(leaf), store_rows.to_bytes(leaf)
        )
        for position, leaf in enumerate(tree.flatten(state))
    ]
    state_crc = store_rows.crc(*(leaf[-1] for leaf in leaves))
    with self._writing():
      self._run('DELETE FROM state')
      self._connection.executemany(
          'INSERT INTO state VALUES (?, ?, ?, ?)', leaves
      )
      self._put_header(version, state_crc)
      self._run('COMMIT')
      # Between commits one file holds everything. A WAL left behind and damaged
      # later could put old pages in front of that file's new ones.
      self._run('PRAGMA wal_checkpoint(TRUNCATE)')
    self._version, self._state_crc = version, state_crc

  def restore(self, state_like: Any = ()) -> tuple[int, Any]:
    """Discards what was not committed; returns the last commit.

    Args:
      state_like: A state with the structure, shapes and dtypes of the committed
        one, such as the initial state.

    Returns:
      The version and its state; 0 and `state_like` if nothing was committed.

    Raises:
      StoreError: If the file is damaged or holds a state of another kind.
    """
    with self._errors():
      if self._connection.in_transaction:
        self._connection.execute('ROLLBACK')
    self._load()
    rows = self._run(
        'SELECT position, spec, data, crc FROM state ORDER BY position'
    )
    if not self._version:
      return 0, state_like
    if self._state_crc != store_rows.crc(*(row[-1] for row in rows)) or not all(
        map(store_rows.is_intact, rows)
    ):
      raise self._damaged('the server state')
    expected = store_rows.describe(state_like)
    paths = [path for path, _ in expected] + ['one more'] * len(rows)
    found = [(path, row[1]) for path, row in zip(paths, rows)]
    self._compare('the server state', expected, found)
    leaves = [
        store_rows.from_bytes(row[2], leaf)
        for row, leaf in zip(rows, tree.flatten(state_like))
    ]
    return self._version, tree.unflatten_as(state_like, leaves)

  def contains(self, client_id: str) -> bool:
    """Whether the client's variables were ever written."""
    return self.last_written([client_id]) != [None]

  def last_written(self, client_ids: Sequence[str]) -> list[Optional[int]]:
    """The version in which each client was last written; None if unseen."""
    found = dict(self._select('client_id, version', client_ids))
    return [found.get(client_id) for client_id in client_ids]

  def __iter__(self) -> Iterator[str]:
    """Stored client ids by the order of their UTF-8 bytes, a page at a time."""
    query = 'SELECT client_id FROM clients {} ORDER BY client_id LIMIT 1000'
    before = self._num_clients
    count = crcs = 0
    page = self._run(query.format(''))
    # Where ids are damaged, pages may go round in a circle.
    while page and count <= self._num_clients:
      for (client_id,) in page:
        count += 1
        crcs += store_rows.crc(client_id)
        yield client_id
      page = self._run(query.format('WHERE client_id > ?'), page[-1])
    if self._num_clients == before:  # Else some came while we were at it.
      self._check_ids(count, crcs)

  @property
  def default(self) -> Any:
    """The personal variables of a client that was never written."""
    return self._default

  @property
  def num_clients(self) -> int:
    """Number of clients whose variables are stored."""
    return self._num_clients

  @property
  def num_bytes(self) -> int:
    """Bytes of all stored personal variables."""
    return self._num_clients * self._value_bytes

  @property
  def version(self) -> int:
    """The last committed version; 0 if there is none."""
    return self._version

  def close(self):
    """Discards what was not committed and lets go of the file."""
    if self._connection is not None:
      self._connection.close()
    if self._lock is not None:
      self._lock.close()

  def __enter__(self) -> 'PersonalStore':
    return self

  def __exit__(self, *unused_exception):
    self.close()

  def _open(self) -> sqlite3.Connection:
    """Returns a connection to a file that holds a complete store."""
    if self._path is None:
      return self._create(':memory:')
    if self._read_only:
      if not self._path.exists():
        raise errors.StoreError(
            f'Expected a personal store at {self._path}, found none. Train with'
            ' this folder first, or name another one.'
        )
      # SQLite makes files beside the store even to read it. Where it cannot, it
      # has to be told that nobody writes.
      wal = self._path.with_suffix('.sqlite-wal')
      alone = not os.access(self._path.parent, os.W_OK) and not wal.exists()
      return _connect(f'{self._path.as_uri()}?mode=ro&immutable={alone:d}')
    self._path.parent.mkdir(parents=True, exist_ok=True)
    self._lock = open(self._path.with_suffix('.lock'), 'wb')
    try:
      fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise errors.StoreError(
          f'{self._path} is being written by another program. Let it finish, or'
          ' name another folder.'
      ) from error
    if not self._path.exists():
      unfinished = self._path.with_suffix('.new')
      unfinished.unlink(missing_ok=True)
      self._create(str(unfinished)).close()
      unfinished.rename(self._path)
      _sync_folder(self._path.parent)
    connection = _connect(f'{self._path.as_uri()}?mode=rw')
    connection.execute('PRAGMA synchronous = FULL')
    return connection

  def _create(self, file: str) -> sqlite3.Connection:
    self._connection = _connect(file)
    self._run(f'PRAGMA page_size = {_PAGE_BYTES}')
    self._run('PRAGMA journal_mode = WAL')
    self._run('BEGIN')
    for statement in _CREATE:
      self._run(statement)
    self._run('INSERT INTO ids VALUES (?, ?, ?)', store_rows.row(0, None))
    self._num_clients = self._ids_crc = 0
    self._put_header(version=0, state_crc=store_rows.crc())
    self._run('COMMIT')
    return self._connection

  def _put_header(self, version: int, state_crc: int):
    """Replaces the one row that says what the rest of the file must be."""
    schema = json.dumps([_FORMAT_VERSION, self._schema])
    row = store_rows.row(
        schema, version, self._num_clients, self._ids_crc, state_crc
    )
    self._run('DELETE FROM store')
    self._run('INSERT INTO store VALUES (?, ?, ?, ?, ?, ?)', row)

  def _load(self):
    """Reads the header, and checks the tables against it."""
    if self._read_only:
      self._run('BEGIN')  # What is read from now on stays as it is now.
    tables = self._run(
        'SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY rowid'
    )
    if tables != [(statement,) for statement in _CREATE]:
      raise self._damaged('its tables, if it is such a store at all')
    rows = self._run('SELECT * FROM store')
    if len(rows) != 1 or not store_rows.is_intact(rows[0]):
      raise self._damaged('its header')
    schema, self._version, self._num_clients, self._ids_crc, *rest = rows[0]
    self._state_crc = rest[0]
    format_version, found = json.loads(schema)
    if format_version != _FORMAT_VERSION:
      raise errors.StoreError(
          f'Expected format {_FORMAT_VERSION} of {self._path}, found'
          f' {format_version}. Use the program that wrote it.'
      )
    found = [tuple(pair) for pair in found]
    self._compare('the personal variables', self._schema, found)

  def _check_ids(self, count: int, crcs: int):
    """Checks that so many ids, with this sum, are all that are stored."""
    if (count, crcs) != (self._num_clients, self._ids_crc):
      raise self._damaged('its client ids')

  def _link_over(self, client_id: str) -> tuple:
    """Returns the ids between which one is that is not stored.

    Raises:
      StoreError: If the chain does not say that it is not.
    """
    for row in self._run(_FIND_LINK, [client_id]):
      before, after, _ = row
      if store_rows.is_intact(row) and before != client_id:
        if after is None or client_id < after:
          return before, after
    raise self._damaged('its client ids')

  def _put_into_chain(self, client_ids: Sequence[str]):
    for client_id in client_ids:
      before, after = self._link_over(client_id)
      self._connection.executemany(
          'REPLACE INTO ids VALUES (?, ?, ?)',
          [
              store_rows.row(before, client_id),
              store_rows.row(client_id, after),
          ],
      )

  def _select(self, columns: str, client_ids: Sequence[str]) -> Iterator[tuple]:
    """Yields the stored clients' rows, in any order, the id first.

    Raises:
      StoreError: If one is not found that is stored.
    """
    ids = list(client_ids)
    if isinstance(client_ids, str) or not all(isinstance(i, str) for i in ids):
      raise errors.SettingsError(
          f'Expected a sequence of client ids that are strings, found'
          f' {client_ids!r}. Convert them with str().'
      )
    for start in range(0, len(ids), _IDS_PER_QUERY):
      chunk = ids[start : start + _IDS_PER_QUERY]
      marks = ', '.join('?' * len(chunk))
      not_found = set(chunk)
      for row in self._run(
          f'SELECT {columns} FROM clients WHERE client_id IN ({marks})', chunk
      ):
        not_found.discard(row[0])
        yield row
      for client_id in not_found:
        self._link_over(client_id)

  def _run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple]:
    with self._errors():
      return self._connection.execute(statement, parameters).fetchall()

  def _decode(self, data: bytes) -> Any:
    """Views a client's bytes as read-only arrays."""
    leaves, offset = [], 0
    for leaf in tree.flatten(self._default):
      leaves.append(np.ndarray(leaf.shape, leaf.dtype, data, offset))
      offset += leaf.nbytes
    return tree.unflatten_as(self._default, leaves)

  def _compare(self, what, expected, found):
    """Raises an error that names the first difference of two descriptions."""
    for wanted, got in itertools.zip_longest(expected, found):
      if wanted != got:
        raise errors.StoreError(
            f'Expected {_words(wanted)} in {what}, found {_words(got)}'
            f' ({self._path or "in memory"}). Use the model that the store was'
            ' made for, or another folder.'
        )

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    """Opens a transaction if none is; an error in it closes the store.

    Half a cohort must not be committed by a caller who goes on after an error.
    """
    if self._read_only:
      raise errors.StoreError(f'{self._path} was opened to be read only.')
    try:
      with self._errors():
        if not self._connection.in_transaction:
          self._connection.execute('BEGIN IMMEDIATE')
        yield
    except BaseException:
      self.close()
      raise

  @contextlib.contextmanager
  def _errors(self) -> Iterator[None]:
    """Turns errors of SQLite and of the file system into a `StoreError`."""
    try:
      yield
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
      name = getattr(error, 'sqlite_errorname', type(error).__name__)
      name = '_'.join(name.split('_')[:2])  # SQLITE_IOERR_WRITE, for one.
      advice = _ADVICE.get(name, _OTHER_ADVICE)
      raise errors.StoreError(
          f'The personal store {self._path or "in memory"} failed: {error}.'
          f' {advice}'
      ) from error

  def _damaged(self, what: str) -> errors.StoreError:
    return errors.StoreError(f'{self._path} is damaged: {what}. {_DAMAGED}')


def _connect(file: str) -> sqlite3.Connection:
  return sqlite3.connect(
      file,
      timeout=0,  # The lock file already says who writes.
      isolation_level=None,  # Transactions begin and end where this file says.
      check_same_thread=False,  # A notebook trains in a helper thread.
      uri=True,
  )


def _sync_folder(folder: pathlib.Path):
  """Makes a rename in the folder survive power loss."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def _frozen(leaf: Any) -> np.ndarray:
  array = np.array(leaf)
  array.setflags(write=False)
  return array


def _words(pair: Optional[tuple[str, str]]) -> str:
  return 'nothing more' if pair is None else f'{pair[1]} at {pair[0]!r}'
