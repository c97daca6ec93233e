# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a reader must know before trusting the measurements of one split."""

from collections.abc import Mapping
from typing import Any

import numpy as np

_TINY_STEP = 0.05
_MUCH_CLIPPED = 0.1
_SMALL_SAMPLE = 20
_FEW_HELD_OUT = 5
_RUN_BOTH_FACTOR = 4


def notes(split: Mapping[str, Any], *, total_rounds: int) -> list[str]:
  """The failure modes that apply to a split, a sentence each.

  Args:
    split: What `experiments.regime` measured.
    total_rounds: Rounds of the run in question.
  """
  return [
      *_step_notes(split['start']),
      *_sample_notes(split),
      *_rehearsal_notes(split, total_rounds),
  ]


def _step_notes(start: Mapping[str, Any]) -> list[str]:
  steps = start['normalised_steps']
  largest = max(steps['shared']['value'], steps['personal']['value'])
  found = []
  if steps['personal']['value'] < _TINY_STEP:
    found.append(
        'The personal steps are so small'
        f' (eta_v {steps["personal"]["value"]:.2g}) that both algorithms are'
        ' nearly the same, and FedAlt costs more gradients.'
    )
  if largest > 1:
    found.append(
        f'The steps of a round overshoot (eta up to {largest:.2g}): formulas'
        ' for small steps do not apply. Try smaller learning rates.'
    )
  if start['clipped'] > _MUCH_CLIPPED:
    found.append(
        f'Clipping shortens {start["clipped"]:.0%} of the steps. Theory does'
        ' not cover it, and it alone makes the steps of FedAlt longer.'
    )
  if start['half_radius_change'] > 0.5:
    found.append(
        f'Curvatures along half of the steps differ by'
        f' {start["half_radius_change"]:.0%}: the loss is not quadratic at this'
        ' distance, and the constants describe no single point.'
    )
  if start['diversity']['value'] <= 0:
    found.append(
        'The clients’ shared gradients differ no more than chance makes them'
        ' differ: delta^2 is not above 0.'
    )
  return found


def _sample_notes(split: Mapping[str, Any]) -> list[str]:
  start, found = split['start'], []
  if start['clients'] < _SMALL_SAMPLE:
    found.append(
        f'Only {start["clients"]} clients measured; intervals over so few are'
        ' rough.'
    )
  if start['left_out']:
    found.append(
        f'{start["left_out"]} clients are left out of the constants: they have'
        ' too few training examples for two batches, or no gradient.'
    )
  if np.quantile(split['held_out_per_client'], 0.25) < _FEW_HELD_OUT:
    found.append(
        f'A quarter of the clients holds out fewer than {_FEW_HELD_OUT}'
        ' examples, which makes the losses of rehearsals noisy.'
    )
  return found


def _rehearsal_notes(split: Mapping[str, Any], total_rounds: int) -> list[str]:
  found = []
  rounds = split['rounds']
  if total_rounds <= _RUN_BOTH_FACTOR * rounds:
    found.append(
        f'{total_rounds} rounds are no more than {_RUN_BOTH_FACTOR} rehearsals'
        f' of {rounds}: just run both algorithms.'
    )
  for name, forecast in split['forecasts'].items():
    words = name.replace('_', ' ')
    half, whole = forecast['half_way']['call'], forecast['held_out']['call']
    if None not in (half, whole) and half != whole:
      found.append(
          f'At {words} the call after half of the rounds is the opposite one.'
      )
    if lost := forecast['held_out']['not_finite']:
      found.append(
          f'At {words} the losses of {len(lost)} rehearsals are not numbers:'
          ' training diverges. Try smaller learning rates.'
      )
  visits = total_rounds * split['clients_per_round'] / split['population']
  if visits < 2:
    found.append(
        f'A client takes part {visits:.1f} times on average in'
        f' {total_rounds} rounds: personal variables are compared before most'
        ' clients had a second visit.'
    )
  if split['warmup_rounds']:
    found.append(
        'The learning rate rises during the first'
        f' {split["warmup_rounds"]} rounds'
        + (
            ', which rehearsals do not get past.'
            if split['warmup_rounds'] >= rounds
            else '.'
        )
    )
  if not split['equal_epochs_in_phases']:
    found.append(
        'The criterion and the leading order assume as many gradient steps for'
        ' personal variables as for shared ones; only the rehearsals know'
        ' --personal_epochs.'
    )
  if split['server_optimizer'] != 'sgd':
    found.append(
        'The criterion and the leading order assume averaging at the server;'
        f' only the rehearsals know {split["server_optimizer"]}.'
    )
  return found
