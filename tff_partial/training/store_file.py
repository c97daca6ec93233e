# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The SQLite file of a personal store: tables, transactions, lock and damage.

Why the file can be trusted:

*   It is in WAL mode with synchronous=FULL. A commit ends with an fsync, so it
    survives a power failure, and readers and the writer do not block each
    other. (SQLite's WAL needs a local disk, not a network folder.)
*   A new file gets its name only when it is complete, so an empty or truncated
    file is never taken for a new store.
*   SQLite does not notice a flipped byte inside a value. Every row has a CRC-32
    of all its columns.
*   A disk may lose the write of a page, and keep an older page whose rows are
    intact. A client's row is bound to its version by its checksum, and the
    header has the sum of these checksums.
*   A client whose id was damaged must not pass for a client never seen. The
    table `ids` is a chain: each id is stored with the next one in order. A
    client counts as not stored only if a link of the chain spans its id, so
    opening the store does not need to read all ids.
"""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import itertools
import json
import os
import pathlib
import sqlite3
from typing import Any, NamedTuple, Optional

from absl import logging
import humanize

from tff_partial import errors
from tff_partial import files
from tff_partial.training import store_rows

FILE_NAME = 'personal_store.sqlite'

_CREATE = (
    'CREATE TABLE store (schema TEXT, version INTEGER, num_clients INTEGER,'
    ' ids_crc INTEGER, rows_crc INTEGER, state_crc INTEGER, crc INTEGER)',
    'CREATE TABLE state (position INTEGER PRIMARY KEY, spec TEXT, data BLOB,'
    ' crc INTEGER)',
    # The variables last: SQLite would have to read them to find what is behind.
    'CREATE TABLE clients (client_id TEXT PRIMARY KEY, version INTEGER,'
    ' crc INTEGER, data BLOB)',
    # BLOB leaves values as they are: the chain begins at the integer 0, which
    # SQLite orders before all text, and ends at NULL.
    'CREATE TABLE ids (client_id BLOB PRIMARY KEY, next BLOB, crc INTEGER)'
    ' WITHOUT ROWID',
)
_FIND_LINK = (
    'SELECT client_id, next, crc FROM ids WHERE client_id <= ?'
    ' ORDER BY client_id DESC LIMIT 1'
)
_FIND_BEFORE = _FIND_LINK.replace('<=', '<')
_FORMAT_VERSION = 2  # Increase this when tables or their meaning change.
_PAGE_BYTES = 16384
_WAL_WARNING_BYTES = 64 * 2**20  # Of earlier versions that readers keep.
_IDS_PER_QUERY = 500  # Some builds of SQLite allow 999 parameters in a query.
_DAMAGED = 'Restore the file from a copy, or start in a new folder.'
_ADVICE = {
    'SQLITE_FULL': 'Free some disk space and run again.',
    'SQLITE_BUSY': 'Let the other program that uses the store finish.',
    'SQLITE_TOOBIG': 'Make fewer variables personal, or use shorter ids.',
    'SQLITE_CORRUPT': _DAMAGED,
    'SQLITE_ERROR': _DAMAGED,  # The names of its tables are damaged.
    'SQLITE_NOTADB': _DAMAGED,
    'OperationalError': _DAMAGED,  # Text that is not UTF-8.
    'UnicodeDecodeError': _DAMAGED,  # The same, in SQLite's own message.
    'ProgrammingError': 'Open the store again.',
}
_OTHER_ADVICE = 'Check that the folder exists, is writable and is not full.'


class Header(NamedTuple):
  """The single row that says what the rest of the file must be."""

  version: int = 0  # The last committed one; 0 if there is none.
  num_clients: int = 0
  ids_crc: int = 0  # `store_rows.sum_of_crcs` of the clients' ids.
  rows_crc: int = 0  # Sum of the checksums of the clients' rows.
  state_crc: int = 0  # Of the checksums of the state's rows.


class StoreFile:
  """An open store file. All of its failures are raised as `StoreError`."""

  def __init__(
      self,
      directory: Optional[str],
      schema: Optional[Sequence[tuple[str, str]]],
      *,
      read_only: bool,
  ):
    """Opens the file in `directory`, or creates it.

    Args:
      directory: The folder of the file; None keeps it in memory.
      schema: Path and kind of each personal variable, which a stored file must
        match. None takes those of an existing file.
      read_only: Whether to refuse to write, and to allow another writer.

    Raises:
      errors.StoreError: If the file cannot be opened, or has another writer.
    """
    self._schema = schema
    self._read_only = read_only
    self._path = (
        pathlib.Path(directory).absolute() / FILE_NAME if directory else None
    )
    self._lock = contextlib.ExitStack()
    self._wal_warning_bytes = _WAL_WARNING_BYTES
    self._connection: Any = None
    try:
      with self._errors():
        self._open()
    except BaseException:
      self.close()
      raise

  @property
  def schema(self) -> Sequence[tuple[str, str]]:
    """Path and kind of each personal variable."""
    assert self._schema is not None  # `read_header` comes first.
    return self._schema

  def close(self) -> None:
    """Discards what was not committed, and releases the file."""
    if self._connection is not None:
      self._connection.close()
    self._lock.close()

  def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple]:
    """Runs one statement and returns all of its rows."""
    return list(self.iterate(statement, parameters))

  def run_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    """Runs one statement for each of some rows."""
    with self._errors():
      self._connection.executemany(statement, rows)

  def iterate(
      self, statement: str, parameters: Sequence[Any] = ()
  ) -> Iterator[tuple]:
    """Runs one statement and yields its rows; one is in memory at a time."""
    with self._errors():
      yield from self._connection.execute(statement, parameters)

  def read_header(self) -> Header:
    """Checks the tables and the schema, and returns the header.

    A file that is read only stays as it is now until the next call.

    Raises:
      errors.StoreError: If the file is damaged or of other variables.
    """
    if self._read_only:
      self.run('BEGIN')
    tables = self.run(
        'SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY rowid'
    )
    if tables != [(statement,) for statement in _CREATE]:
      self._check_format(self._find_format())
      raise self.damaged('its tables, if it is such a store at all')
    rows = self.run('SELECT * FROM store')
    if len(rows) != 1 or not store_rows.is_intact(rows[0]):
      raise self.damaged('its header')
    schema, *values, _ = rows[0]
    format_version, pairs = json.loads(schema)
    self._check_format(format_version)
    found = [tuple(pair) for pair in pairs]
    if self._schema is None:
      self._schema = found
    self.compare('the personal variables', self._schema, found)
    return Header(*values)

  def _find_format(self) -> Any:
    """The number in a header of any format; None if there is none."""
    try:
      [(schema,)] = self.run('SELECT schema FROM store')
      return json.loads(schema)[0]
    except (ValueError, TypeError, LookupError):  # `StoreError` is the first.
      return None

  def _check_format(self, found: Any) -> None:
    if found not in (None, _FORMAT_VERSION):
      raise errors.StoreError(
          f'Expected format {_FORMAT_VERSION} of {self._path}, found {found}.'
          ' Use the version of this package that wrote it, or start in a new'
          ' folder.'
      )

  def put_header(self, header: Header) -> None:
    """Replaces the header."""
    schema = json.dumps([_FORMAT_VERSION, self._schema])
    self.run('DELETE FROM store')
    self.run(
        'INSERT INTO store VALUES (?, ?, ?, ?, ?, ?, ?)',
        store_rows.row(schema, *header),
    )

  @contextlib.contextmanager
  def writing(self) -> Iterator[None]:
    """Begins a transaction if there is none; an error in it closes the file.

    A caller who goes on after an error must not commit half a cohort.
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

  def commit(self) -> None:
    """Commits the transaction; it is on disk when this returns."""
    self.run('COMMIT')
    wal_bytes = self._empty_wal()
    if wal_bytes > self._wal_warning_bytes:
      logging.warning(
          'Another program reads %s and keeps %s of earlier versions on disk.'
          ' They grow with every checkpoint until it ends.',
          self._path,
          humanize.naturalsize(wal_bytes),
      )
      self._wal_warning_bytes = 2 * wal_bytes

  def forget(
      self, header: Header, client_ids: Sequence[str]
  ) -> tuple[Header, list[str]]:
    """Removes clients; then call `vacuum`. See `PersonalStore.forget`.

    Returns:
      The new header, and the clients that were stored.
    """
    self.check_committed()
    crcs = self.select_checksums(client_ids)
    header = header._replace(
        num_clients=header.num_clients - len(crcs),
        ids_crc=header.ids_crc - store_rows.sum_of_crcs(crcs),
        rows_crc=header.rows_crc - sum(crcs.values()),
    )
    with self.writing():
      for client_id in crcs:
        self.run('DELETE FROM clients WHERE client_id = ?', [client_id])
        self._remove_from_chain(client_id)
      self.put_header(header)
      self.commit()
    return header, [c for c in client_ids if c in crcs]

  def check_committed(self) -> None:
    """Checks that nothing waits for a commit.

    Raises:
      errors.SettingsError: If something does.
    """
    with self._errors():
      if self._connection.in_transaction:
        raise errors.SettingsError(
            'Expected no variables that are not committed, found some. Call'
            ' commit or restore first.'
        )

  def vacuum(self) -> None:
    """Writes the whole file again, without any remains of removed rows.

    SQLite overwrites what it deletes, but not the copies that it made earlier
    when it moved a row to another page.

    Raises:
      errors.StoreError: If another program reads the file, whose snapshot keeps
        the removed rows on disk.
    """
    self.run('VACUUM')
    if self._empty_wal():
      raise errors.StoreError(
          f'Expected no other program to read {self._path}, found one that'
          ' keeps an earlier version on disk. End it, and do this again.'
      )

  def _empty_wal(self) -> int:
    """Moves the log into the file; the bytes that readers keep in the log.

    Between commits one file holds everything. A log that is left behind and
    damaged later could hide the file's new pages behind old ones.
    """
    [(kept, pages, _)] = self.run('PRAGMA wal_checkpoint(TRUNCATE)')
    return pages * _PAGE_BYTES if kept else 0

  def roll_back(self) -> None:
    """Discards what was not committed."""
    with self._errors():
      if self._connection.in_transaction:
        self._connection.execute('ROLLBACK')

  def select(self, columns: str, client_ids: Sequence[str]) -> Iterator[tuple]:
    """Yields the rows of those clients that are stored, in any order.

    Args:
      columns: Of the table `clients`, beginning with the id.
      client_ids: The clients.

    Raises:
      errors.SettingsError: If an id is not text.
      errors.StoreError: If a stored client is not found.
    """
    check_ids(client_ids)
    ids = list(client_ids)
    for start in range(0, len(ids), _IDS_PER_QUERY):
      chunk = ids[start : start + _IDS_PER_QUERY]
      marks = ', '.join('?' * len(chunk))
      not_found = set(chunk)
      for row in self.run(
          f'SELECT {columns} FROM clients WHERE client_id IN ({marks})', chunk
      ):
        not_found.discard(row[0])
        yield row
      for client_id in not_found:
        self._link_around(client_id)

  def select_checksums(self, client_ids: Sequence[str]) -> dict[str, int]:
    """The checksum of each stored client's row, by id."""
    found = dict(self.select('client_id, crc', client_ids))
    for client_id, crc in found.items():
      if not isinstance(crc, int):
        raise self.damaged(f'the variables of client {client_id!r}')
    return found

  def add_to_chain(self, client_ids: Sequence[str]) -> None:
    """Adds ids that are not stored yet to the chain of ids."""
    for client_id in client_ids:
      before, after = self._link_around(client_id)
      self.run_many(
          'REPLACE INTO ids VALUES (?, ?, ?)',
          [store_rows.row(before, client_id), store_rows.row(client_id, after)],
      )

  def _remove_from_chain(self, client_id: str) -> None:
    """Joins the neighbors, in the chain, of an id that is stored.

    Raises:
      errors.StoreError: If the chain is damaged there.
    """
    before = self.run(_FIND_BEFORE, [client_id])
    own = self.run(_FIND_LINK, [client_id])
    for (id_before, next_id, _), (found_id, after, _) in zip(before, own):
      if next_id == client_id == found_id and all(
          map(store_rows.is_intact, (*before, *own))
      ):
        self.run('DELETE FROM ids WHERE client_id = ?', [client_id])
        self.run(
            'REPLACE INTO ids VALUES (?, ?, ?)',
            store_rows.row(id_before, after),
        )
        return
    raise self.damaged('its client ids')

  def walk_chain(self) -> tuple[int, int]:
    """The number of ids in the chain, and the sum of their checksums.

    Raises:
      errors.StoreError: If the chain is broken.
    """
    count = crcs = 0
    expected: Any = 0
    for row in self.iterate(
        'SELECT client_id, next, crc FROM ids ORDER BY client_id'
    ):
      if row[0] != expected or not store_rows.is_intact(row):
        raise self.damaged('its client ids')
      if expected != 0:
        count += 1
        crcs += store_rows.crc(expected)
      expected = row[1]
    if expected is not None:
      raise self.damaged('its client ids')
    return count, crcs

  def compare(
      self,
      what: str,
      expected: Sequence[tuple[str, str]],
      found: Sequence[tuple[str, str]],
  ) -> None:
    """Raises if two descriptions, `(path, kind)` for each leaf, differ."""
    for wanted, got in itertools.zip_longest(expected, found):
      if wanted != got:
        raise errors.StoreError(
            f'Expected {_words(wanted)} in {what}, found {_words(got)}'
            f' ({self._path or "in memory"}). Use the model that the store was'
            ' made for, or another folder.'
        )

  def damaged(self, what: str) -> errors.StoreError:
    """Returns the error for damage to this part of the file."""
    return errors.StoreError(f'{self._path} is damaged: {what}. {_DAMAGED}')

  def _open(self) -> None:
    """Connects to a file that holds a complete store."""
    if self._path is None:
      self._create(':memory:')
      return
    if self._read_only:
      self._connection = _connect(self._read_only_uri(self._path))
      return
    self._path.parent.mkdir(files.PRIVATE_FOLDER, parents=True, exist_ok=True)
    try:
      self._lock.enter_context(files.lock(self._path.with_suffix('.lock')))
    except files.LockedError as error:
      raise errors.StoreError(
          f'{self._path} is being written by another program. Let it finish, or'
          ' name another folder.'
      ) from error
    if not self._path.exists():
      files.remove_partial(self._path)
      with files.replace(self._path) as partial:
        self._create(str(partial))
        self._connection.close()
    self._connection = _connect(f'{self._path.as_uri()}?mode=rw')
    self._connection.execute('PRAGMA synchronous = FULL')
    # Not every build of SQLite overwrites what it deletes unless it is told to.
    self._connection.execute('PRAGMA secure_delete = ON')

  def _read_only_uri(self, path: pathlib.Path) -> str:
    if not path.exists():
      raise errors.StoreError(
          f'Expected a personal store at {path}, found none. Train with this'
          ' folder first, or name another one.'
      )
    # SQLite creates files next to the store even to read it. Where it cannot,
    # it has to be told that there is no writer.
    wal = path.with_suffix('.sqlite-wal')
    immutable = not os.access(path.parent, os.W_OK) and not wal.exists()
    return f'{path.as_uri()}?mode=ro&immutable={immutable:d}'

  def _create(self, file: str) -> None:
    self._connection = _connect(file)
    self.run(f'PRAGMA page_size = {_PAGE_BYTES}')
    self.run('PRAGMA journal_mode = WAL')
    self.run('BEGIN')
    for statement in _CREATE:
      self.run(statement)
    self.run('INSERT INTO ids VALUES (?, ?, ?)', store_rows.row(0, None))
    self.put_header(Header(state_crc=store_rows.crc()))
    self.run('COMMIT')

  def _link_around(self, client_id: str) -> tuple[Any, Any]:
    """Returns the neighbors, in the chain, of an id that is not stored.

    Raises:
      errors.StoreError: If the chain does not show that it is not stored.
    """
    for row in self.run(_FIND_LINK, [client_id]):
      before, after, _ = row
      if store_rows.is_intact(row) and before != client_id:
        if after is None or client_id < after:
          return before, after
    raise self.damaged('its client ids')

  @contextlib.contextmanager
  def _errors(self) -> Iterator[None]:
    """Raises errors of SQLite and of the file system as `StoreError`."""
    try:
      yield
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
      name = getattr(error, 'sqlite_errorname', type(error).__name__)
      name = '_'.join(name.split('_')[:2])  # SQLITE_IOERR_WRITE, for example.
      advice = _ADVICE.get(name, _OTHER_ADVICE)
      raise errors.StoreError(
          f'The personal store {self._path or "in memory"} failed: {error}.'
          f' {advice}'
      ) from error


def check_ids(client_ids: Sequence[str]) -> None:
  """Checks that each id is text, which can be written in UTF-8.

  Raises:
    errors.SettingsError: If one is not.
  """
  if isinstance(client_ids, str) or not all(map(_is_text, client_ids)):
    raise errors.SettingsError(
        'Expected a sequence of client ids that are strings of Unicode'
        f' characters, found {client_ids!r}. Convert them with str().'
    )


def _is_text(client_id: object) -> bool:
  try:
    return isinstance(client_id, str) and client_id.encode() is not None
  except UnicodeEncodeError:  # Half of a surrogate pair.
    return False


def _connect(file: str) -> sqlite3.Connection:
  return sqlite3.connect(
      file,
      timeout=0,  # The lock file already keeps other writers out.
      isolation_level=None,  # This file begins and ends transactions.
      check_same_thread=False,  # A notebook trains in a helper thread.
      uri=True,
  )


def _words(pair: Optional[tuple[str, str]]) -> str:
  return 'nothing more' if pair is None else f'{pair[1]} at {pair[0]!r}'
