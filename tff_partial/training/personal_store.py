# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Personal variables by client id, with checkpoints: all or nothing.

A cohort's variables are read before a round and written after it. `commit` then
makes everything that was written durable, together with the server's state of
the same version, in one SQLite transaction. After a crash at any moment, every
part of the store is at the last committed version. `store_file` says why the
file can be trusted.

Values are the raw bytes of the arrays; nothing is pickled. No TensorFlow here.
"""

from collections.abc import Callable, Iterator, Sequence
import os
from typing import Any, Optional

import humanize
import numpy as np
import tree

from tff_partial import errors
from tff_partial.training import store_file
from tff_partial.training import store_rows

FILE_NAME = store_file.FILE_NAME

_UPSERT_CLIENT = (
    'INSERT INTO clients (client_id, version, data, crc) VALUES (?, ?, ?, ?)'
    ' ON CONFLICT (client_id) DO UPDATE'
    ' SET version = excluded.version, data = excluded.data, crc = excluded.crc'
)
# SQLite's own limit, 10**9 bytes, is for a row, with the client's id.
_MAX_VALUE_BYTES = 999 * 10**6


class PersonalStore:
  """Personal variables of every client that took part, by client id.

  Iterating yields the stored client ids in a stable order. Arrays that are
  returned are read-only, since all unseen clients share one copy of the
  default.

  One program at a time may write. With `read_only` any number of programs may
  read, also while another one trains: they see the last version that was
  committed when they opened the store or last called `restore`. Threads may
  take turns with a store, but not use it at the same time.
  """

  def __init__(
      self,
      default: Any,
      directory: Optional[str] = None,
      *,
      read_only: bool = False,
      default_fn: Optional[Callable[[str], Any]] = None,
  ):
    """Opens the store in `directory`, or creates it.

    Args:
      default: Structure of NumPy arrays: the initial personal variables, from
        which an unseen client starts. Every stored value has its structure,
        shapes and dtypes.
      directory: The folder of the file; None keeps the store in memory.
      read_only: Whether to refuse to write, and to allow another writer.
      default_fn: Maps the id of an unseen client to what it starts from; by
        default to `default`.

    Raises:
      errors.StoreError: If the file is damaged, has another writer, cannot be
        read or written, is missing (read only), or was made for other
        variables.
    """
    self._default = tree.map_structure(_frozen, default)
    self._default_fn = default_fn or (lambda unused_id: self._default)
    self._schema = store_rows.describe(self._default)
    self._value_bytes = sum(leaf.nbytes for leaf in tree.flatten(self._default))
    if self._value_bytes > _MAX_VALUE_BYTES:
      raise errors.StoreError(
          f'Expected at most {_size(_MAX_VALUE_BYTES)} of personal variables'
          f' for a client, found {_size(self._value_bytes)}. Make fewer'
          ' variables personal.'
      )
    self._file = store_file.StoreFile(
        directory, self._schema, read_only=read_only
    )
    try:
      self._header = self._file.read_header()
    except BaseException:
      self.close()
      raise

  def read(self, client_ids: Sequence[str]) -> list[Any]:
    """Returns each client's personal variables; the default if it is unseen.

    Raises:
      errors.StoreError: If a value is not what was written.
    """
    stored = {}
    for row in self._file.select('client_id, version, data, crc', client_ids):
      if not store_rows.is_intact(row):
        raise self._file.damaged(f'the variables of client {row[0]!r}')
      stored[row[0]] = self._decode(row[2])
    return [
        stored[client_id]
        if client_id in stored
        else self._default_fn(client_id)
        for client_id in client_ids
    ]

  def mean(self) -> Any:
    """Returns the mean over all stored clients, each with the same weight.

    One client is in memory at a time, and the sums are float64. If no client is
    stored, this is the default.

    Raises:
      errors.StoreError: If a value is not what was written.
    """
    if not self._header.num_clients:
      return self._default
    leaves = tree.flatten(self._default)
    sums = [np.zeros(leaf.shape, np.float64) for leaf in leaves]
    count = crcs = rows_crc = 0
    # The last bits of the sums depend on the order.
    for row in self._file.iterate(
        'SELECT client_id, version, data, crc FROM clients ORDER BY client_id'
    ):
      if not store_rows.is_intact(row):
        raise self._file.damaged(f'the variables of client {row[0]!r}')
      count += 1
      crcs += store_rows.crc(row[0])
      rows_crc += row[-1]
      for total, leaf in zip(sums, tree.flatten(self._decode(row[2]))):
        total += leaf
    self._check_ids(count, crcs)
    self._check_rows(rows_crc)
    means = [
        (total / self._header.num_clients).astype(leaf.dtype)
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
      version: What `last_written` will return; by default the number after the
        last committed version.

    Raises:
      errors.SettingsError: If a client comes twice, or the numbers of clients
        and values differ; then nothing is written.
      errors.StoreError: If a value differs from the default in structure, shape
        or dtype; then nothing is written. Or if writing fails; then the store
        is closed, at its last committed version.
    """
    check_each_once(client_ids, values)
    for client_id, value in zip(client_ids, values):
      where = f'the personal variables of client {client_id!r}'
      self._file.compare(where, self._schema, store_rows.describe(value))
    before = self._file.select_checksums(client_ids)
    new = [client_id for client_id in client_ids if client_id not in before]
    version = self._header.version + 1 if version is None else int(version)
    after = []

    def rows():  # One row's bytes are in memory at a time.
      for client_id, value in zip(client_ids, values):
        data = b''.join(map(store_rows.to_bytes, tree.flatten(value)))
        row = store_rows.row(client_id, version, data)
        after.append(row[-1])
        yield row

    with self._file.writing():
      self._file.run_many(_UPSERT_CLIENT, rows())
      self._file.add_to_chain(new)
    self._header = self._header._replace(
        num_clients=self._header.num_clients + len(new),
        ids_crc=self._header.ids_crc + store_rows.sum_of_crcs(new),
        rows_crc=self._header.rows_crc + sum(after) - sum(before.values()),
    )

  def add(self, client_ids: Sequence[str], values: Sequence[Any]):
    """Keeps personal variables of clients that took part in no round.

    They are durable when this returns. The last committed version and its state
    stay as they are, and 0 is the version in which these clients were written.

    Args:
      client_ids: The clients, each once.
      values: Their personal variables, in the same order.

    Raises:
      errors.SettingsError: As for `write`, or if something was written and not
        committed.
      errors.StoreError: As for `write`.
    """
    self._file.check_committed()
    self.write(client_ids, values, version=0)
    with self._file.writing():
      self._file.put_header(self._header)
      self._file.commit()

  def commit(self, version: int, state: Any = ()):
    """Makes everything that was written durable as `version`, with `state`.

    Args:
      version: A number above the last committed one, such as the round.
      state: What belongs to the same version, such as the server's state: a
        structure of NumPy arrays and scalars, Python numbers, strings and None.

    Raises:
      errors.SettingsError: If the version is not above the last one, or the
        state has a leaf of another kind.
      errors.StoreError: If writing fails. The store is then closed, at its last
        committed version.
    """
    version = self.check_is_next(version)
    leaves = [
        store_rows.row(
            position, store_rows.kind(leaf), store_rows.to_bytes(leaf)
        )
        for position, leaf in enumerate(tree.flatten(state))
    ]
    header = self._header._replace(
        version=version,
        state_crc=store_rows.crc(*(leaf[-1] for leaf in leaves)),
    )
    with self._file.writing():
      self._file.run('DELETE FROM state')
      self._file.run_many('INSERT INTO state VALUES (?, ?, ?, ?)', leaves)
      self._file.put_header(header)
      self._file.commit()
    self._header = header

  def check_is_next(self, version: int) -> int:
    """Checks that a version can be committed.

    Raises:
      errors.SettingsError: If it is not above the last one.
    """
    if int(version) <= self._header.version:
      raise errors.SettingsError(
          f'Expected a version above {self._header.version}, the last committed'
          f' one, found {version}. Continue from what restore() returns.'
      )
    return int(version)

  def forget(self, client_ids: Sequence[str]) -> list[str]:
    """Removes clients, who then read as the default; durable at once.

    Their variables and ids are overwritten, and the whole file is written
    again so that no copies remain in it, which takes as much disk space once
    more. After an interruption, call this again. The version stays as it is.

    Args:
      client_ids: The clients. Those that are not stored are passed over.

    Returns:
      The clients that were stored.

    Raises:
      errors.SettingsError: If something was written and not committed.
      errors.StoreError: If removing fails, or another program reads the file.
        The clients may be gone already, but not all copies.
    """
    self._header, found = self._file.forget(self._header, client_ids)
    self._file.vacuum()
    return found

  def restore(self, state_like: Any = ()) -> tuple[int, Any]:
    """Discards what was not committed; returns the last commit.

    Args:
      state_like: A state with the structure, shapes and dtypes of the committed
        one, such as the initial state.

    Returns:
      The version and its state; 0 and `state_like` if nothing was committed.

    Raises:
      errors.StoreError: If the file is damaged or holds a state of another
        kind, or a leaf is too large for it.
    """
    for path, leaf in tree.flatten_with_path(state_like):
      num_bytes = getattr(leaf, 'nbytes', 0)
      if num_bytes > _MAX_VALUE_BYTES:
        raise errors.StoreError(
            f'Expected at most {_size(_MAX_VALUE_BYTES)} for a variable of the'
            f' server, found {_size(num_bytes)} at'
            f" {'/'.join(map(str, path))!r}. Use a model with smaller ones."
        )
    self._file.roll_back()
    self._header = self._file.read_header()
    rows = self._file.run(
        'SELECT position, spec, data, crc FROM state ORDER BY position'
    )
    if not self._header.version:
      return 0, state_like
    if self._header.state_crc != store_rows.crc(
        *(row[-1] for row in rows)
    ) or not all(map(store_rows.is_intact, rows)):
      raise self._file.damaged('the server state')
    expected = store_rows.describe(state_like)
    paths = [path for path, _ in expected] + ['one more'] * len(rows)
    found = [(path, row[1]) for path, row in zip(paths, rows)]
    self._file.compare('the server state', expected, found)
    leaves = [
        store_rows.from_bytes(row[2], leaf)
        for row, leaf in zip(rows, tree.flatten(state_like))
    ]
    return self._header.version, tree.unflatten_as(state_like, leaves)

  def verify(self) -> None:
    """Checks that the file has every row that was last written, and no other.

    Damage inside a row is found when the row is read. This finds what a single
    row cannot show: a page of the file that the disk never wrote, which leaves
    some clients with the variables of an earlier version. Takes time in
    proportion to the number of stored clients, but reads no variables.

    Raises:
      errors.StoreError: If rows are missing, or not those last written.
    """
    count = crcs = rows_crc = 0
    # In the order of the file, not of the ids, which is faster.
    for client_id, crc in self._file.iterate(
        'SELECT client_id, crc FROM clients NOT INDEXED'
    ):
      if not isinstance(crc, int):
        raise self._file.damaged(f'the variables of client {client_id!r}')
      count += 1
      crcs += store_rows.crc(client_id)
      rows_crc += crc
    self._check_ids(count, crcs)
    self._check_rows(rows_crc)
    self._check_ids(*self._file.walk_chain())

  def contains(self, client_id: str) -> bool:
    """Whether the client's variables were ever written."""
    return self.last_written([client_id]) != [None]

  def last_written(self, client_ids: Sequence[str]) -> list[Optional[int]]:
    """The version in which each client was last written; None if unseen."""
    found = dict(self._file.select('client_id, version', client_ids))
    return [found.get(client_id) for client_id in client_ids]

  def __iter__(self) -> Iterator[str]:
    """Stored client ids by the order of their UTF-8 bytes, a page at a time."""
    query = 'SELECT client_id FROM clients {} ORDER BY client_id LIMIT 1000'
    before = self._header.num_clients
    count = crcs = 0
    page = self._file.run(query.format(''))
    # If ids are damaged, the pages may repeat without end.
    while page and count <= self._header.num_clients:
      for (client_id,) in page:
        count += 1
        crcs += store_rows.crc(client_id)
        yield client_id
      page = self._file.run(query.format('WHERE client_id > ?'), page[-1])
    if self._header.num_clients == before:  # Else some were added meanwhile.
      self._check_ids(count, crcs)

  @property
  def default(self) -> Any:
    """The personal variables of a client that was never written."""
    return self._default

  @property
  def num_clients(self) -> int:
    """Number of clients whose variables are stored."""
    return self._header.num_clients

  @property
  def num_bytes(self) -> int:
    """Bytes of all stored personal variables."""
    return self._header.num_clients * self._value_bytes

  @property
  def version(self) -> int:
    """The last committed version; 0 if there is none."""
    return self._header.version

  def close(self):
    """Discards what was not committed, and releases the file."""
    self._file.close()

  def __enter__(self) -> 'PersonalStore':
    return self

  def __exit__(self, *unused_exception):
    self.close()

  def _check_ids(self, count: int, crcs: int):
    """Checks that all stored ids were seen, by their number and checksum."""
    if (count, crcs) != (self._header.num_clients, self._header.ids_crc):
      raise self._file.damaged('its client ids')

  def _check_rows(self, rows_crc: int):
    """Checks that all rows are those last written, by their checksums."""
    if rows_crc != self._header.rows_crc:
      raise self._file.damaged('variables of an earlier version')

  def _decode(self, data: bytes) -> Any:
    """Returns a client's bytes as read-only arrays."""
    leaves, offset = [], 0
    for leaf in tree.flatten(self._default):
      leaves.append(np.ndarray(leaf.shape, leaf.dtype, data, offset))
      offset += leaf.nbytes
    return tree.unflatten_as(self._default, leaves)


def check_each_once(client_ids: Sequence[str], values: Sequence[Any]) -> None:
  """Checks that there is one value for each client.

  Raises:
    errors.SettingsError: If not.
  """
  if not len(client_ids) == len(values) == len(set(client_ids)):
    raise errors.SettingsError(
        f'Expected one value for each of {len(client_ids)} different clients,'
        f' found {len(values)} values and {len(set(client_ids))} different'
        ' clients. Give each client once.'
    )


def forget(directory: str, client_ids: Sequence[str]) -> list[str]:
  """Removes clients from the store in a folder, whatever its variables are.

  Args:
    directory: The folder of a store.
    client_ids: The clients; see `PersonalStore.forget`.

  Returns:
    The clients that were stored.

  Raises:
    errors.StoreError: As `PersonalStore.forget`, or if the store cannot be
      opened.
  """
  if not os.path.exists(os.path.join(directory, FILE_NAME)):
    raise errors.StoreError(
        f'Expected a personal store in {directory}, found none.'
    )
  store = store_file.StoreFile(directory, None, read_only=False)
  try:
    _, found = store.forget(store.read_header(), client_ids)
    store.vacuum()
    return found
  finally:
    store.close()


def _frozen(leaf: Any) -> np.ndarray:
  array = np.array(leaf)
  array.setflags(write=False)
  return array


def _size(num_bytes: int) -> str:
  return humanize.naturalsize(num_bytes, format='%.2f')
