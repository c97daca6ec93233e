# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Algorithms as lists of phases.

| algorithm    | phases                       | personal variables       |
| ------------ | ---------------------------- | ------------------------ |
| FedAvg [1]   | shared                       | none                     |
| FedSim [2]   | shared and personal together | kept from round to round |
| FedAlt [2]   | personal, then shared        | kept                     |
| FedRecon [3] | personal, then shared        | made anew each round     |
| fine-tuning  | personal                     | kept; no server step     |

FedSim with a personal output layer is FedPer [4], with a personal input layer
LG-FedAvg [5]; FedAlt with a personal output layer is FedRep [6]. FedRecon is
what [2, Section 5] calls the stateless variant of FedAlt.

[1] McMahan et al. AISTATS 2017. https://arxiv.org/abs/1602.05629
[2] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
[3] Singhal et al. NeurIPS 2021. https://arxiv.org/abs/2102.03448
[4] Arivazhagan et al. 2019. https://arxiv.org/abs/1912.00818
[5] Liang et al. 2020. https://arxiv.org/abs/2001.01523
[6] Collins et al. ICML 2021. https://arxiv.org/abs/2102.07078
"""

import dataclasses
from typing import Optional

from tff_partial import local_update


@dataclasses.dataclass(frozen=True)
class Algorithm:
  """What a client does in a round, and what becomes of its personal variables.

  Attributes:
    name: As the user calls it.
    phases: In order; at least one.
    stateful: Whether a client starts from the personal variables it ended its
      last round with, rather than from the initial ones.
  """

  name: str
  phases: tuple[local_update.Phase, ...]
  stateful: bool = True

  def __post_init__(self):
    if not self.phases:
      raise ValueError(f'Expected a phase in {self.name!r}, found none.')

  @property
  def trains_personal(self) -> bool:
    return any(phase.personal is not None for phase in self.phases)

  @property
  def trains_shared(self) -> bool:
    return any(phase.shared is not None for phase in self.phases)


@dataclasses.dataclass(frozen=True)
class Steps:
  """How long a phase lasts, and how its gradients are bounded.

  Attributes:
    epochs: Passes over a client's examples.
    max_steps: At most so many gradient steps; `None` is no limit.
    clip_norm: Bound on the global norm of the gradients; `None` is no bound.
  """

  epochs: int = 1
  max_steps: Optional[int] = None
  clip_norm: Optional[float] = None


def _phase(
    steps: Steps,
    *,
    shared: Optional[local_update.GroupTraining] = None,
    personal: Optional[local_update.GroupTraining] = None,
) -> local_update.Phase:
  return local_update.Phase(
      shared=shared, personal=personal, **dataclasses.asdict(steps)
  )


def fed_avg(
    shared: local_update.GroupTraining, *, steps: Steps = Steps()
) -> Algorithm:
  """Federated Averaging [1]: the shared variables are trained."""
  return Algorithm('fed_avg', (_phase(steps, shared=shared),))


def fed_sim(
    shared: local_update.GroupTraining,
    personal: local_update.GroupTraining,
    *,
    steps: Steps = Steps(),
) -> Algorithm:
  """FedSim [2, Algorithm 2]: both groups, each step at the same point."""
  return Algorithm(
      'fed_sim', (_phase(steps, shared=shared, personal=personal),)
  )


def fed_alt(
    shared: local_update.GroupTraining,
    personal: local_update.GroupTraining,
    *,
    steps: Steps = Steps(),
    personal_steps: Optional[Steps] = None,
) -> Algorithm:
  """FedAlt [2, Algorithm 1]: the personal variables, then the shared.

  With as many epochs in each phase it makes twice FedSim's gradient steps.

  Args:
    shared: How the shared variables are trained.
    personal: How the personal variables are trained.
    steps: Of the shared phase.
    personal_steps: Of the personal phase; by default the same.
  """
  return Algorithm(
      'fed_alt',
      (
          _phase(personal_steps or steps, personal=personal),
          _phase(steps, shared=shared),
      ),
  )


def fed_recon(
    shared: local_update.GroupTraining,
    personal: local_update.GroupTraining,
    *,
    steps: Steps = Steps(),
    personal_steps: Optional[Steps] = None,
) -> Algorithm:
  """FedRecon [3]: FedAlt whose personal variables start anew each round."""
  return dataclasses.replace(
      fed_alt(shared, personal, steps=steps, personal_steps=personal_steps),
      name='fed_recon',
      stateful=False,
  )


def finetune(
    personal: local_update.GroupTraining, *, steps: Steps = Steps()
) -> Algorithm:
  """Local fine-tuning: the personal variables are trained, nothing is sent."""
  return Algorithm('finetune', (_phase(steps, personal=personal),))
