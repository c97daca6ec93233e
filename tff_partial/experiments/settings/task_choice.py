# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings that make a task."""

import ast
from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, Optional

from tff_partial.experiments import task_function
from tff_partial.experiments.settings import setting


@dataclasses.dataclass(frozen=True)
class TaskChoice(setting.Settings):
  """Task and data"""

  task: str = setting.field(
      'emnist',
      'What is learned: emnist (characters by writer), stackoverflow (the next'
      ' word by user), speech (by speaker), landmarks (by photographer),'
      ' tabular (rows of a table by person); or a task of your own,'
      ' package.module:create_task or path/to/file.py:create_task.',
      common=True,
  )
  data: str = setting.field(
      'embedded',
      'Where examples come from: "embedded" makes some for demonstration, "tff"'
      " downloads the paper's, and anything else is a folder made by"
      ' tasks.import_client_data.',
      common=True,
  )
  model: Optional[str] = setting.field(
      None,
      "Which of the task's networks to train. Default: the one for laptops.",
      common=True,
  )
  batch_size: Optional[int] = setting.field(
      None,
      "Examples per gradient step. Default: the task's.",
      least=1,
      common=True,
  )
  task_arg: tuple[str, ...] = setting.field(
      (),
      'An argument of the task, name=value. Repeat the flag for several.',
      repeated=True,
  )

  def with_numbers(self, numbers: Sequence[tuple[str, float]]) -> 'TaskChoice':
    """This choice with other numbers: `batch_size`, or arguments of the task.

    Args:
      numbers: By name.
    """
    others: dict[str, Any] = dict(numbers)
    return dataclasses.replace(
        self,
        batch_size=others.pop('batch_size', self.batch_size),
        task_arg=(*self.task_arg, *(f'{n}={v!r}' for n, v in others.items())),
    )

  def settings(self, registered: Mapping[str, str]) -> dict[str, Any]:
    """What a task depends on, which a run that is resumed must have again.

    Args:
      registered: References by the names of registered tasks.

    Returns:
      Settings by name, with the arguments; for a task from outside also the
      SHA-256 of its file.

    Raises:
      errors.SettingsError: If there is no such module.
      errors.FileError: If there is no such file.
    """
    found: dict[str, Any] = {
        'task': self.task,
        'data': self.data,
        'model': self.model,
        'batch_size': self.batch_size,
    }
    if self.task in registered:
      # Runs without arguments have the settings that they always had.
      if self.task_arg:
        found['task_arg'] = list(self.task_arg)
      return found
    return {
        **found,
        'task_arg': list(self.task_arg),
        'task_digest': task_function.digest(self.task, registered),
    }


def from_settings(settings: Mapping[str, Any]) -> TaskChoice:
  """The choice that a run's settings record."""
  arguments = tuple(settings.get('task_arg', ()))
  return setting.pick(TaskChoice, {**settings, 'task_arg': arguments})


def several_numbers(text: str) -> tuple[float, ...]:
  """Numbers that commas separate; none if the text is something else.

  Args:
    text: An argument of a task. Neither `(3,4)` nor `"3,4"` are several.
  """
  parts = text.split(',')
  try:
    numbers = tuple(map(ast.literal_eval, parts)) if len(parts) > 1 else ()
  except (SyntaxError, ValueError):
    return ()
  return numbers if all(type(n) in (int, float) for n in numbers) else ()
