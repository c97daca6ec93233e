# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much of a run `--personal=auto` may take, and at how many clients.

What the choice takes is counted in gradients of batches, like what the run
takes: its pretraining, as counted, and its training, as its settings say.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Optional

import numpy as np

from tff_partial.experiments import parts as parts_lib
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments.estimates import held_out_sample
from tff_partial.experiments.settings import split_choice
from tff_partial.learning import phase as phase_lib
from tff_partial.reporting import formatting

# Scores are second moments over clients. With M of them, the relative error of
# such a moment is about sqrt(2 / M): 0.45 here, and 0.32 with 20.
_LEAST_CLIENTS = 10


@dataclasses.dataclass(frozen=True)
class Extent:
  """What a choice takes.

  Attributes:
    clients: At how many clients it is made.
    drawn: How many were drawn.
    share: The most that it is of all gradients of the run with its pretraining.
    seconds: What that takes at the pace of the pretraining; `None` without one.
  """

  clients: int
  drawn: int
  share: float
  seconds: Optional[float]

  def in_words(self) -> str:
    """What the choice takes, as a line."""
    bound = f'{split_choice.MOST_SHARE:.0%}'
    text = (
        'Choosing what is personal takes up to'
        f" {formatting.share(self.share)} of the run's gradients, at"
        f' {formatting.quantity(self.clients, "client")}'
    )
    if self.seconds is not None:
      text += f', and about {formatting.duration(round(self.seconds))}'
    text += '.'
    if self.share > split_choice.MOST_SHARE:
      text += f' This is more than {bound}: fewer clients would say too little.'
    elif self.clients < self.drawn:
      text += f' All {self.drawn} that were drawn would take more than {bound}.'
    return text


def limit(
    plan: plan_lib.Plan,
    sample: held_out_sample.HeldOutSample,
    *,
    candidates: int,
    pretraining_rounds: Sequence[Mapping[str, float]] = (),
) -> Extent:
  """Finds at how many clients a choice is made.

  Args:
    plan: The run's plan.
    sample: The clients that were drawn.
    candidates: The most candidates that are trained.
    pretraining_rounds: The metrics of the pretraining that the run starts from.
  """
  batching = sample.form.batching
  assert batching is not None
  counted = lambda view: np.array(
      [view.num_examples(c) for c in sample.client_ids]
  )
  own, held_out = counted(sample.training), counted(sample.held_out)
  own, everything = (
      np.asarray(batching.used(n)) for n in (own, own + held_out)
  )
  size = sample.batch_size
  measured = float(np.mean(_batches(own, size)))
  each = measured + candidates * gradients(
      plan.newcomer_finetuning.phases, own, size
  )
  if split_choice.trains(plan.config.evaluation.auto_score):
    epoch = parts_lib.build_finetuning(plan.config, 1).phases
    each += gradients(epoch, own, size) + measured
  total = lambda name: sum(row.get(name, 0.0) for row in pretraining_rounds)
  before = total('counts/steps')
  rest = before + _training(plan, everything, size)
  most = split_choice.MOST_SHARE / (1 - split_choice.MOST_SHARE) * rest
  drawn = len(sample.client_ids)
  clients = min(drawn, max(_LEAST_CLIENTS, math.floor(most / each)))
  taken = clients * each
  return Extent(
      clients,
      drawn,
      taken / (taken + rest),
      taken * total('seconds') / before if before else None,
  )


def gradients(
    phases: Sequence[phase_lib.Phase], num_examples: np.ndarray, batch_size: int
) -> float:
  """The gradients of batches that a client takes in phases, at most.

  Args:
    phases: What the client does.
    num_examples: Of several clients, over which the mean is taken.
    batch_size: Examples in a batch.
  """
  batches = _batches(num_examples, batch_size)
  number = np.zeros(len(batches))
  for phase in phases:
    most = math.inf if phase.max_steps is None else phase.max_steps
    if phase.full_batch:
      number += batches * min(phase.epochs, most)
    else:
      number += phase.inner_steps * np.minimum(batches * phase.epochs, most)
  return float(np.mean(number))


def _batches(num_examples: np.ndarray, batch_size: int) -> np.ndarray:
  return np.ceil(num_examples / batch_size)


def _training(
    plan: plan_lib.Plan, num_examples: np.ndarray, batch_size: int
) -> float:
  """The gradients of a run after its pretraining."""
  if plan.sampler is None:  # Everyone who is evaluated trains before that.
    assert plan.finetuning is not None
    phases, visits = plan.finetuning.phases, float(len(plan.evaluated))
  else:
    phases = plan.algorithm.phases
    visits = plan.config.total_rounds * plan.expected_clients
  return visits * gradients(phases, num_examples, batch_size)
