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
| FedBABU [10] | shared                       | initial ones each round  |
| FedRoD [11]  | both; the shared ones are    | kept                     |
|              | trained to predict alone     |                          |
| FFGG [12]    | personal until the gradient  | kept                     |
|              | is small; then shared, one   |                          |
|              | step of the whole gradient   |                          |
| RoLoRA [14]  | shared: matrices B in one    | none                     |
|              | round, A in the next         |                          |
| FedAPM [13]  | personal; then shared, with  | kept, with a copy and a  |
|              | a dual variable              | dual of the shared ones  |

In full personalization each client has a copy of the whole model, in addition
to the shared model (`copied_model.py`). The algorithm wraps the model:

| algorithm  | phases                                      | predicts with     |
| ---------- | ------------------------------------------- | ----------------- |
| Ditto [7]  | personal, with a penalty on the distance to | the copy          |
|            | the shared model; then shared               |                   |
| pFedMe [8] | R times: personal, with such a penalty;     | the copy          |
|            | then shared, pulled towards the copy        |                   |
| APFL [9]   | the mixture's weight, one step; then both   | a learned mixture |
|            | models together                             |                   |

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
[10] Oh et al. ICLR 2022. https://arxiv.org/abs/2106.06042
[11] Chen and Chao. ICLR 2022. https://arxiv.org/abs/2107.00778
[12] Mishchenko et al. TMLR 2025. https://arxiv.org/abs/2305.18285
[13] Zhu et al. KDD 2025. https://arxiv.org/abs/2506.04672
[14] Chen et al. NeurIPS 2025. https://arxiv.org/abs/2502.01755
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Optional

import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import constants
from tff_partial.learning import copied_model
from tff_partial.learning import dual_model
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import phase as phase_lib

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
      example, adds a personal copy. `None` to train the model itself. Clients
      that never trained are evaluated with a copy of the shared variables if it
      is that class, one that derives from it, or `functools.partial` of one,
      and otherwise with the initial personal variables.
    sends_population_change: Whether clients send how a mean over the whole
      population changes, so that the server's learning rate must be multiplied
      by clients per round / population.
  """

  name: str
  phases: tuple[phase_lib.Phase, ...]
  stateful: bool = True
  wrapper: Optional[Wrapper] = None
  sends_population_change: bool = False

  def __post_init__(self):
    if not self.phases:
      raise errors.SettingsError(
          f'Expected at least one phase in the algorithm {self.name!r}, found'
          ' none.'
      )
    if not self.copies_model and any(map(_needs_copy, self.phases)):
      raise errors.SettingsError(
          'Expected a class of models with copies as `wrapper` of the algorithm'
          f' {self.name!r}, because it moves personal copies and shared'
          f' variables towards each other, found {self.wrapper}. Use'
          ' copied_model.CopiedModel, or a class that derives from it.'
      )
    duals = any(phase.dual_rho for phase in self.phases)
    if duals and self.wrapper is not dual_model.DualModel:
      raise errors.SettingsError(
          'Expected dual_model.DualModel as `wrapper` of the algorithm'
          f' {self.name!r}, whose phases have a `dual_rho`, found'
          f' {self.wrapper}.'
      )

  @property
  def copies_model(self) -> bool:
    """Whether clients predict with a copy of the whole model."""
    made = self.wrapper
    if isinstance(made, functools.partial):
      made = made.func
    return isinstance(made, type) and issubclass(made, copied_model.CopiedModel)

  @property
  def trains_shared(self) -> bool:
    """Whether the shared variables change."""
    return any(phase.shared is not None or phase.pull for phase in self.phases)

  @property
  def trains_personal(self) -> bool:
    """Whether the personal variables change in a round."""
    return any(phase.personal is not None for phase in self.phases)

  def wrap(self, model_fn: partial_model.ModelFn) -> partial_model.ModelFn:
    """The models that this algorithm trains.

    Args:
      model_fn: Returns a new `PartialModel` on every call. If the algorithm
        copies the model, all of its variables must be shared; otherwise the
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
      The initial ones, or a copy of the shared ones if clients have a copy of
      the whole model.
    """
    if not self.copies_model:
      return initial_personal
    return copied_model.copy_of(shared, initial_personal)


def _needs_copy(phase: phase_lib.Phase) -> bool:
  """Whether a phase requires personal copies of the shared variables."""
  personal = phase.personal
  return bool(phase.pull) or (
      personal is not None and personal.anchor == phase_lib.SHARED
  )


@dataclasses.dataclass(frozen=True)
class Steps:
  """The length of a phase and the settings that all its steps share.

  Attributes:
    epochs: Passes over a client's examples.
    max_steps: Upper bound on the number of batches; `None` for no bound.
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
    shared: Optional[phase_lib.GroupTraining] = None,
    personal: Optional[phase_lib.GroupTraining] = None,
) -> phase_lib.Phase:
  return phase_lib.Phase(
      shared=shared, personal=personal, **dataclasses.asdict(steps)
  )


def fed_avg(
    shared: phase_lib.GroupTraining, *, steps: Steps = Steps()
) -> Algorithm:
  """Federated Averaging [1]: trains the shared variables.

  Args:
    shared: How the shared variables are trained.
    steps: The steps of the phase.
  """
  return Algorithm('fed_avg', (_phase(steps, shared=shared),))


def rolora(
    shared: phase_lib.GroupTraining,
    *,
    turns: Sequence[partition.Rule] = (
        partition.matches('/lora_b$'),
        partition.matches('/lora_a$'),
    ),
    steps: Steps = Steps(),
) -> Algorithm:
  """RoLoRA [14]: low-rank matrices B and A are trained in turns.

  B is trained in the first, third, ... round, A in those between. The mean of
  products with a factor that is the same for all clients is the product of the
  means, which it is not if both factors are trained.

  Args:
    shared: How the shared variables are trained; its turns are replaced.
    turns: Which of them are trained in the first round, in the next one, and so
      on, from the start again after the last.
    steps: The steps of the phase.
  """
  return dataclasses.replace(
      fed_avg(dataclasses.replace(shared, turns=tuple(turns)), steps=steps),
      name='rolora',
  )


def fed_sim(
    shared: phase_lib.GroupTraining,
    personal: phase_lib.GroupTraining,
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
    shared: phase_lib.GroupTraining,
    personal: phase_lib.GroupTraining,
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
    shared: phase_lib.GroupTraining,
    personal: phase_lib.GroupTraining,
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
    personal: phase_lib.GroupTraining,
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


def fed_babu(
    shared: phase_lib.GroupTraining, *, steps: Steps = Steps()
) -> Algorithm:
  """FedBABU [10, Algorithm 1]: nobody trains the head until training is over.

  All clients train the shared variables with the same personal ones, which stay
  at their initial values. Afterwards, each client fine-tunes its own
  (`finetune`).

  Args:
    shared: How the shared variables are trained.
    steps: The steps of the phase.
  """
  return dataclasses.replace(
      fed_avg(shared, steps=steps), name='fed_babu', stateful=False
  )


def fed_rod(
    shared: phase_lib.GroupTraining,
    personal: phase_lib.GroupTraining,
    *,
    steps: Steps = Steps(),
) -> Algorithm:
  """FedRoD [11, Section 4]: a personal head is added to the shared one.

  Shared variables are trained on the loss of the shared model alone, and the
  personal ones on the loss of the sum, in the same steps. If the model
  classifies (`PartialModel`), the loss of the shared model is the balanced
  softmax, by the client's numbers of examples of each class; else it is plain.

  Args:
    shared: How the shared variables are trained.
    personal: How the personal variables are trained, which must be initially
      zero and then change nothing, as those of a second head.
    steps: The steps of the phase.
  """
  phase = _phase(steps, shared=shared, personal=personal)
  return Algorithm(
      'fed_rod', (dataclasses.replace(phase, shared_ignores_personal=True),)
  )


def ffgg(
    shared: phase_lib.GroupTraining,
    personal: phase_lib.GroupTraining,
    *,
    tolerance: float = 0.0,
    personal_steps: Steps = Steps(10),
) -> Algorithm:
  """FFGG [12, Algorithms 1 and 2]: fine-tuning, then one global gradient.

  The client minimizes its loss over the personal variables by gradient descent
  on all of its examples, and then sends a single gradient of the shared ones.
  The server's step, which [12] calls gamma, is the server's learning rate times
  that of `shared`.

  Args:
    shared: How the shared variables are trained, in one step.
    personal: How the personal variables are trained.
    tolerance: The norm of the gradient of the personal variables below which
      the client stops training them.
    personal_steps: Its epochs are the most steps that the client takes.
  """
  one_step = dataclasses.replace(personal_steps, epochs=1)
  fine_tuning = _phase(personal_steps, personal=personal)
  global_gradient = _phase(one_step, shared=shared)
  return Algorithm(
      'ffgg',
      (
          dataclasses.replace(
              fine_tuning, full_batch=True, tolerance=tolerance
          ),
          dataclasses.replace(global_gradient, full_batch=True),
      ),
  )


def fed_apm(
    shared: phase_lib.GroupTraining,
    personal: phase_lib.GroupTraining,
    *,
    rho: float,
    steps: Steps = Steps(),
    personal_steps: Optional[Steps] = None,
) -> Algorithm:
  """FedAPM [13, Algorithm 1]: ADMM on clients' copies of the shared variables.

  The client approaches the minimizer of its loss over the personal variables,
  which the penalty of `personal` holds near those of its last round, and then
  that of the augmented Lagrangian over its copy of the shared ones
  (`dual_model.py`). Both start from the shared variables that it received,
  whereas [13] starts from the client's last copy. The weights of the loss are
  those of the mean, not divided by the number of clients: rho and the penalty
  are as many times those of [13]. Clients send how a mean over the whole
  population changes, so the server's optimizer must be SGD whose learning rate
  is clients per round / population.

  Args:
    shared: How the shared variables are trained; its penalty is replaced.
    personal: How the personal variables are trained; its anchor is replaced by
      the values that the client received.
    rho: Weight of the squared distance from the server's variables, above 0.
    steps: The steps of the shared phase.
    personal_steps: The steps of the personal phase; `steps` by default.

  Raises:
    errors.SettingsError: If `rho` is not above 0.
  """
  if rho <= 0:
    raise errors.SettingsError(f'Expected `rho` above 0, found {rho}.')
  alternating = fed_alt(
      dataclasses.replace(shared, penalty=rho, penalty_total=0.0),
      dataclasses.replace(personal, anchor=phase_lib.RECEIVED),
      steps=steps,
      personal_steps=personal_steps,
  )
  first, last = alternating.phases
  return Algorithm(
      'fed_apm',
      (first, dataclasses.replace(last, dual_rho=rho)),
      wrapper=dual_model.DualModel,
      sends_population_change=True,
  )


def ditto(
    shared: phase_lib.GroupTraining,
    personal: phase_lib.GroupTraining,
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
      personal, penalty=penalty, anchor=phase_lib.SHARED
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
    personal: phase_lib.GroupTraining,
    *,
    penalty: float,
    pull: float,
    steps: Steps = Steps(),
    inner_steps: int = 5,
) -> Algorithm:
  """pFedMe [8, Algorithm 1]: moves the shared model towards proximal points.

  Each local round has a batch: some inner steps of gradient descent on it
  approach the minimizer of `f(v) + (penalty / 2) ||v - u||^2`, and then u
  becomes `u - pull (u - v)`. In the paper, this factor is the learning rate eta
  times the penalty, and its server rate beta is the learning rate of the
  server's SGD. In the paper's experiments, lambda is mostly 15, eta 0.005, K 5
  and R 20. Here a client's v starts from its last one; in the authors' code it
  starts from the shared model.

  Args:
    personal: How the personal model is trained; its penalty is replaced.
    penalty: Weight lambda of the squared distance.
    pull: Fraction of the distance that the shared model moves towards the
      personal one after each local round, from 0 to 1.
    steps: The local rounds: one for each batch of its epochs. Its `max_steps`
      bounds their number, the paper's R.
    inner_steps: The paper's K.
  """
  penalized = dataclasses.replace(
      personal, penalty=penalty, anchor=phase_lib.SHARED
  )
  phase = dataclasses.replace(
      _phase(steps, personal=penalized), inner_steps=inner_steps, pull=pull
  )
  return Algorithm('pfedme', (phase,), wrapper=copied_model.CopiedModel)


def apfl(
    shared: phase_lib.GroupTraining,
    personal: phase_lib.GroupTraining,
    *,
    steps: Steps = Steps(),
) -> Algorithm:
  """APFL [9, Algorithm 1]: a learned mixture of shared and personal model.

  The personal model and the weight of the mixture are trained on the loss of
  the mixture, and the shared model on its own loss. All gradients of a step are
  taken at the same point. The weight is trained by the first step of a round,
  as in the authors' code, and projected to [0, 1]. Trained by all steps, in
  which the shared model fits the client, too, it fell from 0.5 to between 0.00
  and 0.31 (results/leaderboard.md).

  Args:
    shared: How the shared model is trained.
    personal: How the personal model and the weight are trained.
    steps: The steps of the phase of both models.
  """
  weight = dataclasses.replace(personal, turns=(_is_mixture,))
  model = dataclasses.replace(personal, turns=(_is_no_mixture,))
  return Algorithm(
      'apfl',
      (
          _phase(dataclasses.replace(steps, max_steps=1), personal=weight),
          _phase(steps, shared=shared, personal=model),
      ),
      wrapper=copied_model.MixedModel,
  )


# Not made by `apfl`, so that its phases are equal if its arguments are.
def _is_mixture(path: str) -> bool:
  return path == copied_model.MIXTURE


def _is_no_mixture(path: str) -> bool:
  return not _is_mixture(path)
