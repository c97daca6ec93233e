# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures that compare schemes, in the style of `plots`."""

from collections.abc import Mapping, Sequence

from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
import numpy as np

from tff_partial.evaluation import comparison
from tff_partial.evaluation import metric as metric_lib
from tff_partial.reporting import formatting
from tff_partial.reporting import plots

_ROW = 0.32  # Inches.
_CLOSE = 1.4  # The ratio of sizes whose labels would overlap.


def changes(
    differences: Mapping[str, comparison.Difference],
    *,
    scale: float,
    unit: str,
    metric: metric_lib.Metric,
) -> mpl_figure.Figure:
  """Draws differences with their 95% intervals, a row for each.

  Args:
    differences: The differences by name, from top to bottom.
    scale: A factor for the differences, such as 100 for percentage points.
    unit: The unit of the scaled differences.
    metric: The metric that differs, which tells the good side of zero.
  """
  figure = plots.new_figure(width=9.2, height=1.0 + _ROW * len(differences))
  axes = figure.subplots()
  plots.tidy(axes, x=f'Change in {unit}, with 95% interval', y='')
  sign = metric.sign
  for row, difference in enumerate(differences.values()):
    low, high = scale * difference.low, scale * difference.high
    color = plots.SAME
    if sign * low > 0 and sign * high > 0:
      color = plots.HELPED
    elif sign * low < 0 and sign * high < 0:
      color = plots.HURT
    axes.plot([low, high], [row, row], color=color, linewidth=2)
    axes.plot(scale * difference.mean, row, 'o', color=color, markersize=6)
  axes.axvline(0, color=plots.INK, linewidth=0.9, zorder=1)
  _name_rows(axes, list(differences))
  return figure


def frontier(
    points: Sequence[tuple[str, float, float]], *, sign: int
) -> list[tuple[float, float]]:
  """The schemes that are better than nothing and than all that store as little.

  Args:
    points: (name, bytes, change) of each scheme.
    sign: 1 if larger changes are better, else -1.

  Returns:
    (bytes, change) of these schemes, the smallest first.
  """
  found: list[tuple[float, float]] = []
  best = 0.0  # The change of a client that stores nothing.
  for _, size, change in sorted(points, key=lambda p: (p[1], -sign * p[2])):
    if sign * change > sign * best:
      best = change
      found.append((size, change))
  return found


def gain_by_bytes(
    points: Sequence[tuple[str, float, comparison.Difference]],
    *,
    scale: float,
    unit: str,
    metric: metric_lib.Metric,
) -> mpl_figure.Figure:
  """Draws the change against what a client stores, and the frontier.

  Args:
    points: (name, bytes, change) of each scheme, with the bytes of one client's
      personal variables. Schemes without any are left out.
    scale: A factor for the changes.
    unit: The unit of the scaled changes.
    metric: The metric that changes, which tells what is better.
  """
  figure = plots.new_figure(width=9.2, height=4.2)
  axes = figure.subplots()
  plots.tidy(axes, x="Size of a client's personal part", y=f'Change in {unit}')
  stored = [(name, size, scale * d.mean) for name, size, d in points if size]
  if line := frontier(stored, sign=metric.sign):
    sizes = [size for _, size, _ in stored]
    if min(sizes) < line[0][0]:
      line = [(min(sizes), 0.0), *line]
    axes.step(
        *zip(*line, (max(sizes), line[-1][1])),
        where='post',
        color=plots.SAME,
        linewidth=1,
        zorder=0,
    )
  algorithms = list(dict.fromkeys(name.split(',')[0] for name, _, _ in points))
  for i, algorithm in enumerate(algorithms):
    mine = [p for p in points if p[0].split(',')[0] == algorithm and p[1] > 0]
    if not mine:
      continue
    values = np.array([[size, scale * d.mean] for _, size, d in mine])
    errors = np.array(
        [
            [scale * (d.mean - d.low), scale * (d.high - d.mean)]
            for _, _, d in mine
        ]
    )
    axes.errorbar(
        # Moved apart, since schemes with the same split would hide one another.
        values[:, 0] * 1.04 ** (i - len(algorithms) / 2),
        values[:, 1],
        np.maximum(errors, 0).T,
        fmt='o',
        color=plots.LINES[i % len(plots.LINES)],
        markersize=5,
        linewidth=1.2,
        label=algorithm,
    )
  _name_splits(axes, points, scale=scale)
  axes.axhline(0, color=plots.INK, linewidth=0.9, zorder=1)
  axes.set_xscale('log')
  plots.label_log(axes.xaxis, lambda x, _: formatting.size(x))
  plots.legend(axes)
  return figure


def _name_splits(
    axes: mpl_axes.Axes,
    points: Sequence[tuple[str, float, comparison.Difference]],
    *,
    scale: float,
) -> None:
  """Writes each split above the points that have it."""
  tops: dict[tuple[float, str], float] = {}
  for name, size, difference in points:
    if size > 0:
      split = name.split(', ')[1]
      top = scale * max(difference.mean, difference.high)
      tops[size, split] = max(top, tops.get((size, split), top))
  stack: list[tuple[float, float]] = []  # Sizes and tops of close labels.
  for (size, split), top in sorted(tops.items()):
    if stack and size > _CLOSE * stack[-1][0]:
      stack = []
    stack.append((size, top))
    axes.annotate(
        split,
        (size, max(t for _, t in stack)),
        xytext=(0, 3 + 12 * (len(stack) - 1)),
        textcoords='offset points',
        rotation=35,
        fontsize=8,
        color=plots.INK,
    )
  axes.margins(y=0.15)


def client_changes(
    by_scheme: Mapping[str, np.ndarray], *, scale: float, unit: str
) -> mpl_figure.Figure:
  """Draws the distribution of changes over clients, with a box per scheme.

  Boxes hold the middle half of the clients. Whiskers reach from the 5th to the
  95th percentile.

  Args:
    by_scheme: Each client's change, float [clients], by scheme.
    scale: A factor for the changes.
    unit: The unit of the scaled changes.
  """
  figure = plots.new_figure(width=9.2, height=1.0 + _ROW * len(by_scheme))
  axes = figure.subplots()
  plots.tidy(axes, x=f'Change of each client in {unit}', y='')
  axes.boxplot(
      [scale * values for values in by_scheme.values()],
      positions=range(len(by_scheme)),
      orientation='horizontal',
      whis=(5, 95),
      showfliers=False,
      widths=0.55,
      patch_artist=True,
      boxprops={'facecolor': '#D6E8F5', 'edgecolor': plots.HELPED},
      medianprops={'color': plots.INK, 'linewidth': 1.6},
      whiskerprops={'color': plots.HELPED},
      capprops={'color': plots.HELPED},
  )
  axes.axvline(0, color=plots.INK, linewidth=0.9, zorder=1)
  _name_rows(axes, list(by_scheme))
  return figure


def _name_rows(axes: mpl_axes.Axes, names: Sequence[str]) -> None:
  """Labels the rows, with the first name on top."""
  axes.set_yticks(range(len(names)), names)
  axes.set_ylim(len(names) - 0.4, -0.6)
