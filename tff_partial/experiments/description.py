# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run is going to do, in a few lines."""

from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import privacy_in_words


def describe(plan: plan_lib.Plan, output_dir: str) -> str:
  """What a run is going to do, in a few lines."""
  config, task = plan.config, plan.task
  total = sum(v.size for v in plan.variables)
  personal = sum(v.size for v in plan.variables if v.personal)
  expected = plan.expected_clients
  size = f'{round(expected)} clients'
  if config.privacy.sampling == 'poisson' or expected != round(expected):
    size = f'about {size}'
  share = f'{personal:,} of {total:,} parameters personal'
  share += f' ({personal / total:.2%})'
  if config.chooses_split:
    share = 'to be chosen before training'
  rounds = f'{config.total_rounds} rounds of {size}'
  if config.method.trains_alone:
    rounds = f'{config.num_finetune_epochs} epochs at every client'
  if plan.pretraining is not None:
    rounds = f'{config.num_pretrain_rounds} rounds of fed_avg, then {rounds}'
  if plan.control is not None:
    rounds += f'; control: {config.total_rounds} rounds of fed_avg'
  return '\n'.join(
      [
          f'task       {task.name}: {task.model}',
          f'data       {task.data}; {len(task.train.client_ids):,} clients',
          f'split      {config.split_in_words}: {share}',
          f'algorithm  {config.algorithm}: {rounds}',
          *_privacy_line(plan),
          f'output     {output_dir}',
      ]
  )


def _privacy_line(plan: plan_lib.Plan) -> list[str]:
  if plan.budget is None:
    return []
  promise = privacy_in_words.promise(plan.budget, plan.config.privacy)
  noise = f'by noise of {plan.budget.noise_multiplier:.3g} times the bound'
  return [f'privacy    {promise}', f'           {noise}']
