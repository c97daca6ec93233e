# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of a search, in the style of `plots`."""

from collections.abc import Mapping, Sequence
from typing import Optional

from matplotlib import figure as mpl_figure
from matplotlib import patches
import numpy as np

from tff_partial.evaluation import metric as metric_lib
from tff_partial.reporting import formatting
from tff_partial.reporting import plots


def scores(
    lists: Mapping[str, Sequence[float]],
    tried: Sequence[tuple[Mapping[str, float], Optional[float]]],
    *,
    chosen: Optional[int],
    metric: metric_lib.Metric,
    label: str,
    percent: bool,
) -> mpl_figure.Figure:
  """Draws what settings gave: a line for one list, or else a heat map.

  The axes of the heat map are the two longest lists. Each cell has the best
  score over all values of the others.

  Args:
    lists: The values that were tried, by setting.
    tried: Values and score of each setting; `None` means no finite result.
    chosen: The setting that was chosen, which is framed.
    metric: The metric, which tells what is best.
    label: What the scores are.
    percent: Whether to show them in percent.
  """
  names = sorted(lists, key=lambda name: -len(lists[name]))[:2]
  shape = [len(lists[name]) for name in names]
  best = np.full(shape, np.nan)
  for values, score in tried:
    cell = tuple(sorted(lists[n]).index(values[n]) for n in names)
    if score is not None and not metric.gain(best[cell], score) < 0:
      best[cell] = score
  frame = None
  if chosen is not None:
    values, _ = tried[chosen]
    frame = tuple(sorted(lists[n]).index(values[n]) for n in names)
  labels = [[f'{v:g}' for v in sorted(lists[n])] for n in names]
  show = lambda score: formatting.value(score, percent, digits=1)
  if len(names) == 1:
    return _line(best, names, labels, frame, show, label)
  return _heat_map(best, names, labels, frame, show, label, metric)


def _line(best, names, labels, frame, show, label) -> mpl_figure.Figure:
  """Scores [values] of one setting."""
  figure = plots.new_figure(width=5.2, height=3.4)
  axes = figure.subplots()
  plots.tidy(axes, x=names[0], y=label)
  axes.plot(best, 'o-', color=plots.LINES[0])
  below = axes.get_xaxis_transform()  # Fractions of the height.
  for i in np.flatnonzero(~np.isfinite(best)):
    axes.text(i, 0.02, 'none', transform=below, ha='center')
  if frame is not None:
    axes.plot(
        *(*frame, best[frame]),
        'o',
        color=plots.HURT,
        fillstyle='none',
        markeredgewidth=2,
        markersize=12,
    )
  axes.set_xticks(range(len(best)), labels[0])
  axes.yaxis.set_major_formatter(lambda y, _: show(y))
  return figure


def _heat_map(
    best, names, labels, frame, show, label, metric
) -> mpl_figure.Figure:
  """Scores [values of one setting, values of another]."""
  rows, columns = best.shape
  figure = plots.new_figure(width=2.4 + 0.8 * columns, height=1.4 + 0.5 * rows)
  axes = figure.subplots()
  gains = metric.sign * best
  axes.imshow(np.ma.masked_invalid(gains), cmap='Blues', aspect='auto')
  finite = gains[np.isfinite(gains)]
  middle = (finite.min() + finite.max()) / 2 if finite.size else 0.0
  for (row, column), score in np.ndenumerate(best):
    axes.text(
        column,
        row,
        show(score) if np.isfinite(score) else 'none',
        ha='center',
        va='center',
        # Colors above the middle of the scale are dark.
        color='white' if gains[row, column] > middle else plots.INK,
    )
  if frame is not None:
    corner = (frame[1] - 0.5, frame[0] - 0.5)
    axes.add_patch(
        patches.Rectangle(
            corner, 1, 1, fill=False, edgecolor=plots.HURT, linewidth=2.5
        )
    )
  axes.set_xticks(range(columns), labels[1])
  axes.set_yticks(range(rows), labels[0])
  axes.set_xlabel(names[1])
  axes.set_ylabel(names[0])
  axes.set_title(label, fontsize='medium')
  return figure
