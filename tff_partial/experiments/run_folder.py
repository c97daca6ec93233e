# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: what made it, whether it is finished, whose it is."""

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
from importlib import metadata
import json
import os
import pathlib
import platform
import shutil
import subprocess
from typing import Any, Optional

from absl import logging

from tff_partial import errors
from tff_partial import files
from tff_partial.experiments import personal_budgets
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import config_privacy
from tff_partial.experiments.settings import setting
from tff_partial.privacy import secret_key
from tff_partial.training import earlier_clients
from tff_partial.training import store_file
from tff_partial.training import store_summary

CONFIG = 'config.json'
ORIGIN = 'origin.json'
REPORT = 'report.json'
REPORT_PAGE = 'report.html'
METRICS = 'metrics.csv'
WEIGHTS = 'model.safetensors'
CONTROL = 'control'  # The folder of more rounds of FedAvg to compare with.
ADDED = 'added'  # The folder of reports about people who joined later.
START = 'start.safetensors'  # Of a run that was not finished.
REPORT_KEY = '.report_key'  # Makes the names of clients in reports.
PRETRAINING = 'pretrain'  # The folder of the run that this one starts from.
LOCK = '.lock'
LOG = 'worker.log'  # Of the processes that compute.
# What a run has before it trains: nothing that settings must fit.
_KEPT_FIRST = (ORIGIN, START, earlier_clients.FILE_NAME)
_BEFORE_TRAINING = frozenset((LOCK, LOG, CONFIG, REPORT_KEY, *_KEPT_FIRST))
_ROUNDS = 'total_rounds'  # May change when a run goes on.
_START = 'init_from'  # May be moved.
# Settings that name a file, and the digest of its content.
_DIGESTS = {
    'task': 'task_digest',
    'personal_by_budget': personal_budgets.DIGEST,
}
_PACKAGES = ('tensorflow', 'tensorflow-federated', 'numpy', 'keras')


@dataclasses.dataclass(frozen=True)
class RunFolder:
  """A folder that this program alone writes to.

  Attributes:
    path: Where it is.
    overwritten_by: The settings of the run that takes the place of the one in
      the folder, if one does; see `start_over`.
    other_rounds: The run's settings with another number of rounds, if it is to
      have one; see `change_rounds`.
  """

  path: pathlib.Path
  overwritten_by: Optional[Mapping[str, Any]] = None
  other_rounds: Optional[Mapping[str, Any]] = None

  @property
  def finished(self) -> bool:
    """Whether the run has its report, of which the page is written last."""
    if self.overwritten_by is not None or self.other_rounds is not None:
      return False
    return (self.path / REPORT_PAGE).exists()

  def start_over(self) -> None:
    """Removes what another run left, if this one takes its place.

    Call it once the new run goes together with its data, and before anything is
    written.
    """
    if self.overwritten_by is not None:
      _empty(self.path)
      _write(self.path / CONFIG, self.overwritten_by)

  def change_rounds(self) -> None:
    """Makes the run longer or shorter, if it is to be; it is unfinished then.

    Call it once the run has what it began with, and before it goes on.
    """
    if self.other_rounds is not None:
      # What says that it is finished, first. More rounds of FedAvg go on
      # likewise.
      for name in (REPORT_PAGE, WEIGHTS, f'{CONTROL}/{WEIGHTS}'):
        (self.path / name).unlink(missing_ok=True)
      _write(self.path / CONFIG, self.other_rounds)

  @property
  def has_begun(self) -> bool:
    """Whether the run, or its pretraining, has a store of its own."""
    folders = (self.path, self.path / PRETRAINING)
    return any((f / store_file.FILE_NAME).exists() for f in folders)

  @property
  def headline(self) -> str:
    """What the run found, in a sentence."""
    return self._reported('headline')

  @property
  def leaves_client(self) -> str:
    """What left a client in each round, in a sentence or two."""
    return self._reported('leaves_client')

  @property
  def lists_clients(self) -> bool:
    """Whether the report lists single clients."""
    return self._reported('lists_clients')

  @property
  def privacy(self) -> dict[str, str]:
    """What differential privacy promises; empty without it."""
    return self._reported('privacy')

  def _reported(self, name: str) -> Any:
    path = self.path / REPORT
    try:
      return json.loads(path.read_text(encoding='utf-8'))[name]
    except (OSError, ValueError, LookupError, TypeError) as e:
      raise errors.DataError(
          f'Expected the report of a finished run in {path}, found a file that'
          f' cannot be read: {e}. Use --overwrite, or remove {REPORT_PAGE} and'
          ' run again to write the report again.'
      ) from e


@contextlib.contextmanager
def claim(
    path: str, settings: Mapping[str, Any], *, overwrite: bool
) -> Iterator[RunFolder]:
  """Opens a folder for a run with these settings.

  Args:
    path: The folder; made if it is not there.
    settings: Of the run; a run that goes on must have the same, but may have
      another `total_rounds` if its schedule does not depend on it.
    overwrite: Whether to take the place of another run there.

  Yields:
    The folder, whose `config.json` holds settings, versions and commit. If it
    has a run, that changes only when `start_over` or `change_rounds` is called.

  Raises:
    OSError: If the folder cannot be made or written to.
    ValueError: If it belongs to a run with other settings, naming them, to a
      run that is going on, or to no run at all, or if it is to be overwritten
      and holds the model to start from.
  """
  folder = pathlib.Path(path).expanduser().absolute()
  config = folder / CONFIG
  overwritten_by: Optional[Mapping[str, Any]] = None
  other_rounds: Optional[Mapping[str, Any]] = None
  with contextlib.ExitStack() as stack:
    try:
      folder.mkdir(files.PRIVATE_FOLDER, parents=True, exist_ok=True)
      names = {
          entry.name
          for entry in folder.iterdir()
          if files.PARTIAL not in entry.name
      }
      strangers = sorted(names - {LOCK})
      if strangers and CONFIG not in names:
        raise errors.SettingsError(
            f'Expected an empty folder or one of an earlier run, found {folder}'
            f' with {", ".join(strangers[:3])} and no {CONFIG}. Use another'
            ' --output_dir.'
        )
      stack.enter_context(files.lock(folder / LOCK))
    except files.LockedError as e:
      raise errors.SettingsError(
          f'Expected no other run in {folder}, found one going on. Wait for'
          ' it, or use another --output_dir.'
      ) from e
    except OSError as e:
      raise errors.FileError(
          f'Expected a folder to write in at {folder}, found: {e.strerror}. Use'
          ' another --output_dir.'
      ) from e
    files.remove_partial(config)
    if config.exists() and overwrite:
      _check_start_is_elsewhere(folder, settings.get(_START))
      overwritten_by = settings
    elif config.exists() and names - _BEFORE_TRAINING:
      earlier = _compare(config, settings)
      if earlier.get(_ROUNDS) != settings.get(_ROUNDS):
        _check_rounds(folder, earlier, settings)
        other_rounds = settings
      elif earlier.get(_START) != settings.get(_START):  # It was moved.
        _write(config, settings)
    else:
      for name in _KEPT_FIRST:
        (folder / name).unlink(missing_ok=True)
      _write(config, settings)
    yield RunFolder(folder, overwritten_by, other_rounds)


def check_texts(folder: str | os.PathLike[str], texts: Mapping[str, str]):
  """Checks that a run's files, where it has them, are these.

  Raises:
    ValueError: If one is different, naming it.
  """
  for name, text in texts.items():
    path = pathlib.Path(folder).expanduser() / name
    if path.exists() and path.read_bytes() != text.encode():
      raise errors.SettingsError(
          f'Expected the {name} that the model in {folder} was trained with,'
          ' found another one in the data. Use the data of that run, or train'
          ' from the beginning.'
      )


def keep_texts(folder: str | os.PathLike[str], texts: Mapping[str, str]):
  """Writes files to a run's folder, or checks that they are there."""
  check_texts(folder, texts)
  for name, text in texts.items():
    path = pathlib.Path(folder).expanduser() / name
    if not path.exists():
      files.replace_text(path, text)


def _check_start_is_elsewhere(
    folder: pathlib.Path, init_from: Optional[str]
) -> None:
  """Checks that emptying a folder leaves the model to start from."""
  if init_from is None:
    return
  start = pathlib.Path(init_from).expanduser().resolve()
  if start.is_relative_to(folder.resolve()):
    raise errors.SettingsError(
        f'Expected `init_from` outside of {folder}, which `overwrite` empties,'
        f' found {init_from}. Use another `output_dir`.'
    )


def _empty(folder: pathlib.Path) -> None:
  # The settings last: without them the rest would be a stranger's.
  for entry in sorted(folder.iterdir(), key=lambda e: e.name == CONFIG):
    if entry.name in (LOCK, LOG):  # This program has them open.
      continue
    if entry.is_dir() and not entry.is_symlink():
      shutil.rmtree(entry)
    else:
      entry.unlink()


def _compare(
    config: pathlib.Path, settings: Mapping[str, Any]
) -> Mapping[str, Any]:
  """Checks that settings fit those of a run; the number of rounds may differ.

  Returns:
    The run's settings.
  """
  try:
    found = json.loads(config.read_text(encoding='utf-8'))
    earlier, versions = dict(found['settings']), dict(found['versions'])
  except (ValueError, KeyError, TypeError) as e:
    raise errors.SettingsError(
        f'Expected the settings of a run in {config}, found a damaged file.'
        ' Use another --output_dir, or --overwrite.'
    ) from e
  for name, digest in _DIGESTS.items():
    same_name = earlier.get(name) == settings.get(name)
    if same_name and earlier.get(digest) != settings.get(digest):
      raise errors.SettingsError(
          f'Expected the file of {settings[name]} that the run in'
          f' {config.parent} began with, found that it has changed since.'
          ' Restore it to go on, or use another --output_dir, or --overwrite.'
      )
  differences = [
      f'--{name}: {earlier.get(name)!r} there, {settings.get(name)!r} now'
      for name in sorted({*earlier, *settings})
      if name != _ROUNDS
      and earlier.get(name) != settings.get(name)
      and not (
          name == _START and _is_moved(earlier.get(name), settings.get(name))
      )
  ]
  if differences:
    raise errors.SettingsError(
        f'Expected the flags of the run in {config.parent}, found others:'
        f' {"; ".join(differences)}. Use the same flags to go on, another'
        ' --output_dir, or --overwrite.'
    )
  for name, version in _versions().items():
    if versions.get(name) == version:
      continue
    # Noise, cohorts and updates must be the same to the bit.
    if (config.parent / secret_key.FILE).exists() and name in _PACKAGES:
      raise errors.SettingsError(
          f'Expected {name} {versions.get(name)}, with which the private run in'
          f' {config.parent} began, found {version}: if it computes anything in'
          ' another way, a round that is computed again would show a difference'
          ' without noise. Install that version to finish the run.'
      )
    logging.warning(
        'This run began with %s %s and goes on with %s.',
        name,
        versions.get(name),
        version,
    )
  return earlier


def _is_moved(before: Optional[str], now: Optional[str]) -> bool:
  """Whether a model to start from may be the same in another place.

  So it is after a comparison, with the models that its runs start from, was
  moved. The origin of the run knows whether the weights are the same.
  """
  if before is None or now is None or pathlib.Path(before).exists():
    return False
  return pathlib.Path(before).parts[-2:] == pathlib.Path(now).parts[-2:]


def _check_rounds(
    folder: pathlib.Path,
    earlier: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
  """Checks that a run may become longer or shorter.

  Raises:
    errors.SettingsError: If its learning rates depend on the number of rounds,
      or if it has had more rounds already.
  """
  before, now = earlier.get(_ROUNDS), settings.get(_ROUNDS)
  if isinstance(before, str) or isinstance(now, str):
    return  # Several, of which each run of a search has one.
  schedule = settings.get('schedule')
  if schedule in config_groups.SCHEDULES_BY_TOTAL:
    raise errors.SettingsError(
        f'Expected `total_rounds` {before} as in the run in {folder}, because'
        f' with `schedule` {schedule} its learning rates depend on it, found'
        f' {now}. Use another `output_dir`, or `overwrite`.'
    )
  trained = store_summary.num_rounds(folder)
  if before is None or now is None or now < trained:
    raise errors.SettingsError(
        f'Expected `total_rounds` of at least {trained}, which the run in'
        f' {folder} has had already, found {now}. Use another `output_dir`, or'
        ' `overwrite`.'
    )
  privacy = setting.pick(config_privacy.Privacy, settings)
  _check_secret(folder, before, now, privacy)


def _check_secret(
    folder: pathlib.Path,
    before: int,
    now: int,
    privacy: config_privacy.Privacy,
) -> None:
  """Checks that a run may have another number of rounds with its key."""
  if privacy.target_epsilon is not None:
    raise errors.SettingsError(
        f'Expected `total_rounds` {before} as in the run in {folder}, because'
        f' its noise for `target_epsilon` depends on it, found {now}. Use'
        ' another `output_dir`, with `init_from` to start from this model.'
    )
  if privacy.is_private and now < before:
    raise errors.SettingsError(
        f'Expected `total_rounds` of at least {before} as in the run in'
        f' {folder}, which may have released them, found {now}.'
    )
  if privacy.has_secret and not (folder / secret_key.FILE).exists():
    raise errors.SettingsError(
        f'Expected `total_rounds` {before} as in the run in {folder}, whose key'
        f' was deleted when it was finished, found {now}. Use another'
        ' `output_dir`, with `init_from` to start from this model.'
    )


def _write(config: pathlib.Path, settings: Mapping[str, Any]) -> None:
  contents = {
      'settings': dict(settings),
      'versions': _versions(),
      'commit': _commit(),
  }
  try:
    files.replace_text(config, json.dumps(contents, indent=2) + '\n')
  except OSError as e:
    raise errors.FileError(
        f'Cannot write {config}: {e.strerror}. Free some disk space, or use'
        ' another --output_dir.'
    ) from e


def _versions() -> dict[str, str]:
  return {
      'python': platform.python_version(),
      **{name: metadata.version(name) for name in _PACKAGES},
  }


def _commit() -> str:
  """The commit of this program, or '' where there is no repository."""
  result = (
      subprocess.run(
          ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
          cwd=pathlib.Path(__file__).parent,
          capture_output=True,
          text=True,
          check=False,
      )
      if shutil.which('git')
      else None
  )
  return result.stdout.strip() if result else ''
