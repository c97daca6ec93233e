# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report of a search: what was tried, what it gave, what was chosen.

As in `report`, one dictionary holds every number. `tuning.json` is that
dictionary; `tuning.html` and `tuning.md` lay it out. A comparison of what was
chosen has the table of choices too.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import os
import pathlib
import re
from typing import Any, Optional

from matplotlib import figure as mpl_figure
import numpy as np

from tff_partial import files
from tff_partial.evaluation import metric as metric_lib
from tff_partial.reporting import formatting
from tff_partial.reporting import page
from tff_partial.reporting import plots
from tff_partial.reporting import tuning_plots

_ONE_SEED = (
    'One seed chose these settings. Where scores are close, another seed may'
    ' choose others, and intervals of the comparison do not know that: give'
    ' --tune_seeds all seeds if you can.'
)


@dataclasses.dataclass(frozen=True)
class Tried:
  """A setting that was tried.

  Attributes:
    values: Its values by name.
    score: The mean of the metric, weighted by validation examples and averaged
      over seeds; `None` if there is none.
    note: Why there is none.
  """

  values: Mapping[str, float]
  score: Optional[float]
  note: str = ''


@dataclasses.dataclass(frozen=True)
class Grid:
  """All that was tried for one algorithm and split.

  Attributes:
    name: What was searched.
    lists: The values that were tried, by setting.
    tried: Every combination of them.
    chosen: Which one was chosen; `None` if none has a score.
    edges: The settings whose chosen value is the least or the greatest tried.
  """

  name: str
  lists: Mapping[str, Sequence[float]]
  tried: Sequence[Tried]
  chosen: Optional[int]
  edges: Sequence[str] = ()

  @property
  def choice(self) -> Optional[Tried]:
    """What was chosen."""
    return None if self.chosen is None else self.tried[self.chosen]


@dataclasses.dataclass(frozen=True)
class Tuning:
  """A search.

  Attributes:
    title: The title of the page.
    metric: The metric that decides.
    validation: The share of every client's training examples that was held out.
    seeds: The seeds of the search.
    grids: What was searched, in the order of the tables.
  """

  title: str
  metric: metric_lib.Metric
  validation: float
  seeds: Sequence[int]
  grids: Sequence[Grid]


def write(folder: str | os.PathLike[str], tuning: Tuning) -> pathlib.Path:
  """Writes `tuning.json`, `.md`, a figure for each grid and `tuning.html`.

  Args:
    folder: Where to write; created if missing.
    tuning: What to write.

  Returns:
    The path of the page.

  Raises:
    OSError: If a file cannot be written; existing files are then left whole.
  """
  folder = pathlib.Path(folder)
  numbers = contents(tuning)
  figures = _figures(tuning)
  environment = page.environment(numbers['percent'])
  values = {'tuning': numbers, 'metric': tuning.metric.name}
  html = environment.get_template('tuning.html.jinja').render(
      values,
      figures={name: page.data_uri(f) for name, f in figures.items()},
  )
  text = environment.get_template('tuning.md.jinja').render(values)
  folder.mkdir(parents=True, exist_ok=True)
  files.replace_text(folder / 'tuning.json', page.to_json(numbers))
  files.replace_text(folder / 'tuning.md', text)
  for name, figure in figures.items():
    slug = re.sub(r'\W+', '_', name)
    plots.write_svg(folder / f'tuning_{slug}.svg', figure)
  path = folder / 'tuning.html'
  files.replace_text(path, html)
  return path


def contents(tuning: Tuning) -> dict[str, Any]:
  """Every number of a search, ready for JSON."""
  return page.plain(
      {
          'title': tuning.title,
          'metric': tuning.metric.name,
          'higher_is_better': tuning.metric.higher_is_better,
          'percent': _percent(tuning),
          'validation': tuning.validation,
          'seeds': tuning.seeds,
          'runs': len(tuning.seeds) * sum(map(_num_tried, tuning.grids)),
          'grids': [_numbers(grid) for grid in tuning.grids],
          'note': _ONE_SEED if len(tuning.seeds) == 1 else '',
      }
  )


def _numbers(grid: Grid) -> dict[str, Any]:
  choice = grid.choice
  return {
      'name': grid.name,
      'lists': grid.lists,
      'num_tried': _num_tried(grid),
      'chosen': None if choice is None else choice.values,
      'score': None if choice is None else choice.score,
      'edges': grid.edges,
      'warning': _warning(grid),
      'tried': [
          {**dataclasses.asdict(tried), 'chosen': i == grid.chosen}
          for i, tried in enumerate(grid.tried)
      ],
  }


def _num_tried(grid: Grid) -> int:
  """Settings that were run; others exclude each other."""
  return sum(t.score is not None or t.note == 'diverged' for t in grid.tried)


def _warning(grid: Grid) -> str:
  """What a reader must know about a choice."""
  choice = grid.choice
  if choice is None:
    return 'No setting gives finite results, so it is left out.'
  sides = []
  for name in grid.edges:
    greatest = choice.values[name] == max(grid.lists[name])
    one = len(grid.lists[name]) == 1
    side = 'only' if one else 'greatest' if greatest else 'least'
    sides.append(f'{name} is the {side} value tried')
  return f'{" and ".join(sides)}: try others beyond it.' if sides else ''


def _percent(tuning: Tuning) -> bool:
  scores = [
      t.score for g in tuning.grids for t in g.tried if t.score is not None
  ]
  return tuning.metric.shown_in_percent(np.array(scores))


def _figures(tuning: Tuning) -> dict[str, mpl_figure.Figure]:
  """A figure for each grid that has several settings, by its name."""
  percent = _percent(tuning)
  label = formatting.words(tuning.metric.name)
  return {
      grid.name: tuning_plots.scores(
          grid.lists,
          [(tried.values, tried.score) for tried in grid.tried],
          chosen=grid.chosen,
          metric=tuning.metric,
          label=f'{label} on validation examples',
          percent=percent,
      )
      for grid in tuning.grids
      if len(grid.tried) > 1
  }
