# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The models in the folder of a run: the shared one and each client's."""

import argparse
from collections.abc import Callable, Mapping
import itertools
import json
import os
import pathlib
from typing import Any, Optional

from absl import logging
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.estimates import penalty_estimate
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting
from tff_partial.experiments.settings import split_choice
from tff_partial.experiments.settings import task_choice
from tff_partial.learning import copied_model
from tff_partial.learning import lora
from tff_partial.learning import outlines
from tff_partial.learning import partial_model
from tff_partial.learning import weights
from tff_partial.training import stores


def create_parser(prog: str, description: str):
  """Creates a command line about a run and, optionally, one of its clients."""
  parser = argparse.ArgumentParser(
      allow_abbrev=False,
      # An argument replaces a flag of the same name that an import defined.
      conflict_handler='resolve',
      prog=prog,
      description=description,
  )
  parser.add_argument(
      '--run',
      type=os.path.expanduser,
      required=True,
      help='folder of a run',
  )
  parser.add_argument(
      '--client',
      help="client whose model to use; without it, the run's shared model with"
      ' initial personal variables',
  )
  return parser


def lora_of(settings: Mapping[str, Any]) -> lora.Lora:
  """The low-rank matrices that a run's task was asked for.

  Args:
    settings: The run's settings, from `read_settings`.
  """
  given = dict(map(task_lib.parse_argument, settings.get('task_arg', ())))
  return lora.Lora(
      given.get('lora_rank', lora.DEFAULT.rank),
      str(given.get('lora_targets', lora.DEFAULT.targets)),
  )


def add_task(parser: argparse.ArgumentParser) -> None:
  """Adds the argument by which a user trusts a task from outside."""
  parser.add_argument(
      '--task',
      help="the run's --task, if it is your own; the program that it names is"
      ' run',
  )


def print_answers(
    folder: str,
    client_id: Optional[str],
    answer_fn: Callable[[Optional[str]], str],
) -> None:
  """Prints the answers of the shared model and, if given, of a client's.

  Args:
    folder: The folder of the run.
    client_id: The client.
    answer_fn: Takes a client, or `None` for the shared model.
  """
  for who in dict.fromkeys((None, client_id)):
    print(f'{who or "shared"}: {answer_fn(who)}')
  if client_id is not None:
    if missing := not_included(config_of(read_settings(folder))):
      print(f'Without {"; and without ".join(missing)}.')


def not_included(
    config: config_lib.Config, model: str = methods.EXPORTED[0]
) -> list[str]:
  """What a run did with clients' models that one of them does not have.

  Args:
    config: The run's.
    model: One of `methods.EXPORTED`, by default what the run has stored.
  """
  _, finetuned, gated = methods.EXPORTED
  if not config.method.personalizes:
    return []
  found = []
  if (
      config.num_finetune_epochs
      and not config.method.trains_alone
      and model != finetuned
  ):
    found.append(
        f'the {config.num_finetune_epochs} epochs of fine-tuning after the last'
        f" round: this is the report's model {model}, not finetuned"
    )
  if config.evaluation.gate and model != gated:
    found.append(
        'the decision of the gate: the client may have kept the model without'
        ' personalization'
    )
  return found


def read_settings(folder: str, task: Optional[str] = None) -> Mapping[str, Any]:
  """Reads the settings of a run, by the names of the flags.

  Args:
    folder: The folder of the run.
    task: The task that it must be a run of; `None` allows any.

  Raises:
    errors.MissingFileError: If the folder holds no run.
    errors.DataError: If the run is of another task, or its settings cannot be
      read.
  """
  path = os.path.join(os.path.expanduser(folder), run_folder.CONFIG)
  if not os.path.isfile(path):
    raise errors.MissingFileError(
        f'Expected a run in {folder}, found no {path}.'
    )
  try:
    with open(path, encoding='utf-8') as f:
      settings = dict(json.load(f)['settings'])
    if not {'task', 'data'} <= settings.keys():  # Others have defaults.
      raise KeyError('task or data')
  except (ValueError, LookupError, TypeError) as e:
    raise errors.DataError(
        f'Expected the settings of a run in {path}, found a file that cannot be'
        f' read: {e}.'
    ) from e
  if task is not None and settings['task'] != task:
    raise errors.DataError(
        f'Expected a run of task {task!r} in {folder}, found one of'
        f' {settings["task"]!r}.'
    )
  parent = pathlib.Path(path).parent
  with_penalty = penalty_estimate.applied(settings, parent)
  return split_choice.applied(with_penalty, parent)


def config_of(settings: Mapping[str, Any]) -> config_lib.Config:
  """The settings that are not the task's; those added later have defaults."""
  try:
    return setting.pick(config_lib.Config, settings)
  except (AttributeError, TypeError) as e:  # Values of other types.
    raise errors.DataError(
        f'Expected the settings of a run in its {run_folder.CONFIG}, found some'
        f' that cannot be read: {e}.'
    ) from e


def task_choice_of(
    settings: Mapping[str, Any],
    registered: Mapping[str, str],
    trusted: Optional[str] = None,
) -> task_choice.TaskChoice:
  """The settings that made a run's task, if they may make it again.

  A task from outside is a program that the folder of the run names. Whoever
  gave away the folder may have written another name, so it is only run if the
  user names it, too.

  Args:
    settings: The run's settings, from `read_settings`.
    registered: References by the names that users know, `tasks.TASKS`.
    trusted: What the user says is the task.

  Raises:
    errors.SettingsError: If the task is from outside and is not `trusted`.
  """
  choice = task_choice.from_settings(settings)
  if choice.task not in registered and choice.task != trusted:
    raise errors.SettingsError(
        f'Expected `task` {choice.task!r}, the program that made the task of'
        f' this run and would be run again, found {trusted!r}. Give it if you'
        ' trust that program.'
    )
  now = choice.settings(registered).get('task_digest')
  if settings.get('task_digest') not in (None, now):
    logging.warning(
        'The file of %s has changed since the run began.', choice.task
    )
  return choice


def create_task(
    settings: Mapping[str, Any],
    registered: Mapping[str, str],
    trusted: Optional[str] = None,
) -> task_lib.Task:
  """Creates the task of a run, from the data that the run was given.

  Args:
    settings: The run's settings, from `read_settings`.
    registered: References by the names that users know, `tasks.TASKS`.
    trusted: As in `task_choice_of`.

  Raises:
    errors.SettingsError: If the task is from outside and is not `trusted`.
    errors.UserError: If the task cannot be created; see `task.create`.
  """
  choice = task_choice_of(settings, registered, trusted)
  return task_lib.create(choice, registered=registered)


class FinishedRun:
  """A run's model, to be filled with the variables of any client."""

  def __init__(
      self,
      folder: str,
      model_fn: partial_model.ModelFn,
      values: Optional[Mapping[str, np.ndarray]] = None,
  ):
    """Reads a run.

    Args:
      folder: The folder of the run.
      model_fn: Makes the run's model, as `parts.build_model_fn` does.
      values: The trained shared and the initial personal variables by path, if
        the run has not written them yet (`checkpoint.load`).

    Raises:
      errors.MissingFileError: If a file is missing.
      errors.UserError: If a file is damaged or does not fit the model.
    """
    folder = os.path.expanduser(folder)
    variables = outlines.describe(model_fn)
    zeros = lambda personal: tff.learning.models.ModelWeights(
        *(
            [
                np.zeros(v.shape, v.dtype)
                for v in variables
                if v.personal == personal and v.trainable == trainable
            ]
            for trainable in (True, False)
        )
    )
    filled = weights.fill(
        weights.load(os.path.join(folder, run_folder.WEIGHTS))
        if values is None
        else values,
        variables,
        zeros(False),
        zeros(True),
    )
    # Layers without names get the same ones as in the run.
    tf.keras.backend.reset_uids()
    self._model = model_fn()
    self._shared, self._initial = filled.shared, filled.personal
    if isinstance(self._model, copied_model.CopiedModel):
      self._initial = copied_model.copy_of(filled.shared, filled.personal)
    self._store = stores.open_store(filled.personal, folder, read_only=True)

  def __contains__(self, client_id: str) -> bool:
    """Whether a client has personal variables of its own."""
    return self._store.contains(client_id)

  def model(
      self, client_id: Optional[str] = None
  ) -> partial_model.PartialModel:
    """Returns the model with a client's variables, valid until the next call.

    Args:
      client_id: The client. `None` means the shared variables with the initial
        personal ones, which are a copy of the shared ones if clients have
        copies of the whole model.

    Raises:
      errors.SettingsError: If the client has no personal variables, naming
        some clients that have.
    """
    personal = self._initial
    if client_id is not None:
      if client_id not in self:
        some = ', '.join(itertools.islice(self._store, 3))
        raise errors.SettingsError(
            f'Expected one of the {self._store.num_clients:,} clients with'
            f' personal variables, found {client_id!r}. Some of them:'
            f' {some or "none"}.'
        )
      (personal,) = self._store.read([client_id])
    self._model.assign(self._shared, personal)
    return self._model
