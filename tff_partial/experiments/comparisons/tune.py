# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chooses settings on validation examples, then compares the chosen ones.

Every run of the search is an ordinary run in a folder of its own under `grid/`,
so the same command goes on where it stopped, and one with more values trains
only what is new. No run of the search reads a test example.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import math
import pathlib
from typing import Optional

import numpy as np
import tqdm

from tff_partial import errors
from tff_partial.evaluation import metric as metric_lib
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import compare
from tff_partial.experiments.comparisons import search as search_lib
from tff_partial.experiments.comparisons import spread
from tff_partial.experiments.comparisons import trials as trials_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import setting
from tff_partial.experiments.settings import task_choice
from tff_partial.reporting import paced
from tff_partial.reporting import tuning_report

_DIVERGED = 'diverged'


def run(
    task: task_lib.Task,
    search: search_lib.Search,
    output_dir: str,
    *,
    worker_fn: compare.WorkerFn,
    place: Optional[spread.Place] = None,
    progress: bool = True,
) -> dict[str, str]:
  """Searches, and compares what was chosen.

  Args:
    task: What is learned.
    search: What is tried.
    output_dir: Gets `grid/` with the runs of the search, `tuning.html`, `.json`
      and `.md` with what they gave, and what a comparison has.
    worker_fn: As in `compare.run`.
    place: A cluster that does several runs at the same time; by default one
      follows the other.
    progress: Whether to show a progress bar over all runs.

  Returns:
    The runs of the comparison that failed, as `compare.run` does.

  Raises:
    errors.UserError: What stopped a run of the search, other than divergence.
      The same call goes on from there.
  """
  root = pathlib.Path(output_dir).expanduser()
  compare.keep_origin(task, [search.config], root, worker_fn)
  num_final = len(search.seeds) * len(search.grids())
  with tqdm.tqdm(
      total=num_runs(search) + num_final,
      desc='tune',
      unit='run',
      disable=not progress,
  ) as bar:
    announce = _Announcer(bar)
    spread_fn = None
    if place is not None:
      spread_fn = functools.partial(
          trials_lib.do_on_cluster, place, write_fn=bar.write
      )
    found = choose(
        task,
        search,
        root,
        worker_fn=worker_fn,
        announce=announce,
        spread_fn=spread_fn,
    )
    todo = found.chosen(search)
    if place is not None:
      spread.compare_all(task, place, todo, progress=False)
    return compare.run(
        task,
        todo,
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
            remark=trials_lib.remark(self.values[grid.name], self.pretraining),
            pretraining=None
            if self.pretraining is None
            else search.with_values(
                self.pretraining, seed=seed, rounds_per_evaluation=0
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
    spread_fn: Optional[Callable[[Sequence[trials_lib.Trial]], None]] = None,
) -> Found:
  """Runs the search, or what is left of it, and writes its report.

  Args:
    task: What is learned.
    search: What is tried.
    root: The folder of the search and the comparison.
    worker_fn: As in `compare.run`.
    announce: Called with the name of a run's folder before the run.
    spread_fn: Does the runs of a grid at the same time, or some of them.

  Raises:
    errors.SettingsError: If a model cannot be divided as asked, before anything
      is trained, or if everything diverged.
  """
  grids = search.grids()
  for grid in grids:
    for config in grid.configs:
      plan_lib.build(task, config, on_validation=True)
  runs = trials_lib.Runs(task, search, root, worker_fn, announce)
  tried, values, pretraining = [], {}, None
  before = search.pretraining_grid()
  with paced.Pacer() as pacer:
    for grid in [*([before] if before else []), *grids]:
      if spread_fn is not None:
        spread_fn(trials_lib.of_grid(grid, search, pretraining))
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
      pacer.offer(functools.partial(tuning_report.write, root, tuning))
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
    runs: trials_lib.Runs,
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
  records = (*setting.records(config_lib.Config), task_choice.TaskChoice)
  facts = {s.name: s.facts for r in records for s in setting.declared(r)}
  unbounded = setting.Facts('')  # An argument of the task.
  borders = lambda name: (
      facts.get(name, unbounded).least,
      facts.get(name, unbounded).most,
  )
  return [
      name
      for name, values in grid.lists.items()
      if chosen[name] in (min(values), max(values))
      and chosen[name] not in borders(name)
  ]


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
