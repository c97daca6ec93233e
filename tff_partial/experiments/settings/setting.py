# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Records of settings whose fields carry their help and bounds.

A setting is written down once, as a field of a frozen dataclass:

    class Server(setting.Settings):
      server_learning_rate: float = setting.field(
          1.0, 'Learning rate of the server.', least=0
      )

Its bounds are checked when a record is made, and flags are made from the fields
(`flags.py`), so that a command, a preset and a notebook use the same names.
Records may be nested; a name belongs to one of them only.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import difflib
import types
import typing
from typing import Any, Optional, TypeVar

from tff_partial import errors

_FACTS = 'facts'
_T = TypeVar('_T', bound='Settings')


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is known of a setting, apart from its name, type and default.

  Attributes:
    help: A sentence or more for users.
    choices: The values there are; empty if any will do.
    least: The smallest value allowed, if there is one.
    most: The largest value allowed, if there is one.
    below: What values must be smaller than, if anything.
    common: Whether most people need it, so that `--help` shows it.
    words: What the setting takes in place of a number, such as 'auto'.
    repeated: Whether each of several values has a flag of its own, rather than
      all of them one with commas.
    internal: Whether the program alone gives it, so that it has no flag.
  """

  help: str
  choices: tuple[str, ...] = ()
  least: Optional[float] = None
  most: Optional[float] = None
  below: Optional[float] = None
  common: bool = False
  words: tuple[str, ...] = ()
  repeated: bool = False
  internal: bool = False

  def problem(self, value: Any) -> Optional[str]:
    """What was expected, if `value` is not allowed."""
    if value is None or value in self.words:
      return None
    if self.words and isinstance(value, str):
      return f'a number or one of {list(self.words)}'
    if self.choices and value not in self.choices:
      return f'one of {list(self.choices)}'
    if self.least is not None and self.below is not None:
      if not self.least <= value < self.below:
        return f'at least {self.least} and below {self.below}'
    elif self.least is not None and self.most is not None:
      if not self.least <= value <= self.most:
        return f'from {self.least} to {self.most}'
    elif self.least is not None and not value >= self.least:
      return f'at least {self.least}'
    return None


def field(default: Any, help: str, **facts: Any) -> Any:  # pylint: disable=redefined-builtin
  """A field of a `Settings` record; `facts` are those of `Facts`."""
  return dataclasses.field(
      default=default, metadata={_FACTS: Facts(help, **facts)}
  )


@dataclasses.dataclass(frozen=True)
class Setting:
  """A setting with all that a flag needs.

  Attributes:
    name: Its name, also that of the flag.
    type: `bool`, `int`, `float`, `str`, or `tuple` for several strings.
    default: Its default value.
    facts: The rest.
  """

  name: str
  type: type
  default: Any
  facts: Facts


@dataclasses.dataclass(frozen=True)
class Settings:
  """The base of records of settings. The docstring's first line is a title."""

  def __post_init__(self):
    """Checks every field.

    Raises:
      errors.SettingsError: If a value is out of bounds, naming it.
    """
    for name, facts in _facts(type(self)).items():
      value = getattr(self, name)
      expected = facts.problem(value)
      if expected is not None:
        raise errors.SettingsError(
            f'Expected `{name}` to be {expected}, found {value!r}.'
        )


def declared(cls: type[Settings]) -> list[Setting]:
  """What users can set of a record itself, without the records in it."""
  hints = typing.get_type_hints(cls)
  defaults = {f.name: f.default for f in dataclasses.fields(cls)}
  return [
      Setting(name, _plain(hints[name]), defaults[name], facts)
      for name, facts in _facts(cls).items()
      if not facts.internal
  ]


def records(cls: type[Settings]) -> Iterator[type[Settings]]:
  """A record's type and those of the records in it, in order."""
  yield cls
  for nested in _nested(cls).values():
    yield from records(nested)


def flatten(settings: Settings) -> dict[str, Any]:
  """All settings of a record and of those in it, by name."""
  values = {name: getattr(settings, name) for name in _facts(type(settings))}
  for name in _nested(type(settings)):
    values.update(flatten(getattr(settings, name)))
  return values


def create(cls: type[_T], values: Mapping[str, Any]) -> _T:
  """Makes a record, and those in it, from settings by name.

  Args:
    cls: The record's type.
    values: By name; what is not given has its default.

  Raises:
    errors.SettingsError: If there is no setting of a name, or if a value cannot
      be used.
  """
  known = [name for record in records(cls) for name in _facts(record)]
  for name in values:
    if name not in known:
      similar = difflib.get_close_matches(name, known, 1)
      hint = f' Did you mean {similar[0]!r}?' if similar else ''
      raise errors.SettingsError(
          f'Expected a setting of {cls.__name__}, found {name!r}.{hint}'
      )
  return _create(cls, values)


def pick(cls: type[_T], values: Mapping[str, Any]) -> _T:
  """Makes a record from those of some settings that it has.

  Args:
    cls: The record's type.
    values: By name; also those of other records, which are left out.

  Raises:
    errors.SettingsError: If a value cannot be used.
  """
  return _create(cls, values)


def replace(settings: _T, **changes: Any) -> _T:
  """A record with other values of some settings, wherever they are in it."""
  return create(type(settings), {**flatten(settings), **changes})


def _create(cls: type[_T], values: Mapping[str, Any]) -> _T:
  own = {name: values[name] for name in _facts(cls) if name in values}
  nested = {n: _create(record, values) for n, record in _nested(cls).items()}
  return cls(**own, **nested)


def _facts(cls: type[Settings]) -> dict[str, Facts]:
  return {
      f.name: f.metadata[_FACTS]
      for f in dataclasses.fields(cls)
      if _FACTS in f.metadata
  }


def _nested(cls: type[Settings]) -> dict[str, type[Settings]]:
  return {
      name: hint
      for name, hint in typing.get_type_hints(cls).items()
      if isinstance(hint, type) and issubclass(hint, Settings)
  }


def _plain(hint: Any) -> type:
  """`int` of `Optional[int]`, `tuple` of `tuple[str, ...]`.

  `float` of `Union[float, str, None]`, which takes words too.
  """
  if typing.get_origin(hint) in (typing.Union, types.UnionType):
    hint = next(a for a in typing.get_args(hint) if a is not type(None))
  return typing.get_origin(hint) or hint
