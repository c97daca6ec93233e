# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Combinations of algorithm, split and seed as experiments, side by side.

Every combination has a folder of its own and is an ordinary run in it: the same
command goes on where it stopped, and one with more algorithms, splits or seeds
trains only what is new. The runs of a seed start from one pretrained model and
train on the same cohorts, which depend on the seed and the round alone.
"""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import hashlib
import json
import pathlib
import traceback
from typing import Any, Optional

from tff_partial import errors
from tff_partial.evaluation import run_results
from tff_partial.experiments import combinations
from tff_partial.experiments import config as config_lib
from tff_partial.experiments import run as experiment
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.learning import partial_model
from tff_partial.reporting import comparison_report
from tff_partial.runtime import dispatcher as dispatcher_lib

_ERROR_FILE = 'error.txt'


def run(
    task: task_lib.Task,
    choices: Mapping[str, Any],
    todo: Sequence[combinations.Combination],
    output_dir: str,
    *,
    worker_fn: Callable[[], contextlib.AbstractContextManager[Any]],
    progress: bool = True,
) -> dict[str, str]:
  """Runs what is not finished yet, and writes the comparison.

  Args:
    task: What is learnt.
    choices: The settings that the task was made from.
    todo: The combinations.
    output_dir: Gets a folder for each, `pretrained/`, and `comparison.html`,
      `.json` and `.md`, which are written anew after each combination.
    worker_fn: Where a combination's computations run; gives the
      `dispatcher_lib.Sharding` for it. Each has a new one:
      TFF's worker keeps what it has compiled, and would grow without end.
    progress: Whether to say which combination is next.

  Returns:
    What the combinations that failed said, by folder; `error.txt` there has
    more. They are tried again when the comparison is run again.

  Raises:
    ValueError: If a model cannot be divided as asked, before anything is
      trained, or if not one combination succeeded.
    OSError: If the comparison cannot be written.
  """
  root = pathlib.Path(output_dir)
  for config in {c.key.split: c.config for c in todo}.values():
    partial_model.describe(experiment.create_model_fn(task.model_fn, config))
  runs, failures = {}, {}
  for i, combination in enumerate(todo, 1):
    folder = root / combination.folder
    try:
      if progress:
        print(f'[{i}/{len(todo)}] {combination.folder}', flush=True)
      _run_one(task, choices, combination, root, worker_fn)
      runs[combination.key] = run_results.read_run(
          folder, unseen=experiment.unseen_clients(task, combination.config)
      )
    except Exception as e:  # pylint: disable=broad-exception-caught
      # Whatever it is, other combinations may do better.
      failures[combination.folder] = ' '.join(str(e).split()) or repr(e)
      folder.mkdir(parents=True, exist_ok=True)
      (folder / _ERROR_FILE).write_text(traceback.format_exc())
      print(f'Failed: {failures[combination.folder]}', flush=True)
      if not runs:
        continue
    comparison_report.write(
        output_dir,
        title=f'{task.name} on {task.data}: {len(runs)} runs',
        runs=_in_order(runs),
        failures=failures,
        settings={
            **choices,
            **_common([c.config.settings for c in todo]),
        },
        notes=_notes(task, combination.config),
    )
  if not runs:
    raise errors.SettingsError(
        f'Expected one run at least to succeed, found {len(failures)} that'
        f' failed. The first: {next(iter(failures.values()))}'
    )
  return failures


def _run_one(
    task: task_lib.Task,
    choices: Mapping[str, Any],
    combination: combinations.Combination,
    root: pathlib.Path,
    worker_fn: Callable[[], contextlib.AbstractContextManager[Any]],
) -> None:
  """Runs a combination, or the rest of it."""
  config = combination.config
  if config.pretrain_rounds_together:
    with worker_fn() as sharding:
      init_from = pretrain(
          task, choices, config, root / 'pretrained', sharding=sharding
      )
    config = dataclasses.replace(
        config, pretrain_rounds=None, init_from=init_from
    )
  settings = {**choices, **config.settings}
  folder = root / combination.folder
  (folder / _ERROR_FILE).unlink(missing_ok=True)
  with run_folder.claim(str(folder), settings, overwrite=False) as claimed:
    if not claimed.finished:
      with worker_fn() as sharding:
        experiment.run(task, config, str(folder), sharding=sharding)


def pretrain(
    task: task_lib.Task,
    choices: Mapping[str, Any],
    config: config_lib.Config,
    root: pathlib.Path,
    *,
    sharding: Optional[dispatcher_lib.Sharding] = None,
) -> str:
  """Trains the model that runs start from, unless it is there.

  Args:
    task: What is learnt.
    choices: The settings that the task was made from.
    config: Of the run that needs it.
    root: Where such models are kept, each in a folder named by a digest of the
      settings that it depends on.
    sharding: As in `experiment.run`.

  Returns:
    The model's folder.
  """
  config = config.for_pretraining(config.pretrain_rounds_together)
  settings = {**choices, **config.settings}
  digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
  folder = root / digest.hexdigest()[:12]
  with run_folder.claim(str(folder), settings, overwrite=False):
    if not (folder / experiment.WEIGHTS_FILE).exists():
      experiment.pretrain(task, config, str(folder), sharding=sharding)
  return str(folder)


def _in_order(
    runs: Mapping[run_results.Key, run_results.Run],
) -> dict[run_results.Key, run_results.Run]:
  """Splits together, as people compare them."""
  splits = list(dict.fromkeys(key.split for key in runs))
  return dict(
      sorted(runs.items(), key=lambda item: splits.index(item[0].split))
  )


def _common(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """The settings that do not differ."""
  first, *rest = settings
  return {
      name: value
      for name, value in first.items()
      if all(other[name] == value for other in rest)
  }


def _notes(task: task_lib.Task, config: config_lib.Config) -> list[str]:
  notes = []
  if task.demonstration:
    notes.append(
        'The data were made for demonstration. They show what the program'
        ' does; they say nothing about people.'
    )
  if not (config.pretrain_rounds_together or config.init_from):
    notes.append(
        'These runs did not start from a trained model, so each is compared'
        ' with its own shared part.'
    )
  if config.gate and config.init_from:
    notes.append(experiment.GATED_INIT_NOTE)
  return notes
