# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `auto_penalty.py` found, in the folder of a run.

Nothing slow is imported here.
"""

from collections.abc import Mapping
import pathlib
from typing import Any, Optional

from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import kept_choice

FILE_NAME = 'personal_l2.json'


def read(folder: pathlib.Path) -> Optional[dict[str, Any]]:
  """The estimate that a run has kept; `None` if there is none.

  Raises:
    errors.DataError: If the file is damaged.
  """
  return kept_choice.read(
      folder / FILE_NAME,
      lambda found: float(found['total']),
      what='the estimate of `personal_l2`',
      verb='estimate',
  )


def applied(
    settings: Mapping[str, Any], folder: pathlib.Path
) -> Mapping[str, Any]:
  """A run's settings with the estimate, if it has one, in place of `auto`.

  Args:
    settings: By the names of flags.
    folder: The run's folder.

  Raises:
    errors.DataError: If the file is damaged.
  """
  if settings.get('personal_l2') != config_groups.AUTO:
    return settings
  found = read(folder)
  if found is None:
    return settings
  return {
      **settings,
      'personal_l2': None,
      'personal_l2_total': float(found['total']),
  }


def notes(folder: pathlib.Path) -> list[str]:
  """What a reader of the report must know of an estimate, if there is one."""
  found = read(folder)
  return [] if found is None else [' '.join(lines(found))]


def _number(value: Optional[float], otherwise: str, form: str = '.3g') -> str:
  """A number; a file has None for what is not finite."""
  return otherwise if value is None else format(value, form)


def lines(found: Mapping[str, Any]) -> list[str]:
  """The estimate in words, a sentence a line."""
  formula = found['formula']
  sizes = ', '.join(f'{n:.0f}' for n in found['num_examples_quartiles'])
  penalties = ', '.join(f'{v:.3g}' for v in found['penalty_quartiles'])
  kept = ', '.join(f'{v:.0%}' for v in found['kept_quartiles'])
  losses = ', '.join(
      f'{c["name"]} {_number(c["loss"], "not finite", ".4g")}'
      for c in found['candidates']
  )
  if formula['value'] is None:
    first = (
        'Clients do not differ beyond the noise of their gradients: nothing to'
        ' personalize was found, and personal variables are held tightly.'
    )
  else:
    first = (
        f'The penalty s / N_i: s {formula["value"]:.3g} by the formula (95%'
        f' interval {_number(formula["low"], "unknown")} to'
        f' {_number(formula["high"], "unknown")}),'
        f' {found["total"]:.3g} chosen ({found["chosen"]}).'
    )
  return [
      first,
      f'At the quartiles of N_i ({sizes}) lambda_i is {penalties}, which keeps'
      f' {kept} of the way from the initial values.',
      f'Held-out loss: {losses}.',
  ]
