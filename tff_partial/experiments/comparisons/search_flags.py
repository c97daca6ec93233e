# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The search that the flags describe."""

import dataclasses
from typing import Any

from tff_partial import errors
from tff_partial.experiments import flags
from tff_partial.experiments import personal_budgets
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import search as search_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting
from tff_partial.experiments.settings import task_choice

_NOT_OF_FEDAVG = {'alternating_steps': False, 'personal_l2': None}
# Settings by which two algorithms may have equal steps.
_OF_STEPS = ('epochs', 'max_steps', 'personal_epochs')
_VALIDATION = 0.2  # The share that Pillutla et al. hold out.


def read_task() -> tuple[task_choice.TaskChoice, search_lib.Lists]:
  """The task that the flags describe, and its numbers that have several values.

  Raises:
    errors.SettingsError: If values are out of bounds, or a number has the name
      of a setting.
  """
  lists = flags.several(task_choice.TaskChoice)
  defaults = dict.fromkeys(lists)
  arguments = []
  for argument in flags.FLAGS.task_arg:
    name, _, value = argument.partition('=')
    numbers = task_choice.several_numbers(value)
    if not numbers:
      arguments.append(argument)
      continue
    if name in flags.names():
      raise errors.SettingsError(
          f'Expected one value of the argument {name!r} of a task, found'
          f' {len(numbers)}: a setting has the same name.'
      )
    lists[name] = numbers
  choice = flags.read(
      task_choice.TaskChoice, **defaults, task_arg=tuple(arguments)
  )
  return choice, lists


def read_search() -> search_lib.Search:
  """The search that the flags describe.

  Raises:
    errors.SettingsError: If values are out of bounds or exclude each other.
  """
  comparison = flags.read(flags.Comparison)
  algorithms, splits = flags.algorithms_and_splits()
  _, of_task = read_task()
  lists = {}
  for nested in setting.records(config_lib.Config):
    lists.update(flags.several(nested))
  defaults = {
      s.name: s.default
      for nested in setting.records(config_lib.Config)
      for s in setting.declared(nested)
      if s.name in lists
  }
  personal_budgets.check_several_runs(flags.FLAGS.personal_by_budget)
  combinations.check_no_control(flags.FLAGS.control)
  # FedAvg takes any split, and requires nothing that an algorithm may require.
  # What it refuses is up to the algorithms.
  own = {n: flags.FLAGS[n].value for n in _NOT_OF_FEDAVG if n not in lists}
  config = flags.read(
      config_lib.Config,
      **{
          **defaults,
          **_NOT_OF_FEDAVG,
          'algorithm': methods.PRETRAINING,
          'personal': None,
          'validation': 0.0,
      },
  )
  # What is searched is given.
  given: dict[str, Any] = {n: max(lists[n]) for n in _OF_STEPS if n in lists}
  client = dataclasses.replace(config.client, **given)
  seeds = flags.seeds(comparison.seeds, config.seed)
  search = search_lib.Search(
      config=config,
      lists={**of_task, **lists},
      schemes=[
          dataclasses.replace(scheme, changes={**own, **scheme.changes})
          for scheme in combinations.schemes(
              algorithms,
              splits,
              equal_steps=comparison.equal_steps,
              client=client,
          )
      ],
      validation=flags.FLAGS.validation or _VALIDATION,
      tune_seeds=flags.seeds(
          comparison.tune_seeds,
          (seeds or [config.seed])[0],
          name='tune_seeds',
      ),
      seeds=seeds,
      task_numbers=frozenset(of_task),
  )
  search.grids()  # Raises if settings exclude each other.
  return search
