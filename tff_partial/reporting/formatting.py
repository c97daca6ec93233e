# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers and names as people read them: `81.2%`, `3.4 MB`, `2 min 5 s`."""

import math
from typing import Optional, TypeGuard

_MODELS = {
    'non_personalized': 'Non-personalized',
    'shared': 'Shared part alone',
    'personalized': 'Personalized',
    'finetuned': 'Fine-tuned',
    'trained_alone': 'Trained alone',
    'gated': 'Personalized where it helps held-out data',
    'new_initial': 'New client: initial values',
    'new_mean': 'New client: mean of others’',
    'new_reconstruct': 'New client: reconstructed',
    'new_finetune': 'New client: fine-tuned',
}

# What stands for a number that there is none of.
_NOTHING = '–'


def model(name: str) -> str:
  """A model's name: `Fine-tuned` for `finetuned`."""
  return _MODELS.get(name, words(name).capitalize())


def words(name: str) -> str:
  """A name from code: `word error rate` for `word_error_rate`."""
  return name.replace('_', ' ')


def quantity(number: float, noun: str) -> str:
  """A count of things: `1 client`, `1,200 clients`."""
  return f'{number:,.0f} {noun}' if number == 1 else f'{number:,.0f} {noun}s'


def value(number: Optional[float], percent: bool, digits: int = 2) -> str:
  """A metric, as a percentage with so many digits or with four in all."""
  if not _known(number):
    return _NOTHING
  return f'{number:.{digits}%}' if percent else f'{number:.4g}'


def change(number: Optional[float], percent: bool) -> str:
  """A metric's change with its sign; percentages change by points."""
  if not _known(number):
    return _NOTHING
  sign = '+' if number else ''
  text = f'{100 * number:{sign}.2f}' if percent else f'{number:{sign}.3g}'
  if text in ('+0.00', '-0.00'):
    text = '0.00'
  return text.replace('-', '\N{MINUS SIGN}')


def signed(number: Optional[float]) -> str:
  """A correlation."""
  return change(number, percent=False)


def share(number: Optional[float]) -> str:
  """A part of a whole, in percent."""
  if not _known(number):
    return _NOTHING
  return '<0.1%' if 0 < number < 0.0005 else f'{number:.1%}'


def p_value(number: Optional[float]) -> str:
  """A probability under the null hypothesis."""
  if not _known(number):
    return _NOTHING
  return '<0.001' if number < 0.001 else f'{number:.3f}'


def size(num_bytes: float) -> str:
  """Bytes in decimal units."""
  for unit in ('bytes', 'kB', 'MB', 'GB'):
    if num_bytes < 1000:
      return f'{num_bytes:.3g} {unit}'
    num_bytes /= 1000
  return f'{num_bytes:,.3g} TB'


def duration(seconds: float) -> str:
  """Seconds, minutes or hours."""
  if seconds < 100:
    return f'{seconds:.3g} s'
  minutes, seconds = divmod(round(seconds), 60)
  if minutes < 100:
    return f'{minutes} min {seconds} s'
  return f'{minutes // 60} h {minutes % 60} min'


def _known(number: Optional[float]) -> TypeGuard[float]:
  return number is not None and math.isfinite(number)
