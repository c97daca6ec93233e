# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers and names for readers, such as `81.2%`, `3.4 MB` and `Fine-tuned`."""

import math
from typing import Optional, TypeGuard

import humanize

_MODELS = {
    'non_personalized': 'Non-personalized',
    'shared': 'Shared variables only',
    'control': 'Control: more rounds of FedAvg instead',
    'personalized': 'Personalized',
    'finetuned': 'Fine-tuned',
    'trained_alone': 'Trained alone',
    'most_frequent': 'The client’s most frequent class or word, untrained',
    'gated': 'Personalized if better on held-out data',
    'new_initial': 'New client: initial personal variables',
    'new_mean': 'New client: mean personal variables',
    'new_reconstruct': 'New client: reconstructed',
    'new_finetune': 'New client: fine-tuned',
}

# Metrics that are known by their initials.
_INITIALS = {'wer': 'word error rate', 'cer': 'character error rate'}

_MINUTE, _HOUR = 60, 3600  # Seconds.

# Placeholder for a missing number.
_NOTHING = '–'

# Metrics are ratios of sums of float64; what is smaller is a rounding error.
_ROUNDING = 1e-12


def model(name: str) -> str:
  """The title of a model: `Fine-tuned` for `finetuned`."""
  return _MODELS.get(name, words(name).capitalize())


def words(name: str) -> str:
  """A name of the code in words: `word error rate` for `wer`."""
  return _INITIALS.get(name, name.replace('_', ' '))


def setting(chosen: object) -> str:
  """A setting's value: `none` for `None`, `no` for `False`."""
  if chosen is None:
    return 'none'
  if isinstance(chosen, bool):
    return 'yes' if chosen else 'no'
  if isinstance(chosen, (list, tuple)):
    return ', '.join(map(str, chosen)) or 'none'
  return str(chosen)


def quantity(number: float, noun: str) -> str:
  """A number of things: `1 client`, `1,200 clients`."""
  return f'{number:,.0f} {noun}' if number == 1 else f'{number:,.0f} {noun}s'


def value(number: Optional[float], percent: bool, digits: int = 2) -> str:
  """A metric's value.

  Args:
    number: The value; `None` and NaN are missing.
    percent: Whether to show it in percent, or else with four digits, or those
      of a whole number.
    digits: The number of decimals of a percentage.
  """
  if not _known(number):
    return _NOTHING
  number = _without_rounding(number)
  return f'{number:.{digits}%}' if percent else _plain(number, '', 4)


def _plain(number: float, sign: str, digits: int) -> str:
  """Some digits in all, or a whole number that has more, below a billion."""
  if 10**digits - 0.5 <= abs(number) < 1e9:
    return f'{number:{sign},.0f}'
  return f'{number:{sign},.{digits}g}'


def other_metric(number: Optional[float], name: str) -> str:
  """A value of a metric that is not the one that decides.

  Args:
    number: The value; `None` and NaN are missing.
    name: The metric's name, which tells whether readers expect percent.
  """
  return value(number, words(name).endswith(('accuracy', 'error rate')))


def per_kilobyte(gain: float, num_bytes: float) -> Optional[float]:
  """A gain for each 1,000 bytes that a client stores; `None` without any."""
  return 1000 * gain / num_bytes if num_bytes else None


def change(number: Optional[float], percent: bool) -> str:
  """A metric's change with its sign; percentages change by points."""
  if not _known(number):
    return _NOTHING
  number = _without_rounding(number)
  sign = '+' if number else ''
  text = f'{100 * number:{sign}.2f}' if percent else _plain(number, sign, 3)
  if text in ('+0.00', '-0.00'):
    text = '0.00'
  return text.replace('-', '\N{MINUS SIGN}')


def interval(low: Optional[float], high: Optional[float], percent: bool) -> str:
  """The 95% interval of a change: `95% interval −0.11 to +0.17`."""
  if not (_known(low) and _known(high)):
    return 'no 95% interval'
  return f'95% interval {ends(low, high, percent)}'


def ends(low: Optional[float], high: Optional[float], percent: bool) -> str:
  """The ends of an interval of a change: `−0.11 to +0.17`."""
  if not (_known(low) and _known(high)):
    return _NOTHING
  return f'{change(low, percent)} to {change(high, percent)}'


def plus_minus(deviation: Optional[float], percent: bool) -> str:
  """A deviation after a mean: ` ± 0.31%`, or nothing if it is not known."""
  return f' ± {value(deviation, percent)}' if _known(deviation) else ''


def signed(number: Optional[float]) -> str:
  """A correlation."""
  return change(number, percent=False)


def share(number: Optional[float]) -> str:
  """A share of a whole in percent."""
  if not _known(number):
    return _NOTHING
  return '<0.1%' if 0 < number < 0.0005 else f'{number:.1%}'


def p_value(number: Optional[float]) -> str:
  """A probability under the null hypothesis."""
  if not _known(number):
    return _NOTHING
  return '<0.001' if number < 0.001 else f'{number:.3f}'


def epsilon(number: Optional[float]) -> str:
  """An epsilon with two decimals, rounded up: a promise must hold.

  Args:
    number: The epsilon; `None` and infinity promise nothing.
  """
  return f'{_rounded_up(number, 0.01):.2f}' if _known(number) else '∞'


def delta(number: Optional[float]) -> str:
  """A delta with two digits, rounded up.

  Args:
    number: Above 0; `None` is missing.
  """
  if not _known(number):
    return _NOTHING
  digit = 10.0 ** math.floor(math.log10(number))
  return f'{_rounded_up(number, digit / 10):.2g}'


def p_relation(number: Optional[float]) -> str:
  """What follows p: ` = 0.012` or ` < 0.001`."""
  text = p_value(number)
  return f' < {text[1:]}' if text.startswith('<') else f' = {text}'


def number_is(clients: int) -> str:
  """`none is`, `1 is` or `2 are`."""
  return {0: 'none is', 1: '1 is'}.get(clients, f'{clients:,} are')


def size(num_bytes: float) -> str:
  """A number of bytes in decimal units: `512 bytes`, `3.4 MB`."""
  text = humanize.naturalsize(num_bytes, format='%.3g')
  return text.replace('Byte', 'byte')


def duration(seconds: float) -> str:
  """A duration: `1.5 seconds`, `2 minutes and 5 seconds`, `3 hours`."""
  if seconds < _MINUTE:
    return humanize.precisedelta(seconds, format='%.3g')
  return humanize.precisedelta(
      round(seconds),
      minimum_unit='seconds' if seconds < _HOUR else 'minutes',
      suppress=('days', 'months', 'years'),
      format='%.0f',
  )


def _rounded_up(number: float, step: float) -> float:
  """A multiple of `step`, at least `number` but for the rounding of floats."""
  return math.ceil(number / step * (1 - 1e-9)) * step


def _without_rounding(number: float) -> float:
  return 0.0 if abs(number) < _ROUNDING else number


def _known(number: Optional[float]) -> TypeGuard[float]:
  return number is not None and math.isfinite(number)
