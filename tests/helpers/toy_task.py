# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The model of `toy.py` as a task from outside the package."""

import functools

import cachetools

from tests.helpers import toy
from tff_partial.evaluation import metric
from tff_partial.experiments import task as task_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition


@functools.cache  # So that tests share what their plans have built.
def create_task(
    data: str,
    *,
    batch_size: int = 4,
    num_clients: int = 5,
    greeting: str = '',
    with_loss: bool = False,
) -> task_lib.Task:
  """A line through each client's points, whose offset may be personal."""
  clients = toy.random_clients(num_clients)
  splits = {'output': toy.B_IS_PERSONAL}

  def model_fn(split: str) -> partial_model.ModelFn:
    rule = partition.rule_by_name(split, splits)
    return toy.model_fn_with_loss(rule) if with_loss else toy.model_fn(rule)

  task = task_lib.Task(
      name='line',
      data=f'{data}, {greeting}' if greeting else data,
      model='a line',
      model_fn=model_fn,
      splits=splits,
      train=clients,
      test=clients,
      client_examples=examples_lib.Tensors(batch_size=batch_size),
      metric=metric.Metric('squared_error', higher_is_better=False),
  )
  keep_all_built(task)
  return task


def keep_all_built(task: task_lib.Task) -> None:
  """Lets a task keep what the plans of all tests of a module have built."""
  # A frozen dataclass has no other way.
  object.__setattr__(task, 'built', cachetools.LRUCache(32))
