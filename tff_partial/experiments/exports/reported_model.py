# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Models of a finished run that its folder does not hold.

A run stores what a client's last round left. Fine-tuning after the last round,
and the gate's decision, are made for the report alone. Here they are made again
for one client, from the same examples with the same seeds.
"""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.experiments import checkpoint
from tff_partial.experiments import final_evaluation
from tff_partial.experiments import open_run
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import stages
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import methods
from tff_partial.runtime import sharding as sharding_lib

CHOICES = methods.EXPORTED
STORED, FINETUNED, GATED = CHOICES


@dataclasses.dataclass(frozen=True)
class ReportedModel:
  """A client's model.

  Attributes:
    name: What the report calls it, such as 'finetuned'.
    shared: Its shared variables.
    personal: Its personal variables.
  """

  name: str
  shared: tff.learning.models.ModelWeights
  personal: tff.learning.models.ModelWeights


def check(choice: str, config: config_lib.Config) -> None:
  """Checks that a run has a model.

  Args:
    choice: One of `CHOICES`.
    config: The run's.

  Raises:
    errors.SettingsError: If it has not.
  """
  if choice not in CHOICES:
    raise errors.SettingsError(
        f'Expected `model` of {list(CHOICES)}, found {choice!r}.'
    )
  needs = {FINETUNED: '`finetune_epochs`', GATED: '`gate`'}
  has = {FINETUNED: config.num_finetune_epochs, GATED: config.evaluation.gate}
  if choice != STORED and not (has[choice] and config.method.personalizes):
    raise errors.SettingsError(
        f'Expected a run with {needs[choice]} to export its {choice} model,'
        f' found one without. Export the {STORED} one.'
    )


def check_finished(choice: str, run: str) -> None:
  """Refuses what a run that is not finished cannot have decided.

  Raises:
    errors.SettingsError: If `choice` is not the stored model.
  """
  if choice != STORED:
    raise errors.SettingsError(
        f'Expected a finished run to export its {choice} model, found an'
        f' unfinished one in {run}. Finish it, or export the {STORED} one.'
    )


def compute(
    choice: str,
    plan: plan_lib.Plan,
    folder: pathlib.Path,
    client_id: str,
    shared: tff.learning.models.ModelWeights,
) -> ReportedModel:
  """Makes a client's model again, in this thread's TFF context.

  Args:
    choice: 'finetuned' or 'gated'.
    plan: The run's.
    folder: The run's.
    client_id: The client.
    shared: The run's trained shared variables.

  Raises:
    errors.SettingsError: If the client is not one of the run's data.
  """
  if client_id not in plan.train_clients.client_ids:
    raise errors.SettingsError(
        f'Expected a client of {plan.task.data} to export its {choice} model,'
        f' found {client_id!r}. Export the {STORED} one.'
    )
  init_from = checkpoint.start_of(folder, plan)
  stages.check_origin(folder, plan, None if plan.pretraining else init_from)
  with open_run.open_run(
      plan, folder, init_from, sharding_lib.Sharding(), False, read_only=True
  ) as current:
    models = current.models.of_everyone(shared)
    name = plan.config.finetuned_model
    if choice == GATED:
      takes = final_evaluation.choose_by_gate(current, models, [client_id])
      name = plan.candidate if client_id in takes else plan.baseline
    model = models[name]
    (personal,) = model.personal_fn([client_id])
    if model.evaluation.phases:
      kept: list[Any] = []

      def keep(unused_ids: Sequence[str], outputs: Sequence[Any]) -> None:
        kept.extend(outputs)

      current.evaluate(
          {name: dataclasses.replace(model, keep_fn=keep)},
          [client_id],
          # A client may have no test examples.
          population=dataclasses.replace(
              current.population, test=plan.train_clients
          ),
      )
      personal = kept[0]['personal']
    return ReportedModel(name, model.shared, personal)
