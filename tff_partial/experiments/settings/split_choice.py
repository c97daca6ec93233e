# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""`--personal=auto`: what it means, and what `auto_split.py` found.

Nothing slow is imported here.
"""

from collections.abc import Mapping
import pathlib
import re
from typing import Any, Optional

from tff_partial import errors
from tff_partial.experiments.settings import kept_choice

FILE_NAME = 'personal.json'
MOST_SHARE = 0.2  # The most of a run that the choice is to take.
_AUTO = 'auto'
_UNITS = {'B': 1, 'kB': 1_000, 'MB': 1_000_000}


def is_auto(split: Optional[str]) -> bool:
  """Whether a split is to be chosen before training."""
  return split is not None and split.partition(':')[0] == _AUTO


def budget(split: str) -> Optional[int]:
  """The most personal bytes of a client, of `auto:64kB`; `None` for no bound.

  Raises:
    errors.SettingsError: If it cannot be read.
  """
  if split == _AUTO:
    return None
  match = re.fullmatch(r'auto:(\d+(?:\.\d+)?)(B|kB|MB)', split)
  if match is None:
    raise errors.SettingsError(
        'Expected `personal` auto, or auto: and a number of B, kB or MB such as'
        f' auto:64kB, found {split!r}.'
    )
  return int(float(match[1]) * _UNITS[match[2]])


def trains(score: str) -> bool:
  """Whether clients train for an epoch for a score (`auto_score`)."""
  return score != 'variance'


def read(folder: pathlib.Path) -> Optional[dict[str, Any]]:
  """What a run has chosen; `None` if it has not.

  Raises:
    errors.DataError: If the file is damaged.
  """
  return kept_choice.read(
      folder / FILE_NAME,
      lambda found: str(found['split']),
      what='the choice of `personal`',
      verb='choose',
  )


def applied(
    settings: Mapping[str, Any], folder: pathlib.Path
) -> Mapping[str, Any]:
  """A run's settings with the split that it chose in place of `auto`."""
  if not is_auto(settings.get('personal')):
    return settings
  found = read(folder)
  if found is None:
    return settings
  return {**settings, 'personal': found['split']}


def notes(
    folder: pathlib.Path, rest_seconds: Optional[float] = None
) -> list[str]:
  """What a reader of the report must know of a choice, if there is one.

  Args:
    folder: The run's.
    rest_seconds: What the run's pretraining and training took, once they have.
  """
  found = read(folder)
  if found is None:
    return []
  # A loss that is not finite is None.
  finite = [c for c in found['candidates'] if c['loss'] is not None]
  best = min(finite, key=lambda c: c['loss'])
  loss = lambda c: 'not finite' if c['loss'] is None else f'{c["loss"]:.4g}'
  losses = '; '.join(
      f'{", ".join(c["layers"]) or "nothing"}: {loss(c)}'
      for c in found['candidates']
  )
  said = (
      f'What is personal was chosen before training, by the score'
      f' {found["score"]} and the loss on held-out training examples of'
      f' {found["clients"]} clients, in {found["seconds"]:.0f} s. The same'
      f' again: --personal={found["split"]}. Held-out loss after fine-tuning'
      f' {losses}.'
  )
  if not best['layers']:
    said += ' No choice was better than nothing, and the smallest was taken.'
  if rest_seconds is not None:
    said += f' {time_in_words(found["seconds"], rest_seconds)}'
  return [said]


def time_in_words(seconds: float, rest_seconds: float) -> str:
  """What share of a run's time the choice took.

  Args:
    seconds: Of the choice.
    rest_seconds: Of the run's pretraining and training.
  """
  total = seconds + rest_seconds
  said = (
      f'The choice took {seconds / total:.1%} of the {total:.0f} s of'
      ' pretraining, choice and training'
  )
  if seconds > MOST_SHARE * total:
    return f'{said}, which is more than {MOST_SHARE:.0%}.'
  return f'{said}.'


def table(found: Mapping[str, Any]) -> str:
  """Why: a line for each layer, the highest score first."""
  rows = [('layer', 'bytes', found['score'], 'personal')]
  for layer in found['layers']:
    chosen = 'yes' if layer['name'] in found['chosen'] else ''
    rows.append(
        (
            layer['name'],
            f'{layer["bytes"]:,}',
            f'{layer["score"]:.3g}',
            chosen,
        )
    )
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
      '  '.join(
          cell.ljust(width) if i in (0, 3) else cell.rjust(width)
          for i, (cell, width) in enumerate(zip(row, widths))
      ).rstrip()
      for row in rows
  )
