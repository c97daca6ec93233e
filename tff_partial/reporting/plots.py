# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of a run: learning curves, and who gained or lost.

Each function returns a new Matplotlib figure. None of them uses pyplot and its
global state, so a report, a notebook and several threads can draw at the same
time. The colours are those of Okabe and Ito, which colour-blind readers can
tell apart: vermillion means hurt, blue helped and grey equal.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
import io
import os
from typing import Any

import matplotlib
from matplotlib import axes as mpl_axes
from matplotlib import axis as mpl_axis
from matplotlib import figure as mpl_figure
from matplotlib import ticker
from matplotlib.backends import backend_svg
import numpy as np

from tff_partial import files
from tff_partial.evaluation import metric as metric_lib
from tff_partial.reporting import formatting

HURT, HELPED, SAME = '#D55E00', '#0072B2', '#8C8C8C'
LINES = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#000000')
INK = '#33373D'

# More points than this are drawn as a bitmap inside the vector figure, which
# would otherwise grow by about a hundred bytes for each point.
_MAX_VECTOR_POINTS = 300


def to_svg(figure: mpl_figure.Figure) -> bytes:
  """Renders a figure as an SVG file; the same figure gives the same bytes."""
  buffer = io.BytesIO()
  figure.set_dpi(200)
  # `savefig` gives the same bytes, and draws twice to lay the figure out.
  canvas = backend_svg.FigureCanvasSVG(figure)
  with matplotlib.rc_context({'svg.hashsalt': 'tff_partial'}):
    canvas.print_svg(buffer, metadata={'Date': None})
  return buffer.getvalue()


def write_svg(path: str | os.PathLike[str], figure: mpl_figure.Figure) -> None:
  """Replaces a file by a figure as SVG, as `files.replace` does.

  Args:
    path: The file.
    figure: What it shows; the same figure gives the same bytes.

  Raises:
    OSError: If the file cannot be written.
  """
  files.replace_text(path, to_svg(figure).decode())


def learning_curves(
    history: Sequence[Mapping[str, float]],
    metrics: Sequence[str],
    *,
    percent: Collection[str] = (),
) -> mpl_figure.Figure:
  """Draws metrics of training and evaluation over the rounds.

  Args:
    history: For each logged round, `round` and any of `train/<metric>` and
      `eval/<model>/<metric>`.
    metrics: The metrics to draw, with a panel for each.
    percent: Those of `metrics` whose axis is in percent.
  """
  figure = new_figure(width=4.6 * len(metrics), height=3.4)
  panels = figure.subplots(1, len(metrics), squeeze=False)[0]
  for axes, metric in zip(panels, metrics):
    tidy(axes, x='Round', y=formatting.words(metric).capitalize())
    axes.xaxis.set_major_locator(
        ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10])
    )
    if metric in percent:
      axes.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1))
    _curve(axes, history, f'train/{metric}', label='training', color=SAME)
    keys = sorted(
        {
            key
            for row in history
            for key in row
            if key.startswith('eval/') and key.endswith(f'/{metric}')
        }
    )
    for i, key in enumerate(keys):
      _curve(
          axes,
          history,
          key,
          label=key.split('/')[1].replace('_', ' '),
          color=LINES[i % len(LINES)],
          marker='o',
      )
    legend(axes)
  return figure


def change_histogram(
    changes: np.ndarray, *, metric: metric_lib.Metric, unit: str
) -> mpl_figure.Figure:
  """Draws a histogram of the clients' changes, with the median.

  Args:
    changes: Change of each client, float [clients]; NaN is left out.
    metric: The metric that changes, which tells the hurt side of zero.
    unit: The unit of the changes, for the axis.
  """
  changes = changes[np.isfinite(changes)]
  figure = new_figure(width=5.2, height=5.0)
  axes = figure.subplots()
  tidy(axes, x=f'Change in {unit}', y='Clients')
  span = np.abs(changes).max(initial=0) or 1.0
  bins = np.clip(2 * int(np.sqrt(len(changes))), 10, 40)
  width = 2 * span / bins
  # Clients without any change get a bar of their own around zero, so that no
  # bar mixes hurt and helped clients.
  edges = width * (np.arange(bins + 1) - bins / 2)
  edges[[0, -1]] = -span, span  # Not inside of the last change by rounding.
  for (label, color), members in _by_effect(changes, metric).items():
    if label == 'equal':
      heights, lefts = np.array([members.sum()]), np.zeros(1)
      widths = 0.5 * width
    else:
      heights, _ = np.histogram(changes[members], edges)
      lefts, widths = edges[:-1] + width / 2, 0.94 * width
    axes.bar(
        lefts,
        heights,
        widths,
        color=color,
        label=f'{label}: {members.sum()}',
        zorder=3 if label == 'equal' else 2,
    )
  axes.set_xlim(
      min(changes.min(initial=0), -width) - width,
      max(changes.max(initial=0), width) + width,
  )
  if len(changes):
    median = float(np.median(changes))
    axes.axvline(
        median,
        color=INK,
        linewidth=1.6,
        linestyle='--',
        label=f'median {median:+.3g}' if median else 'median 0',
        zorder=4,
    )
  axes.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
  legend(axes)
  return figure


def before_after(
    before: np.ndarray,
    after: np.ndarray,
    test_examples: np.ndarray,
    *,
    metric: metric_lib.Metric,
    labels: tuple[str, str],
    percent: bool = False,
) -> mpl_figure.Figure:
  """Draws each client's metric under two models; area shows the test data.

  Args:
    before: Each client's value under the baseline, float [clients].
    after: Each client's value under the candidate, float [clients].
    test_examples: The number of each client's test examples, int [clients].
    metric: The metric that is drawn, which tells the hurt side of the diagonal.
    labels: Names of `before` and `after`, for the axes.
    percent: Whether the axes are in percent.
  """
  known = np.isfinite(before) & np.isfinite(after)
  before, after, weight = before[known], after[known], test_examples[known]
  figure = new_figure(width=5.2, height=5.0)
  axes = figure.subplots()
  tidy(axes, x=labels[0], y=labels[1])
  _scatter(axes, before, after, after - before, weight, metric)
  both = np.concatenate([before, after])
  if len(both):
    margin = 0.04 * np.ptp(both) or 0.1
    limits = both.min() - margin, both.max() + margin
    axes.plot(limits, limits, color=INK, linewidth=0.9, zorder=1)
    axes.set(xlim=limits, ylim=limits, aspect='equal')
  if percent:
    axes.xaxis.set_major_formatter(ticker.PercentFormatter(xmax=1))
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1))
  legend(axes)
  return figure


def change_by_size(
    changes: np.ndarray,
    train_examples: np.ndarray,
    test_examples: np.ndarray,
    *,
    metric: metric_lib.Metric,
    unit: str,
) -> mpl_figure.Figure:
  """Draws each client's change against the amount of its training data.

  Args:
    changes: Change of each client, float [clients]; NaN is left out.
    train_examples: The number of each client's training examples, int
      [clients].
    test_examples: The number of each client's test examples, int [clients].
    metric: The metric that changes, which tells the hurt side of zero.
    unit: The unit of the changes, for the axis.
  """
  known = np.isfinite(changes)
  changes, sizes = changes[known], train_examples[known]
  figure = new_figure(width=9.2, height=3.8)
  axes = figure.subplots()
  tidy(axes, x='Training examples of a client', y=f'Change in {unit}')
  _scatter(axes, sizes, changes, changes, test_examples[known], metric)
  axes.axhline(0, color=INK, linewidth=0.9, zorder=1)
  if not changes.any():
    axes.set_ylim(-1, 1)
  if len(sizes) and sizes.min() > 0 and sizes.max() > 10 * sizes.min():
    axes.set_xscale('log')
    label_log(axes.xaxis, '{x:,.0f}')
  # The medians of ten groups mean something only with enough clients.
  if len(sizes) >= 50:
    groups = np.array_split(np.argsort(sizes, kind='stable'), 10)
    axes.plot(
        [np.median(sizes[group]) for group in groups],
        [np.median(changes[group]) for group in groups],
        color=INK,
        linewidth=1.6,
        marker='o',
        markersize=4,
        label='median of each tenth of the clients',
        zorder=3,
    )
  legend(axes)
  return figure


def new_figure(*, width: float, height: float) -> mpl_figure.Figure:
  """Makes an empty figure that is independent of `pyplot`.

  Args:
    width: In inches.
    height: In inches.
  """
  return mpl_figure.Figure(
      figsize=(width, height), layout='constrained', facecolor='white'
  )


def tidy(axes: mpl_axes.Axes, *, x: str, y: str) -> None:
  """Keeps two spines, draws a pale grid behind the data, and adds labels.

  Args:
    axes: What to tidy.
    x: The label of the x axis.
    y: The label of the y axis.
  """
  axes.set_xlabel(x, fontsize=10, color=INK)
  axes.set_ylabel(y, fontsize=10, color=INK)
  axes.tick_params(labelsize=9, colors=INK, length=3)
  axes.spines[['top', 'right']].set_visible(False)
  axes.spines[['left', 'bottom']].set_color('#9AA0A6')
  axes.grid(color='#E8EAED', linewidth=0.8)
  axes.set_axisbelow(True)


def label_log(
    axis: mpl_axis.Axis, label: str | Callable[[float, Any], str] = '{x:,g}'
) -> None:
  """Labels a logarithmic axis with plain numbers, not with powers of ten.

  Labels are also within decades, since all points may lie in a single one.

  Args:
    axis: A logarithmic axis.
    label: The format of a label, or a function of its value and position.
  """
  axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
  axis.set_major_formatter(label)
  axis.set_minor_formatter(ticker.NullFormatter())


def legend(axes: mpl_axes.Axes) -> None:
  """Puts a legend above the axes, where it hides no data."""
  if axes.get_legend_handles_labels()[0]:
    axes.legend(
        loc='lower left',
        bbox_to_anchor=(0, 1),
        ncols=4,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.4,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def _curve(
    axes: mpl_axes.Axes,
    history: Sequence[Mapping[str, float]],
    key: str,
    *,
    label: str,
    color: str,
    marker: str = '',
) -> None:
  points = [(row['round'], row[key]) for row in history if key in row]
  if points:
    axes.plot(
        *zip(*points),
        label=label,
        color=color,
        marker=marker or ('o' if len(points) == 1 else ''),
        markersize=4,
        linewidth=1.6,
    )


def _by_effect(
    changes: np.ndarray, metric: metric_lib.Metric
) -> dict[tuple[str, str], np.ndarray]:
  """Masks of the helped, equal and hurt clients, by (label, colour)."""
  gain = metric.sign * changes
  return {
      ('helped', HELPED): gain > 0,
      ('equal', SAME): gain == 0,
      ('hurt', HURT): gain < 0,
  }


def _scatter(
    axes: mpl_axes.Axes,
    x: np.ndarray,
    y: np.ndarray,
    changes: np.ndarray,
    weight: np.ndarray,
    metric: metric_lib.Metric,
) -> None:
  area = 8 + 52 * weight / weight.max(initial=1)
  for (label, color), members in _by_effect(changes, metric).items():
    if not members.any():
      continue  # The mark in the legend would have no size.
    axes.scatter(
        x[members],
        y[members],
        area[members],
        color=color,
        alpha=0.55,
        linewidths=0,
        label=f'{label}: {members.sum()}',
        rasterized=len(x) > _MAX_VECTOR_POINTS,
        zorder=2,
    )
