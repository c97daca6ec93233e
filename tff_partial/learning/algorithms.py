# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Algorithms as lists of phases.

| algorithm    | phases                       | personal variables       |
| ------------ | ---------------------------- | ------------------------ |
| FedAvg [1]   | shared                       | none                     |
| FedSim [2]   | shared and personal together | kept from round to round |
| FedAlt [2]   | personal, then shared        | kept                     |
| FedRecon [3] | personal, then shared        | initial ones each round  |
| fine-tuning  | personal                     | kept; no server step     |

In full personalization each client has a copy of the whole model, in addition
to the shared model (`copied_model.py`). The algorithm wraps the model:

| algorithm  | phases                                      | predicts with     |
| ---------- | ------------------------------------------- | ----------------- |
| Ditto [7]  | personal, with a penalty on the distance to | the copy          |
|            | the shared model; then shared               |                   |
| pFedMe [8] | R times: personal, with such a penalty;     | the copy          |
|            | then shared, pulled towards the copy        |                   |
| APFL [9]   | both together                               | a learned mixture |

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

from collections.abc import Callable
import dataclasses
import functools
from typing import Optional

import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import constants
from tff_partial.learning import copied_model
from tff_partial.learning import local_update
from tff_partial.learning import partial_model

Wrapper = Callable[[partial_model.ModelFn], partial_model.PartialModel]


@dataclasses.dataclass(frozen=True)
class Algorithm:
  """What a client does in a round.

  Attributes:
    name: The name that users know.
    phases: What a client trains, in order; at least one phase.
    stateful: Whether a client starts from the personal variables with which it
      ended its last round, rather than from the initial ones.
    wrapper: Makes the model that is trained from a `ModelFn`, if that is more
      than one model divided into groups: `copied_model.CopiedModel`, for
      example, adds a personal copy. `None` to train the model itself.
  """

  name: str
  phases: tuple[local_update.Phase, ...]
  stateful: bool = True
  wrapper: Optional[Wrapper] = None

  def __post_init__(self):
    if not self.phases:
      raise errors.SettingsError(
          f'Expected at least one phase in the algorithm {self.name!r}, found'
          ' none.'
      )
    if self.wrapper is None and any(map(_needs_copy, self.phases)):
      raise errors.SettingsError(
          f'Expected a `wrapper` in the algorithm {self.name!r}, because it'
          ' moves personal copies and shared variables towards each other,'
          ' found None. Use copied_model.CopiedModel.'
      )

  @property
  def trains_shared(self) -> bool:
    """Whether the shared variables change."""
    return any(phase.shared is not None or phase.pull for phase in self.phases)

  def wrap(self, model_fn: partial_model.ModelFn) -> partial_model.ModelFn:
    """The models that this algorithm trains.

    Args:
      model_fn: Returns a new `PartialModel` on every call. If the algorithm has
        a wrapper, all variables of the model must be shared; otherwise the
        models raise an `errors.SettingsError` when they are created.
    """
    if self.wrapper is None:
      return model_fn
    if isinstance(model_fn, constants.ConstantsModelFn):
      # The copies share one set of values.
      return dataclasses.replace(
          model_fn, model_fn=self.wrap(model_fn.model_fn)
      )
    return functools.partial(self.wrapper, model_fn)

  def shared_only(
      self,
      shared: tff.learning.models.ModelWeights,
      initial_personal: tff.learning.models.ModelWeights,
  ) -> tff.learning.models.ModelWeights:
    """Personal variables with which a client predicts as the shared model.

    Args:
      shared: The shared variables.
      initial_personal: The initial personal variables.

    Returns:
      The initial ones, or a copy of the shared ones if the algorithm has a
      wrapper.
    """
    if self.wrapper is None:
      return initial_personal
    return copied_model.copy_of(shared, initial_personal)


def _needs_copy(phase: local_update.Phase) -> bool:
  """Whether a phase requires personal copies of the shared variables."""
  personal = phase.personal
  return bool(phase.pull) or (
      personal is not None and personal.anchor == local_update.SHARED
  )


@dataclasses.dataclass(frozen=True)
class Steps:
  """The length of a phase and the settings that all its steps share.

  Attributes:
    epochs: Passes over a client's examples.
    max_steps: Upper bound on the number of gradient steps; `None` for no bound.
    clip_norm: Bound on the global norm of the gradients; `None` for no bound.
    adapter_dropout: The fraction of the outputs of adapters that is dropped.
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
  """Federated Averaging [1]: trains the shared variables.

  Args:
    shared: How the shared variables are trained.
    steps: The steps of the phase.
  """
  return Algorithm('fed_avg', (_phase(steps, shared=shared),))


def fed_sim(
    shared: local_update.GroupTraining,
    personal: local_update.GroupTraining,
    *,
    steps: Steps = Steps(),
    personal_steps: Optional[Steps] = None,
) -> Algorithm:
  """FedSim [2, Algorithm 2]: trains both groups in the same steps.

  Args:
    shared: How the shared variables are trained.
    personal: How the personal variables are trained.
    steps: The steps of the phase.
    personal_steps: The steps of FedAlt's personal phase. If given, the client
      takes these and then `steps`, so that it takes exactly as many as in
      `fed_alt` with the same arguments.
  """
  lengths = [steps] if personal_steps is None else [personal_steps, steps]
  return Algorithm(
      'fed_sim',
      tuple(_phase(s, shared=shared, personal=personal) for s in lengths),
  )


def fed_alt(
    shared: local_update.GroupTraining,
    personal: local_update.GroupTraining,
    *,
    steps: Steps = Steps(),
    personal_steps: Optional[Steps] = None,
) -> Algorithm:
  """FedAlt [2, Algorithm 1]: trains the personal variables, then the shared.

  With the same number of epochs in each phase, it takes twice as many gradient
  steps as FedSim.

  Args:
    shared: How the shared variables are trained.
    personal: How the personal variables are trained.
    steps: The steps of the shared phase.
    personal_steps: The steps of the personal phase; `steps` by default.
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
  """FedRecon [3]: FedAlt that resets the personal variables each round.

  Args:
    shared: How the shared variables are trained.
    personal: How the personal variables are trained.
    steps: The steps of the shared phase.
    personal_steps: The steps of the personal phase; `steps` by default.
  """
  return dataclasses.replace(
      fed_alt(shared, personal, steps=steps, personal_steps=personal_steps),
      name='fed_recon',
      stateful=False,
  )


def finetune(
    personal: local_update.GroupTraining,
    *,
    steps: Steps = Steps(),
    wrapper: Optional[Wrapper] = None,
) -> Algorithm:
  """Local fine-tuning: trains the personal variables and sends nothing.

  Args:
    personal: How the personal variables are trained.
    steps: The steps of the phase.
    wrapper: That of the algorithm before it, whose model is fine-tuned.
  """
  return Algorithm(
      'finetune', (_phase(steps, personal=personal),), wrapper=wrapper
  )


def ditto(
    shared: local_update.GroupTraining,
    personal: local_update.GroupTraining,
    *,
    penalty: float,
    steps: Steps = Steps(),
    personal_steps: Optional[Steps] = None,
) -> Algorithm:
  """Ditto [7]: FedAvg, and personal models that stay close to its model.

  A client minimizes `f(v) + (penalty / 2) ||v - u||^2` over its personal model
  v, where u is the shared model that it received, and trains u as FedAvg does.
  The code published with [2] always uses the u from before personalization, and
  its penalty lacks the 1/2.

  Args:
    shared: How the shared model is trained.
    personal: How the personal model is trained; its penalty is replaced.
    penalty: Weight of the squared distance; with 0 each client trains alone.
    steps: The steps of the shared phase.
    personal_steps: The steps of the personal phase; `steps` by default.
  """
  penalized = dataclasses.replace(
      personal, penalty=penalty, anchor=local_update.SHARED
  )
  return Algorithm(
      'ditto',
      (
          _phase(personal_steps or steps, personal=penalized),
          _phase(steps, shared=shared),
      ),
      wrapper=copied_model.CopiedModel,
  )


def pfedme(
    personal: local_update.GroupTraining,
    *,
    penalty: float,
    pull: float,
    local_rounds: int = 5,
    inner_steps: int = 5,
    clip_norm: Optional[float] = None,
) -> Algorithm:
  """pFedMe [8, Algorithm 1]: moves the shared model towards proximal points.

  In each local round, some inner steps of gradient descent approach the
  minimizer of `f(v) + (penalty / 2) ||v - u||^2`, and then u becomes
  `u - pull (u - v)`. In the paper, this factor is the learning rate eta times
  the penalty. Unlike in the paper, each inner step uses another batch. The
  paper's server rate beta is the learning rate of the server's SGD. In the
  paper's experiments, lambda is mostly 15, eta 0.005, K 5 and R 20.

  Args:
    personal: How the personal model is trained; its penalty is replaced.
    penalty: Weight lambda of the squared distance.
    pull: Fraction of the distance that the shared model moves towards the
      personal one after each local round, from 0 to 1.
    local_rounds: The paper's R.
    inner_steps: The paper's K.
    clip_norm: Bound on the norm of the gradients, penalty included.
  """
  phase = local_update.Phase(
      personal=dataclasses.replace(
          personal, penalty=penalty, anchor=local_update.SHARED
      ),
      # A client with a single batch needs an epoch for each step.
      epochs=inner_steps,
      max_steps=inner_steps,
      clip_norm=clip_norm,
      pull=pull,
  )
  return Algorithm(
      'pfedme', (phase,) * local_rounds, wrapper=copied_model.CopiedModel
  )


def apfl(
    shared: local_update.GroupTraining,
    personal: local_update.GroupTraining,
    *,
    steps: Steps = Steps(),
) -> Algorithm:
  """APFL [9, Algorithm 1]: a learned mixture of shared and personal model.

  The personal model and the weight of the mixture are trained on the loss of
  the mixture, and the shared model on its own loss. All gradients of a step are
  taken at the same point, and the weight is projected to [0, 1] after each.

  Args:
    shared: How the shared model is trained.
    personal: How the personal model and the weight are trained.
    steps: The steps of the phase.
  """
  return Algorithm(
      'apfl',
      (_phase(steps, shared=shared, personal=personal),),
      wrapper=copied_model.MixedModel,
  )
