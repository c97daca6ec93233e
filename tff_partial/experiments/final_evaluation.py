# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The evaluation at the end of a run, and what its gate decides."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Optional

import tensorflow_federated as tff

from tff_partial.evaluation import client_table
from tff_partial.evaluation import evaluation
from tff_partial.evaluation import gate
from tff_partial.evaluation import yardstick
from tff_partial.experiments import open_run


def evaluate(
    current: open_run.OpenRun,
    shared: tff.learning.models.ModelWeights,
    control: Mapping[str, evaluation.TestedModel],
) -> tuple[client_table.ClientTable, Optional[Mapping[str, float]]]:
  """Results of all models, and what the gate decided if there is one."""
  plan = current.plan
  models = current.models.of_everyone(shared)
  table = current.evaluate(
      {**models, **control, **current.models.of_newcomers(shared)},
      plan.evaluated,
  )
  if plan.task.labels_fn is not None:
    table = yardstick.add(
        table,
        plan.task.metric.name,
        train=plan.train_clients,
        test=plan.test,
        labels_fn=plan.task.labels_fn,
        baseline=plan.baseline,
    )
  if not (plan.config.evaluation.gate and plan.config.method.personalizes):
    return table, None
  takes = choose_by_gate(current, models, table.client_ids)
  kept_shared = len(table.client_ids) - len(takes)
  gated = gate.add(
      table, takes, baseline=plan.baseline, candidate=plan.candidate
  )
  tested = table.weights(plan.baseline, plan.task.metric.name) > 0
  return gated, {
      'share_held_out': plan.config.evaluation.gate,
      'clients': len(table.client_ids),
      'kept_shared': kept_shared,
      'kept_shared_share': kept_shared / len(table.client_ids),
      # Of the clients that comparisons are about.
      'takers': sum(
          client_id in takes - plan.unseen
          for client_id, is_tested in zip(table.client_ids, tested)
          if is_tested
      ),
      **gate.worth(
          gated,
          plan.task.metric,
          takes,
          baseline=plan.baseline,
          candidate=plan.candidate,
      ),
  }


def choose_by_gate(
    current: open_run.OpenRun,
    models: Mapping[str, evaluation.TestedModel],
    client_ids: Sequence[str],
) -> frozenset[str]:
  """The clients whose held-out examples speak for the candidate."""
  plan = current.plan
  held_out = plan.held_out
  assert held_out is not None
  deciding = [
      c
      for c in client_ids
      if c in held_out.client_ids and held_out.num_examples(c)
  ]
  if not deciding:
    return frozenset()
  table = current.evaluate(
      {
          # What is kept and counted belongs to the evaluation on test examples.
          name: dataclasses.replace(models[name], keep_fn=None)
          for name in (plan.baseline, plan.candidate)
      },
      deciding,
      population=dataclasses.replace(current.population, test=held_out),
  )
  return gate.helped(
      table,
      plan.task.metric,
      baseline=plan.baseline,
      candidate=plan.candidate,
  )
