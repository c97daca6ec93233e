# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The runs of a comparison: every algorithm with every split and every seed."""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import re
from typing import Any, Optional

from tff_partial import errors
from tff_partial.evaluation import run_results
from tff_partial.experiments import personal_budgets
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import config_privacy
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting

_DEFAULTS = config_groups.ClientWork()


@dataclasses.dataclass(frozen=True)
class Scheme:
  """What a comparison compares: an algorithm with a split.

  Attributes:
    name: What the comparison calls the algorithm.
    changes: The settings that make it.
  """

  name: str
  changes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Combination:
  """One run of a comparison.

  Attributes:
    key: What the comparison calls it.
    config: Its settings, without what it starts from.
    folder: Its folder's name.
    pretraining: The settings of the pretraining, if not those of `config`.
  """

  key: run_results.Key
  config: config_lib.Config
  folder: str
  pretraining: Optional[config_lib.Config] = None


def combinations(
    config: config_lib.Config,
    *,
    algorithms: Sequence[str],
    splits: Sequence[Optional[str]],
    seeds: Sequence[int],
    equal_steps: bool = True,
) -> list[Combination]:
  """All runs, those of the first seed first.

  Args:
    config: What all runs have in common.
    algorithms: Names of algorithms.
    splits: Which variables are personal.
    seeds: Seeds of sampling and of initial values.
    equal_steps: As in `schemes`.

  Raises:
    errors.SettingsError: If a setting is unknown, or nothing is to be run.
  """
  check_not_empty('seeds', seeds)
  config_privacy.check_several_runs(config)
  personal_budgets.check_several_runs(config.personal_by_budget)
  check_no_control(config.evaluation.control)
  found = {}
  for seed in seeds:
    for scheme in schemes(
        algorithms, splits, equal_steps=equal_steps, client=config.client
    ):
      one = setting.replace(config, **scheme.changes, seed=seed)
      combination = combine(scheme.name, one)
      found[combination.key] = combination
  return list(found.values())


def schemes(
    algorithms: Sequence[str],
    splits: Sequence[Optional[str]],
    *,
    equal_steps: bool = True,
    client: config_groups.ClientWork = _DEFAULTS,
) -> list[Scheme]:
  """Every algorithm with every split that it makes sense with.

  The split `None` is what an algorithm's name implies, or the default one.
  An algorithm that has its own split is returned with each of them, although
  they make no difference. One that trains both parts of a model is not run with
  everything personal, and one that trains personal variables is not run without
  any.

  Args:
    algorithms: Names of algorithms.
    splits: Which variables are personal.
    equal_steps: Whether to run FedSim, where FedAlt is run too, also with as
      many gradient steps as FedAlt takes. At equal epochs these are twice its
      own. FedAlt next to FFGG is run likewise.
    client: What clients do in all schemes.

  Raises:
    errors.SettingsError: If nothing is to be run.
  """
  check_not_empty('algorithm', algorithms)
  check_not_empty('personal', splits)
  found = []
  for algorithm in algorithms:
    method = methods.METHODS.get(algorithm)
    for split in splits:
      if method is not None and not method.takes(split):
        continue
      changes = {'algorithm': algorithm, 'personal': split}
      found.append(Scheme(algorithm, changes))
      if equal_steps and method and method.equal_steps_with in algorithms:
        more = method.equal_steps(client)
        if more is not None:
          name = methods.equal_steps_name(algorithm)
          found.append(Scheme(name, {**changes, **more}))
  if not found:
    raise errors.SettingsError(
        f'Expected a split that gives {" and ".join(algorithms)} both something'
        ' to share and something personal, found `personal`'
        f' {" and ".join(map(str, splits))}. Use another split, or algorithm'
        f' finetune for all and {methods.PRETRAINING} for none.'
    )
  return found


def check_no_control(control: bool) -> None:
  """Raises `errors.SettingsError` if runs that are compared have a control."""
  if control:
    raise errors.SettingsError(
        'Expected no `control` in a comparison, found it. Run algorithm'
        f' {methods.PRETRAINING!r} too, which is the control of all others.'
    )


def check_not_empty(name: str, values: Sequence[Any]) -> None:
  """Raises `errors.SettingsError` if a list of values is empty."""
  if not values:
    raise errors.SettingsError(
        f'Expected at least one value of `{name}`, found none.'
    )


def combine(
    name: str,
    config: config_lib.Config,
    *,
    remark: str = '',
    pretraining: Optional[config_lib.Config] = None,
) -> Combination:
  """A run by the name that the comparison calls it.

  Args:
    name: What the comparison calls the algorithm.
    config: The run's settings.
    remark: Distinguishes folders of the same algorithm, split and seed.
    pretraining: As in `Combination`.
  """
  key = run_results.Key(
      algorithm=name,
      split=config.split_in_words,
      full=config.method.is_full or config.split == 'all',
      seed=config.seed,
  )
  folder = folder_name(name, key.split, config.seed, remark=remark)
  return Combination(key, config, folder, pretraining)


def folder_name(name: str, split: str, seed: int, *, remark: str = '') -> str:
  """The name of a run's folder in a comparison.

  Args:
    name: What the comparison calls the algorithm.
    split: Which variables are personal, in words.
    seed: The run's seed.
    remark: Distinguishes folders of the same algorithm, split and seed.
  """
  folder = re.sub(r'[^\w+]+', '_', f'{name}-{split}').strip('_')
  if re.search(r'[^\w+ ]', split):  # As others would be written, too.
    folder += f'_{hashlib.sha256(split.encode()).hexdigest()[:6]}'
  return '-'.join([folder, *([remark] if remark else []), f'{seed}'])
