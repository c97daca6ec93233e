# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a task is: a model that can be split, and people's data for it."""

from collections.abc import Callable, Mapping
import dataclasses
import importlib
from typing import Optional

import tensorflow as tf

from tff_partial import clients as clients_lib
from tff_partial import examples as examples_lib
from tff_partial import partial_model
from tff_partial import partition


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
    metric: The model's metric that decides who gains and who is hurt.
    higher_is_better: Whether a higher value of it is.
    demonstration: Whether the data were made for show, so that findings on them
      say nothing about people.
    texts: Files, by name, that say what the model's inputs and outputs mean,
      such as a vocabulary. A run keeps them, and neither goes on nor starts
      from another run with different ones.
  """

  name: str
  data: str
  model: str
  model_fn: Callable[[str], partial_model.ModelFn]
  splits: Mapping[str, partition.Rule]
  train: clients_lib.Clients
  test: clients_lib.Clients
  client_examples: examples_lib.ClientExamples
  metric: str
  higher_is_better: bool
  demonstration: bool = False
  texts: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    """Checks that the model takes what the clients have.

    Raises:
      ValueError: If there are no clients, if the first client's examples are
        not what the computations expect, or if the model lacks the metric.
    """
    with tf.Graph().as_default():
      model = self.model_fn('none')()
    if self.metric not in model.metric_names:
      raise ValueError(
          f'Expected a metric of {list(model.metric_names)} for task'
          f' {self.name!r}, found {self.metric!r}.'
      )
    for part, clients in (('training', self.train), ('test', self.test)):
      if not len(clients.client_ids):
        raise ValueError(
            f'Expected clients with {part} examples, found none in {self.data}.'
        )
      client_id = clients.client_ids[0]
      try:
        self.client_examples.check(clients.read(client_id), model.input_spec)
      except ValueError as e:
        raise ValueError(
            f'Client {client_id!r} of {self.data} does not fit task'
            f' {self.name!r}. {e}'
        ) from e


def create(
    name: str, data: str, *, model: Optional[str], batch_size: Optional[int]
) -> Task:
  """Creates the task of that name, by its module's `create_task`.

  Args:
    name: The module's.
    data: Where examples come from.
    model: Which of the task's models; `None` is the task's choice.
    batch_size: Examples a step; `None`, the same.

  Raises:
    ValueError: If the model is unknown or the data are not as expected.
    OSError: If the data cannot be read.
  """
  choices = {'model': model, 'batch_size': batch_size}
  return importlib.import_module(f'tasks.{name}').create_task(
      data, **{k: v for k, v in choices.items() if v is not None}
  )
