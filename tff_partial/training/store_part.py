# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""One of the parts of a personal store; `parted_store.py` keeps them together.

A part has two ordinary stores. What clients have after the last checkpoint is
in its folder, and what was written since in another one inside, `next/`. A
checkpoint of all parts first commits every `next`, which is then prepared, and
then the record of the checkpoint. Only then a part takes over what was
prepared. So at any moment, the record says what must become of `next`.
"""

import collections
from collections.abc import Iterator, Sequence
import heapq
import itertools
import os
import pathlib
import shutil
from typing import Any, Optional

import numpy as np
import tree

from tff_partial import errors
from tff_partial.training import personal_store

_NEXT = 'next'
_OLD = 'old'  # What was `next` before it is removed.
_CLIENTS_AT_A_TIME = 100


class OtherVersionError(errors.StoreError):
  """A part is not at the version that the record says."""


class Part:
  """Personal variables of some clients, with checkpoints in two steps.

  Iterating yields the stored client ids in the order of their UTF-8 bytes.

  Attributes:
    machine: None: the part is on this one.
  """

  machine: Optional[str] = None

  def __init__(
      self,
      default: Any,
      directory: str | os.PathLike[str],
      *,
      read_only: bool = False,
  ):
    """Opens the part in a folder, or creates it; then call `settle`.

    Args:
      default: As for `PersonalStore`.
      directory: The part's own folder.
      read_only: Whether to refuse to write, and to allow another writer.

    Raises:
      errors.StoreError: As `PersonalStore` does.
    """
    self._default = default
    self._folder = pathlib.Path(directory)
    self._read_only = read_only
    self._kept = personal_store.PersonalStore(
        default, os.fspath(directory), read_only=read_only
    )
    self._next: Optional[personal_store.PersonalStore] = None

  def settle(self, version: int) -> None:
    """Makes the part what it was at a checkpoint.

    Args:
      version: The part's version after the last checkpoint that was recorded.

    Raises:
      OtherVersionError: If the part is at another version and cannot be brought
        to this one.
      errors.StoreError: If it is damaged.
    """
    self._close_next()
    if not self._read_only:
      self._remove(self._folder / _OLD)
      if (self._folder / _NEXT).exists():
        self._next = self._open_next()
        if self._kept.version < self._next.version == version:
          self.apply()
        else:
          self._drop_next()
    self._kept.restore()
    if self._kept.version != version:
      raise OtherVersionError(
          f'Expected version {version} of {self._folder}, as its run has'
          f' recorded, found version {self._kept.version}.'
          + (
              ' Try again while the run is not saving; if it was ended, run its'
              ' command again first.'
              if self._read_only
              else ' Restore the folder from a copy, or start in a new one.'
          )
      )

  def read(self, client_ids: Sequence[str]) -> list[Any]:
    """See `PersonalStore.read`."""
    if self._next is None:
      return self._kept.read(client_ids)
    rewritten = self._rewritten(client_ids)
    kept = iter(self._kept.read([c for c in client_ids if c not in rewritten]))
    new = dict(zip(rewritten, self._next.read(list(rewritten))))
    return [new[c] if c in new else next(kept) for c in client_ids]

  def write(
      self, client_ids: Sequence[str], values: Sequence[Any], *, version: int
  ) -> None:
    """Replaces clients' personal variables; see `PersonalStore.write`."""
    if self._next is None:
      self._next = self._open_next()
    self._next.write(client_ids, values, version=version)

  def add(self, client_ids: Sequence[str], values: Sequence[Any]) -> None:
    """See `PersonalStore.add`. Nothing may wait to be prepared.

    Raises:
      errors.SettingsError: If something was written and not committed.
    """
    self._check_settled()
    self._kept.add(client_ids, values)

  def prepare(self, version: int) -> int:
    """Makes what was written durable, to be taken over or left out later.

    Returns:
      The part's version once it is taken over; the one that it has if nothing
      was written.
    """
    if self._next is None:
      return self._kept.version
    self._next.commit(version)
    return version

  def apply(self) -> None:
    """Takes over what was prepared, all or nothing."""
    if self._next is None:
      return
    by_version = collections.defaultdict(list)
    ids = list(self._next)
    for client_id, version in zip(ids, self._next.last_written(ids)):
      by_version[version].append(client_id)
    for version, written in by_version.items():
      for some in _pages(written):
        self._kept.write(some, self._next.read(some), version=version)
    self._kept.commit(self._next.version)
    self._drop_next()

  def forget(self, client_ids: Sequence[str]) -> list[str]:
    """See `PersonalStore.forget`."""
    self._check_settled()
    return self._kept.forget(client_ids)

  def sums(self) -> tuple[list[np.ndarray], int]:
    """The sums of all clients' variables, float64, and how many clients."""
    sums = [
        np.zeros(leaf.shape, np.float64) for leaf in tree.flatten(self._default)
    ]
    count = 0
    for some in _pages(self):
      for value in self.read(some):
        count += 1
        for total, leaf in zip(sums, tree.flatten(value)):
          total += leaf
    return sums, count

  def last_written(self, client_ids: Sequence[str]) -> list[Optional[int]]:
    """See `PersonalStore.last_written`."""
    kept = self._kept.last_written(client_ids)
    if self._next is None:
      return kept
    new = self._next.last_written(client_ids)
    return [k if n is None else n for k, n in zip(kept, new)]

  def __iter__(self) -> Iterator[str]:
    if self._next is None:
      return iter(self._kept)
    merged = heapq.merge(self._kept, self._next, key=str.encode)
    return (client_id for client_id, _ in itertools.groupby(merged))

  def ids_after(self, client_id: Optional[str]) -> list[str]:
    """Some stored client ids in order, those behind one of them.

    Args:
      client_id: The last id of the page before; None for the first page.
    """
    ids = iter(self)
    if client_id is not None:
      ids = itertools.dropwhile(
          lambda other: other.encode() <= client_id.encode(), ids
      )
    return list(itertools.islice(ids, _CLIENTS_AT_A_TIME))

  def num_clients(self) -> int:
    """Number of clients whose variables are stored."""
    count = self._kept.num_clients
    if self._next is not None:
      before = self._kept.last_written(list(self._next))
      count += sum(version is None for version in before)
    return count

  def verify(self) -> None:
    """See `PersonalStore.verify`."""
    self._kept.verify()

  def close(self) -> None:
    """Discards what was not prepared, and releases the files."""
    self._close_next()
    self._kept.close()

  def _rewritten(self, client_ids: Sequence[str]) -> dict[str, None]:
    written = self._next.last_written(client_ids)
    return dict.fromkeys(
        c for c, version in zip(client_ids, written) if version is not None
    )

  def _check_settled(self) -> None:
    if self._next is not None:
      raise errors.SettingsError(
          'Expected no variables that are not committed, found some. Call'
          ' commit or restore first.'
      )

  def _open_next(self) -> personal_store.PersonalStore:
    if self._read_only:
      raise errors.StoreError(f'{self._folder} was opened to be read only.')
    return personal_store.PersonalStore(
        self._default, os.fspath(self._folder / _NEXT)
    )

  def _close_next(self) -> None:
    if self._next is not None:
      self._next.close()
      self._next = None

  def _drop_next(self) -> None:
    self._close_next()
    # SQLite must never find a log without its file, or half of one.
    os.replace(self._folder / _NEXT, self._folder / _OLD)
    self._remove(self._folder / _OLD)

  def _remove(self, folder: pathlib.Path) -> None:
    if folder.exists():
      shutil.rmtree(folder)


def _pages(client_ids: Any) -> Iterator[list[str]]:
  ids = iter(client_ids)
  while page := list(itertools.islice(ids, _CLIENTS_AT_A_TIME)):
    yield page
