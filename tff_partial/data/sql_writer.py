# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes clients' examples to an SQLite file that TFF can read.

The file has the two tables of `tff.simulation.datasets.SqlClientData` and four
things that TFF does not ask for: an index, without which every read would scan
all examples; a table `splits` with the number of clients, so that nobody has to
count them; a table `features` with the names, types and shapes of an example's
features, so that data and description cannot be separated; and a table
`fingerprint` with a digest of all that was written, so that a run notices other
data in the same place (`sql_fingerprint`).
"""

from collections.abc import Iterator, Mapping
import contextlib
import json
import os
import sqlite3
from typing import Any

from tff_partial import errors
from tff_partial import files
from tff_partial.data import example_protos
from tff_partial.data import sql_fingerprint

# Nobody else sees the file while it is written, and half a file is thrown away,
# so there is no need to wait for the disk before the end.
_SCHEMA = """
    PRAGMA journal_mode = MEMORY;
    PRAGMA synchronous = OFF;
    CREATE TABLE examples (
        split_name TEXT NOT NULL,
        client_id TEXT NOT NULL,
        serialized_example_proto BLOB NOT NULL);
    CREATE TABLE client_metadata (
        client_id TEXT NOT NULL,
        split_name TEXT NOT NULL,
        num_examples INTEGER NOT NULL,
        crc INTEGER);
    CREATE TABLE features (name TEXT, dtype TEXT, shape TEXT);
    CREATE TABLE splits (split_name TEXT, num_clients INTEGER);
    CREATE UNIQUE INDEX client ON client_metadata (client_id);
"""


class SqlWriter:
  """Writes one split of examples to a file that appears when it is complete.

  This is a context manager, to be used once. Everything goes to a temporary
  file in the same folder. That file replaces the one at `path` when the block
  ends, or is removed if the block raises.
  """

  def __init__(
      self,
      path: str,
      features: example_protos.Features,
      *,
      split_name: str = 'default_split',
  ):
    """Initializes the writer.

    Args:
      path: The file to write. Its folder is made if it is not there.
      features: Names, types and shapes of what one example holds.
      split_name: The name under which TFF finds these examples in the file.

    Raises:
      errors.SettingsError: If the features cannot be stored.
    """
    example_protos.check_features(features)
    self._path = os.path.abspath(path)
    self._features = features
    self._split_name = split_name
    self._digest = sql_fingerprint.of_features(
        split_name,
        [(n, s.dtype.name, str(s.shape)) for n, s in features.items()],
    )

  def __enter__(self) -> 'SqlWriter':
    files.make_folder(os.path.dirname(self._path))
    with contextlib.ExitStack() as stack, self._writing():
      partial = stack.enter_context(files.replace(self._path))
      self._partial = os.fspath(partial)
      self._connection = sqlite3.connect(partial)
      stack.callback(self._connection.close)
      self._connection.executescript(_SCHEMA)
      self._connection.executemany(
          'INSERT INTO features VALUES (?, ?, ?)',
          [
              (name, spec.dtype.name, json.dumps(spec.shape.as_list()))
              for name, spec in self._features.items()
          ],
      )
      stack.push(self._finish)
      self._on_exit = stack.pop_all()
    return self

  def write(self, client_id: str, examples: Mapping[str, Any]) -> None:
    """Adds a client with all its examples.

    Args:
      client_id: A client that was not written before.
      examples: For each feature an array, or a sequence of strings or arrays,
        with one item per example.

    Raises:
      errors.DataError: If an example lacks a feature or does not fit it, or if
        the client was written before, naming the client.
      errors.FileError: If the file cannot be written.
    """
    sizes = {name: len(values) for name, values in examples.items()}
    if len(set(sizes.values())) != 1:
      raise errors.DataError(
          'Expected the same number of values for every feature of client'
          f' {client_id!r}, found {sizes}.'
      )
    num_examples = next(iter(sizes.values()))
    rows = []
    for i in range(num_examples):
      example = {name: values[i] for name, values in examples.items()}
      try:
        proto = example_protos.encode(example, self._features)
      except ValueError as e:
        raise errors.DataError(
            f'Cannot store example {i} of client {client_id!r}: {e}.'
        ) from e
      rows.append((self._split_name, client_id, proto))
    self._digest.add(client_id, *(proto for _, _, proto in rows))
    with self._writing():
      try:
        self._connection.execute(
            'INSERT INTO client_metadata VALUES (?, ?, ?, ?)',
            (
                client_id,
                self._split_name,
                num_examples,
                sql_fingerprint.checksum(client_id, (r[-1] for r in rows)),
            ),
        )
      except sqlite3.IntegrityError as e:
        raise errors.DataError(
            f'Expected each client once, found {client_id!r} again.'
        ) from e
      self._connection.executemany(
          'INSERT INTO examples VALUES (?, ?, ?)', rows
      )

  def __exit__(self, *error: Any) -> None:
    self._on_exit.__exit__(*error)

  def _finish(self, error_type: Any, *unused_error: Any) -> None:
    """Completes the file before it is closed, if no error came before."""
    if error_type is None:
      with self._writing():
        # An index that is created last is built by one sort.
        self._connection.execute(
            'CREATE INDEX examples_of_client ON examples (client_id)'
        )
        self._connection.execute(
            'INSERT INTO splits SELECT ?, count(*) FROM client_metadata',
            [self._split_name],
        )
        self._connection.commit()
        sql_fingerprint.write(
            self._connection, self._partial, self._digest.text
        )

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    try:
      yield
    except sqlite3.Error as e:
      raise errors.FileError(f'Cannot write {self._path}: {e}.') from e


@contextlib.contextmanager
def train_and_test(
    folder: str, features: example_protos.Features
) -> Iterator[tuple[SqlWriter, SqlWriter]]:
  """Opens writers of a folder's `train.sqlite` and `test.sqlite`.

  What a writer left behind that was killed is removed.

  Raises:
    files.LockedError: If another program writes to the folder.
  """
  files.make_folder(folder)
  with files.lock(os.path.join(folder, '.lock')):
    paths = [os.path.join(folder, f'{n}.sqlite') for n in ('train', 'test')]
    for path in paths:
      files.remove_partial(path)
    train, test = (SqlWriter(path, features) for path in paths)
    with train, test:
      yield train, test
