# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a reader of a comparison must know."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tff_partial.evaluation import run_results
from tff_partial.experiments import notes as notes_lib
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import split_choice
from tff_partial.reporting import formatting


def notes(
    task: task_lib.Task,
    config: config_lib.Config,
    runs: Mapping[run_results.Key, run_results.Run],
) -> list[str]:
  """What a reader must know, a paragraph each.

  Args:
    task: What is learned.
    config: The settings of one of the runs.
    runs: In the order of the tables.
  """
  found = []
  if task.demonstration:
    found.append(notes_lib.DEMONSTRATION_NOTE)
  if not (config.pretrain_rounds_together or config.init_from):
    found.append(
        'These runs did not start from a trained model. The model that a scheme'
        ' starts from is untrained, and so is the shared model of clients that'
        ' train alone.'
    )
  if config.init_from:
    found.append(
        'All seeds start from the same model, so the intervals say nothing'
        ' about other models to start from.'
    )
  if config.privacy.is_private:
    found.append(
        'The keys of these runs are public (--dp_key=seed), so that none of'
        ' them is private. Epsilons are those that secret keys would give.'
    )
  if config.evaluation.gate and config.init_from:
    found.append(notes_lib.GATED_INIT_NOTE)
  if config.evaluation.validation:
    found.append(
        'All results here are from test examples, which each run read once,'
        " after training. Its learning curves are from the share of clients'"
        ' training examples that --validation held out.'
    )
    if config.init_from:
      found.append(notes_lib.VALIDATION_INIT_NOTE)
  return [*found, *_notes_on_choices(runs), *_notes_of_runs(runs)]


def _notes_on_choices(
    runs: Mapping[run_results.Key, run_results.Run],
) -> list[str]:
  """What share of their time runs took to choose what is personal."""
  shares: dict[str, list[float]] = {}
  for key, run in runs.items():
    # Whatever model it is about, a run has one cost.
    for outcome in list(run.outcomes.values())[:1]:
      if share := outcome.cost['choice_share']:
        name = f'{key.algorithm}, {key.split}'
        shares.setdefault(name, []).append(share)
  if not shares:
    return []
  bound = f'more than {split_choice.MOST_SHARE:.0%}'
  found = []
  for name, values in shares.items():
    mean = float(np.mean(values))
    remark = f' ({bound})' if mean > split_choice.MOST_SHARE else ''
    found.append(f'{name}: {formatting.share(mean)}{remark}')
  return [
      'Share of the time of pretraining, choice and training in which runs'
      f' chose what is personal: {"; ".join(found)}.'
  ]


def _notes_of_runs(
    runs: Mapping[run_results.Key, run_results.Run],
) -> list[str]:
  """The notes of single runs, each once and with the runs that have it."""
  found: dict[str, list[run_results.Key]] = {}
  for key, run in runs.items():
    for note in run.notes:
      found.setdefault(note, []).append(key)
  return [
      note if len(keys) == len(runs) else f'{_names(keys, runs)}: {note}'
      for note, keys in found.items()
  ]


def _names(
    keys: Sequence[run_results.Key], runs: Iterable[run_results.Key]
) -> str:
  """Some runs by their schemes, and by seeds where that is shorter."""
  scheme = lambda key: f'{key.algorithm}, {key.split}'
  in_words = lambda seeds: f'seed {", ".join(map(str, sorted(seeds)))}'
  runs, seeds = list(runs), {key.seed for key in keys}
  if len(keys) == sum(key.seed in seeds for key in runs):
    return in_words(seeds)
  names = []
  for name in dict.fromkeys(map(scheme, keys)):
    mine, all_of_them = (
        {key.seed for key in some if scheme(key) == name}
        for some in (keys, runs)
    )
    names.append(name if mine == all_of_them else f'{name} ({in_words(mine)})')
  return '; '.join(names)
