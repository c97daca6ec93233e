# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Adds one person to a run after training.

The person's personal variables start from those that a newcomer gets, are
trained on the person's examples while the shared ones stay as they are, and are
kept in the run's store. Nobody else's variables change.
"""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any, Optional
import urllib.parse

from tff_partial import errors
from tff_partial import files
from tff_partial.evaluation import client_table
from tff_partial.evaluation import evaluation
from tff_partial.experiments import checkpoint
from tff_partial.experiments import finished_run
from tff_partial.experiments import parts
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.learning import client_work
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import weights
from tff_partial.privacy import secret_key
from tff_partial.reporting import client_report
from tff_partial.training import earlier_clients
from tff_partial.training import stores

STARTS = ('initial', 'mean')


@dataclasses.dataclass(frozen=True)
class Options:
  """How a person is added.

  Attributes:
    onboarding: The personal variables to start from, one of `STARTS`: the
      initial ones, or the mean of those in the store.
    epochs: Passes over the person's training examples; `None` means as many as
      the run's `finetune_epochs`, or 5; 0 trains nothing.
  """

  onboarding: str = 'initial'
  epochs: Optional[int] = None

  def __post_init__(self):
    """Checks the values.

    Raises:
      errors.SettingsError: If one cannot be used.
    """
    if self.onboarding not in STARTS:
      raise errors.SettingsError(
          f'Expected `onboarding` of {list(STARTS)}, found'
          f' {self.onboarding!r}.'
      )
    if self.epochs is not None and self.epochs < 0:
      raise errors.SettingsError(
          f'Expected `epochs` of at least 0, found {self.epochs}.'
      )


def add(
    run: str, client_id: str, task: task_lib.Task, options: Options = Options()
) -> client_report.ClientReport:
  """Trains a person's personal variables and keeps them in a run's store.

  Call it where computations run, such as in `local.local_worker`.

  Args:
    run: The folder of the run. If it is not finished, its last checkpoint is
      used, and the report says so.
    client_id: The person. One that was added before is added again.
    task: The run's task with the data of the person.
    options: Where to start, and how long to train.

  Returns:
    The results on the person's test examples, which are also in the folder
    `added` of the run, as a JSON file and a page.

  Raises:
    errors.MissingFileError: If there is no run.
    errors.SettingsError: If clients of the run keep no personal variables, if
      the person took part in training or has no examples, if too few clients
      are stored for their mean, or if somebody writes to the run.
    errors.UserError: If a file is damaged or cannot be written.
  """
  folder = pathlib.Path(run).expanduser()
  settings = finished_run.read_settings(str(folder))
  config = finished_run.config_of(settings)
  if config.method.no_client_export is not None:
    raise errors.SettingsError(
        f'{config.method.no_client_export} Nothing would be kept for'
        f' {client_id!r}.'
    )
  if config.personal_by_budget is not None:
    raise errors.SettingsError(
        f'Expected a run without `personal_by_budget` to add {client_id!r} to,'
        ' found one with it. Train another run with this client.'
    )
  if options.onboarding == 'mean' and config.privacy.is_private:
    raise errors.SettingsError(
        "Expected `onboarding` other than 'mean' for a run with differential"
        " privacy: it would hand newcomers a mean of others' personal"
        ' variables.'
    )
  if client_id not in task.train.client_ids:
    raise errors.SettingsError(
        f'Expected {client_id!r} in {task.data}, found'
        f' {", ".join(task.train.client_ids[:3])}.'
    )
  run_folder.check_texts(folder, task.kept)
  try:
    with files.lock(folder / run_folder.LOCK):
      return _Onboarding(folder, task, config, options).add(client_id)
  except files.LockedError as e:
    raise errors.SettingsError(
        f'Expected nobody to write to {folder}, found a run going on. Wait for'
        ' it.'
    ) from e


class _Onboarding:
  """A run as a newcomer finds it."""

  def __init__(self, folder, task, config, options: Options):
    self._folder, self._task, self._options = folder, task, options
    self._config = config
    self._plan = plan_lib.build(task, checkpoint.for_anyone(config))
    self._rounds: Optional[int] = None
    path = folder / run_folder.WEIGHTS
    if path.exists():
      values = weights.load(path)
    else:
      values, self._rounds = checkpoint.load(folder, task)
    self._filled = weights.fill(
        values,
        self._plan.variables,
        *client_work.build_initial_weights(
            self._plan.model_fn, seed=config.seed
        )(),
    )

  def add(self, client_id: str) -> client_report.ClientReport:
    if (self._folder / secret_key.FILE).exists():
      raise errors.SettingsError(
          f'Expected a run that is finished, found one in {self._folder} with'
          ' differential privacy that goes on: if somebody in it had other'
          ' personal variables, a round that is computed again would show a'
          ' difference without noise. Finish the run first.'
      )
    initial = self._plan.algorithm.shared_only(
        self._filled.shared, self._filled.personal
    )
    with stores.open_store(self._filled.personal, str(self._folder)) as store:
      if store.last_written([client_id])[0]:
        raise errors.SettingsError(
            f'Expected somebody who took no part in training, found'
            f' {client_id!r}, who did and has personal variables. Export them'
            ' with tasks.export_client.'
        )
      start, averaged = initial, 0
      if self._options.onboarding == 'mean':
        least = self._config.evaluation.min_clients_for_mean
        averaged = store.num_clients
        if averaged < least:
          raise errors.SettingsError(
              f'Expected at least {least} clients with personal variables for'
              f" their mean, so that it is nobody's own, found {averaged}. Use"
              ' `onboarding` initial.'
          )
        start = store.mean()
      table, trained, steps = self._train(client_id, initial, start)
      report = self._report(table, averaged, steps)
      store.add([client_id], [trained])
    folder = self._folder / run_folder.ADDED
    files.make_folder(folder)
    client_report.write(
        folder / urllib.parse.quote(client_id, safe=' '), report
    )
    return report

  @property
  def _epochs(self) -> int:
    if self._options.epochs is not None:
      return self._options.epochs
    config = self._config
    return config.num_finetune_epochs or config.num_newcomer_epochs

  def _train(
      self, client_id: str, initial: Any, start: Any
  ) -> tuple[client_table.ClientTable, Any, int]:
    """Evaluates before and after training; results, variables and steps."""
    phases: Sequence[phase_lib.Phase] = ()
    if self._epochs:
      phases = parts.build_finetuning(self._config, self._epochs).phases
    kept = {'personal': start, 'steps': 0}

    def keep(unused_client_ids, outputs):
      if phases:
        kept.update(personal=outputs[0]['personal'], steps=outputs[0]['steps'])

    def model(personal, phases=(), keep_fn=None):
      needs_initial = phase_lib.needs_initial_personal(phases)
      return evaluation.TestedModel(
          self._plan.build_evaluation(phases),
          self._filled.shared,
          lambda client_ids: [personal] * len(client_ids),
          round_num=self._config.total_rounds,
          initial_personal=initial if needs_initial else (),
          keep_fn=keep_fn,
      )

    with earlier_clients.EarlierClients(self._folder) as earlier:
      table = evaluation.evaluate(
          {
              'shared': model(initial),
              'personalized': model(start, phases, keep),
          },
          evaluation.Population(
              train=self._task.train,
              test=self._task.test,
              participated=lambda unused_client_id: False,
              trained_earlier=earlier.__contains__,
          ),
          [client_id],
          seed=self._config.seed,
          progress=False,
      )
    return table, kept['personal'], int(kept['steps'])

  def _report(
      self, table: client_table.ClientTable, averaged: int, steps: int
  ) -> client_report.ClientReport:
    notes = []
    if table.earlier.any():
      notes.append(
          'This person trained the model that the run started from. The results'
          ' are not those of a newcomer.'
      )
    if averaged:
      notes.append(
          'Training started from the mean of the personal variables of'
          f' {averaged:,} clients, which the server averaged.'
      )
    if self._rounds is not None:
      notes.append(
          f'The run is not finished: this is its model after round'
          f' {self._rounds} of {self._config.total_rounds}.'
      )
    return client_report.ClientReport(
        run=self._folder.absolute().name,
        settings={
            'task': self._task.name,
            'algorithm': self._config.algorithm,
            'personal': self._config.split_in_words,
            'onboarding': self._options.onboarding,
            'epochs': self._epochs,
            'gradient_steps': steps,
        },
        table=table,
        metric=self._task.metric,
        notes=notes,
    )


def path_of(run: str | os.PathLike[str], client_id: str) -> pathlib.Path:
  """The page about a person who was added."""
  name = f'{urllib.parse.quote(client_id, safe=" ")}.html'
  return pathlib.Path(run).expanduser() / run_folder.ADDED / name
