# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The model of a run that is not finished: that of its last checkpoint."""

import os
import pathlib
import shutil
from typing import Any, Optional

from absl import logging
import numpy as np

from tff_partial import errors
from tff_partial import files
from tff_partial.experiments import finished_run
from tff_partial.experiments import origin
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments import start as start_lib
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.estimates import feature_mean
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import setting
from tff_partial.learning import weights
from tff_partial.training import store_summary
from tff_partial.training import stores


def load(
    folder: str | os.PathLike[str], task: task_lib.Task
) -> tuple[dict[str, np.ndarray], int]:
  """Reads the model of the last checkpoint, and logs which one that is.

  Call it where computations run, such as in `local.local_worker`.

  Args:
    folder: The folder of a run without `model.safetensors`, which may be
      training at the moment.
    task: The task of the run.

  Returns:
    The trained shared and the initial personal variables by path, like those of
    `model.safetensors`, and the number of rounds that trained them.

  Raises:
    errors.MissingFileError: If the folder holds no run.
    errors.DataError: If the run has no checkpoint yet, or is of another task.
    errors.StoreError: If the checkpoint is damaged.
  """
  folder = pathlib.Path(folder).expanduser()
  settings = finished_run.read_settings(
      os.fspath(folder), str(task.settings['task'])
  )
  if not store_summary.num_rounds(folder):
    raise errors.DataError(
        f'Expected a run with a checkpoint in {folder}, found none yet. Give'
        ' the command of the run again, or wait until it has one.'
    )
  plan = plan_lib.build(task, for_anyone(finished_run.config_of(settings)))
  plan = feature_mean.kept(plan, folder)
  start = start_lib.load(plan, start_of(folder, plan))
  plan = plan.with_constants(start.shared)
  process = plan.process
  initial = process.start_from(
      process.initialize(), start.shared, start.personal
  )
  with stores.open_store(start.personal, str(folder), read_only=True) as store:
    rounds, state = store.restore(initial)
  logging.warning(
      'The run in %s is not finished: this is its model after round %d of %d.',
      folder,
      rounds,
      plan.config.total_rounds,
  )
  values = weights.by_path(
      plan.variables,
      plan.with_all_shared(state.global_model_weights),
      start.personal,
  )
  return values, rounds


def for_anyone(config: config_lib.Config) -> config_lib.Config:
  """A run's settings for its model alone, however many people there are.

  Cohorts and samples of the run's own clients may be too large for others, and
  there is no noise for one person.
  """
  without_noise: dict[str, Any] = {}
  if config.privacy.is_private:
    without_noise = {
        'noise_multiplier': 0.0,
        'target_epsilon': None,
        'delta': 1e-9,
        'init_is_public': config.init_from is not None,
    }
  return setting.replace(
      config,
      **without_noise,
      clients_per_round=1,
      unseen_clients=0,
      eval_clients=0,
      onboarding=None,
  )


def start_of(folder: pathlib.Path, plan: plan_lib.Plan) -> Optional[str]:
  """What a run in this folder starts from: a folder, a file, or nothing."""
  if plan.pretraining is not None:
    return str(folder / run_folder.PRETRAINING)
  return kept_start(folder, plan.config.init_from)


def kept_start(folder: pathlib.Path, init_from: Optional[str]) -> Optional[str]:
  """The copy that `keep_start` made, or what would have been copied.

  Args:
    folder: The run's folder, or that of a comparison.
    init_from: The setting.
  """
  path = folder / run_folder.START
  return str(path) if path.exists() else init_from


def start_to_copy(
    folder: pathlib.Path, init_from: Optional[str]
) -> Optional[pathlib.Path]:
  """The run that a run starts from, if that may go on and is not copied yet.

  Args:
    folder: The run's folder, or that of a comparison.
    init_from: The setting.
  """
  if init_from is None or (folder / run_folder.START).exists():
    return None
  if origin.read(folder).start:
    return None  # A run that began from finished weights needs the same again.
  other = origin.run_of(init_from)
  if other is None or origin.weights_of(init_from).exists():
    return None
  return other


def keep_start(
    folder: pathlib.Path, task: task_lib.Task, init_from: Optional[str]
) -> None:
  """Copies what a run starts from if that is a run which may go on.

  Args:
    folder: The run's folder, or that of a comparison, which this program has
      claimed.
    task: The run's.
    init_from: The setting.

  Raises:
    errors.UserError: If the other run was trained with other texts than the
      task's, such as another vocabulary, or if its checkpoint cannot be read;
      see `load`.
  """
  ancestor = None if init_from is None else origin.run_of(init_from)
  if ancestor is not None:
    run_folder.check_texts(ancestor, task.texts)
  other = start_to_copy(folder, init_from)
  if other is not None:
    values, _ = load(other, task)
    weights.save_by_path(folder / run_folder.START, values)


def share_start(root: pathlib.Path, folder: pathlib.Path) -> None:
  """Gives a run the copy that all runs of a comparison start from, if any.

  Args:
    root: The comparison's folder, for which `keep_start` was called.
    folder: The run's folder, which this program has claimed.
  """
  start, path = root / run_folder.START, folder / run_folder.START
  if start.exists() and not path.exists() and not origin.read(folder).start:
    with files.replace(path) as partial:
      shutil.copyfile(start, partial)
