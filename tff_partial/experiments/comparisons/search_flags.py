# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The search that the flags describe."""

from tff_partial.experiments import flags
from tff_partial.experiments import personal_budgets
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import search as search_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting

_VALIDATION = 0.2  # The share that Pillutla et al. hold out.


def read_search() -> search_lib.Search:
  """The search that the flags describe.

  Raises:
    errors.SettingsError: If values are out of bounds or exclude each other.
  """
  comparison = flags.read(flags.Comparison)
  algorithms, splits = flags.algorithms_and_splits()
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
  # FedAvg takes any split, and requires nothing that an algorithm may require.
  config = flags.read(
      config_lib.Config,
      **{
          **defaults,
          'algorithm': methods.PRETRAINING,
          'personal': None,
          'validation': 0.0,
      },
  )
  seeds = flags.seeds(comparison.seeds, config.seed)
  search = search_lib.Search(
      config=config,
      lists=lists,
      schemes=combinations.schemes(
          algorithms, splits, equal_steps=comparison.equal_steps
      ),
      validation=flags.FLAGS.validation or _VALIDATION,
      tune_seeds=flags.seeds(
          comparison.tune_seeds,
          (seeds or [config.seed])[0],
          name='tune_seeds',
      ),
      seeds=seeds,
  )
  search.grids()  # Raises if settings exclude each other.
  return search
