# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chooses settings on validation examples, then compares the chosen ones.

Every run of the search is an ordinary run in a folder of its own under `grid/`,
so the same command goes on where it stopped, and one with more values trains
only what is new. No run of the search reads a test example.
"""

from collections.abc import Callable, Mapping
import dataclasses
import math
import pathlib
from typing import Optional

import numpy as np
import tqdm

from tff_partial import errors
from tff_partial import files
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import run_results
from tff_partial.experiments import combinations
from tff_partial.experiments import compare
from tff_partial.experiments import config as config_lib
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments import search as search_lib
from tff_partial.experiments import setting
from tff_partial.experiments import task as task_lib
from tff_partial.reporting import tuning_report

GRID = 'grid'
_DIVERGED_FILE = 'diverged.txt'
_DIVERGED = 'diverged'


def run(
    task: task_lib.Task,
    search: search_lib.Search,
    output_dir: str,
    *,
    worker_fn: compare.WorkerFn,
    progress: bool = True,
) -> dict[str, str]:
  """Searches, and compares what was chosen.

  Args:
    task: What is learned.
    search: What is tried.
    output_dir: Gets `grid/` with the runs of the search, `tuning.html`, `.json`
      and `.md` with what they gave, and what a comparison has.
    worker_fn: As in `compare.run`.
    progress: Whether to show a progress bar over all runs.

  Returns:
    The runs of the comparison that failed, as `compare.run` does.

  Raises:
    errors.UserError: What stopped a run of the search, other than divergence.
      The same call goes on from there.
  """
  root = pathlib.Path(output_dir).expanduser()
  num_final = len(search.seeds) * len(search.grids())
  with tqdm.tqdm(
      total=num_runs(search) + num_final,
      desc='tune',
      unit='run',
      disable=not progress,
  ) as bar:
    announce = _Announcer(bar)
    found = choose(task, search, root, worker_fn=worker_fn, announce=announce)
    return compare.run(
        task,
        found.chosen(search),
        str(root),
        worker_fn=worker_fn,
        announce_fn=announce,
        tuning=found.tuning,
    )


def num_runs(search: search_lib.Search) -> int:
  """How many runs a search has."""
  grids = [search.pretraining_grid(), *search.grids()]
  points = [p for g in grids if g for p in g.points if p.config is not None]
  return len(points) * len(search.tune_seeds)


@dataclasses.dataclass(frozen=True)
class Found:
  """What a search has found.

  Attributes:
    tuning: All results, for reports.
    values: The values that were chosen, by the grid's name. Grids of which
      every run diverged are missing.
    pretraining: Those of the pretraining, if they were searched.
  """

  tuning: tuning_report.Tuning
  values: Mapping[str, search_lib.Values]
  pretraining: Optional[search_lib.Values]

  def chosen(self, search: search_lib.Search) -> list[combinations.Combination]:
    """The runs of the comparison, those of the first seed first."""
    return [
        combinations.combine(
            grid.scheme.name,
            search.chosen_config(grid.scheme, self.values[grid.name], seed),
            remark=_remark(self.values[grid.name], self.pretraining),
            pretraining=None
            if self.pretraining is None
            else setting.replace(
                search.config,
                **self.pretraining,
                seed=seed,
                rounds_per_evaluation=0,
            ),
        )
        for seed in search.seeds
        for grid in search.grids()
        if grid.name in self.values
    ]


def choose(
    task: task_lib.Task,
    search: search_lib.Search,
    root: pathlib.Path,
    *,
    worker_fn: compare.WorkerFn,
    announce: Callable[[str], None] = lambda folder: None,
) -> Found:
  """Runs the search, or what is left of it, and writes its report.

  Args:
    task: What is learned.
    search: What is tried.
    root: The folder of the search and the comparison.
    worker_fn: As in `compare.run`.
    announce: Called with the name of a run's folder before the run.

  Raises:
    errors.SettingsError: If a model cannot be divided as asked, before anything
      is trained, or if everything diverged.
  """
  grids = search.grids()
  for grid in grids:
    config = next(p.config for p in grid.points if p.config is not None)
    plan_lib.build(task, config, on_validation=True)
  runs = _Runs(task, search, root, worker_fn, announce)
  tried, values, pretraining = [], {}, None
  before = search.pretraining_grid()
  for grid in [*([before] if before else []), *grids]:
    result = _result(grid, task.metric, search, runs, pretraining)
    tried.append(result)
    if result.chosen is not None:
      if grid is before:
        pretraining = grid.points[result.chosen].values
      else:
        values[grid.name] = grid.points[result.chosen].values
    tuning = tuning_report.Tuning(
        title=f'{task.name} on {task.data}: choice of settings',
        metric=task.metric,
        validation=search.validation,
        seeds=search.tune_seeds,
        grids=tuple(tried),
    )
    tuning_report.write(root, tuning)
    if grid is before and result.chosen is None:
      break
  if not values:
    raise errors.DivergedError(
        'Expected a setting with which training gives finite results, found'
        f' none of {num_runs(search)} runs. Use smaller learning rates, or'
        ' `clip_norm`.'
    )
  return Found(tuning, values, pretraining)


def _result(
    grid: search_lib.Grid,
    metric: metric_lib.Metric,
    search: search_lib.Search,
    runs: '_Runs',
    pretraining: Optional[search_lib.Values],
) -> tuning_report.Grid:
  """Runs a grid, and chooses from it: the first of the best."""
  tried = []
  for point in grid.points:
    if point.config is None:
      tried.append(tuning_report.Tried(point.values, None, point.refusal or ''))
      continue
    scores = [
        runs.score(grid, point, seed, pretraining) for seed in search.tune_seeds
    ]
    score = float(np.mean(scores))
    tried.append(
        tuning_report.Tried(point.values, score)
        if math.isfinite(score)
        else tuning_report.Tried(point.values, None, _DIVERGED)
    )
  finite = [i for i, t in enumerate(tried) if t.score is not None]
  chosen = max(
      finite, key=lambda i: metric.sign * (tried[i].score or 0.0), default=None
  )
  return tuning_report.Grid(
      name=grid.name,
      lists=grid.lists,
      tried=tuple(tried),
      chosen=chosen,
      edges=()
      if chosen is None
      else tuple(_edges(grid, grid.points[chosen].values)),
  )


def _edges(grid: search_lib.Grid, chosen: search_lib.Values) -> list[str]:
  """The settings whose chosen value lies on the border of what was tried.

  A border beyond which no value is allowed is none.
  """
  facts = {
      s.name: s.facts
      for record in setting.records(config_lib.Config)
      for s in setting.declared(record)
  }
  return [
      name
      for name, values in grid.lists.items()
      if chosen[name] in (min(values), max(values))
      and chosen[name] not in (facts[name].least, facts[name].most)
  ]


class _Runs:
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
      config = self._from_pretrained(config, pretraining)
    plan = plan_lib.build(self._task, config, on_validation=True)
    diverged = folder / _DIVERGED_FILE
    with run_folder.claim(
        str(folder), plan.settings, overwrite=False
    ) as claimed:
      if diverged.exists():
        return math.nan
      if not claimed.finished:
        try:
          with self._worker_fn() as sharding:
            run_lib.run_in(claimed, plan, sharding=sharding, progress=False)
        except errors.DivergedError as e:
          files.replace_text(diverged, f'{e}\n')
          return math.nan
    results = run_results.read_run(folder, unseen=plan.unseen)
    outcome = next(iter(results.outcomes.values()))
    name = results.metric.name
    return float(
        np.average(outcome.values[name], weights=outcome.weights[name])
    )

  def _from_pretrained(
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
    remark = _remark(values, pretraining)
    run = combinations.combine(name, config, remark=remark)
    return self._root / GRID / run.folder


def _remark(
    values: search_lib.Values, pretraining: Optional[search_lib.Values]
) -> str:
  """What distinguishes the folders of an algorithm and split."""
  found = search_lib.remark(values)
  if pretraining is not None:
    found += f'-from_{search_lib.remark(pretraining)}'
  return found.strip('-')


class _Announcer:
  """Moves the progress bar when the next run begins."""

  def __init__(self, bar: tqdm.tqdm):
    self._bar = bar
    self._begun = False

  def __call__(self, folder: str) -> None:
    if self._begun:
      self._bar.update()
    self._begun = True
    self._bar.set_postfix_str(folder)
