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

Full personalization has a personal copy of the whole model (`copied_model.py`):

| algorithm  | phases                                     | predicts with    |
| ---------- | ------------------------------------------ | ---------------- |
| Ditto [7]  | personal, drawn to the shared; then shared | the copy         |
| pFedMe [8] | (personal, drawn to the shared; pull) x R  | the copy         |
| APFL [9]   | both together                              | a learnt mixture |

FedSim with a personal output layer is FedPer [4], with a personal input layer
LG-FedAvg [5]; FedAlt with a personal output layer is FedRep [6]. FedRecon is
what [2, Section 5] calls the stateless variant of FedAlt.

[1] McMahan et al. AISTATS 2017. https://arxiv.org/abs/1602.05629
[2] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
[3] Singhal et al. NeurIPS 2021. https://arxiv.org/abs/2102.03448
[4] Arivazhagan et al. 2019. https://arxiv.org/abs/1912.00818
[5] Liang et al. 2020. https://arxiv.org/abs/2001.01523
[6] Collins et al. ICML 2021. https://arxiv.org/abs/2102.07078
[7] Li et al. ICML 2021. https://arxiv.org/abs/2012.04221
[8] T. Dinh et al. NeurIPS 2020. https://arxiv.org/abs/2006.08848
[9] Deng et al. 2020. https://arxiv.org/abs/2003.13461
"""

import dataclasses
from typing import Optional

from tff_partial import errors
from tff_partial.learning import local_update

PART, COPY, MIXTURE = 'part', 'copy', 'mixture'


@dataclasses.dataclass(frozen=True)
class Algorithm:
  """What a client does in a round, and what becomes of its personal variables.

  Attributes:
    name: As the user calls it.
    phases: In order; at least one.
    stateful: Whether a client starts from the personal variables it ended its
      last round with, rather than from the initial ones.
    model: What is personal: PART of a model, a COPY of it, or a copy and its
      weight in a MIXTURE with the shared model.
  """

  name: str
  phases: tuple[local_update.Phase, ...]
  stateful: bool = True
  model: str = PART

  def __post_init__(self):
    if not self.phases:
      raise errors.SettingsError(
          f'Expected a phase in {self.name!r}, found none.'
      )

  @property
  def trains_personal(self) -> bool:
    return any(phase.personal is not None for phase in self.phases)

  @property
  def trains_shared(self) -> bool:
    return any(phase.shared is not None or phase.pull for phase in self.phases)


@dataclasses.dataclass(frozen=True)
class Steps:
  """How long a phase lasts, and what its steps have in common.

  Attributes:
    epochs: Passes over a client's examples.
    max_steps: At most so many gradient steps; `None` is no limit.
    clip_norm: Bound on the global norm of the gradients; `None` is no bound.
    adapter_dropout: The part of adapters' outputs that is dropped.
  """

  epochs: int = 1
  max_steps: Optional[int] = None
  clip_norm: Optional[float] = None
  adapter_dropout: float = 0.0


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


def ditto(
    shared: local_update.GroupTraining,
    personal: local_update.GroupTraining,
    *,
    penalty: float,
    steps: Steps = Steps(),
    personal_steps: Optional[Steps] = None,
) -> Algorithm:
  """Ditto [7]: FedAvg, and personal models that stay near it.

  A client minimizes `f(v) + (penalty / 2) ||v - u||^2` over its personal model
  v for the shared model u that it received, and trains u as FedAvg does. The
  code published with the paper of FedAlt [2] uses u from before personalization
  throughout, and a penalty without the 1/2.

  Args:
    shared: How the shared model is trained.
    personal: How the personal model is trained; its penalty is replaced.
    penalty: Weight of the distance; 0 is training alone.
    steps: Of the shared phase.
    personal_steps: Of the personal phase; by default the same.
  """
  drawn = dataclasses.replace(
      personal, penalty=penalty, anchor=local_update.SHARED
  )
  alternating = fed_alt(
      shared, drawn, steps=steps, personal_steps=personal_steps
  )
  return dataclasses.replace(alternating, name='ditto', model=COPY)


def pfedme(
    personal: local_update.GroupTraining,
    *,
    penalty: float,
    pull: float,
    local_rounds: int = 5,
    inner_steps: int = 3,
    clip_norm: Optional[float] = None,
) -> Algorithm:
  """pFedMe [8, Algorithm 1]: the shared model follows proximal points.

  In each of `local_rounds`, `inner_steps` of gradient descent approach the
  minimizer of `f(v) + (penalty / 2) ||v - u||^2`, and then u goes to
  `u - pull (u - v)`; the paper's `pull` is its rate eta times the penalty. An
  inner step takes a batch of its own, where the paper takes the same for all.
  The paper's server rate beta is that of the server's SGD.

  Args:
    personal: How the personal model is trained; its penalty is replaced.
    penalty: Weight lambda of the distance.
    pull: From 0 to 1.
    local_rounds: The paper's R.
    inner_steps: The paper's K.
    clip_norm: Bound on the norm of the gradients, penalty included.
  """
  phase = local_update.Phase(
      personal=dataclasses.replace(
          personal, penalty=penalty, anchor=local_update.SHARED
      ),
      # As many epochs as steps: enough for a client of one batch.
      epochs=inner_steps,
      max_steps=inner_steps,
      clip_norm=clip_norm,
      pull=pull,
  )
  return Algorithm('pfedme', (phase,) * local_rounds, model=COPY)


def apfl(
    shared: local_update.GroupTraining,
    personal: local_update.GroupTraining,
    *,
    steps: Steps = Steps(),
) -> Algorithm:
  """APFL [9, Algorithm 1]: a learnt mixture of shared and personal model.

  The personal model and the weight are trained on the mixture's loss, the
  shared model on its own, each step at the same point.
  """
  together = fed_sim(shared, personal, steps=steps)
  return dataclasses.replace(together, name='apfl', model=MIXTURE)
