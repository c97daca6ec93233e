# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parts of a personal store on the disks of a Ray cluster's machines.

A process on each machine that has a part opens it. Where rounds are computed on
the cluster too, personal variables go from there to the process that computes
and back, and not through the program that trains. If such a process or its
machine is lost, the run ends and goes on from the last checkpoint: its disk has
the only copy.
"""

import collections
from collections.abc import Iterator, Sequence
import contextlib
import os
import pathlib
from typing import Any, Optional

import numpy as np
import ray
from ray.util import scheduling_strategies
import tree

from tff_partial import errors
from tff_partial.runtime import ray_connection
from tff_partial.runtime import sharding
from tff_partial.training import merge_store
from tff_partial.training import part_actor
from tff_partial.training import parted_store
from tff_partial.training import store_file
from tff_partial.training import store_layout
from tff_partial.training import store_summary


def open_store(
    default: Any,
    directory: str,
    layout: store_layout.Layout,
    *,
    read_only: bool = False,
) -> parted_store.PartedStore:
  """Opens a store whose parts are on machines of the cluster.

  Args:
    default: As for `PersonalStore`.
    directory: The folder of the record.
    layout: Where the parts are.
    read_only: Must be False: nobody reads while a run trains.

  Raises:
    errors.StoreError: If there is no connection to a cluster, a machine with a
      part is missing, or a part is not at the version that the record says.
    errors.WorkerError: If the cluster is lost.
  """
  if not ray.is_initialized() or read_only:
    raise store_layout.elsewhere(pathlib.Path(directory), layout)
  is_new = not store_summary.num_rounds(directory)
  parts: list[RemotePart] = []
  try:
    with ray_connection.one_line_errors():
      # All processes start at the same time.
      for i, machine in enumerate(_machines(layout, is_new=is_new)):
        parts.append(RemotePart(default, _folder(layout, i), machine))
      for part in parts:
        part.open()
    return parted_store.PartedStore(default, directory, parts)
  except BaseException:
    for part in parts:
      part.close()
    raise


@contextlib.contextmanager
def open_sources(
    layout: store_layout.Layout,
) -> Iterator[Sequence[merge_store.Source]]:
  """Opens all parts to be merged; see `merge_store.merge`.

  Raises:
    errors.StoreError: As for `open_store`.
  """
  with ray_connection.one_line_errors():
    yield [
        _RemoteRows(
            _start(merge_store.PartRows, machine).remote(_folder(layout, i)),
        )
        for i, machine in enumerate(_machines(layout, is_new=False))
    ]


def _folder(layout: store_layout.Layout, part: int) -> str:
  assert layout.machines_folder is not None
  return os.path.join(layout.machines_folder, layout.store, str(part))


def _machines(layout: store_layout.Layout, *, is_new: bool) -> list[str]:
  """The machine of each part; a new store's are given out in turn.

  Raises:
    errors.StoreError: If a part is on no machine.
  """
  machines = [machine for machine, cores in ray_connection.nodes() if cores]
  folders = [_folder(layout, i) for i in range(layout.num_parts)]
  answers = [
      _start(part_actor.which_exist, m).remote(folders) for m in machines
  ]
  found: list[list[str]] = [[] for _ in folders]
  for machine, here in zip(machines, ray.get(answers)):
    for i in here:
      found[i].append(machine)
  for i, places in enumerate(found):
    if not places and is_new:
      places.extend(machines)
    if not places:
      raise errors.StoreError(
          f'Expected {folders[i]} on a machine of the cluster, found it on none'
          f' of {len(machines)}. Start the machine that has it.'
      )
  # Several have it if they share a disk.
  return [places[i % len(places)] for i, places in enumerate(found)]


def _start(what: Any, machine: str) -> Any:
  """A task or an actor that runs on one machine and is not repeated."""
  options: dict[str, Any] = {
      'num_cpus': 0,
      'runtime_env': ray_connection.environment(),
      'scheduling_strategy': (
          scheduling_strategies.NodeAffinitySchedulingStrategy(
              machine, soft=False
          )
      ),
  }
  return ray.remote(**options)(what)


class RemotePart:
  """A part on another machine; a `parted_store.Part`.

  Attributes:
    machine: Ray's id of the machine.
  """

  def __init__(self, default: Any, folder: str, machine: str):
    self.machine = machine
    self._default = default
    self._actor = _start(part_actor.PartActor, machine).remote(
        _without_imports(default), folder
    )
    self._writes: list[ray.ObjectRef] = []  # That may still fail.

  def open(self) -> None:
    """Opens the file.

    Raises:
      errors.StoreError: As for `store_part.Part`.
    """
    ray.get(self._actor.open.remote())

  def settle(self, version: int) -> None:
    """See `store_part.Part`."""
    # What failed is discarded too.
    ray.wait(self._writes, num_returns=len(self._writes))
    self._writes = []
    self._call('settle', version)

  def read(self, client_ids: Sequence[str]) -> list[Any]:
    """See `store_part.Part`."""
    with ray_connection.one_line_errors():
      arrays = ray.get(self._actor.read.remote(client_ids))
    return part_actor.values_of(arrays, self._default, len(client_ids))

  def refer(self, client_ids: Sequence[str]) -> sharding.Elsewhere:
    """What `read` returns, to be used on the cluster."""
    reference = self._actor.read.remote(client_ids)
    return sharding.Elsewhere(reference, self.machine, len(client_ids))

  def write(
      self, client_ids: Sequence[str], values: Sequence[Any], *, version: int
  ) -> None:
    """See `store_part.Part`."""
    self._write(client_ids, _arrays(values), version)

  def write_from(
      self,
      client_ids: Sequence[str],
      values: sharding.Elsewhere,
      *,
      version: int,
  ) -> None:
    """Like `write`, with values that are on the cluster."""
    self._write(client_ids, values.reference, version)

  def add(self, client_ids: Sequence[str], values: Sequence[Any]) -> None:
    """See `store_part.Part`."""
    self._check_writes()
    with ray_connection.one_line_errors():
      ray.get(self._actor.add.remote(client_ids, _arrays(values)))

  def prepare(self, version: int) -> int:
    """See `store_part.Part`."""
    return int(self._call('prepare', version))

  def apply(self) -> None:
    """See `store_part.Part`."""
    self._call('apply')

  def forget(self, client_ids: Sequence[str]) -> list[str]:
    """See `store_part.Part`."""
    gone = set(self._call('forget', client_ids))
    return [client_id for client_id in client_ids if client_id in gone]

  def sums(self) -> tuple[list[np.ndarray], int]:
    """See `store_part.Part`."""
    sums, count = self._call('sums')
    like = tree.map_structure(
        lambda leaf: np.zeros(leaf.shape, np.float64), self._default
    )
    [value] = part_actor.values_of(sums, like, 1)
    return tree.flatten(value), int(count)

  def last_written(self, client_ids: Sequence[str]) -> list[Optional[int]]:
    """See `store_part.Part`."""
    found = self._call('last_written', client_ids)
    return [None if version is None else int(version) for version in found]

  def __iter__(self) -> Iterator[str]:
    last = None
    while page := self._call('ids_after', last):
      yield from map(str, page)
      last = str(page[-1])

  def num_clients(self) -> int:
    """See `store_part.Part`."""
    return int(self._call('num_clients'))

  def verify(self) -> None:
    """See `store_part.Part`."""
    self._call('verify')

  def close(self) -> None:
    """Discards what was not prepared, and ends the process."""
    with contextlib.suppress(Exception):  # The cluster may be gone.
      ray.get(self._actor.call.remote('close'))
      ray.kill(self._actor)

  def _call(self, method: str, *arguments: Any) -> Any:
    self._check_writes()
    with ray_connection.one_line_errors():
      return ray.get(self._actor.call.remote(method, *arguments))

  def _write(
      self, client_ids: Sequence[str], arrays: Any, version: int
  ) -> None:
    self._writes.append(self._actor.write.remote(client_ids, arrays, version))

  def _check_writes(self) -> None:
    """Waits for what was written.

    Raises:
      errors.StoreError: If it could not be written.
    """
    writes, self._writes = self._writes, []
    with ray_connection.one_line_errors():
      ray.get(writes)


class _RemoteRows:
  """The rows of a part on another machine; a `merge_store.Source`."""

  def __init__(self, actor: Any):
    self._actor = actor

  def describe(self) -> tuple[list[tuple[str, str]], store_file.Header]:
    """See `merge_store.Source`."""
    schema, header = ray.get(self._actor.describe.remote())
    return (
        [(str(path), str(kind)) for path, kind in schema],
        store_file.Header(*map(int, header)),
    )

  def rows_after(
      self, client_id: Optional[str]
  ) -> list[tuple[str, int, bytes, int]]:
    """See `merge_store.Source`."""
    rows = ray.get(self._actor.rows_after.remote(client_id))
    return [
        (str(i), int(version), bytes(data), int(crc))
        for i, version, data, crc in rows
    ]


def _without_imports(value: Any) -> Any:
  """A structure like this one, which nobody imports TensorFlow to unpickle."""
  if not isinstance(value, (tuple, list)):
    return value
  parts = [_without_imports(part) for part in value]
  if hasattr(value, '_fields'):  # TFF's `ModelWeights`, for one.
    # Its class is in no module, so that Ray sends the class too.
    return collections.namedtuple('Parts', value._fields)(*parts)
  return type(value)(parts)


def _arrays(values: Sequence[Any]) -> list[np.ndarray]:
  return [np.asarray(leaf) for value in values for leaf in tree.flatten(value)]
