# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Damages files at random: each damage is reported, or has no effect."""

from collections.abc import Callable, Mapping
import csv
import pathlib
from typing import Any

import numpy as np

from benchmarks.torture import memory
from benchmarks.torture import outcome as outcome_lib
from benchmarks.torture import toy
from tff_partial import errors
from tff_partial.data import sql_clients
from tff_partial.learning import weights
from tff_partial.training import history
from tff_partial.training import personal_store

_PAGE = {'store': 16384, 'data': 4096, 'weights': 512, 'metrics': 64}
_CLIENTS = 400


def try_all(
    num_trials: int, folder: pathlib.Path, *, seed: int
) -> list[outcome_lib.Outcome]:
  """Damages a store, weights, metrics and data.

  Args:
    num_trials: The number of damages, a quarter to each kind of file.
    folder: An empty folder to work in.
    seed: Of the damages.
  """
  outcomes = []
  for number, (kind, (make, read)) in enumerate(_KINDS.items()):
    rng = np.random.default_rng([seed, number])
    outcome = outcome_lib.Outcome(f'damage to {kind}')
    path = folder / kind / _NAMES[kind]
    path.parent.mkdir()
    make(path)
    earlier = path.read_bytes()
    make(path)
    good = path.read_bytes()
    right = read(path)
    with memory.measured(outcome):
      for trial in range(num_trials // len(_KINDS)):
        how, damaged = _damage(rng, good, earlier, _PAGE[kind])
        end = _end(path, damaged, read, right)
        allowed = end in ('without effect', 'reported')
        outcome.counts[end if allowed else 'wrong'] += 1
        if not allowed:
          outcome.violations.append(f'{kind}, trial {trial}: {how}: {end}')
    outcomes.append(outcome)
  return outcomes


def _end(
    path: pathlib.Path,
    damaged: bytes,
    read: Callable[[pathlib.Path], Any],
    right: Any,
) -> str:
  """What comes of reading a damaged file that has nothing next to it."""
  for other in path.parent.iterdir():
    if other != path:
      other.unlink()
  path.write_bytes(damaged)
  try:
    return 'without effect' if _same(read(path), right) else 'silent'
  except errors.UserError as e:
    return 'reported' if '\n' not in str(e) else 'several lines'
  except Exception as e:  # pylint: disable=broad-exception-caught
    return f'{type(e).__name__}: {e}'


def _damage(
    rng: np.random.Generator, good: bytes, earlier: bytes, page: int
) -> tuple[str, bytes]:
  """What was done, and the damaged bytes."""
  how = rng.choice(['flipped', 'truncated', 'zeroed', 'swapped', 'lost'])
  data = bytearray(good)
  pages = max(1, len(good) // page)
  first, second = (int(n) * page for n in rng.integers(0, pages, 2))
  if how == 'flipped':
    first = int(rng.integers(len(good)))
    data[first] ^= int(rng.integers(1, 256))
  elif how == 'truncated':
    first = int(rng.integers(len(good)))
    del data[first:]
  elif how == 'zeroed':
    data[first : first + page] = bytes(len(data[first : first + page]))
  elif how == 'swapped':
    size = min(len(good) - max(first, second), page)
    a, b = good[first : first + size], good[second : second + size]
    data[first : first + size], data[second : second + size] = b, a
  else:
    data[first : first + page] = earlier[first : first + page]
  return f'{how} at {first}', bytes(data)


def _make_store(path: pathlib.Path) -> None:
  """Writes one more version, in which all variables are another number."""
  default = np.zeros([40], np.float32)
  ids = [f'person {i}' for i in range(_CLIENTS)]
  with personal_store.PersonalStore(default, str(path.parent)) as store:
    version = store.version + 1
    values = [default + version + i for i in range(_CLIENTS)]
    store.write(ids, values)
    store.commit(version, default + version)


def _read_store(path: pathlib.Path) -> Any:
  default = np.zeros([40], np.float32)
  with personal_store.PersonalStore(default, str(path.parent)) as store:
    version, state = store.restore(default)
    store.verify()  # As a run that is resumed does.
    ids = list(store)
    return version, state, ids, store.read(ids), store.mean()


def _make_weights(path: pathlib.Path) -> None:
  version = 1 if path.exists() else 0
  weights.save_by_path(
      path,
      {
          f'layer {i}/kernel': np.full([30, 5], i + version, np.float32)
          for i in range(20)
      },
  )


def _make_metrics(path: pathlib.Path) -> None:
  version = 1 if path.exists() else 0
  rows = [
      {'round': i, 'train/loss': (i + version) / 7, 'counts/steps': i * 3.0}
      for i in range(1, 101)
  ]
  with open(path, 'w', newline='') as f:
    writer = csv.DictWriter(f, [*rows[0], history.CHECKSUM])
    writer.writeheader()
    for row in rows:
      writer.writerow({**row, history.CHECKSUM: history.checksum(row)})


def _read_metrics(path: pathlib.Path) -> Any:
  rows = history.read(path)
  if history.missing(rows, 100):
    raise errors.DataError('The report says that rounds are missing.')
  return rows


def _make_data(path: pathlib.Path) -> None:
  toy.write_data(str(path.parent), num_clients=50 + path.exists())


def _read_data(path: pathlib.Path) -> Any:
  clients = sql_clients.SqlClients(str(path))
  both = clients.rows_shared_with(clients, min_examples=1)
  return both, [
      (c, clients.num_examples(c), clients.read(c)) for c in clients.client_ids
  ]


_NAMES = {
    'store': personal_store.FILE_NAME,
    'weights': 'model.safetensors',
    'metrics': 'metrics.csv',
    'data': 'train.sqlite',
}
_KINDS: Mapping[str, tuple[Callable[..., None], Callable[..., Any]]] = {
    'store': (_make_store, _read_store),
    'weights': (_make_weights, weights.load),
    'metrics': (_make_metrics, _read_metrics),
    'data': (_make_data, _read_data),
}


def _same(a: Any, b: Any) -> bool:
  """Whether two structures have the same bits."""
  if isinstance(a, Mapping):
    return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
  if isinstance(a, (list, tuple)):
    return len(a) == len(b) and all(map(_same, a, b))
  if isinstance(a, np.ndarray):
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
  return a == b
