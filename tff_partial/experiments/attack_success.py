# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""How far a simulated attack was successful."""

import dataclasses

import tensorflow_federated as tff

from tff_partial.evaluation import client_table
from tff_partial.evaluation import summary
from tff_partial.experiments import open_run
from tff_partial.experiments import plan as plan_lib
from tff_partial.learning import attacks
from tff_partial.reporting import formatting


def notes(
    current: open_run.OpenRun, shared: tff.learning.models.ModelWeights
) -> list[str]:
  """What the report says of an attack, with its success; nothing without one.

  Args:
    current: The run.
    shared: The trained shared variables.
  """
  plan = current.plan
  server = plan.config.server
  if server.attack is None:
    return []
  share = f'{server.attackers:.0%}'
  if server.attack not in attacks.ON_DATA:
    return [
        f'Simulated attack: with a probability of {share}, a client sent its'
        ' update times -10.'
    ]
  population = dataclasses.replace(
      current.population, test=attacks.wanted(plan.test, server.attack)
  )
  models = current.models.of_everyone(shared)
  evaluated = {
      # What fine-tuning keeps belongs to the usual evaluation.
      name: dataclasses.replace(models[name], keep_fn=None)
      for name in (plan.baseline, plan.candidate)
  }
  table = current.evaluate(evaluated, plan.evaluated, population=population)
  rates = ' and '.join(
      f'{_rate(table, name, plan):.1%} under {formatting.words(name)}'
      for name in evaluated
  )
  sought = {
      'label_flip': 'the wrong label that attackers trained',
      'backdoor': (
          f'label {attacks.TARGET} for pictures of others with the trigger'
      ),
  }[server.attack]
  return [
      f'Simulated attack ({server.attack}) by {share} of the clients in'
      f' training, which are not evaluated. Its success, {sought}: {rates}.'
  ]


def _rate(
    table: client_table.ClientTable, model: str, plan: plan_lib.Plan
) -> float:
  return summary.summarize(table, model, plan.task.metric.name).weighted_mean
