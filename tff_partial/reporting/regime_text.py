# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What was measured about one split, in lines for the terminal and the page."""

from collections.abc import Mapping, Sequence
import math
from typing import Any, Optional

import numpy as np

# From simulations of quadratic and bilinear problems (docs/theory.md).
_RELIABILITY = (
    'Calls of this kind were right in 83 to 97% of simulated problems; nothing'
    ' is said of differences below 1%.'
)


def lines(name: str, split: Mapping[str, Any], task: str) -> list[str]:
  """The findings, a line each.

  Args:
    name: The split.
    split: What `experiments.regime` measured.
    task: The task's name.
  """
  start, pilot = split['start'], split['pilot']
  steps, later = start['normalised_steps'], pilot['constants']
  m, n = split['clients_per_round'], split['population']
  return [
      f'{task}, {name} personal: {m} of {n:,} clients per round,'
      f' {start["steps"]:.1f} steps per client and phase',
      f'FedAlt against FedSim, forecast by {split["repeats"]} rehearsals of'
      f' {split["rounds"]} rounds, loss on held-out training examples:',
      *(
          f'  {question.replace("_", " "):<21}{_forecast(f)}'
          for question, f in split['forecasts'].items()
      ),
      f'  {_RELIABILITY}',
      f'Normalized steps at the start: eta_u {_estimate(steps["shared"])},'
      f' eta_v {_estimate(steps["personal"])},'
      f' chi {_estimate(start["coupling"])};'
      ' after a rehearsal'
      f' {_number(later["normalised_steps"]["shared"]["value"])},'
      f' {_number(later["normalised_steps"]["personal"]["value"])},'
      f' {_number(later["coupling"]["value"])}.'
      f' Clipped: {start["clipped"]:.0%} of the steps.',
      f'Leading order of one round: {_leading(start["leading_difference"])}.',
      'One round after a rehearsal, over the clients per round:'
      f' {_lookahead(pilot["lookahead"])}.',
      *_criterion(start['criterion'], m),
  ]


def percent(
    forecast: Mapping[str, Any],
) -> Optional[tuple[float, float, float]]:
  """FedAlt's loss above FedSim's in percent: value, low, high.

  Args:
    forecast: The fields of a `forecast.Forecast`.

  Returns:
    `None` if a loss was not a number; NaN bounds with one repeat.
  """
  if forecast['log_ratio'] is None:
    return None
  values = [forecast[key] for key in ('log_ratio', 'low', 'high')]
  first, low, high = (
      math.nan if v is None else 100 * math.expm1(v) for v in values
  )
  return first, low, high


def _forecast(forecast: Mapping[str, Any]) -> str:
  held_out = forecast['held_out']
  found = percent(held_out)
  ratio = forecast['gradient_ratio']
  if found is None:
    return 'no forecast: a rehearsal diverged'
  value, low, high = found
  word = 'lower' if value < 0 else 'higher'
  interval = (
      '' if math.isnan(low) else f' (95% interval {low:+.1f} to {high:+.1f}%)'
  )
  call = {True: 'FedAlt', False: 'FedSim', None: 'no call'}[held_out['call']]
  return (
      f'FedAlt {word} by {abs(value):.1f}%{interval}: {call}; FedAlt takes'
      f' {ratio:.1f} times the gradients'
  )


def _leading(difference: Mapping[str, float]) -> str:
  low, high = difference['low'], difference['high']
  if low <= 0 <= high:
    return (
        'no difference that exceeds its interval'
        f' ({_number(low)} to {_number(high)} in the loss)'
    )
  ahead = 'FedAlt' if high < 0 else 'FedSim'
  return (
      f'{ahead} ahead by {_number(abs(difference["value"]))} in the loss'
      f' ({_number(low)} to {_number(high)})'
  )


def _lookahead(lookahead: Mapping[str, Sequence[float]]) -> str:
  sizes = lookahead['clients_per_round']
  ahead = np.array(lookahead['difference'], float) < 0
  low = np.array(lookahead['relative_low'], float)
  high = np.array(lookahead['relative_high'], float)
  interval = f'; 95% intervals exclude 0 at {_ranges(sizes, low, high)}'
  if not np.any(np.diff(ahead.astype(int))):
    return f'{"FedAlt" if ahead[0] else "FedSim"} ahead for all{interval}'
  changes = np.flatnonzero(np.diff(ahead.astype(int)))
  parts = [f'{"FedAlt" if ahead[0] else "FedSim"} ahead at {sizes[0]}']
  parts += [
      f'{"FedAlt" if ahead[i + 1] else "FedSim"} from {sizes[i + 1]}'
      for i in changes
  ]
  return ', '.join(parts) + interval


def _ranges(sizes: Sequence[float], low: np.ndarray, high: np.ndarray) -> str:
  """The numbers of clients whose intervals exclude 0."""
  certain = np.concatenate([[0], (high < 0) | (low > 0), [0]]).astype(int)
  begins, ends = (np.flatnonzero(np.diff(certain) == step) for step in (1, -1))
  found = [
      f'{sizes[a]}' if a == b - 1 else f'{sizes[a]} to {sizes[b - 1]}'
      for a, b in zip(begins, ends)
  ]
  return ' and '.join(found) or 'none'


def _criterion(criterion: Mapping[str, Any], m: int) -> list[str]:
  found = ['The bounds of the paper (a comparison of bounds, not a forecast):']
  for name, words in (
      ('as_drawn', 'batches as drawn'),
      ('independent', 'independent batches'),
  ):
    values = criterion[name]
    terms = values['terms']
    better = 'FedAlt' if values['margin'] > 0 else 'FedSim'
    share = values['probability_alternating']
    share = share if better == 'FedAlt' else 1 - share
    flips = values['flip_points']
    where = (
        f'FedSim for {flips[0]:.0f} to {flips[1]:.0f} clients per round'
        if flips
        else 'FedAlt for every number of clients per round'
    )
    found.append(
        f'  {words}: sigma_u^2/(tau L_u) {_number(terms["shared_noise"])},'
        f' sigma_v^2/(tau L_v) {_number(terms["personal_noise"])},'
        f' delta^2/L_u {_number(terms["diversity"])}: {better} at {m}'
        f' ({share:.0%} of bootstraps); {where}'
    )
  return found


def _estimate(estimate: Mapping[str, float]) -> str:
  return (
      f'{_number(estimate["value"])} ({_number(estimate["low"])} to'
      f' {_number(estimate["high"])})'
  )


def _number(value: Optional[float]) -> str:
  return 'unknown' if value is None else f'{value:.2g}'
