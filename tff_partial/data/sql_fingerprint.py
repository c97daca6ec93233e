# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tells whether an SQLite file of client data still has the same content.

`sql_writer.SqlWriter` computes a digest of the examples while it writes them
and keeps it in the file. Nobody has to read all examples again to compare two
files: the digest counts for as long as SQLite's own counter of changes, in the
header of every file [1, Section 1.3.7], has the value that it had then. A file
that was changed later, or was written by another program, is known by its
header and its size, which differ after every change.

[1] https://www.sqlite.org/fileformat.html
"""

from collections.abc import Iterable, Sequence
import hashlib
import json
import os
import sqlite3
import zlib

_HEADER_BYTES = 100
_COUNTER = slice(24, 28)
_SELECT = 'SELECT digest, change_counter FROM fingerprint'


class Digest:
  """A digest of what is added, which depends on the order."""

  def __init__(self, *parts: str):
    self._hash = hashlib.blake2b(digest_size=16)
    self.add(*parts)

  def add(self, *parts: str | bytes) -> None:
    """Adds a list of parts, which is not the same as the parts in a row."""
    self._hash.update(len(parts).to_bytes(8, 'big'))
    for part in parts:
      data = part.encode() if isinstance(part, str) else part
      self._hash.update(len(data).to_bytes(8, 'big'))
      self._hash.update(data)

  @property
  def text(self) -> str:
    """32 hexadecimal digits."""
    return self._hash.hexdigest()


def checksum(client_id: str, protos: Iterable[bytes]) -> int:
  """CRC-32 of a client's id and examples, by which damage is found."""
  found = zlib.crc32(client_id.encode())
  for proto in protos:
    found = zlib.crc32(proto, found)
  return found


def of_features(split_name: str, features: Iterable[Sequence[str]]) -> Digest:
  """Begins the digest of a file's content.

  Args:
    split_name: The name of its split.
    features: Name, dtype and shape of each feature, the shape as `(2, None)`.
  """
  return Digest(split_name, *map(' '.join, features))


def of_content(connection: sqlite3.Connection) -> str:
  """The digest of a file of one split, from all of its examples."""
  clients = connection.execute(
      'SELECT client_id FROM client_metadata ORDER BY rowid'
  )
  features = connection.execute('SELECT name, dtype, shape FROM features')
  [(split_name,)] = connection.execute('SELECT split_name FROM splits')
  digest = of_features(
      split_name,
      [(n, d, str(tuple(json.loads(shape)))) for n, d, shape in features],
  )
  for (client_id,) in clients:
    rows = connection.execute(
        'SELECT serialized_example_proto FROM examples WHERE client_id = ?'
        ' ORDER BY rowid',
        [client_id],
    )
    digest.add(client_id, *(proto for (proto,) in rows))
  return digest.text


def write(connection: sqlite3.Connection, path: str, digest: str) -> None:
  """Writes the fingerprint as the last transaction of a new file.

  Args:
    connection: To the file, without a transaction that is open.
    path: The file.
    digest: Of its content.
  """
  connection.execute(
      'CREATE TABLE fingerprint (digest TEXT, change_counter INTEGER)'
  )
  # SQLite adds 1 with the commit of the row.
  counter = int.from_bytes(_header(path)[_COUNTER], 'big') + 1
  connection.execute('INSERT INTO fingerprint VALUES (?, ?)', (digest, counter))
  connection.commit()


def read(connection: sqlite3.Connection, path: str) -> str:
  """Returns what identifies the content of a file.

  Args:
    connection: To the file.
    path: The file.
  """
  header = _header(path)
  if connection.execute('PRAGMA table_info(fingerprint)').fetchall():
    [(digest, counter)] = connection.execute(_SELECT).fetchall()
    if counter == int.from_bytes(header[_COUNTER], 'big'):
      return digest
  changed = Digest()
  changed.add(header, str(os.path.getsize(path)))
  return f'file-{changed.text}'


def _header(path: str) -> bytes:
  with open(path, 'rb') as f:
    return f.read(_HEADER_BYTES)
