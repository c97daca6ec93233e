# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A personal store in parts, by a hash of the client id.

Each part is a file of its own, which may be on the disk of another machine. One
more store, the record, has the server's state and, in place of clients, the
version of each part. A checkpoint is whole or not at all across the parts [1]:

1.  every part makes what was written durable, next to what it has (prepare),
2.  the record commits the state with the version of each part,
3.  every part takes over what it prepared (apply).

If the program ends before 2, the next one discards what was prepared; if it
ends after 2, the next one takes it over.

[1] Gray. Notes on data base operating systems. 1978. Two-phase commit.
"""

from collections.abc import Iterator, Mapping, Sequence
import hashlib
import heapq
from typing import Any, Optional, Protocol

import numpy as np
import tree

from tff_partial.training import personal_store
from tff_partial.training import store_file

_RECORD = 'parts'  # In the record, in place of a client's id.
_VERSIONS = 'part_versions'  # In place of its variables.


class Part(Protocol):
  """Some of the clients; see `store_part.Part`.

  Attributes:
    machine: Ray's id of the machine that has them; None if that is this one.
  """

  machine: Optional[str]

  def settle(self, version: int) -> None:
    ...

  def read(self, client_ids: Sequence[str]) -> list[Any]:
    ...

  def write(
      self, client_ids: Sequence[str], values: Sequence[Any], *, version: int
  ) -> None:
    ...

  def add(self, client_ids: Sequence[str], values: Sequence[Any]) -> None:
    ...

  def prepare(self, version: int) -> int:
    ...

  def apply(self) -> None:
    ...

  def forget(self, client_ids: Sequence[str]) -> list[str]:
    ...

  def sums(self) -> tuple[list[np.ndarray], int]:
    ...

  def last_written(self, client_ids: Sequence[str]) -> list[Optional[int]]:
    ...

  def __iter__(self) -> Iterator[str]:
    ...

  def num_clients(self) -> int:
    ...

  def verify(self) -> None:
    ...

  def close(self) -> None:
    ...


def part_of(client_id: str, num_parts: int) -> int:
  """The number of the part that has a client."""
  # CRC-32 puts ids that end with consecutive digits into few parts.
  digest = hashlib.blake2b(client_id.encode(), digest_size=8).digest()
  return int.from_bytes(digest, 'little') % num_parts


def is_record(schema: Sequence[tuple[str, str]]) -> bool:
  """Whether a store of these variables is the record of others."""
  return [path for path, _ in schema] == [_VERSIONS]


class PartedStore:
  """Personal variables in parts. Used like a `PersonalStore`.

  Attributes:
    default: The personal variables of a client that was never written.
    parts: The parts, in order.
  """

  def __init__(
      self,
      default: Any,
      directory: str,
      parts: Sequence[Part],
      *,
      read_only: bool = False,
  ):
    """Opens the record in a folder, or creates it, and settles the parts.

    Args:
      default: As for `PersonalStore`.
      directory: The folder of the record.
      parts: The parts, which are closed with this store.
      read_only: As for `PersonalStore`.

    Raises:
      errors.StoreError: If the record cannot be opened or is of another number
        of parts, or if a part is not at the version that the record says.
    """
    self.default = default
    self.parts = tuple(parts)
    self._record = personal_store.PersonalStore(
        {_VERSIONS: np.zeros(len(parts), np.int64)},
        directory,
        read_only=read_only,
    )
    try:
      self._settle()
    except BaseException:
      self.close()
      raise

  def read(self, client_ids: Sequence[str]) -> list[Any]:
    """See `PersonalStore.read`."""
    values = {}
    for part, ids in self._divide(client_ids).items():
      values.update(zip(ids, self.parts[part].read(ids)))
    return [values[client_id] for client_id in client_ids]

  def write(
      self,
      client_ids: Sequence[str],
      values: Sequence[Any],
      *,
      version: Optional[int] = None,
  ) -> None:
    """See `PersonalStore.write`."""
    personal_store.check_each_once(client_ids, values)
    by_id = dict(zip(client_ids, values))
    version = self.version + 1 if version is None else int(version)
    for part, ids in self._divide(client_ids).items():
      self.parts[part].write(ids, [by_id[c] for c in ids], version=version)

  def place_of(self, client_id: str) -> tuple[int, str]:
    """The part that has a client, and its machine, which is another one."""
    part = part_of(client_id, len(self.parts))
    machine = self.parts[part].machine
    assert machine is not None
    return part, machine

  @property
  def is_elsewhere(self) -> bool:
    """Whether the parts are on other machines."""
    return self.parts[0].machine is not None

  def refer(self, client_ids: Sequence[str]) -> Any:
    """What `read` returns, as `sharding.Elsewhere`, for clients of one part."""
    return self._only_part(client_ids).refer(client_ids)

  def write_from(
      self,
      client_ids: Sequence[str],
      values: Any,
      *,
      version: int,
  ) -> None:
    """See `write`, with `sharding.Elsewhere`, for clients of one part."""
    self._only_part(client_ids).write_from(client_ids, values, version=version)

  def add(self, client_ids: Sequence[str], values: Sequence[Any]) -> None:
    """See `PersonalStore.add`. Clients of a part are added together."""
    by_id = dict(zip(client_ids, values, strict=True))
    for part, ids in self._divide(client_ids).items():
      self.parts[part].add(ids, [by_id[c] for c in ids])

  def commit(self, version: int, state: Any = ()) -> None:
    """See `PersonalStore.commit`.

    Raises:
      errors.SettingsError: If the version is not above the last one.
      errors.StoreError: If writing fails. Open the store again to go on: it is
        then at this version, or at the last one.
    """
    version = self._record.check_is_next(version)
    versions = [part.prepare(version) for part in self.parts]
    self._record.write([_RECORD], [{_VERSIONS: np.array(versions, np.int64)}])
    self._record.commit(version, state)
    for part in self.parts:
      part.apply()

  def restore(self, state_like: Any = ()) -> tuple[int, Any]:
    """See `PersonalStore.restore`."""
    version, state = self._record.restore(state_like)
    self._settle()
    return version, state

  def forget(self, client_ids: Sequence[str]) -> list[str]:
    """See `PersonalStore.forget`."""
    found = set()
    for part, ids in self._divide(client_ids).items():
      found.update(self.parts[part].forget(ids))
    return [client_id for client_id in client_ids if client_id in found]

  def mean(self) -> Any:
    """See `PersonalStore.mean`. The last bits depend on the number of parts."""
    sums, counts = zip(*(part.sums() for part in self.parts))
    if not sum(counts):
      return self.default
    means = [
        (sum(totals) / sum(counts)).astype(leaf.dtype)
        for *totals, leaf in zip(*sums, tree.flatten(self.default))
    ]
    return tree.unflatten_as(self.default, means)

  def contains(self, client_id: str) -> bool:
    """See `PersonalStore.contains`."""
    return self.last_written([client_id]) != [None]

  def last_written(self, client_ids: Sequence[str]) -> list[Optional[int]]:
    """See `PersonalStore.last_written`."""
    found = {}
    for part, ids in self._divide(client_ids).items():
      found.update(zip(ids, self.parts[part].last_written(ids)))
    return [found[client_id] for client_id in client_ids]

  def verify(self) -> None:
    """See `PersonalStore.verify`."""
    self._record.verify()
    for part in self.parts:
      part.verify()

  def __iter__(self) -> Iterator[str]:
    yield from heapq.merge(*self.parts, key=str.encode)

  @property
  def num_clients(self) -> int:
    """Number of clients whose variables are stored."""
    return sum(part.num_clients() for part in self.parts)

  @property
  def num_bytes(self) -> int:
    """Bytes of all stored personal variables."""
    leaves = tree.flatten(self.default)
    return self.num_clients * sum(leaf.nbytes for leaf in leaves)

  @property
  def version(self) -> int:
    """The last committed version; 0 if there is none."""
    return self._record.version

  def close(self) -> None:
    """Discards what was not committed, and releases the files."""
    for part in self.parts:
      part.close()
    self._record.close()

  def __enter__(self) -> 'PartedStore':
    return self

  def __exit__(self, *unused_exception):
    self.close()

  def _divide(self, client_ids: Sequence[str]) -> Mapping[int, list[str]]:
    """The clients of each part that has some of these, in their order."""
    store_file.check_ids(client_ids)
    divided: dict[int, list[str]] = {}
    for client_id in client_ids:
      part = part_of(client_id, len(self.parts))
      divided.setdefault(part, []).append(client_id)
    return divided

  def _only_part(self, client_ids: Sequence[str]) -> Any:
    [part] = self._divide(client_ids)
    return self.parts[part]

  def _settle(self) -> None:
    [record] = self._record.read([_RECORD])
    for part, version in zip(self.parts, record[_VERSIONS]):
      part.settle(int(version))
