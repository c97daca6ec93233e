# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is to be compared: every algorithm with every split and every seed."""

from collections.abc import Sequence
import dataclasses
import re
from typing import Optional

from tff_partial import errors
from tff_partial.evaluation import run_results
from tff_partial.experiments import config as config_lib


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

  The split `None` is what an algorithm's name says, or the default one.
  Algorithms without a split are run once for a seed, and those that train
  shared variables not with all of the model personal.

  Args:
    config: What all have in common.
    algorithms: Their names.
    splits: Which variables are personal.
    seeds: Of sampling and initial values.
    equal_steps: Where FedAlt and FedSim are both asked for, whether FedSim is
      also run with as many gradient steps as FedAlt takes, which at equal
      epochs are twice its own.

  Raises:
    ValueError: If a setting is unknown, or nothing is to be run.
  """
  if not (algorithms and splits and seeds):
    raise errors.SettingsError(
        'Expected an algorithm, a split and a seed at least, found'
        f' --algorithm={",".join(algorithms)}'
        f' --personal={",".join(filter(None, splits))}'
        f' --seeds={",".join(map(str, seeds))}.'
    )
  found = {}
  for seed in seeds:
    for algorithm in algorithms:
      for split in splits:
        if split == 'all' and algorithm in config_lib.DIVIDED:
          continue
        one = dataclasses.replace(
            config, algorithm=algorithm, personal=split, seed=seed
        )
        variants = {algorithm: one}
        both = algorithm == 'fed_sim' and 'fed_alt' in algorithms
        if both and equal_steps:
          variants['fed_sim with equal steps'] = _with_equal_steps(one)
        for name, variant in variants.items():
          key = run_results.Key(
              algorithm=name,
              split=variant.split_in_words,
              full=variant.split_in_words in ('all', 'a copy of all'),
              seed=seed,
          )
          folder = re.sub(r'\W+', '_', f'{name}-{key.split}').strip('_')
          found[key] = Combination(key, variant, f'{folder}-{seed}')
  if not found:
    raise errors.SettingsError(
        f'Expected a split that leaves {" and ".join(algorithms)} something to'
        ' share, found --personal=all. Use another split, or finetune.'
    )
  return list(found.values())


def _with_equal_steps(config: config_lib.Config) -> config_lib.Config:
  """FedSim with the steps that FedAlt's two phases take together."""
  return dataclasses.replace(
      config,
      epochs=config.epochs + (config.personal_epochs or config.epochs),
      max_steps=config.max_steps and 2 * config.max_steps,
  )
