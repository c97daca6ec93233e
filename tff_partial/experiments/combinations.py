# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The runs of a comparison: every algorithm with every split and every seed."""

from collections.abc import Sequence
import dataclasses
import re
from typing import Optional

from tff_partial import errors
from tff_partial.evaluation import run_results
from tff_partial.experiments import config as config_lib
from tff_partial.experiments import methods
from tff_partial.experiments import setting


@dataclasses.dataclass(frozen=True)
class Combination:
  """One run of a comparison.

  Attributes:
    key: What the comparison calls it.
    config: Its settings, without what it starts from.
    folder: Its folder's name.
  """

  key: run_results.Key
  config: config_lib.Config
  folder: str


def combinations(
    config: config_lib.Config,
    *,
    algorithms: Sequence[str],
    splits: Sequence[Optional[str]],
    seeds: Sequence[int],
    equal_steps: bool = True,
) -> list[Combination]:
  """All runs, those of the first seed first.

  The split `None` is what an algorithm's name implies, or the default one.
  An algorithm that has its own split is run once per seed. One that trains both
  parts of a model is not run with everything personal, and one that trains
  personal variables is not run without any.

  Args:
    config: What all runs have in common.
    algorithms: Names of algorithms.
    splits: Which variables are personal.
    seeds: Seeds of sampling and of initial values.
    equal_steps: Whether to run FedSim, where FedAlt is run too, also with as
      many gradient steps as FedAlt takes. At equal epochs these are twice its
      own.

  Raises:
    errors.SettingsError: If a setting is unknown, or nothing is to be run.
  """
  for name, values in (
      ('algorithm', algorithms),
      ('personal', splits),
      ('seeds', seeds),
  ):
    if not values:
      raise errors.SettingsError(
          f'Expected at least one value of `{name}`, found none.'
      )
  if config.privacy.is_private:
    raise errors.SettingsError(
        'Expected one run with differential privacy, found a comparison, whose'
        ' runs would share a budget. Run each algorithm by itself.'
    )
  if config.privacy.has_secret:
    raise errors.SettingsError(
        'Expected `dp_key` seed in a comparison, whose runs have the same'
        ' clients in each round, found secret. Use the seed, or run each'
        ' algorithm by itself.'
    )
  found = {}
  for seed in seeds:
    for algorithm in algorithms:
      for split in splits:
        method = methods.METHODS.get(algorithm)
        if method is not None and not method.takes(split):
          continue
        one = setting.replace(
            config, algorithm=algorithm, personal=split, seed=seed
        )
        variants = {algorithm: one}
        if equal_steps and method and method.equal_steps_with in algorithms:
          variants[methods.equal_steps_name(algorithm)] = setting.replace(
              one, alternating_steps=True
          )
        for name, variant in variants.items():
          combination = _combination(name, variant)
          found[combination.key] = combination
  if not found:
    raise errors.SettingsError(
        f'Expected a split that leaves {" and ".join(algorithms)} something to'
        ' share, found `personal` all. Use another split, or finetune.'
    )
  return list(found.values())


def _combination(name: str, config: config_lib.Config) -> Combination:
  """A run by the name that the comparison calls it."""
  key = run_results.Key(
      algorithm=name,
      split=config.split_in_words,
      full=config.method.is_full or config.split == 'all',
      seed=config.seed,
  )
  folder = re.sub(r'\W+', '_', f'{name}-{key.split}').strip('_')
  return Combination(key, config, f'{folder}-{config.seed}')
