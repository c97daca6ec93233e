# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The runs of a search, each in a folder of its own."""

from collections.abc import Callable, Sequence
import dataclasses
import math
import pathlib
from typing import Optional

import numpy as np

from tff_partial import errors
from tff_partial import files
from tff_partial.evaluation import run_results
from tff_partial.experiments import checkpoint
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import compare
from tff_partial.experiments.comparisons import search as search_lib
from tff_partial.experiments.comparisons import spread
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import setting

GRID = 'grid'
_DIVERGED_FILE = 'diverged.txt'


@dataclasses.dataclass(frozen=True)
class Trial:
  """A run of a search.

  Attributes:
    search: The search.
    grid: The name of its grid.
    point: The number of the grid's point.
    seed: The seed.
    pretraining: The values that were chosen for the pretraining, if any.
  """

  search: search_lib.Search
  grid: str
  point: int
  seed: int
  pretraining: Optional[search_lib.Values]

  def score(self, runs: 'Runs') -> float:
    """Its result; see `Runs.score`."""
    grid = self._found_grid
    point = grid.points[self.point]
    return runs.score(grid, point, self.seed, self.pretraining)

  @property
  def config(self) -> config_lib.Config:
    """Its settings."""
    config = self._found_grid.points[self.point].config
    assert config is not None
    return setting.replace(config, seed=self.seed)

  @property
  def _found_grid(self) -> search_lib.Grid:
    grids = [self.search.pretraining_grid(), *self.search.grids()]
    [grid] = [g for g in grids if g is not None and g.name == self.grid]
    return grid


class Runs:
  """Runs settings of a search in folders of their own."""

  def __init__(
      self,
      task: task_lib.Task,
      search: search_lib.Search,
      root: pathlib.Path,
      worker_fn: compare.WorkerFn,
      announce: Callable[[str], None],
  ):
    self._task = task
    self._search = search
    self._root = root
    self._worker_fn = worker_fn
    self._announce = announce

  def score(
      self,
      grid: search_lib.Grid,
      point: search_lib.Point,
      seed: int,
      pretraining: Optional[search_lib.Values],
  ) -> float:
    """The mean of the metric on validation examples; NaN after divergence."""
    assert point.config is not None
    config = setting.replace(point.config, seed=seed)
    folder = self._folder(grid.scheme.name, config, point.values, pretraining)
    self._announce(str(folder.relative_to(self._root)))
    if grid.name != search_lib.PRETRAINING:
      config = self.from_pretrained(config, pretraining)
    is_pretrained = config.init_from != point.config.init_from
    plan = plan_lib.build(self._task, config, on_validation=True)
    diverged = folder / _DIVERGED_FILE
    with run_folder.claim(
        str(folder), plan.settings, overwrite=False
    ) as claimed:
      if diverged.exists():
        return math.nan
      if not claimed.finished:
        if not is_pretrained:
          checkpoint.share_start(self._root, claimed.path)
        try:
          with self._worker_fn() as sharding:
            run_lib.run_in(
                claimed,
                plan,
                sharding=sharding,
                progress=False,
                pretrained=config.init_from if is_pretrained else None,
            )
        except errors.DivergedError as e:
          files.replace_text(diverged, f'{e}\n')
          return math.nan
    results = run_results.read_run(folder, unseen=plan.unseen)
    outcome = next(iter(results.outcomes.values()))
    name = results.metric.name
    return float(
        np.average(outcome.values[name], weights=outcome.weights[name])
    )

  def from_pretrained(
      self,
      config: config_lib.Config,
      pretraining: Optional[search_lib.Values],
  ) -> config_lib.Config:
    """The settings of a run that starts from the model of its seed."""
    if not config.pretrain_rounds_together:
      return config
    if pretraining is None:
      with self._worker_fn() as sharding:
        start = compare.pretrain(
            self._task,
            config,
            self._root / compare.PRETRAINED,
            sharding=sharding,
            progress=False,
        )
    else:
      [grid] = filter(None, [self._search.pretraining_grid()])
      [point] = [p for p in grid.points if p.values == pretraining]
      assert point.config is not None
      before = setting.replace(point.config, seed=config.seed)
      start = str(self._folder(grid.scheme.name, before, pretraining, None))
    return setting.replace(config, pretrain_rounds=None, init_from=start)

  def _folder(
      self,
      name: str,
      config: config_lib.Config,
      values: search_lib.Values,
      pretraining: Optional[search_lib.Values],
  ) -> pathlib.Path:
    run = combinations.combine(name, config, remark=remark(values, pretraining))
    return self._root / GRID / run.folder


def of_grid(
    grid: search_lib.Grid,
    search: search_lib.Search,
    pretraining: Optional[search_lib.Values],
) -> list[Trial]:
  return [
      Trial(search, grid.name, i, seed, pretraining)
      for i, point in enumerate(grid.points)
      if point.config is not None
      for seed in search.tune_seeds
  ]


def do_on_cluster(
    place: spread.Place,
    trials: Sequence[Trial],
    write_fn: Callable[[str], None],
) -> None:
  """Does the runs of a grid on a cluster, first the models to start from."""
  if len(trials) < 2:
    return
  name = lambda trial: f'{trial.grid} {trial.seed}'
  pretrainings = {t.seed: t for t in trials}
  stages = [
      [spread.Work(name(t), do, t, t.config) for t in some]
      for some, do in (
          (pretrainings.values(), pretrain_for_trial),
          (trials, run_trial),
      )
  ]
  spread.run(place, stages, done_fn=lambda _: None, write_fn=write_fn)


def pretrain_for_trial(
    task: task_lib.Task,
    trial: Trial,
    root: pathlib.Path,
    worker_fn: compare.WorkerFn,
    *,
    progress: bool,
) -> None:
  """Trains the model that a run of a search starts from, if it is not there."""
  del progress
  runs = Runs(task, trial.search, root, worker_fn, lambda folder: None)
  if trial.grid != search_lib.PRETRAINING:
    runs.from_pretrained(trial.config, trial.pretraining)


def run_trial(
    task: task_lib.Task,
    trial: Trial,
    root: pathlib.Path,
    worker_fn: compare.WorkerFn,
    *,
    progress: bool,
) -> None:
  """Does a run of a search, whose result is then in its folder."""
  del progress
  trial.score(Runs(task, trial.search, root, worker_fn, lambda folder: None))


def remark(
    values: search_lib.Values, pretraining: Optional[search_lib.Values]
) -> str:
  """What distinguishes the folders of an algorithm and split."""
  found = search_lib.remark(values)
  if pretraining is not None:
    found += f'-from_{search_lib.remark(pretraining)}'
  return found.strip('-')
