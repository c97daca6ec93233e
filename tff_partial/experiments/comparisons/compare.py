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
import functools
import hashlib
import json
import pathlib
import traceback
from typing import Any, Optional

from tff_partial import errors
from tff_partial import files
from tff_partial.evaluation import run_results
from tff_partial.experiments import checkpoint
from tff_partial.experiments import client_names
from tff_partial.experiments import command
from tff_partial.experiments import origin
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments import stages
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import comparison_notes
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting
from tff_partial.experiments.settings import used_settings
from tff_partial.reporting import comparison_report
from tff_partial.reporting import paced
from tff_partial.reporting import tuning_report
from tff_partial.runtime import sharding as sharding_lib

PRETRAINED = 'pretrained'  # The folder of the models that runs start from.
_ERROR_FILE = 'error.txt'

# Where a combination's computations run.
WorkerFn = Callable[
    [], contextlib.AbstractContextManager[sharding_lib.Sharding]
]


def run(
    task: task_lib.Task,
    todo: Sequence[combinations.Combination],
    output_dir: str,
    *,
    worker_fn: WorkerFn,
    progress: bool = True,
    announce_fn: Optional[Callable[[str], None]] = None,
    tuning: Optional[tuning_report.Tuning] = None,
) -> dict[str, str]:
  """Runs what is not finished yet, and writes the comparison.

  Args:
    task: What is learned.
    todo: The combinations. Those of the first seed are run first, and then
      those of each scheme one after the other, since they share what is built.
    output_dir: Gets a folder for each, `pretrained/`, and `comparison.html`,
      `.json` and `.md`, which are written again between combinations.
    worker_fn: Makes the place where a combination's computations run, as
      `computing.for_several` does.
    progress: Whether to say which combination is next.
    announce_fn: Called with the name of a combination's folder before its run.
      With it, nothing else is shown.
    tuning: How the settings were chosen, if they were.

  Returns:
    What the combinations that failed said, by folder; `error.txt` there has
    more. They are tried again when the comparison is run again.

  Raises:
    errors.SettingsError: If a model cannot be divided as asked, before anything
      is trained, if the comparison began with other data or another model to
      start from, or if no combination succeeded.
    errors.FileError: If the comparison cannot be written.
    OSError: If a run meets a full disk, or another refusal of the system.
    Exception: The first bug, if no combination succeeded because of bugs.
  """
  root = pathlib.Path(output_dir).expanduser()
  for combination in {c.key.split: c for c in todo}.values():
    plan_lib.build(task, combination.config)
  keep_origin(task, [c.config for c in todo], root, worker_fn)
  runs: dict[run_results.Key, run_results.Run] = {}
  failures: dict[str, str] = {}
  bugs: list[Exception] = []
  write_fn = functools.partial(
      comparison_report.write,
      str(root),
      settings=_common(
          [
              {
                  **used_settings.used_settings(task, c.config),
                  'pretrain_rounds': c.config.pretrain_rounds_together,
              }
              for c in todo
          ]
      ),
      questions=methods.QUESTIONS,
      control=methods.PRETRAINING,
      one_for_all=[
          name
          for name, method in methods.METHODS.items()
          if not method.personalizes
      ],
      tuning=tuning,
  )
  with paced.Pacer() as pacer:
    for i, combination in enumerate(by_scheme(todo), 1):
      folder = root / combination.folder
      try:
        if announce_fn is not None:
          announce_fn(combination.folder)
        elif progress:
          print(f'[{i}/{len(todo)}] {combination.folder}', flush=True)
        runs[combination.key] = run_one(
            task,
            combination,
            root,
            worker_fn,
            progress=announce_fn is None,
        )
      except Exception as e:  # pylint: disable=broad-exception-caught
        mistake = errors.mistake(e)
        if mistake is None:
          command.print_bug()
          bugs.append(e)
        elif mistake is not e:
          raise  # A full disk, for example, which no other run would survive.
        # Whatever else it is, other combinations may do better.
        said = ' '.join(str(e).split()) or repr(e)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _ERROR_FILE).write_text(traceback.format_exc())
        print(f'Failed: {said}', flush=True)
        names = combination.config.running.report_client_ids
        if names != config_groups.FULL_CLIENT_IDS:  # It may name a client.
          said = f'see {_ERROR_FILE} in its folder'
        failures[combination.folder] = said
      if runs:
        pacer.offer(
            functools.partial(
                write_fn,
                title=f'{task.name} on {task.data}: {len(runs)} runs',
                runs=_in_order(runs),
                failures=dict(failures),
                notes=comparison_notes.notes(
                    task, combination.config, _in_order(runs)
                ),
            )
        )
  if not runs:
    if bugs:
      raise bugs[0]
    raise errors.SettingsError(
        f'Expected at least one run to succeed, found {len(failures)} that'
        f' failed. The first: {next(iter(failures.values()))}'
    )
  return failures


def keep_origin(
    task: task_lib.Task,
    configs: Sequence[config_lib.Config],
    root: pathlib.Path,
    worker_fn: WorkerFn,
) -> None:
  """Keeps what all runs are made from, and checks that it is still the same.

  A run that they start from and that is not finished is copied, so that all
  start alike.

  Args:
    task: What is learned.
    configs: The settings of the runs.
    root: The comparison's folder.
    worker_fn: Passed on from `run`.

  Raises:
    errors.UserError: If the data or the weights to start from have changed
      since the comparison began, or cannot be read.
  """
  files.make_folder(root)
  init_from = next((c.init_from for c in configs if c.init_from), None)
  if checkpoint.start_to_copy(root, init_from) is not None:
    with worker_fn():
      checkpoint.keep_start(root, task, init_from)
  start = None
  if init_from is not None:
    kept = checkpoint.kept_start(root, init_from)
    start = origin.digest(origin.weights_of(kept or init_from))
  origin.keep(
      root, origin.Origin(data=task.fingerprint, start=start), data=task.data
  )


def by_scheme(
    todo: Sequence[combinations.Combination],
) -> list[combinations.Combination]:
  """The first seed with all schemes, then each scheme with the other seeds.

  Args:
    todo: In any order.
  """
  scheme = lambda c: (c.key.algorithm, c.key.split)
  places = {name: i for i, name in enumerate(dict.fromkeys(map(scheme, todo)))}
  first = todo[0].key.seed
  return sorted(
      todo, key=lambda c: -1 if c.key.seed == first else places[scheme(c)]
  )


def _shares_pretraining(config: config_lib.Config) -> bool:
  """Whether a run starts from a model that others start from, too.

  With differential privacy, a run has its own: its noise depends on how many
  rounds the run has in all.
  """
  return bool(config.pretrain_rounds_together and not config.privacy.is_private)


def pretrained_folder(
    task: task_lib.Task, combination: combinations.Combination, root: str
) -> Optional[pathlib.Path]:
  """Where the model is that a run starts from, if it is pretrained.

  Args:
    task: What is learned.
    combination: The run.
    root: The comparison's folder.
  """
  if not _shares_pretraining(combination.config):
    return None
  config = combination.pretraining or combination.config
  _, folder = _pretraining(task, config, pathlib.Path(root, PRETRAINED))
  return folder


def pretrain_for(
    task: task_lib.Task,
    combination: combinations.Combination,
    root: pathlib.Path,
    worker_fn: WorkerFn,
    *,
    progress: bool,
) -> Optional[str]:
  """Trains the model that a run starts from, unless it is there.

  Returns:
    The model's folder; None if the run's model is not pretrained.
  """
  if not _shares_pretraining(combination.config):
    return None
  config = combination.pretraining or combination.config
  plan, folder = _pretraining(task, config, root / PRETRAINED)
  if (folder / run_folder.WEIGHTS).exists():
    stages.keep_origin(folder, plan, None)  # Refuses that of other data.
    return str(folder)
  with worker_fn() as sharding:
    return pretrain(
        task,
        config,
        root / PRETRAINED,
        sharding=sharding,
        progress=progress,
    )


def run_one(
    task: task_lib.Task,
    combination: combinations.Combination,
    root: pathlib.Path,
    worker_fn: WorkerFn,
    *,
    progress: bool,
) -> run_results.Run:
  """Runs a combination, or the rest of it.

  Args:
    task: What is learned.
    combination: The run.
    root: The comparison's folder.
    worker_fn: Passed on from `run`.
    progress: Whether to show progress bars.
  """
  config = combination.config
  init_from = pretrain_for(
      task, combination, root, worker_fn, progress=progress
  )
  if init_from is not None:
    config = setting.replace(config, pretrain_rounds=None, init_from=init_from)
  elif config.privacy.is_private:
    config = setting.replace(
        config, pretrain_rounds=config.pretrain_rounds_together
    )
  names = client_names.load(root, config.running.report_client_ids)
  folder = root / combination.folder
  (folder / _ERROR_FILE).unlink(missing_ok=True)
  plan = plan_lib.build(task, config)
  with run_folder.claim(str(folder), plan.settings, overwrite=False) as claimed:
    _share_names(names, claimed)
    if not claimed.finished:
      if plan.config.init_from == combination.config.init_from:
        checkpoint.share_start(root, claimed.path)
      with worker_fn() as sharding:
        run_lib.run_in(
            claimed,
            plan,
            sharding=sharding,
            progress=progress,
            pretrained=init_from,
        )
  return run_results.read_run(folder, unseen=names.of(plan.unseen))


def _share_names(
    names: client_names.ClientNames, folder: run_folder.RunFolder
) -> None:
  """Lets a run call clients what others do, so that they can be paired.

  Raises:
    errors.SettingsError: If it is finished and calls them otherwise.
  """
  if folder.finished:
    client_names.check_finished(folder, names.mode)
  elif names.key:
    files.replace_text(folder.path / run_folder.REPORT_KEY, names.key.decode())


def pretrain(
    task: task_lib.Task,
    config: config_lib.Config,
    root: pathlib.Path,
    *,
    sharding: Optional[sharding_lib.Sharding] = None,
    progress: bool = True,
) -> str:
  """Trains the model that runs start from, unless it is there.

  Args:
    task: What is learned.
    config: That of the run that needs it.
    root: Where such models are kept, each in a folder named by a digest of the
      settings that it depends on.
    sharding: As in `run.run`.
    progress: Whether to show a progress bar.

  Returns:
    The model's folder.
  """
  plan, folder = _pretraining(task, config, root)
  with run_folder.claim(str(folder), plan.settings, overwrite=False):
    run_lib.pretrain(plan, str(folder), sharding=sharding, progress=progress)
  return str(folder)


def _pretraining(
    task: task_lib.Task, config: config_lib.Config, root: pathlib.Path
) -> tuple[plan_lib.Plan, pathlib.Path]:
  """The plan of a pretraining, and its folder."""
  plan = plan_lib.build(
      task,
      config.for_pretraining(config.pretrain_rounds_together),
  )
  text = json.dumps(plan.settings, sort_keys=True)
  return plan, root / hashlib.sha256(text.encode()).hexdigest()[:12]


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
      if all(other.get(name, value) == value for other in rest)
  }
