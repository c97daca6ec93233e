# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of a run for readers: defaults are replaced by what they are.

A run keeps its settings as they were given, to compare them when it goes on. A
report shows what they meant.
"""

from typing import Any

from tff_partial.experiments import parts
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.settings import config as config_lib


def used_settings(
    task: task_lib.Task, config: config_lib.Config
) -> dict[str, Any]:
  """The settings that a run used, by the names of the flags.

  Args:
    task: What is learned.
    config: How.

  Returns:
    Values without those that only other algorithms have. `None` is left where
    there is no limit, file or epsilon.
  """
  task = task.variant(config.task_numbers)
  given = {k: v for k, v in task.settings.items() if v is not None}
  examples = {}
  if hasattr(task.client_examples, 'batch_size'):
    examples['batch_size'] = task.client_examples.batch_size
  # The flags' names come last: a task may call an argument of its own so.
  found = {**task.arguments, **examples, **given, **config.settings}
  optimizer = parts.build_server_optimizer(config.server)
  hyperparameters = optimizer.get_hparams(optimizer.initialize(()))
  found.update(
      personal=config.split,
      pretrain_rounds=config.num_pretrain_rounds,
      finetune_epochs=config.num_finetune_epochs,
      personal_epochs=config.num_personal_epochs,
      personal_learning_rate=config.personal_rate,
      personal_l2=config.penalty,
      pull=config.pull,
      server_epsilon=hyperparameters.get('epsilon'),
      onboarding=','.join(config.onboarding_policies) or 'none',
  )
  unused = config.method.others_settings
  return {name: value for name, value in found.items() if name not in unused}
