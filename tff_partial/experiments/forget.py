# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Removes clients from the folders of runs, comparisons and imported data.

What is a client's own is removed: personal variables, examples, exported models
and ids. Reports name clients and have a row for each, so they are removed as a
whole; the command of the run or comparison writes them again. What was averaged
stays: `LASTING` says so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import html
import json
import pathlib
import shutil
import urllib.parse

from tff_partial import errors
from tff_partial import files
from tff_partial.data import sql_forget
from tff_partial.experiments import origin
from tff_partial.experiments import run_folder
from tff_partial.privacy import secret_key
from tff_partial.training import earlier_clients
from tff_partial.training import personal_store
from tff_partial.training import store_layout

LASTING = (
    'The shared models were trained with what these clients computed, and so'
    ' were runs that started from them; only training again without the clients'
    ' changes that.',
    'Words of a vocabulary, names of classes and totals in metrics.csv stay.',
    'A run that goes on brings the clients back if its data still have them.',
    'Copies elsewhere, such as backups, exports and disks that keep what was'
    ' overwritten, are not reached.',
)
_DATA = ('train.sqlite', 'test.sqlite')
_REPORTS = ('clients.csv', run_folder.REPORT, run_folder.REPORT_PAGE)
_COMPARISON = 'comparison'  # How the names of its files begin.
_EXPORT = 'export.json'
_CHUNK_BYTES = 2**24


@dataclasses.dataclass(frozen=True)
class Forgotten:
  """What was removed.

  Attributes:
    lines: What was done, a line for each file.
    still_named: Files that still have the bytes of a client's id, which may
      mean something else there.
  """

  lines: Sequence[str]
  still_named: Sequence[pathlib.Path]


def forget(
    client_ids: Sequence[str],
    *,
    runs: Sequence[str] = (),
    data: Sequence[str] = (),
) -> Forgotten:
  """Removes clients from folders; after an interruption, call it again.

  Args:
    client_ids: The clients.
    runs: Folders of runs and of comparisons.
    data: Folders of imported data, with `train.sqlite` and `test.sqlite`.

  Raises:
    errors.SettingsError: If there is no client or no folder, a client is in
      none of the folders, or a run in them is going on; nothing is removed.
    errors.MissingFileError: If a folder has no such content.
    errors.StoreError: If a store is damaged, or another program reads it.
    errors.DataError: If examples cannot be read.
    OSError: If a file cannot be written.
  """
  if not all(client_ids) or not client_ids or not (runs or data):
    raise errors.SettingsError(
        'Expected a client and a folder to forget it in. Give `client`, and'
        ' `run` or `data`.'
    )
  run_folders = [_existing(folder, _is_run, 'a run') for folder in runs]
  data_folders = [_existing(folder, _is_data, 'data') for folder in data]
  folders = [*run_folders, *data_folders]
  for folder in run_folders:
    for path in folder.rglob(store_layout.FILE_NAME):
      store_layout.part_folders(path.parent)  # Raises if they are not here.
  lines = []
  with contextlib.ExitStack() as stack:
    for folder in folders:
      stack.enter_context(_locked(folder))
    for client_id in client_ids:
      if not _that_name(folders, [client_id]):
        raise errors.SettingsError(
            f'Expected clients of {", ".join((*runs, *data))}, found no'
            f' {client_id!r} there, or it is forgotten already.'
        )
    for folder in data_folders:
      for path in (folder / name for name in _DATA):
        had = sql_forget.forget(str(path), client_ids)
        lines.append(f'{path}: {len(had)} of the clients removed')
    renamed = _new_fingerprints(data_folders)
    for folder in run_folders:
      for path in sorted(folder.rglob(run_folder.ORIGIN)):
        _rename_data(path, renamed)
      for path in sorted(folder.rglob(earlier_clients.FILE_NAME)):
        _forget_earlier(path, client_ids)
        lines.append(f'{path}: written again without the clients')
      for path in sorted(folder.rglob(personal_store.FILE_NAME)):
        if store_layout.read(path.parent) is not None:
          continue  # Its clients are in the parts.
        had = personal_store.forget(str(path.parent), client_ids)
        lines.append(f'{path}: {len(had)} of the clients removed')
      for path in sorted(folder.rglob(secret_key.FILE)):
        secret_key.forget(path.parent)
        lines.append(
            f'{path}: removed; this run with differential privacy was not'
            ' finished and cannot go on without the clients, as a round that is'
            ' computed again would show a difference without noise'
        )
      lines.extend(_remove_exports(folder, client_ids))
      lines.extend(_remove_reports(folder, client_ids))
    still_named = _that_name(folders, client_ids)
  return Forgotten(lines, still_named)


def _is_run(folder: pathlib.Path) -> bool:
  return any(
      next(folder.glob(pattern), None)
      for pattern in (run_folder.CONFIG, f'*/{run_folder.CONFIG}')
  )


def _is_data(folder: pathlib.Path) -> bool:
  return all((folder / name).exists() for name in _DATA)


def _existing(
    folder: str, is_one_fn: Callable[[pathlib.Path], bool], what: str
) -> pathlib.Path:
  path = pathlib.Path(folder).expanduser().absolute()
  if not path.is_dir() or not is_one_fn(path):
    raise errors.MissingFileError(
        f'Expected {what} in {folder}, found none. Nothing was removed.'
    )
  return path


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
  """Holds the locks of a folder and of the runs in it."""
  with contextlib.ExitStack() as stack:
    for path in sorted(folder.rglob('.lock')):
      try:
        stack.enter_context(files.lock(path))
      except files.LockedError as e:
        raise errors.SettingsError(
            f'Expected nobody to write to {path.parent}, found a program that'
            ' does. Let it finish, or end it. Nothing was removed.'
        ) from e
    yield


def _new_fingerprints(folders: Sequence[pathlib.Path]) -> dict[str, str]:
  """The fingerprints of files before clients were removed, and those now."""
  renamed = {}
  for folder in folders:
    for name in _DATA:
      now, earlier = sql_forget.earlier_fingerprints(str(folder / name))
      renamed.update(dict.fromkeys(earlier, now))
  return renamed


def _rename_data(path: pathlib.Path, renamed: Mapping[str, str]) -> None:
  """Lets a run go on with its data, from which clients were removed."""
  kept = origin.read(path.parent)
  if kept.data is not None:
    parts = [renamed.get(part, part) for part in kept.data.split('+')]
    origin.write(path.parent, dataclasses.replace(kept, data='+'.join(parts)))


def _forget_earlier(path: pathlib.Path, client_ids: Sequence[str]) -> None:
  with earlier_clients.EarlierClients(path.parent) as earlier:
    earlier_clients.write(
        path.parent, (c for c in earlier if c not in client_ids)
    )


def _remove_exports(
    folder: pathlib.Path, client_ids: Sequence[str]
) -> Iterator[str]:
  for path in sorted(folder.rglob(_EXPORT)):
    try:
      client_id = json.loads(path.read_text(encoding='utf-8'))['client']
    except (ValueError, LookupError, TypeError):
      continue
    if client_id in client_ids:
      shutil.rmtree(path.parent)
      yield f'{path.parent}: this export was removed'


def _remove_reports(
    folder: pathlib.Path, client_ids: Sequence[str]
) -> Iterator[str]:
  """Removes pages of runs, comparisons and clients, and their tables."""
  pages = {urllib.parse.quote(c, safe=' ') for c in client_ids}
  for path in _files(folder):
    if (
        path.name in _REPORTS
        or path.name.startswith(_COMPARISON)
        or path.name == 'error.txt'
        or (path.parent.name == run_folder.ADDED and path.stem in pages)
        or files.PARTIAL in path.name
    ):
      path.unlink()
      yield f'{path}: removed; the commands of the run write reports again'


def _that_name(
    folders: Sequence[pathlib.Path], client_ids: Sequence[str]
) -> list[pathlib.Path]:
  """The files that have the bytes of an id."""
  return [
      path
      for folder in folders
      for path in _files(folder)
      if any(c in path.name or _names(path, c) for c in client_ids)
  ]


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  return [
      path
      for path in sorted(folder.rglob('*'))
      if path.is_file() and not path.is_symlink()
  ]


def _names(path: pathlib.Path, client_id: str) -> bool:
  """Whether a file has the bytes of an id, in one of the ways to write it."""
  needles = {
      text.encode()
      for text in (
          client_id,
          html.escape(client_id),
          json.dumps(client_id)[1:-1],
          json.dumps(client_id, ensure_ascii=False)[1:-1],
      )
  }
  overlap = max(map(len, needles)) - 1
  end = b''
  with open(path, 'rb') as f:
    while chunk := f.read(_CHUNK_BYTES):
      if any(needle in end + chunk for needle in needles):
        return True
      end = chunk[-overlap:] if overlap else b''
  return False
