# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures about FedAlt and FedSim on one task, in the style of `plots`."""

from collections.abc import Mapping
import itertools
from typing import Any

from matplotlib import figure as mpl_figure
import numpy as np

from tff_partial.reporting import plots
from tff_partial.reporting import regime_text

_ROW = 0.36  # Inches.


def forecasts(splits: Mapping[str, Any]) -> mpl_figure.Figure:
  """Draws the forecast of each split and question with its 95% interval.

  Args:
    splits: By name, what `experiments.regime` measured.
  """
  rows = [
      (f'{name}, {question.replace("_", " ")}', forecast['held_out'])
      for name, split in splits.items()
      for question, forecast in split['forecasts'].items()
  ]
  figure = plots.new_figure(width=8.6, height=1.2 + _ROW * len(rows))
  axes = figure.subplots()
  plots.tidy(
      axes,
      x='Held-out loss of FedAlt above that of FedSim, %, with 95% interval',
      y='',
  )
  for row, (_, forecast) in enumerate(rows):
    found = regime_text.percent(forecast)
    if found is None:
      continue
    value, low, high = found
    color = {True: plots.HELPED, False: plots.HURT, None: plots.SAME}[
        forecast['call']
    ]
    axes.plot([low, high], [row, row], color=color, linewidth=2)
    axes.plot(value, row, 'o', color=color, markersize=6)
  axes.axvline(0, color=plots.INK, linewidth=0.9, zorder=1)
  axes.set_yticks(range(len(rows)), [label for label, _ in rows])
  axes.set_ylim(len(rows) - 0.5, -0.5)
  return figure


def lookahead(splits: Mapping[str, Any]) -> mpl_figure.Figure:
  """Draws who is ahead after one round, over the clients per round.

  Bands are 95% intervals.

  Args:
    splits: By name, what `experiments.regime` measured.
  """
  figure = plots.new_figure(width=6.2, height=3.6)
  axes = figure.subplots()
  plots.tidy(
      axes,
      x='Clients per round',
      y='Loss of FedAlt above FedSim\nafter one round, %',
  )
  for color, (name, split) in zip(itertools.cycle(plots.LINES), splits.items()):
    found = split['pilot']['lookahead']
    relative = lambda key, found=found: 100 * np.array(found[key], float)
    axes.fill_between(
        found['clients_per_round'],
        relative('relative_low'),
        relative('relative_high'),
        color=color,
        alpha=0.15,
        linewidth=0,
    )
    axes.plot(
        found['clients_per_round'],
        relative('relative'),
        color=color,
        marker='o',
        markersize=3,
        label=name,
    )
  axes.axhline(0, color=plots.INK, linewidth=0.9, zorder=1)
  axes.set_xscale('log')
  plots.label_log(axes.xaxis)
  plots.legend(axes)
  return figure


def constants(splits: Mapping[str, Any]) -> mpl_figure.Figure:
  """Draws normalized steps and coupling with their 95% intervals.

  Args:
    splits: By name, what `experiments.regime` measured.
  """
  labels = ('eta_u', 'eta_v', 'chi')
  figure = plots.new_figure(width=6.2, height=3.6)
  axes = figure.subplots()
  plots.tidy(axes, x='', y='At the start, with 95% interval')
  colors = itertools.cycle(plots.LINES)
  for i, (color, (name, split)) in enumerate(zip(colors, splits.items())):
    start = split['start']
    values = [
        start['normalised_steps']['shared'],
        start['normalised_steps']['personal'],
        start['coupling'],
    ]
    where = np.arange(3) + 0.12 * (i - (len(splits) - 1) / 2)
    for x, value in zip(where, values):
      axes.plot([x, x], [value['low'], value['high']], color=color)
    axes.plot(where, [v['value'] for v in values], 'o', color=color, label=name)
  axes.set_xticks(range(3), labels)
  axes.set_xlim(-0.5, 2.5)
  axes.set_yscale('log')
  plots.label_log(axes.yaxis)
  plots.legend(axes)
  return figure
