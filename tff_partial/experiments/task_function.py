# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds the function that creates a task, in this package or outside."""

from collections.abc import Callable, Mapping
import functools
import hashlib
import importlib
import importlib.util
import pathlib
import sys
import types
from typing import Any, Optional

from tff_partial import errors


def load(reference: str, registered: Mapping[str, str]) -> Callable[..., Any]:
  """Imports the function that a reference names.

  Args:
    reference: One of `registered`, or `package.module:function`, or
      `path/to/file.py:function`.
    registered: References by the names of registered tasks.

  Raises:
    errors.SettingsError: If there is no such module or function.
    errors.FileError: If there is no such file.
  """
  where, name = _divide(reference, registered)
  function = getattr(_load_module_of(where), name, None)
  if not callable(function):
    raise errors.SettingsError(
        f'Expected a function {name} in {where}, found none.'
    )
  return function


def digest(reference: str, registered: Mapping[str, str]) -> Optional[str]:
  """Returns the SHA-256 of the file that defines a task from outside.

  Args:
    reference: As for `load`.
    registered: As for `load`.

  Returns:
    64 hexadecimal digits, or `None` for a registered task, which belongs to
    the package, and for a module without a file.

  Raises:
    errors.SettingsError: If there is no such module.
    errors.FileError: If there is no such file.
  """
  if reference in registered:
    return None
  where, _ = _divide(reference, registered)
  path = _load_module_of(where).__file__
  if path is None:  # A namespace package, which has no file.
    return None
  return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def _divide(reference: str, registered: Mapping[str, str]) -> tuple[str, str]:
  """The module or file, and the function."""
  where, colon, name = registered.get(reference, reference).rpartition(':')
  if not (where and colon and name.isidentifier()):
    raise errors.SettingsError(
        f'Expected `task` to be one of {", ".join(registered)}, or'
        ' package.module:function, or path/to/file.py:function, found'
        f' {reference!r}.'
    )
  return where, name


def _load_module_of(where: str) -> types.ModuleType:
  return _load_file(where) if where.endswith('.py') else _load_module(where)


def _load_module(name: str) -> types.ModuleType:
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as e:
    # What a module that is there fails to import is for its author to see.
    if e.name is None or not f'{name}.'.startswith(f'{e.name}.'):
      raise
    raise errors.SettingsError(
        f'Expected a module {name}, found no {e.name}. Run from the folder that'
        ' it is in, or name its file: path/to/file.py:function.'
    ) from e


@functools.cache
def _load_file(path: str) -> types.ModuleType:
  """Executes a file once, as a module of its own name."""
  file = pathlib.Path(path).expanduser().resolve()
  if not file.is_file():
    raise errors.FileError(f'Expected a file {file}, found none.')
  spec = importlib.util.spec_from_file_location(file.stem, file)
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  # Dataclasses and pickles look their module up; modules next to it are found.
  sys.modules.setdefault(file.stem, module)
  if str(file.parent) not in sys.path:
    sys.path.append(str(file.parent))
  spec.loader.exec_module(module)
  return module
