# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Flags, made from the records of settings, and back.

No other module of the library reads `FLAGS`. A flag has the name, the help and
the bounds of its setting, and stands in the help under the title of its record.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import functools
import signal
import sys
from typing import Any, Optional, TypeVar

from absl import flags

from tff_partial import errors
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting
from tff_partial.experiments.settings import task_choice

FLAGS = flags.FLAGS
_T = TypeVar('_T', bound=setting.Settings)


@dataclasses.dataclass(frozen=True)
class Comparison(setting.Settings):
  """Comparison"""

  tune: bool = setting.field(
      False,
      'Choose the settings that have several values, such as'
      ' --learning_rate=0.01,0.1,1, for every algorithm and split by the metric'
      ' on --validation, then run the chosen ones with all seeds, on all'
      ' training examples.',
      common=True,
  )
  tune_seeds: Optional[tuple[str, ...]] = setting.field(
      None,
      'Seeds that --tune tries every setting with, "0,1". Default: the first of'
      ' --seeds.',
  )

  seeds: Optional[tuple[str, ...]] = setting.field(
      None,
      'Seeds to compare over: "0,1,2" runs everything three times.',
      common=True,
  )
  equal_steps: bool = setting.field(
      True,
      'In a comparison of fed_alt and fed_sim, whether to run fed_sim also with'
      ' as many gradient steps as fed_alt takes; in one of ffgg and fed_alt, to'
      ' run fed_alt also with as many passes over examples as ffgg makes.',
  )


@dataclasses.dataclass(frozen=True)
class Output(setting.Settings):
  """Output"""

  output_dir: str = setting.field(
      'out/experiment', 'Folder that everything is written to.', common=True
  )
  overwrite: bool = setting.field(
      False, 'Remove what an earlier run left in --output_dir.', common=True
  )
  export_client: Optional[str] = setting.field(
      None,
      'Client whose model is written for Keras and TensorFlow Lite after the'
      ' run.',
  )
  export_model: str = setting.field(
      methods.EXPORTED[0],
      'Which model of this client: the one that the run stored, or what'
      ' fine-tuning or the gate makes of it.',
      choices=methods.EXPORTED,
  )
  export_dir: Optional[str] = setting.field(
      None, 'Folder that --export_client writes to.'
  )
  doctor: bool = setting.field(
      False, 'Check this installation, and do nothing else.'
  )
  debug: bool = setting.field(
      False, 'Show where in the program an error was raised.'
  )


def _records() -> Iterator[type[setting.Settings]]:
  yield task_choice.TaskChoice
  yield from setting.records(config_lib.Config)
  yield Comparison
  yield config_groups.Regime
  yield Output


@functools.cache  # Flags can be defined once.
def define() -> None:
  """Defines the flags of all records."""
  for record in _records():
    for declared in setting.declared(record):
      _define(declared, title=_title(record))


def read(record: type[_T], **overrides: Any) -> _T:
  """The record that the flags describe.

  Args:
    record: Its type.
    **overrides: Values of settings that differ from their flags.

  Raises:
    errors.SettingsError: If values are out of bounds or exclude each other, or
      if a number has several.
  """
  for nested in setting.records(record):
    for name, numbers in several(nested).items():
      if name not in overrides:
        raise errors.SettingsError(
            f'Expected one value of `{name}`, found {len(numbers)}. With'
            ' `tune`, the best of several is chosen, of settings that training'
            ' depends on.'
        )
  values = {
      s.name: _value(s)
      for nested in setting.records(record)
      for s in setting.declared(nested)
  }
  return setting.create(record, {**values, **overrides})


def several(record: type[setting.Settings]) -> dict[str, tuple[float, ...]]:
  """The numbers for which the flags of a record give several values."""
  return {
      s.name: FLAGS[s.name].value
      for s in setting.declared(record)
      if s.type in (int, float) and isinstance(FLAGS[s.name].value, tuple)
  }


def algorithms_and_splits() -> tuple[list[str], list[Optional[str]]]:
  """The values of `algorithm` and of `personal`, of which several may be."""
  personal = FLAGS.personal
  splits: list[Optional[str]] = [personal]
  if personal is not None and 'regex:' not in personal:
    splits = personal.split(',')
  return FLAGS.algorithm.split(','), splits


def seeds(
    asked_for: Optional[Sequence[str]], default: int, *, name: str = 'seeds'
) -> list[int]:
  """The seeds that a flag gives.

  Args:
    asked_for: Its value.
    default: The seed if it has none.
    name: Its name.

  Raises:
    errors.SettingsError: If they are no numbers.
  """
  if asked_for is None:
    return [default]
  try:
    return [int(seed) for seed in asked_for]
  except ValueError as e:
    raise errors.SettingsError(
        f'Expected `{name}` like 0,1,2, found {",".join(asked_for)!r}.'
    ) from e


def parse(argv: list[str]) -> list[str]:
  """Parses the flags, and returns what is left of the command line.

  `--help` prints what most people need, and a mistake is one line.
  """
  if {'--help', '-help', '--helpshort', '-?'} & set(argv[1:]):
    # A pager that is left early is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print(short_help())
    sys.exit(0)
  try:
    return FLAGS(argv)
  except flags.Error as e:
    sys.exit(f'run_experiment: {e}')


def short_help() -> str:
  """The flags that most people need, by group."""
  lines = []
  for record in _records():
    common = [s for s in setting.declared(record) if s.facts.common]
    if common:
      lines.extend(['', f'{_title(record)}:'])
    for s in common:
      # 0 is a default, too.
      has_none = s.default is None or s.default is False
      default = '' if has_none else f' [{s.default}]'
      lines.append(f'  --{s.name}{default}')
      lines.append(flags.text_wrap(s.facts.help, 80, '      ', '      '))
  return '\n'.join(
      [
          'Trains and evaluates partially personalized models, and writes a'
          ' report.',
          '',
          '  python run_experiment.py',
          '  python run_experiment.py --task=emnist --algorithm=fed_alt'
          ' --personal=adapter',
          '  python run_experiment.py'
          ' --flagfile=tasks/presets/emnist_demo.flags',
          '',
          'The same command again goes on where it stopped.',
          *lines,
          '',
          '--helpfull lists all flags, --flagfile=FILE reads some from a file.',
      ]
  )


def names() -> frozenset[str]:
  """The names of all flags."""
  return frozenset(
      s.name for record in _records() for s in setting.declared(record)
  )


def _title(record: type[setting.Settings]) -> str:
  return str(record.__doc__).splitlines()[0]


def _define(declared: setting.Setting, *, title: str) -> None:
  facts = declared.facts
  common = {'module_name': title}
  arguments = (declared.name, declared.default, facts.help)
  if declared.type is bool:
    flags.DEFINE_bool(*arguments, **common)
  elif declared.type in (int, float):
    parser = flags.IntegerParser if declared.type is int else flags.FloatParser
    flags.DEFINE(
        _OneOrSeveral(parser(facts.least, facts.most), facts.words),
        *arguments,
        serializer=flags.ArgumentSerializer(),
        **common,
    )
  elif facts.choices:
    flags.DEFINE_enum(
        declared.name,
        declared.default,
        list(facts.choices),
        facts.help,
        **common,
    )
  elif declared.type is tuple:
    define_several = (
        flags.DEFINE_multi_string if facts.repeated else flags.DEFINE_list
    )
    default = None if declared.default is None else list(declared.default)
    define_several(declared.name, default, facts.help, **common)
  else:
    flags.DEFINE_string(*arguments, **common)


class _OneOrSeveral(flags.ArgumentParser):
  """Parses a number, or several with commas as a tuple, or a known word."""

  def __init__(self, parser: flags.ArgumentParser, words: tuple[str, ...] = ()):
    self._parser = parser
    self._words = words
    self.syntactic_help = parser.syntactic_help

  def parse(self, argument: Any) -> Any:
    if argument in self._words:
      return argument
    if isinstance(argument, str) and ',' in argument:
      return tuple(self._parser.parse(part) for part in argument.split(','))
    if isinstance(argument, tuple):
      return tuple(self._parser.parse(part) for part in argument)
    return self._parser.parse(argument)

  def flag_type(self) -> str:
    return self._parser.flag_type()


def _value(declared: setting.Setting) -> Any:
  value = FLAGS[declared.name].value
  return tuple(value) if isinstance(value, list) else value
