# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a task is: a model that can be split, and people's data for it."""

import ast
from collections.abc import Callable, Mapping
import dataclasses
import functools
import inspect
from typing import Any, Optional

import cachetools
import tensorflow as tf

from tff_partial import errors
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import yardstick
from tff_partial.experiments import task_function
from tff_partial.experiments import usage as usage_lib
from tff_partial.experiments.settings import task_choice
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition

# Of as many different plans, a task keeps what they have built.
_MOST_BUILT = 16


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
    labels_fn: Returns the labels of what `train.read` or `test.read` returns,
      an int array [examples] or [examples, positions], in which negative
      numbers are not counted. With it, reports tell how often the client's most
      frequent label would be right. Only for a metric that counts right labels.
    head: The name of the Keras layer whose input is the representation, of a
      functional model from inputs to logits [batch, classes] with labels
      [batch]. `knn_per` needs it.
    usage: How people use an exported model; `None` if there is nothing to say.
    demonstration: Whether the data were made for show, so that findings on them
      say nothing about people.
    texts: Files, by name, that say what the model's inputs and outputs mean,
      such as a vocabulary. A run keeps them, and neither goes on nor starts
      from another run with different ones.
    choices: The settings that it was created from, by the names of flags; set
      by `create`. A run keeps them, so that commands can create it again.
    arguments: What it was created with besides the data, defaults included, by
      name; set by `create`.
    variant_fn: Creates it again with other numbers as arguments; set by
      `create`.
    built: The models and computations of plans of this task, by the settings
      that they depend on. Building them takes seconds.
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
  labels_fn: Optional[yardstick.LabelsFn] = None
  head: Optional[str] = None
  usage: Optional[usage_lib.Usage] = None
  demonstration: bool = False
  texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
  choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  variant_fn: Optional[Callable[[Any], 'Task']] = dataclasses.field(
      default=None, init=False, repr=False, compare=False
  )
  built: cachetools.LRUCache = dataclasses.field(
      default_factory=lambda: cachetools.LRUCache(_MOST_BUILT),
      init=False,
      repr=False,
      compare=False,
  )

  @property
  def kept(self) -> dict[str, str]:
    """The files, by name, that a run keeps to know what its numbers mean."""
    return {**(self.usage.files if self.usage else {}), **self.texts}

  def __post_init__(self):
    """Checks that the model takes what the clients have.

    Examples of other clients are checked when they are read.

    Raises:
      errors.SettingsError: If there are no clients, if the model fails with a
        batch of its input type or does something else than it must
        (`partial_model.check_batch`), or if it lacks the metric.
      errors.DataError: If the first client's examples are not what the
        computations expect.
    """
    model = self._any_model()
    check = functools.partial(
        self.client_examples.check, input_spec=model.input_spec
    )
    if self.metric.name not in model.metric_names:
      raise errors.SettingsError(
          f'Expected a metric of {list(model.metric_names)} for task'
          f' {self.name!r}, found {self.metric.name!r}.'
      )
    for part, clients in (('train', self.train), ('test', self.test)):
      if not len(clients.client_ids):
        raise errors.SettingsError(
            f'Expected clients with {part} examples, found none in {self.data}.'
        )
      checked = clients_lib.CheckedClients(clients, check, data=self.data)
      checked.read(clients.client_ids[0])
      # A frozen dataclass has no other way.
      object.__setattr__(self, part, checked)

  def with_clients(
      self,
      *,
      train: Optional[clients_lib.Clients] = None,
      test: Optional[clients_lib.Clients] = None,
      data: Optional[str] = None,
  ) -> 'Task':
    """Returns this task with examples of other people.

    The model and the form of the examples stay the same, so what plans of this
    task have built serves the other task, too. `choices` create this task and
    not the other, which has none.

    Args:
      train: Training examples in place of `train`, if given.
      test: Test examples in place of `test`, if given.
      data: Where they come from, in words, in place of `data`, if given.

    Raises:
      errors.UserError: As the constructor does.
    """
    other = dataclasses.replace(
        self,
        train=self.train if train is None else train,
        test=self.test if test is None else test,
        data=self.data if data is None else data,
        choices={},
    )
    # A frozen dataclass has no other way.
    object.__setattr__(other, 'built', self.built)
    return other

  def variant(self, numbers: tuple[tuple[str, float], ...]) -> 'Task':
    """This task with other numbers as arguments, made once for each of them.

    Args:
      numbers: By name: `batch_size`, or arguments of the function that created
        the task.

    Raises:
      errors.UserError: As `create` does, or if it has other clients.
    """
    if not numbers:
      return self
    assert self.variant_fn is not None  # Searches create their task.
    return self.variant_fn(numbers)

  @property
  def settings(self) -> Mapping[str, Any]:
    """`choices`, or what the task says of itself if it was created without."""
    return self.choices or {
        'task': self.name,
        'data': self.data,
        'model': self.model,
    }

  @property
  def fingerprint(self) -> Optional[str]:
    """Changes with the clients' examples; `None` if the clients have none."""
    parts = [clients_lib.fingerprint(c) for c in (self.train, self.test)]
    known = [part for part in parts if part is not None]
    return '+'.join(known) if len(known) == len(parts) else None

  def _any_model(self) -> partial_model.PartialModel:
    """A model with a split that it can be trained with.

    Raises:
      errors.SettingsError: If there is none: why nothing can be personal.
    """
    refusal = None
    for split in ('none', *self.splits):
      try:
        with tf.Graph().as_default():
          model = self.model_fn(split)()
          partial_model.check_batch(model)
          return model
      except errors.SettingsError as e:  # Such as moving averages to be shared.
        refusal = refusal or e
    assert refusal is not None
    raise refusal


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
  create_task = task_function.load(choice.task, registered)
  given = {'model': choice.model, 'batch_size': choice.batch_size}
  keywords: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
  keywords.update(map(parse_argument, choice.task_arg))
  texts = dict(argument.split('=', 1) for argument in choice.task_arg)
  parameters = inspect.signature(create_task).parameters
  takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
  data, others = list(parameters)[:1], list(parameters)[1:]
  for name, value in keywords.items():
    if name in data or (name not in others and not takes_any):
      raise errors.SettingsError(
          f'Expected an argument that task {choice.task!r} takes'
          f' ({", ".join(others) or "none"}), found {name!r}.'
      )
    annotation = parameters[name].annotation if name in parameters else None
    if annotation in (str, 'str') and not isinstance(value, str):
      keywords[name] = texts.get(name, str(value))
    if annotation in (int, float, 'int', 'float') and isinstance(value, tuple):
      raise errors.SettingsError(
          f'Expected one value of {name!r}, found {len(value)}. With `tune`,'
          ' the best of several is chosen.'
      )
  task = create_task(choice.data, **keywords)
  if not isinstance(task, Task):
    raise errors.SettingsError(
        f'Expected {choice.task!r} to return a tff_partial.Task, found'
        f' {type(task).__name__}.'
    )
  # A frozen dataclass has no other way, and `replace` would check it again.
  object.__setattr__(task, 'choices', choice.settings(registered))
  object.__setattr__(task, 'arguments', _with_defaults(parameters, keywords))

  def variant(numbers):
    other = create(choice.with_numbers(numbers), registered=registered)
    words = ', '.join(f'{name}={number}' for name, number in numbers)
    for part in ('train', 'test'):
      clients = [list(getattr(t, part).client_ids) for t in (task, other)]
      if clients[0] != clients[1]:
        raise errors.SettingsError(
            'Expected the same clients with all values of a search, found'
            f' others with {words}. Search for numbers that leave the'
            ' data as they are.'
        )
    return other

  object.__setattr__(task, 'variant_fn', functools.cache(variant))
  return task


def _with_defaults(
    parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
  """The arguments of a function after its first one."""
  defaults = {
      name: parameter.default
      for name, parameter in list(parameters.items())[1:]
      if parameter.default is not parameter.empty
  }
  return {**defaults, **given}


def parse_argument(text: str) -> tuple[str, Any]:
  """Divides `name=value`, with a number, a boolean or None as such.

  Args:
    text: What was given as `task_arg`.

  Raises:
    errors.SettingsError: If it is something else.
  """
  name, equals, value = text.partition('=')
  if not (name.isidentifier() and equals):
    raise errors.SettingsError(
        f'Expected `task_arg` name=value, found {text!r}.'
    )
  try:
    return name, ast.literal_eval(value)
  except (SyntaxError, ValueError):
    return name, value
