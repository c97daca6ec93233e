# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""FedAlt or FedSim? Measured on a task before either is run to the end.

For each split, both algorithms rehearse: they run a few rounds with the same
cohorts and seeds, several times, and the paired losses on held-out training
examples make a forecast, at equal epochs and at equal gradient steps. Next to
it stands what theory says about the split: measured constants, the exact
difference of one round to second order, the expected loss of one round over the
number of clients per round, and the comparison of the paper's bounds.

Everything that is measured is kept in `measurements.json` as soon as it is
there, so that the same call goes on where an earlier one stopped.
"""

from collections.abc import Callable, Sequence
import functools
import json
import pathlib
from typing import Any, Optional

import tqdm

from tff_partial import errors
from tff_partial import files
from tff_partial.evaluation import forecast as forecast_lib
from tff_partial.experiments import checkpoint
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments import stages
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.regime import split_constants
from tff_partial.experiments.regime import split_lookahead
from tff_partial.experiments.regime import split_study
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting
from tff_partial.reporting import page
from tff_partial.reporting import regime_report
from tff_partial.runtime import sharding as sharding_lib

_MEASUREMENTS = 'measurements.json'
_NAMES = (
    methods.ALTERNATING,
    methods.SIMULTANEOUS,
    methods.SIMULTANEOUS_EQUAL_STEPS,
)
# By question, the algorithm that FedAlt is compared with.
_OTHERS = {
    'equal_epochs': methods.SIMULTANEOUS,
    'equal_gradient_steps': methods.SIMULTANEOUS_EQUAL_STEPS,
}


def run_in(
    claimed: run_folder.RunFolder,
    task: task_lib.Task,
    config: config_lib.Config,
    splits: Sequence[Optional[str]],
    settings: config_groups.Regime,
    *,
    sharding: Optional[sharding_lib.Sharding] = None,
    progress: bool = True,
) -> dict[str, Any]:
  """Measures and rehearses, and writes `regime.json`, `.md` and `.html`.

  Args:
    claimed: The folder, which also gets `pretrain/` and `measurements.json`.
    task: What is learned, and from whom.
    config: Settings of training, as for the run in question.
    splits: Which variables are personal; each is studied by itself.
    settings: How much to measure.
    sharding: How many clients are computed at a time, and by whom.
    progress: Whether to show progress bars.

  Returns:
    What `regime.json` holds.

  Raises:
    errors.SettingsError: If the algorithm does not train both parts of the
      model, or if task or settings cannot be studied.
    errors.WorkerError: If no process that computes is left.
  """
  todo = configs(config, splits)
  sharding = sharding or sharding_lib.Sharding()
  # Raise for what cannot be studied before anything is computed.
  for one in todo:
    split_study.check_model(task, one)
  plan, *_ = [plan_lib.build(task, one) for one in todo]  # With pretraining.
  checkpoint.keep_start(claimed.path, task, config.init_from)
  init_from = checkpoint.start_of(claimed.path, plan)
  studies = [
      split_study.build(
          task, one, settings, init_from=init_from, sharding=sharding
      )
      for one in todo
  ]
  stages.keep_origin(
      claimed.path, plan, None if plan.pretraining else init_from
  )
  if plan.pretraining is not None:
    run_lib.pretrain(
        plan.pretraining, str(init_from), sharding=sharding, progress=progress
    )
  kept = _Measurements(claimed.path / _MEASUREMENTS)
  rounds = settings.regime_rounds * settings.regime_repeats * len(_NAMES)
  results = {}
  with tqdm.tqdm(
      total=rounds * len(todo),
      desc='rehearse',
      unit='round',
      disable=not progress,
  ) as bar:
    for study in studies:
      results[study.config.split] = _study(study, kept, bar.update)
  contents = page.plain(
      {
          'task': task.name,
          'data': task.data,
          'settings': {
              **task.settings,
              **config.settings,
              **setting.flatten(settings),
          },
          'total_rounds': config.total_rounds,
          'splits': results,
      }
  )
  regime_report.write(claimed.path, contents)
  return contents


def configs(
    config: config_lib.Config, splits: Sequence[Optional[str]]
) -> list[config_lib.Config]:
  """The settings with each of the splits, which can all be studied.

  Args:
    config: As in `run_in`.
    splits: As in `run_in`; `None` is that of `config`.

  Raises:
    errors.SettingsError: If settings cannot be studied.
  """
  found = [
      config if split is None else setting.replace(config, personal=split)
      for split in splits
  ]
  for one in found:
    _check(one)
  return found


def _check(config: config_lib.Config) -> None:
  """Refuses what rehearsals and theory do not have."""
  method, sampling = config.method, config.privacy.sampling
  for is_refused, expected, found in (
      (
          config.chooses_split,
          'splits by name',
          f'{config.personal!r}. A run with it tells which split it chooses',
      ),
      (
          not method.is_divided,
          'an algorithm that trains shared and personal variables, such as'
          f' {methods.ALTERNATING},',
          repr(config.algorithm),
      ),
      (
          method.split is not None,
          f'an algorithm for any split, such as {methods.ALTERNATING},',
          f'{config.algorithm!r}, which has its own',
      ),
      (
          config.estimates_penalty,
          'a number as `personal_l2`',
          f'{config.client.personal_l2!r}, which a run estimates',
      ),
      (config.evaluation.control, 'no `control`', 'it'),
      (sampling != 'fixed', '`client_sampling` fixed', sampling),
  ):
    if is_refused:
      raise errors.SettingsError(
          f'Expected {expected} with `regime`, found {found}.'
      )


class _Measurements:
  """What was measured so far, in a file."""

  def __init__(self, path: pathlib.Path):
    self._path = path
    self._found: dict[str, Any] = {}
    if path.exists():
      try:
        self._found = json.loads(path.read_text(encoding='utf-8'))
      except ValueError as e:
        raise errors.FileError(
            f'Expected what an earlier call measured in {path}, found a damaged'
            ' file. Remove it to measure again.'
        ) from e

  def contains(self, key: str) -> bool:
    return key in self._found

  def once(self, key: str, measure_fn: Callable[[], Any]) -> Any:
    """Returns what is kept under this key, or measures and keeps it."""
    if key not in self._found:
      self._found[key] = page.plain(measure_fn())
      files.replace_text(self._path, page.to_json(self._found))
    return self._found[key]


def _study(
    study: split_study.SplitStudy,
    kept: _Measurements,
    advance: Callable[..., Any],
) -> dict[str, Any]:
  """Measures one split, or what is left of it."""
  split = study.config.split
  constants = functools.cache(lambda: split_constants.Constants(study))
  start = kept.once(f'{split}/start', lambda: constants().at(study.at_start()))

  def rehearse(name, repeat):
    losses, end = study.rehearsal(name, repeat, advance)
    if (name, repeat) == (methods.ALTERNATING, 0):
      # The pilot: constants belong to a point, and this one is further on.
      losses['pilot'] = {
          'constants': constants().at(end),
          'lookahead': split_lookahead.lookahead(study, end),
      }
    return losses

  rehearsals = {name: [] for name in _NAMES}
  for repeat in range(study.settings.regime_repeats):
    for name in _NAMES:
      key = f'{split}/{name}/{repeat}'
      if kept.contains(key):
        advance(study.settings.regime_rounds)
      rehearsals[name].append(
          kept.once(key, functools.partial(rehearse, name, repeat))
      )
  # What is kept stays as it is, for a call that goes on after this split.
  first, *others = rehearsals[methods.ALTERNATING]
  pilot = first['pilot']
  rehearsals[methods.ALTERNATING] = [
      {name: value for name, value in first.items() if name != 'pilot'},
      *others,
  ]
  forecasts = {
      question: _forecast(rehearsals[methods.ALTERNATING], rehearsals[other])
      for question, other in _OTHERS.items()
  }
  return {
      'population': len(study.training.client_ids),
      'clients_per_round': study.config.clients_per_round,
      'rounds': study.settings.regime_rounds,
      'repeats': study.settings.regime_repeats,
      'rates': {'shared': study.rates.shared, 'personal': study.rates.personal},
      'held_out_per_client': [
          study.held_out.num_examples(c) for c in study.sample
      ],
      'equal_epochs_in_phases': (
          study.config.num_personal_epochs == study.config.client.epochs
      ),
      'server_optimizer': study.config.server.server_optimizer,
      'warmup_rounds': (
          study.config.client.warmup_rounds
          if study.config.client.schedule == 'linear'
          else 0
      ),
      'start': start,
      'pilot': pilot,
      'rehearsals': rehearsals,
      'forecasts': forecasts,
  }


def _forecast(
    alternating: Sequence[dict[str, Any]],
    simultaneous: Sequence[dict[str, Any]],
) -> dict[str, Any]:
  """What rehearsals say at their end and half-way, and what they took."""
  losses = lambda runs, when: [
      float('nan') if r[when] is None else r[when] for r in runs
  ]
  at = lambda when: forecast_lib.forecast(
      losses(alternating, when), losses(simultaneous, when)
  )
  steps = lambda runs: sum(r['gradient_steps'] for r in runs)
  seconds = lambda runs: sum(r['seconds'] for r in runs)
  return {
      'held_out': vars(at('held_out')),
      'half_way': vars(at('half_way')),
      'training': vars(at('training')),
      'gradient_ratio': steps(alternating) / steps(simultaneous),
      'time_ratio': seconds(alternating) / seconds(simultaneous),
  }
