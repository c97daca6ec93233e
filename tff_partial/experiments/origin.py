# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run was made from, which its folder keeps in `origin.json`.

Settings name data and a model to start from; this is about their content. A run
does not go on with others, however they came to be in the same place.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any, Optional

from tff_partial import errors
from tff_partial import files
from tff_partial.experiments import run_folder

_GO_ON = (
    'Use those of the run to go on, another `output_dir`, or `overwrite` to'
    ' start again.'
)


@dataclasses.dataclass(frozen=True)
class Origin:
  """What a run was made from; `None` where that is not known.

  Attributes:
    data: The fingerprint of the data (`task.Task.fingerprint`).
    start: The SHA-256 of the weights that training started from; `None` also if
      it started from seeded values.
    generation: How many times models were trained in rounds, one starting from
      the other, before this run: 0 for one that started from seeded values.
  """

  data: Optional[str] = None
  start: Optional[str] = None
  generation: Optional[int] = None


def run_of(init_from: str | os.PathLike[str]) -> Optional[pathlib.Path]:
  """The folder of the run whose model this is; `None` for other weights."""
  path = pathlib.Path(init_from).expanduser()
  if path.is_dir():
    folder = path
  # A run that is not finished has no weights yet.
  elif path.is_file() or path.name == run_folder.WEIGHTS:
    folder = path.parent
  else:  # A mistake, which does not mean the run in whose folder it would be.
    return None
  names = run_folder.CONFIG, run_folder.ORIGIN  # Pretraining has the latter.
  return folder if any((folder / name).exists() for name in names) else None


def generation_after(init_from: str | os.PathLike[str]) -> int:
  """The generation of a run that starts from this model.

  Args:
    init_from: A run's folder, or a file with weights.
  """
  folder = run_of(init_from)
  if folder is None:
    return 0
  kept = read(folder).generation
  if kept is not None:
    return kept + 1
  # A run that did not say, or a pretrained model, which starts from nothing.
  return 2 if (folder / run_folder.PRETRAINING).is_dir() else 1


def digest(path: str | os.PathLike[str]) -> Optional[str]:
  """The SHA-256 of a file; `None` if there is none."""
  path = pathlib.Path(path).expanduser()
  if not path.is_file():
    return None
  with open(path, 'rb') as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()


def weights_of(init_from: str | os.PathLike[str]) -> pathlib.Path:
  """The file with the weights: of a run, if `init_from` is its folder."""
  path = pathlib.Path(init_from).expanduser()
  return path / run_folder.WEIGHTS if path.is_dir() else path


def read(folder: str | os.PathLike[str]) -> Origin:
  """Reads what a run was made from; nothing is known if it did not say.

  Raises:
    errors.DataError: If the file is damaged.
  """
  path = pathlib.Path(folder).expanduser() / run_folder.ORIGIN
  if not path.exists():
    return Origin()
  try:
    values: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
    return Origin(**values)
  except (ValueError, TypeError) as e:
    raise errors.DataError(
        f'Expected what a run was made from in {path}, found a damaged file.'
        ' Restore it from a copy, or start in another folder.'
    ) from e


def check(
    folder: str | os.PathLike[str], found: Origin, *, data: str
) -> Origin:
  """Checks that a run was made from what there is now.

  Args:
    folder: The run's folder.
    found: What there is now.
    data: What users call the data.

  Returns:
    What the run was made from, as far as it is known.

  Raises:
    errors.SettingsError: If the run in the folder was made from something
      else.
    errors.DataError: If the file is damaged.
  """
  kept = read(folder)
  for name, what in (
      ('data', f'data in {data}'),
      ('start', 'weights to start from'),
      # Cohorts and noise depend on it: other ones would be a second release.
      ('generation', 'runs before this one, by the folder of `init_from`,'),
  ):
    before, now = getattr(kept, name), getattr(found, name)
    if None not in (before, now) and before != now:
      raise errors.SettingsError(
          f'Expected the {what} that the run in {os.fspath(folder)} began with,'
          f' found that they have changed since. {_GO_ON}'
      )
  return kept


def keep(folder: str | os.PathLike[str], found: Origin, *, data: str) -> None:
  """Writes what a run is made from, or checks that it is still the same.

  Args:
    folder: The run's folder, which this program has claimed.
    found: What there is now.
    data: What users call the data.

  Raises:
    errors.UserError: As `check` does.
  """
  kept = check(folder, found, data=data)
  known = {k: v for k, v in dataclasses.asdict(found).items() if v is not None}
  together = dataclasses.replace(kept, **known)
  path = pathlib.Path(folder) / run_folder.ORIGIN
  if together != kept or not path.exists():
    write(folder, together)


def write(folder: str | os.PathLike[str], known: Origin) -> None:
  """Writes what a run was made from."""
  contents = json.dumps(dataclasses.asdict(known), indent=2)
  files.replace_text(pathlib.Path(folder) / run_folder.ORIGIN, contents + '\n')
