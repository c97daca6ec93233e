# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a client trains, how, and for how long: the parts of an algorithm.

[1] Pillutla et al. Federated Learning with Partial Model Personalization.
ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import partition

# Round number, int32 scalar -> what a learning rate is multiplied by, float32
# scalar.
Schedule = Callable[[tf.Tensor], tf.Tensor]

RECEIVED = 'received'
INITIAL = 'initial'
SHARED = 'shared'


def check_optimizer(name: str, optimizer: Any) -> None:
  """Checks that an optimizer is one of TFF's.

  Args:
    name: The name of the argument.
    optimizer: Its value.

  Raises:
    errors.SettingsError: If it is not, as an optimizer of Keras.
  """
  if not isinstance(optimizer, tff.learning.optimizers.Optimizer):
    raise errors.SettingsError(
        f'Expected a tff.learning.optimizers.Optimizer as `{name}`, found'
        f' {optimizer!r}. Use tff.learning.optimizers.build_sgdm, for example.'
    )


@dataclasses.dataclass(frozen=True)
class GroupTraining:
  """How a phase trains one group of variables.

  A penalty adds `(penalty / 2) ||w - a||^2` to the loss, where a is the anchor
  of the variables w. Its gradient is `penalty (w - a)`.

  Attributes:
    optimizer: Its state is initialized when a phase begins, and dropped when
      the phase ends.
    schedule: Maps the number of the round to what the optimizer's learning rate
      is multiplied by; `None` for the same learning rate in all rounds.
    penalty: Weight of the squared distance from the anchor.
    penalty_total: In place of `penalty`, a weight that is divided by the number
      of the client's examples, so that clients with few examples stay closer to
      the anchor. It acts by an implicit step after the optimizer's and is not
      part of the gradients that are clipped.
    anchor: `RECEIVED`, the values of the group when the client's work began
      (FedProx for the shared group); `INITIAL`, the initial personal variables
      of all clients [1, Section 5: L2 regularization]; or `SHARED`, the
      values that the shared variables have at the step, if the personal
      variables are a copy of them (Ditto, pFedMe).
    turns: Rules on variable paths that take turns: in round r, only variables
      that `turns[r % len(turns)]` matches are trained. Without any, all are.
  """

  optimizer: tff.learning.optimizers.Optimizer
  schedule: Optional[Schedule] = None
  penalty: float = 0.0
  penalty_total: float = 0.0
  anchor: str = RECEIVED
  turns: tuple[partition.Rule, ...] = ()

  def __post_init__(self):
    check_optimizer('optimizer', self.optimizer)
    if self.schedule is not None and self.learning_rate is None:
      raise errors.SettingsError(
          'Expected an `optimizer` with a learning rate that can be set, to use'
          f' it with a `schedule`, found {self.optimizer!r}. Leave one of the'
          ' schedules out.'
      )
    for name in ('penalty', 'penalty_total'):
      value = getattr(self, name)
      if value < 0:
        raise errors.SettingsError(
            f'Expected `{name}` of at least 0, found {value}.'
        )
    if self.penalty and self.penalty_total:
      raise errors.SettingsError(
          'Expected `penalty` or `penalty_total`, found both. A group has one'
          ' penalty.'
      )
    anchors = (RECEIVED, INITIAL, SHARED)
    if self.anchor not in anchors:
      raise errors.SettingsError(
          f'Expected one of {anchors} as `anchor`, found {self.anchor!r}.'
      )

  @property
  def has_penalty(self) -> bool:
    """Whether the distance from the anchor has a weight."""
    return self.penalty > 0 or self.penalty_total > 0

  @property
  def learning_rate(self) -> Optional[float]:
    """The optimizer's, if it is one of the hyperparameters that TFF can set."""
    hparams = self.optimizer.get_hparams(self.optimizer.initialize(()))
    return hparams.get(tff.learning.optimizers.LEARNING_RATE_KEY)


class LearningRates(NamedTuple):
  """The learning rates of a phase, without schedules, float32 scalars.

  Attributes:
    personal: That of the personal variables; `()` if the phase does not train
      them, or if their optimizer has none that can be set.
    shared: That of the shared variables, likewise.
  """

  personal: Any = ()
  shared: Any = ()


@dataclasses.dataclass(frozen=True)
class Phase:
  """Some epochs of training one group of variables, or both at once.

  Attributes:
    shared: How the shared variables are trained; `None` if they are not.
    personal: How the personal variables are trained; `None` if they are not.
    epochs: Passes over the client's examples.
    max_steps: Upper bound on the number of steps over all epochs; `None` for no
      bound. With `inner_steps`, on the number of batches.
    clip_norm: Bound on the global norm of the gradients of all variables that
      this phase trains; `None` for no bound.
    adapter_dropout: The fraction of the outputs of adapters that is dropped in
      each step, from 0 to below 1. It does not affect other layers.
    inner_steps: Number of gradient steps on each batch (pFedMe).
    pull: Fraction of the distance that the shared variables move towards their
      personal copies after each batch, from 0 to 1 (pFedMe).
    shared_ignores_personal: Whether the gradients of the shared variables are
      taken with personal variables of zero, so that the shared model learns to
      predict alone (FedRoD). For personal variables that are initially zero.
      With a model that classifies, their loss is balanced by the client's
      numbers of examples of each class.
    full_batch: Whether each step takes the mean gradient of all examples, so
      that `epochs` is the number of steps.
    tolerance: With `full_batch`, a norm of the gradients. The phase ends before
      the first step with a smaller one.
    dual_rho: The rho of a `dual_model.DualModel`, whose dual step follows the
      phase; 0 without one (FedAPM).
  """

  shared: Optional[GroupTraining] = None
  personal: Optional[GroupTraining] = None
  epochs: int = 1
  max_steps: Optional[int] = None
  clip_norm: Optional[float] = None
  adapter_dropout: float = 0.0
  inner_steps: int = 1
  pull: float = 0.0
  shared_ignores_personal: bool = False
  full_batch: bool = False
  tolerance: float = 0.0
  dual_rho: float = 0.0

  def __post_init__(self):
    for name in ('shared', 'personal'):
      value = getattr(self, name)
      if value is not None and not isinstance(value, GroupTraining):
        raise errors.SettingsError(
            f'Expected a GroupTraining as `{name}`, found {value!r}. Give the'
            ' optimizer to GroupTraining.'
        )
    if self.tolerance < 0 or (self.tolerance and not self.full_batch):
      raise errors.SettingsError(
          'Expected `tolerance` of at least 0, and with `full_batch` only,'
          f' found {self.tolerance}.'
      )
    if not 0 <= self.adapter_dropout < 1:
      raise errors.SettingsError(
          'Expected `adapter_dropout` of at least 0 and below 1, found'
          f' {self.adapter_dropout}.'
      )
    if self.full_batch and (self.inner_steps > 1 or self.pull):
      raise errors.SettingsError(
          'Expected neither `inner_steps` nor `pull` with `full_batch`, found'
          f' {self.inner_steps} and {self.pull}. They are about single batches.'
      )
    if not 0 <= self.pull <= 1:
      raise errors.SettingsError(
          f'Expected `pull` from 0 to 1, found {self.pull}.'
      )
    if self.shared is None and self.personal is None:
      raise errors.SettingsError(
          'Expected a phase that trains at least one group, found none. Use a'
          ' GroupTraining as `shared` or as `personal`.'
      )
    if self.shared is not None and self.shared.anchor != RECEIVED:
      raise errors.SettingsError(
          f'Expected {RECEIVED!r} as `anchor` of the shared variables, found'
          f' {self.shared.anchor!r}, which is for personal variables only.'
      )
    for name in ('epochs', 'max_steps', 'clip_norm', 'inner_steps'):
      value = getattr(self, name)
      if value is not None and value <= 0:
        raise errors.SettingsError(f'Expected `{name}` above 0, found {value}.')


def learning_rates(phases: Sequence[Phase]) -> tuple[LearningRates, ...]:
  """The learning rates of the optimizers of each phase."""

  def rate(training):
    found = None if training is None else training.learning_rate
    return () if found is None else np.float32(found)

  return tuple(
      LearningRates(personal=rate(phase.personal), shared=rate(phase.shared))
      for phase in phases
  )


def without_learning_rates(phases: Sequence[Phase]) -> Any:
  """What phases are but for their learning rates, as a hashable value.

  Phases become the same computation if these values are equal, since
  computations take learning rates as an argument.
  """

  def values(value):
    if isinstance(value, tff.learning.optimizers.Optimizer):
      hparams = dict(value.get_hparams(value.initialize(())))
      hparams.pop(tff.learning.optimizers.LEARNING_RATE_KEY, None)
      return type(value), tuple(sorted(hparams.items()))
    if isinstance(value, (Phase, GroupTraining)):
      fields = dataclasses.fields(value)
      return tuple(values(getattr(value, field.name)) for field in fields)
    return value

  return tuple(map(values, phases))


def needs_initial_personal(phases: Sequence[Phase]) -> bool:
  """Whether a penalty is anchored at the initial personal variables."""
  return any(
      phase.personal is not None
      and phase.personal.has_penalty
      and phase.personal.anchor == INITIAL
      for phase in phases
  )
