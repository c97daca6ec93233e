# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a search tries: the same lists of values for every algorithm and split.

The pretraining is chosen first, from the lists that it depends on, so that all
runs of a seed start from one model. Then come the settings of every algorithm
and split. An algorithm that ignores a setting is tried once for all of its
values. Nothing slow is imported here.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
from typing import Any, Optional

from tff_partial import errors
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting

PRETRAINING = 'pretraining'  # What its grid is called.

Values = Mapping[str, float]
Lists = Mapping[str, Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Point:
  """A setting that is tried.

  Attributes:
    values: The values of the settings that are searched.
    config: All settings; `None` if they exclude each other.
    refusal: Why they do.
  """

  values: Values
  config: Optional[config_lib.Config]
  refusal: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Grid:
  """All that is tried for one algorithm and split, or for the pretraining.

  Attributes:
    scheme: What the runs have in common.
    split: Which variables are personal, in words; '' for the pretraining.
    lists: The values of each setting that makes a difference.
    points: Every combination of them.
  """

  scheme: combinations.Scheme
  split: str
  lists: Lists
  points: Sequence[Point]

  @property
  def name(self) -> str:
    """What reports call it."""
    return ', '.join(filter(None, (self.scheme.name, self.split)))

  @property
  def configs(self) -> list[config_lib.Config]:
    """The settings of the first point with each variant of the task."""
    found: dict[Any, config_lib.Config] = {}
    for point in self.points:
      if point.config is not None:
        found.setdefault(point.config.task_numbers, point.config)
    return list(found.values())


@dataclasses.dataclass(frozen=True)
class Search:
  """A search and the comparison that follows it.

  Attributes:
    config: What all runs have in common, without validation.
    lists: The values to try, by setting.
    schemes: What is searched and compared.
    validation: The share of every client's training examples to hold out.
    tune_seeds: Seeds of the search.
    seeds: Seeds of the comparison.
    task_numbers: The names of those of `lists` that are the task's.
  """

  config: config_lib.Config
  lists: Lists
  schemes: Sequence[combinations.Scheme]
  validation: float
  tune_seeds: Sequence[int]
  seeds: Sequence[int]
  task_numbers: frozenset[str] = frozenset()

  def __post_init__(self):
    """Checks the lists.

    Raises:
      errors.SettingsError: If there is none, or one of a setting that cannot be
        searched.
    """
    if not self.lists:
      raise errors.SettingsError(
          'Expected several values of at least one setting with `tune`, such as'
          ' --learning_rate=0.01,0.1,1, found none.'
      )
    for name, values in self.lists.items():
      if name not in tunable() | self.task_numbers:
        raise errors.SettingsError(
            f'Expected one value of `{name}`, found {len(values)}. Training'
            ' depends on these numbers, of which several are possible:'
            f' {", ".join(sorted(tunable()))}, batch_size, and numbers of a'
            ' `task_arg`.'
        )
      if len(set(values)) != len(values):
        raise errors.SettingsError(
            f'Expected different values of `{name}`, found one twice.'
        )
    for name in ('tune_seeds', 'seeds'):
      seeds = getattr(self, name)
      combinations.check_not_empty(name, seeds)
      if min(seeds) < 0:
        raise errors.SettingsError(
            f'Expected `{name}` of at least 0, found {min(seeds)}.'
        )

  @property
  def settings(self) -> dict[str, Any]:
    """What its runs have in common, and in what they differ."""
    varied = ('algorithm', 'personal', 'seed', *self.lists)
    return {
        **self.config.settings,
        **self.schemes[0].changes,
        **dict.fromkeys(varied, 'several'),
        'validation': self.validation,
    }

  def pretraining_grid(self) -> Optional[Grid]:
    """What is tried for the pretraining, if it depends on any of the lists."""
    rounds = self.config.pretrain_rounds_together
    ignored = methods.METHODS[methods.PRETRAINING].ignored | {'total_rounds'}
    lists = {n: v for n, v in self.lists.items() if n not in ignored}
    if not (rounds and lists):
      return None
    points = [
        Point(values, self._of_search(values).for_pretraining(rounds))
        for values in _product(lists)
    ]
    return Grid(combinations.Scheme(PRETRAINING, {}), '', lists, points)

  def grids(self) -> list[Grid]:
    """What is tried for every algorithm and split.

    Raises:
      errors.SettingsError: If no setting of a grid can be used.
    """
    found = {}
    for scheme in self.schemes:
      lists = self._lists_of(scheme)
      points = []
      for values in _product(lists):
        try:
          config = self._of_search({**scheme.changes, **values})
          points.append(Point(values, config))
        except errors.SettingsError as e:
          points.append(Point(values, None, str(e)))
      usable = [p.config for p in points if p.config is not None]
      if not usable:
        raise errors.SettingsError(points[0].refusal)
      grid = Grid(scheme, usable[0].split_in_words, lists, points)
      found[grid.name] = grid  # A split that makes no difference is left out.
    return list(found.values())

  def chosen_config(
      self, scheme: combinations.Scheme, values: Values, seed: int
  ) -> config_lib.Config:
    """The settings of a run of the comparison.

    Nothing is held out of training any more, so there are no examples for
    learning curves: test examples are for the end.
    """
    return self.with_values(
        {**scheme.changes, **values}, seed=seed, rounds_per_evaluation=0
    )

  def with_values(
      self, values: Mapping[str, Any], **changes: Any
  ) -> config_lib.Config:
    """The settings of a run with some values, among them those of the task.

    Args:
      values: Settings and the task's numbers.
      **changes: More settings.
    """
    own = {n: v for n, v in values.items() if n not in self.task_numbers}
    numbers = tuple((n, v) for n, v in values.items() if n not in own)
    return setting.replace(self.config, **own, **changes, task_numbers=numbers)

  def _of_search(self, changes: Mapping[str, Any]) -> config_lib.Config:
    """The settings of a run that is evaluated on validation examples.

    It has no gate, which would decide by the examples that it is judged by.
    """
    return self.with_values(
        changes,
        validation=self.validation,
        gate=0.0,
        onboarding='none',
    )

  def _lists_of(
      self, scheme: combinations.Scheme
  ) -> dict[str, Sequence[float]]:
    """The lists that make a difference to an algorithm."""
    algorithm = scheme.changes['algorithm']
    algorithm, _ = methods.ALIASES.get(algorithm, (algorithm, None))
    if algorithm not in methods.METHODS:
      setting.replace(self.config, **scheme.changes)  # Raises.
    method = methods.METHODS[algorithm]
    ignored = set(method.ignored)
    steps = 'alternating_steps'
    if steps in method.own_settings and not scheme.changes.get(
        steps, self.config.client.alternating_steps
    ):
      ignored.add('personal_epochs')  # It has no phase for them.
    own_rate = 'personal_learning_rate'
    if own_rate not in self.lists:
      if self.config.client.personal_learning_rate is None:
        ignored.discard('learning_rate')
    return {n: v for n, v in self.lists.items() if n not in ignored}


def tunable() -> frozenset[str]:
  """The settings that can be searched: numbers that training depends on."""
  records = (
      config_lib.Config,
      config_groups.ClientWork,
      config_groups.Server,
  )
  numbers = {
      s.name
      for record in records
      for s in setting.declared(record)
      if s.type in (int, float)
  }
  # Seeds are compared, and the pretraining is common to all.
  return frozenset(numbers - {'seed', 'pretrain_rounds'})


def remark(values: Values) -> str:
  """Values as part of a folder's name."""
  return '-'.join(f'{name}_{value:g}' for name, value in values.items())


def _product(lists: Lists) -> list[dict[str, float]]:
  return [dict(zip(lists, v)) for v in itertools.product(*lists.values())]
