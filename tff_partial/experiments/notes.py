# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a reader of a report must know."""

from collections.abc import Mapping, Sequence
from typing import Optional

import numpy as np

from tff_partial.evaluation import client_table
from tff_partial.evaluation import summary
from tff_partial.experiments import origin
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import tested_models as tested_models_lib
from tff_partial.experiments.settings import methods
from tff_partial.reporting import findings
from tff_partial.reporting import formatting
from tff_partial.training import history

DEMONSTRATION_NOTE = (
    'The data were made for demonstration. They show what the program does, but'
    ' say nothing about people.'
)
GATED_INIT_NOTE = (
    'The model that training started from may have seen the examples held out'
    ' for the gate, unless it was trained with the same gate and seed. If it'
    ' has,'
    ' the gate is biased towards keeping it.'
)

VALIDATION_INIT_NOTE = (
    'The model that training started from may have seen the validation'
    ' examples, unless it was trained with the same validation share and seed.'
)
_MOST_NAMES = 6  # In a sentence.


def notes(
    plan: plan_lib.Plan,
    models: tested_models_lib.TestedModels,
    table: client_table.ClientTable,
    gated: Optional[Mapping[str, float]],
    *,
    rounds: Sequence[Mapping[str, float]],
    pretraining_rounds: Sequence[Mapping[str, float]],
    new_variables: Sequence[str] = (),
    control_rounds: Sequence[Mapping[str, float]] = (),
) -> list[str]:
  """What a reader of the report must know, a paragraph each.

  Args:
    plan: The run's plan.
    models: What was evaluated.
    table: The results.
    gated: What the gate decided, if there was one.
    rounds: The run's metrics, one record per round.
    pretraining_rounds: Those of the pretraining.
    new_variables: Paths of the personal variables that the model that training
      started from does not have.
    control_rounds: The metrics of the control's rounds, if there is one.
  """
  return [
      *_training_notes(plan),
      *_lineage_notes(plan, table),
      *notes_on_new_variables(new_variables),
      *_missing_rounds_notes(plan, rounds),
      *_lost_updates_notes('the pretraining', pretraining_rounds),
      *_lost_updates_notes('training', rounds),
      *_control_notes(rounds, control_rounds),
      *_lost_updates_notes('the control', control_rounds),
      *_finetuning_notes(plan, models),
      *_validation_notes(plan),
      *_gate_notes(plan, table, gated),
      *_sample_notes(plan, table),
  ]


def notes_for_comparisons(
    plan: plan_lib.Plan,
    table: client_table.ClientTable,
    *,
    rounds: Sequence[Mapping[str, float]],
    new_variables: Sequence[str] = (),
) -> list[str]:
  """Those of `notes` that a comparison repeats.

  They are about the method, about what went wrong, and about who trained the
  model to start from. Others are known to the comparison or are numbers that
  every run has.

  Args:
    plan: The run's plan.
    table: The results.
    rounds: The run's metrics, one record per round.
    new_variables: As for `notes`.
  """
  note = plan.config.method.note
  return [
      *_lineage_notes(plan, table),
      *notes_on_new_variables(new_variables),
      *_missing_rounds_notes(plan, rounds),
      *_lost_updates_notes('training', rounds),
      *([] if note is None else [note]),
  ]


def _lost_updates_notes(
    what: str, rounds: Sequence[Mapping[str, float]]
) -> list[str]:
  """A note about updates that were left out because they were not finite.

  Args:
    what: The training that the note is about.
    rounds: Its metrics, one record per round.
  """
  lost = [int(row.get('counts/non_finite', 0)) for row in rounds]
  if not any(lost):
    return []
  affected = sum(count > 0 for count in lost)
  return [
      f'In {affected:,} of {formatting.quantity(len(lost), "round")} of {what},'
      f' {formatting.quantity(sum(lost), "update")} of clients were not finite'
      ' and were left out. Use a smaller learning rate, or bound gradients by'
      ' --clip_norm.'
  ]


def _missing_rounds_notes(
    plan: plan_lib.Plan, rounds: Sequence[Mapping[str, float]]
) -> list[str]:
  """A note about rounds whose metrics were lost."""
  if plan.sampler is None:
    return []
  lost = history.missing(rounds, plan.config.total_rounds)
  if not lost:
    return []
  return [
      f'The metrics of {formatting.quantity(len(lost), "round")} of'
      f' {plan.config.total_rounds:,} are missing, for example because the'
      ' machine lost power. The curves and the cost leave these rounds out.'
  ]


def _training_notes(plan: plan_lib.Plan) -> list[str]:
  found = []
  if plan.task.demonstration:
    found.append(DEMONSTRATION_NOTE)
  method = plan.config.method
  has_default_baseline = method.personalizes and method.baseline is None
  if has_default_baseline and not plan.starts_from_model:
    found.append(
        'This run did not start from a trained model. Its baseline is therefore'
        ' its own shared model with the initial personal variables. To compare'
        ' with FedAvg, use --pretrain_rounds or --init_from.'
    )
  may_have_control = (
      method.personalizes
      and not method.trains_alone
      and not plan.config.privacy.is_private
      and plan.starts_from_model
  )
  if may_have_control and plan.control is None:
    found.append(
        'This run has no control: it does not tell what as many more rounds of'
        ' FedAvg would have changed. Add one with --control. A comparison has'
        ' one with --seeds and'
        f' --algorithm={methods.PRETRAINING},{plan.config.algorithm}.'
    )
  if plan.levels is not None:
    found.append(
        'Clients have budgets of personal bytes. The server learns which parts'
        ' of the model each client of a round shares. The cost counts all'
        ' shared variables as sent to and by every client, and all that may be'
        ' personal as stored for it, although those of a client are one or the'
        ' other.'
    )
  if plan.pretraining is not None:
    found.append(
        'The cost is that of personalization. The'
        f' {plan.config.num_pretrain_rounds} rounds of FedAvg before it have'
        ' their own folder, pretrain.'
    )
  return found


def _control_notes(
    rounds: Sequence[Mapping[str, float]],
    control_rounds: Sequence[Mapping[str, float]],
) -> list[str]:
  """What the control is, and how much it was trained."""
  if not control_rounds:
    return []
  steps = lambda of: sum(int(row.get('counts/steps', 0)) for row in of)
  return [
      'The control is the model that training started from, after'
      f' {formatting.quantity(len(control_rounds), "more round")} of FedAvg'
      f' with the same cohorts. These took {steps(control_rounds):,} gradient'
      f' steps, which are not part of the cost, and this run {steps(rounds):,}.'
  ]


def _lineage_notes(
    plan: plan_lib.Plan, table: client_table.ClientTable
) -> list[str]:
  """Who trained the model that the run started from."""
  found = []
  earlier = table.earlier & ~table.participated
  if earlier.any():
    never = ~table.earlier & ~table.participated
    found.append(
        f'Of {formatting.quantity(len(table.client_ids), "evaluated client")},'
        f' {table.participated.sum():,} took part in this training,'
        f' {earlier.sum():,} only in the training of the model that it started'
        f' from, and {never.sum():,} in neither. The last are the ones called'
        ' never seen.'
    )
  known = plan.unseen.intersection(
      c for c, trained in zip(table.client_ids, table.earlier) if trained
  )
  if known:
    found.append(
        f'{len(known):,} of'
        f' {formatting.quantity(len(plan.unseen), "unseen client")} trained the'
        ' model that this run started from (--allow_overlap). For them, the'
        ' results are not those of newcomers.'
    )
  init_from = plan.config.init_from
  unknown = init_from is not None and origin.run_of(init_from) is None
  if unknown and not table.earlier.any():  # Else it was known in the beginning.
    found.append(
        'This run started from weights that do not say which clients, if any,'
        ' trained them. Clients called never seen may be among them.'
    )
  return found


def notes_on_new_variables(paths: Sequence[str]) -> list[str]:
  """A note about personal variables that the first model does not have.

  Args:
    paths: Of these variables.
  """
  if not paths:
    return []
  number = formatting.quantity(len(paths), 'personal variable')
  verb = 'is' if len(paths) == 1 else 'are'
  names = ', '.join(paths[:_MOST_NAMES])
  if len(paths) > _MOST_NAMES:
    names += f' and {len(paths) - _MOST_NAMES} more'
  return [
      f'{number} {verb} new: the model that training started from does not have'
      f' {names}.'
  ]


def _finetuning_notes(
    plan: plan_lib.Plan, models: tested_models_lib.TestedModels
) -> list[str]:
  found = []
  config = plan.config
  if plan.finetuning is not None and plan.algorithm.trains_shared:
    found.append(
        'Every evaluated client was fine-tuned for'
        f' {config.num_finetune_epochs} epochs. These'
        f' {models.finetuning_steps:,} gradient steps are not part of the cost.'
    )
  if config.method.note is not None:
    found.append(config.method.note)
  if 'finetune' in config.onboarding_policies:
    found.append(
        f'New clients are fine-tuned for {config.num_newcomer_epochs} epochs.'
    )
  if 'mean' in config.onboarding_policies:
    stored = formatting.quantity(models.num_stored, 'client')
    found.append(
        f'For the mean, the server averaged the personal variables of {stored}.'
        if models.has_mean
        else (
            f'No mean of personal variables: {stored} had some, and'
            ' --min_clients_for_mean is'
            f' {config.evaluation.min_clients_for_mean}.'
        )
    )
  return found


def _validation_notes(plan: plan_lib.Plan) -> list[str]:
  """From which examples the numbers of a run with validation come."""
  share = plan.config.evaluation.validation
  if not share:
    return []
  held_out = plan.held_out
  assert held_out is not None
  too_few = sum(not held_out.num_examples(c) for c in plan.curve_clients)
  text = (
      f"{formatting.share(share)} of every client's training examples were held"
      ' out of all training for validation, but at least one, and none of a'
      ' single example.'
      f' {formatting.quantity(too_few, "client")} of the'
      f' {len(plan.curve_clients):,} in the learning curves had only one. '
  )
  if plan.on_validation:
    text += (
        'This run is for choosing settings: all of its results, also what is'
        ' called test data here, are from validation examples. Test examples'
        ' were not read.'
    )
  else:
    text += (
        'Learning curves are from validation examples, all other results from'
        ' test examples, which were read once, after training.'
    )
  if plan.config.evaluation.gate:
    text += ' The gate decides by the validation examples.'
  return [text, *([VALIDATION_INIT_NOTE] if plan.config.init_from else [])]


def _gate_notes(
    plan: plan_lib.Plan,
    table: client_table.ClientTable,
    gated: Optional[Mapping[str, float]],
) -> list[str]:
  found = []
  share = plan.config.evaluation.gate
  if share:
    found.append(
        f"{formatting.share(share)} of every client's training examples were"
        ' held out of all training, including the pretraining.'
    )
  if gated is not None:
    baseline = formatting.model(plan.baseline).lower()
    candidate = formatting.model(plan.candidate).lower()
    found.append(
        f'With the gate, {gated["kept_shared"]:,} of'
        f' {formatting.quantity(gated["clients"], "client")}'
        f' ({formatting.share(gated["kept_shared_share"])}) kept the model'
        f' “{baseline}”, because on their held-out examples “{candidate}” was'
        ' no'
        ' better.'
    )
    found.append(_gate_worth(plan, table, gated))
    if plan.config.init_from:
      found.append(GATED_INIT_NOTE)
  return found


def _gate_worth(
    plan: plan_lib.Plan,
    table: client_table.ClientTable,
    gated: Mapping[str, float],
) -> str:
  """The gate compared with a coin, and with no gate."""
  metric = plan.task.metric
  query = findings.ReportQuery(metric, plan.baseline, plan.candidate)
  percent = query.percent(table)
  points = ' points' if percent else ''
  low, high = '{}_low'.format, '{}_high'.format
  effect = lambda name: (
      f'{formatting.change(gated[name], percent)}{points} ('
      f'{formatting.interval(gated[low(name)], gated[high(name)], percent)})'
  )
  share = lambda name: formatting.share(gated[name])
  worst = 'lower' if metric.higher_is_better else 'upper'
  return (
      f'With the gate {share("hurt")} of clients are worse, without it'
      f' {share("hurt_without_gate")}. A coin that lets as many clients take'
      f' the personalized model would give {share("hurt_by_coin")}'
      f' ({share("coin_low")} to {share("coin_high")} in 95% of the cases).'
      ' Compared with no gate, the gate changes the mean by'
      f' {effect("mean")} and the {worst} decile of clients by'
      f' {effect("decile")}.'
  )


def _sample_notes(
    plan: plan_lib.Plan, table: client_table.ClientTable
) -> list[str]:
  """How far the numbers are off because not everyone was evaluated."""
  if not plan.config.evaluation.eval_clients:
    return []
  metric = plan.task.metric.name
  # Unseen clients that are evaluated in addition were not sampled.
  sampled = set(plan.evaluated[: plan.config.evaluation.eval_clients])
  sample = table.select(np.array([c in sampled for c in table.client_ids]))
  error = lambda name: summary.summarize(sample, name, metric).weighted_error
  words = ', '.join(
      f'{error(name):.2g} ({name.replace("_", "-")})'
      for name in sample.scores
      if np.any(sample.weights(name, metric))
  )
  more = len(table.client_ids) - len(sample.client_ids)
  and_more = (
      f' The {formatting.quantity(more, "unseen client")} that were evaluated'
      ' in addition have no part in it.'
      if more
      else ''
  )
  return [
      f'{len(sample.client_ids):,} of {len(plan.task.test.client_ids):,}'
      ' clients were sampled with the seed and evaluated. The standard error of'
      f' their {metric} is {words}.{and_more}'
  ]
