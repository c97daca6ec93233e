# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a task is: a model that can be split, and people's data for it."""

import ast
from collections.abc import Callable, Mapping
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import pathlib
import sys
import types
from typing import Any, Optional

import tensorflow as tf

from tff_partial import errors
from tff_partial.evaluation import metric as metric_lib
from tff_partial.experiments import task_choice
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition


@dataclasses.dataclass(frozen=True)
class Task:
  """A model that can be split, and people's data to train it on.

  Attributes:
    name: As users call it.
    data: Where the data come from, in words.
    model: What the model is, in words.
    model_fn: Split name to a `ModelFn`; raises ValueError for a name unknown.
    splits: The task's own splits by name; `none`, `all` and `regex:...` are
      understood everywhere.
    train: Clients' training examples.
    test: Test examples, of the same clients.
    client_examples: The form in which they enter computations.
    metric: The metric of the model that decides who gains and who is hurt.
    demonstration: Whether the data were made for show, so that findings on them
      say nothing about people.
    texts: Files, by name, that say what the model's inputs and outputs mean,
      such as a vocabulary. A run keeps them, and neither goes on nor starts
      from another run with different ones.
    choices: The settings that it was created from, by the names of flags; set
      by `create`. A run keeps them, so that commands can create it again.
  """

  name: str
  data: str
  model: str
  model_fn: Callable[[str], partial_model.ModelFn]
  splits: Mapping[str, partition.Rule]
  train: clients_lib.Clients
  test: clients_lib.Clients
  client_examples: examples_lib.ClientExamples
  metric: metric_lib.Metric
  demonstration: bool = False
  texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
  choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    """Checks that the model takes what the clients have.

    Raises:
      ValueError: If there are no clients, if the first client's examples are
        not what the computations expect, or if the model lacks the metric.
    """
    with tf.Graph().as_default():
      model = self.model_fn('none')()
    if self.metric.name not in model.metric_names:
      raise errors.SettingsError(
          f'Expected a metric of {list(model.metric_names)} for task'
          f' {self.name!r}, found {self.metric.name!r}.'
      )
    for part, clients in (('training', self.train), ('test', self.test)):
      if not len(clients.client_ids):
        raise errors.SettingsError(
            f'Expected clients with {part} examples, found none in {self.data}.'
        )
      client_id = clients.client_ids[0]
      try:
        self.client_examples.check(clients.read(client_id), model.input_spec)
      except ValueError as e:
        raise errors.SettingsError(
            f'Client {client_id!r} of {self.data} does not fit task'
            f' {self.name!r}. {e}'
        ) from e


def create(
    choice: task_choice.TaskChoice, *, registered: Mapping[str, str]
) -> Task:
  """Creates the task that a user chose.

  `choice.task` is one of `registered`, or `package.module:function`, or
  `path/to/file.py:function`. The function is called with `choice.data` and with
  those of `model`, `batch_size` and its own arguments that were given.

  Args:
    choice: The settings.
    registered: References by the names that users know, `tasks.TASKS`.

  Returns:
    The task, with the settings that it was created from.

  Raises:
    errors.SettingsError: If there is no such task, or if it does not take an
      argument that was given.
    errors.DataError: If the data are not as expected.
    errors.FileError: If the data cannot be read.
  """
  create_task = _load(choice.task, registered)
  given = {'model': choice.model, 'batch_size': choice.batch_size}
  keywords: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
  keywords.update(map(_parse_argument, choice.task_arg))
  parameters = inspect.signature(create_task).parameters
  takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
  for name, value in keywords.items():
    if name not in parameters and not takes_any:
      known = ', '.join(list(parameters)[1:]) or 'none'
      raise errors.SettingsError(
          f'Expected an argument that task {choice.task!r} takes ({known}),'
          f' found {name!r}.'
      )
    if name in parameters and parameters[name].annotation in (str, 'str'):
      keywords[name] = str(value)
  task = create_task(choice.data, **keywords)
  if not isinstance(task, Task):
    raise errors.SettingsError(
        f'Expected {choice.task!r} to return a tff_partial.Task, found'
        f' {type(task).__name__}.'
    )
  # A frozen dataclass has no other way, and `replace` would check it again.
  object.__setattr__(task, 'choices', choice.settings(registered))
  return task


def digest(reference: str, registered: Mapping[str, str]) -> Optional[str]:
  """The SHA-256 of the file that a task from outside is made by.

  Args:
    reference: As for `create`.
    registered: As for `create`.

  Returns:
    64 hexadecimal digits, or `None` for a registered task, whose code is that
    of the version in use.
  """
  if reference in registered:
    return None
  where, _ = _divide(reference, registered)
  path = _load_module_of(where).__file__
  if path is None:  # A namespace package, which has no file.
    return None
  return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def _parse_argument(text: str) -> tuple[str, Any]:
  """`name=value`, with a number, a boolean or None as such."""
  name, equals, value = text.partition('=')
  if not (name.isidentifier() and equals):
    raise errors.SettingsError(
        f'Expected `task_arg` name=value, found {text!r}.'
    )
  try:
    return name, ast.literal_eval(value)
  except (SyntaxError, ValueError):
    return name, value


def _load(reference: str, registered: Mapping[str, str]) -> Callable[..., Task]:
  """The function that a reference names."""
  where, name = _divide(reference, registered)
  function = getattr(_load_module_of(where), name, None)
  if not callable(function):
    raise errors.SettingsError(
        f'Expected a function {name} in {where}, found none.'
    )
  return function


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
