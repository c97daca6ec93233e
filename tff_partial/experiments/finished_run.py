# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The models that a run left in its folder: everyone's and each person's."""

from collections.abc import Callable, Mapping
import itertools
import json
import os
from typing import Any, Optional

from absl.flags import argparse_flags
import numpy as np
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.experiments import config as config_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments import setting
from tff_partial.learning import copied_model
from tff_partial.learning import partial_model
from tff_partial.learning import weights
from tff_partial.training import personal_store


def create_parser(prog: str, description: str):
  """A command line about a run and, if asked for, one of its clients."""
  parser = argparse_flags.ArgumentParser(
      # Otherwise what begins like a flag of absl's is taken for it.
      allow_abbrev=False,
      prog=prog,
      description=description,
  )
  parser.add_argument('--run', required=True, help='folder of a run')
  parser.add_argument(
      '--client',
      help='whose personal variables to use beside what all start from',
  )
  return parser


def print_answers(
    client_id: Optional[str], answer_fn: Callable[[Optional[str]], str]
) -> None:
  """Prints what everyone's model answers and, if asked for, a client's."""
  for who in dict.fromkeys((None, client_id)):
    print(f'{who or "shared"}: {answer_fn(who)}')


def read_settings(folder: str, task: Optional[str] = None) -> Mapping[str, Any]:
  """The settings of a run, by the names of the flags.

  Args:
    folder: The run's.
    task: What it must be a run of; `None` is any task.

  Raises:
    OSError: If the folder holds no run.
    ValueError: If it is of another task.
  """
  path = os.path.join(folder, run_folder.CONFIG)
  if not os.path.isfile(path):
    raise errors.MissingFileError(
        f'Expected a run in {folder}, found no {path}.'
    )
  with open(path, encoding='utf-8') as f:
    settings = json.load(f)['settings']
  if task is not None and settings['task'] != task:
    raise errors.DataError(
        f'Expected a run of the task {task!r} in {folder}, found one of'
        f' {settings["task"]!r}.'
    )
  return settings


def config_of(settings: Mapping[str, Any]) -> config_lib.Config:
  """The settings that are not the task's; those added since have defaults."""
  known = {
      declared.name
      for record in setting.records(config_lib.Config)
      for declared in setting.declared(record)
  }
  return config_lib.create(
      **{name: value for name, value in settings.items() if name in known}
  )


class FinishedRun:
  """A run's model, to be filled with everyone's or a person's variables."""

  def __init__(self, folder: str, model_fn: partial_model.ModelFn):
    """Reads a run.

    Args:
      folder: The run's.
      model_fn: Makes its model, as `parts.build_model_fn` does.

    Raises:
      OSError: If a file is missing.
      ValueError: If the files are not of this model, or damaged.
    """
    variables = partial_model.describe(model_fn)
    zeros = lambda personal: tff.learning.models.ModelWeights(
        [
            np.zeros(v.shape, v.dtype)
            for v in variables
            if v.personal == personal
        ],
        [],
    )
    filled = weights.fill(
        weights.load(os.path.join(folder, run_folder.WEIGHTS)),
        variables,
        zeros(False),
        zeros(True),
    )
    self._model = model_fn()
    self._shared, self._everyones = filled.shared, filled.personal
    if isinstance(self._model, copied_model.CopiedModel):
      self._everyones = copied_model.copy_of(filled.shared, filled.personal)
    self._store = personal_store.PersonalStore(
        filled.personal, folder, read_only=True
    )

  def __contains__(self, client_id: str) -> bool:
    """Whether a client has personal variables of its own."""
    return self._store.contains(client_id)

  def model(
      self, client_id: Optional[str] = None
  ) -> partial_model.PartialModel:
    """The model with a person's variables; good until the next call.

    Args:
      client_id: Whose; `None` is everyone's: the shared variables with the
        personal ones that all start from, or the shared model where clients
        have a copy of it.

    Raises:
      ValueError: If the client has none of its own, naming some that have.
    """
    personal = self._everyones
    if client_id is not None:
      if client_id not in self:
        some = ', '.join(itertools.islice(self._store, 3))
        raise errors.DataError(
            f'Expected one of {self._store.num_clients:,} clients with personal'
            f' variables of their own, found {client_id!r}. Some that have:'
            f' {some or "none"}.'
        )
      (personal,) = self._store.read([client_id])
    self._model.assign(self._shared, personal)
    return self._model
