# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Removes clients from an SQLite file of clients' examples."""

from collections.abc import Sequence
import contextlib
import pathlib
import sqlite3

from tff_partial import errors
from tff_partial import files
from tff_partial.data import sql_fingerprint

_WITH_CLIENTS = ('examples', 'client_metadata')
# Keeps the fingerprints that the file had before clients were removed.
_EARLIER = 'earlier_fingerprints'


def forget(path: str, client_ids: Sequence[str]) -> list[str]:
  """Writes a file again without some clients, all of it or nothing.

  A new file has no remains of them, whatever SQLite left behind in the old one.
  It takes as much disk space once more while it is written. Its fingerprint is
  that of a file that never had the clients.

  Args:
    path: A file made by `sql_writer.SqlWriter`, or any in TFF's format.
    client_ids: The clients. Those that the file does not have are passed over.

  Returns:
    The clients that the file had.

  Raises:
    errors.DataError: If it is not such a file.
    OSError: If the file cannot be written.
  """
  uri = f'{pathlib.Path(path).absolute().as_uri()}?mode=ro'
  try:
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as old:
      found = [
          client_id
          for client_id in dict.fromkeys(client_ids)
          if old.execute(
              'SELECT 1 FROM client_metadata WHERE client_id = ? UNION ALL'
              ' SELECT 1 FROM examples WHERE client_id = ? LIMIT 1',
              [client_id, client_id],
          ).fetchone()
      ]
    if found:
      with files.replace(path) as partial:
        _copy(uri, partial, found, earlier_fingerprints(path))
  except sqlite3.Error as e:
    raise errors.DataError(
        f'Expected client data in {path}, found a file that cannot be written'
        f' again: {e}. It is as it was.'
    ) from e
  return found


def earlier_fingerprints(path: str) -> tuple[str, list[str]]:
  """The fingerprint of a file, and those it had before clients were removed.

  Raises:
    errors.DataError: If the file cannot be read.
  """
  uri = f'{pathlib.Path(path).absolute().as_uri()}?mode=ro'
  try:
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
      now = sql_fingerprint.read(connection, path)
      earlier = []
      if connection.execute(f'PRAGMA table_info({_EARLIER})').fetchall():
        earlier = connection.execute(f'SELECT * FROM {_EARLIER}').fetchall()
      return now, [digest for (digest,) in earlier]
  except sqlite3.Error as e:
    raise errors.DataError(
        f'Expected client data in {path}, found a file that cannot be read:'
        f' {e}.'
    ) from e


def _copy(
    uri: str,
    partial: pathlib.Path,
    without: Sequence[str],
    fingerprints: tuple[str, Sequence[str]],
) -> None:
  with contextlib.closing(
      sqlite3.connect(partial, isolation_level=None, uri=True)
  ) as new:
    new.execute('PRAGMA journal_mode = MEMORY')
    new.execute('PRAGMA synchronous = OFF')  # `files.replace` waits at the end.
    new.execute('ATTACH ? AS old', [uri])
    new.execute('BEGIN')
    new.execute('CREATE TEMP TABLE gone (client_id TEXT PRIMARY KEY)')
    new.executemany('INSERT INTO gone VALUES (?)', [(c,) for c in without])
    parts = new.execute(
        'SELECT type, name, sql FROM old.sqlite_master WHERE sql NOT NULL AND'
        " name NOT IN ('fingerprint', ?)",
        [_EARLIER],
    ).fetchall()
    for kind, name, sql in parts:
      if kind == 'table':
        new.execute(sql)
        condition = (
            # Readers number clients by their rows: these begin at 1 again.
            'WHERE client_id NOT IN (SELECT client_id FROM gone) ORDER BY rowid'
            if name in _WITH_CLIENTS
            else ''
        )
        quoted = '"' + name.replace('"', '""') + '"'
        new.execute(
            f'INSERT INTO main.{quoted} SELECT * FROM old.{quoted} {condition}'
        )
    for kind, _, sql in parts:
      if kind != 'table':
        new.execute(sql)
    if any(name == 'splits' for _, name, _ in parts):
      new.execute(
          'UPDATE splits SET num_clients = (SELECT count(*) FROM'
          ' client_metadata c WHERE c.split_name = splits.split_name)'
      )
    now, earlier = fingerprints
    new.execute(f'CREATE TABLE {_EARLIER} (digest TEXT)')
    new.executemany(
        f'INSERT INTO {_EARLIER} VALUES (?)', [(d,) for d in (*earlier, now)]
    )
    new.execute('COMMIT')
    new.execute('DETACH old')
    if any(name == 'features' for _, name, _ in parts):
      sql_fingerprint.write(new, str(partial), sql_fingerprint.of_content(new))
