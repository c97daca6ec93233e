# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""One client's work: phases of training, and nothing about placements.

A phase trains the groups of variables that were given a `GroupTraining`, and
only those, for some epochs over the client's examples. FedSim is one phase
that trains both groups, FedAlt a phase for the personal variables and then one
for the shared [1, Algorithms 1 and 2]; fine-tuning is a personal phase alone.
All of them are `run_phases`, which holds the one training step there is.

[1] Pillutla et al. Federated Learning with Partial Model Personalization.
ICML 2022. https://arxiv.org/abs/2204.03809
"""

import collections
from collections.abc import Callable, Sequence
import contextlib
import dataclasses
from typing import Any, NamedTuple, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import dropout
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model

# Round number, int32 scalar -> learning rate, float32 scalar.
Schedule = Callable[[tf.Tensor], tf.Tensor]

RECEIVED = 'received'
INITIAL = 'initial'
SHARED = 'shared'


@dataclasses.dataclass(frozen=True)
class GroupTraining:
  """How a phase trains one group of variables.

  With `penalty` lambda and anchor a, the gradient of (lambda/2) ||w - a||^2,
  which is lambda (w - a), is added to the loss's.

  Attributes:
    optimizer: Made new in each phase; its state ends with the phase.
    schedule: The learning rate in a round; `None` leaves the optimizer's own.
    penalty: Weight lambda of the squared distance from the anchor.
    anchor: 'received', the group's value when the client's work began (FedProx
      for the shared group), 'initial', the personal variables that every
      client starts from [1, Section 5: L2 regularization], or 'shared', the
      shared variables of which the personal ones are a copy, as they are when
      the phase begins (Ditto, pFedMe).
  """

  optimizer: tff.learning.optimizers.Optimizer
  schedule: Optional[Schedule] = None
  penalty: float = 0.0
  anchor: str = RECEIVED

  def __post_init__(self):
    if self.penalty < 0:
      raise errors.SettingsError(
          f'Expected a penalty >= 0, found {self.penalty}.'
      )
    anchors = (RECEIVED, INITIAL, SHARED)
    if self.anchor not in anchors:
      raise errors.SettingsError(
          f'Expected anchor of {anchors}, found {self.anchor!r}.'
      )


@dataclasses.dataclass(frozen=True)
class Phase:
  """Some epochs of training one group of variables, or both at once.

  Attributes:
    shared: How the shared variables are trained; `None` leaves them alone.
    personal: How the personal variables are trained; `None`, the same.
    epochs: Passes over the client's examples.
    max_steps: At most so many steps over all epochs; `None` is no limit.
    clip_norm: Bound on the global norm of the gradients of the variables that
      this phase trains; the others have no part in it.
    adapter_dropout: The part of adapters' outputs that is dropped in each step,
      from 0 to below 1; no other layer drops any.
    pull: After the phase, shared variables go this part of the way to the
      personal variables that are a copy of them (pFedMe); 0 to 1.
  """

  shared: Optional[GroupTraining] = None
  personal: Optional[GroupTraining] = None
  epochs: int = 1
  max_steps: Optional[int] = None
  clip_norm: Optional[float] = None
  adapter_dropout: float = 0.0
  pull: float = 0.0

  def __post_init__(self):
    if not 0 <= self.adapter_dropout < 1:
      raise errors.SettingsError(
          'Expected adapter_dropout of at least 0 and below 1, found'
          f' {self.adapter_dropout}.'
      )
    if not 0 <= self.pull <= 1:
      raise errors.SettingsError(
          f'Expected pull from 0 to 1, found {self.pull}.'
      )
    if self.shared is None and self.personal is None:
      raise errors.SettingsError(
          'Expected a phase to train at least one group.'
      )
    if self.shared is not None and self.shared.anchor != RECEIVED:
      raise errors.SettingsError(
          f'Expected anchor {RECEIVED!r} for shared variables, found'
          f' {self.shared.anchor!r}, which personal variables alone have.'
      )
    for name in ('epochs', 'max_steps', 'clip_norm'):
      value = getattr(self, name)
      if value is not None and value <= 0:
        raise errors.SettingsError(f'Expected {name} above 0, found {value}.')


def needs_initial_personal(phases: Sequence[Phase]) -> bool:
  """Whether a penalty is anchored where the personal variables started."""
  return any(
      phase.personal is not None
      and phase.personal.penalty > 0
      and phase.personal.anchor == INITIAL
      for phase in phases
  )


class ClientCounts(NamedTuple):
  """What a client's work cost and how it ended, int64 scalars.

  Attributes:
    steps: Gradient steps, over all phases.
    examples: Examples these steps saw; one seen twice counts twice.
    non_finite: 1 if the loss, the update or a personal variable was not finite.
    empty: 1 if the client has no examples.
  """

  steps: tf.Tensor
  examples: tf.Tensor
  non_finite: tf.Tensor
  empty: tf.Tensor


class ClientOutput(NamedTuple):
  """What a client's work gives.

  Attributes:
    update: Initial minus final shared trainable variables; zeros from a client
      whose work failed.
    weight: Examples trained on, or 1; 0 from a client that failed or is empty.
    personal: Final personal variables; a failed client's are unchanged.
    metrics: By name, the two terms of each of the model's metrics, summed over
      the last phase as its steps found them; zeros from a client that failed.
    counts: A `ClientCounts`.
  """

  update: Any
  weight: tf.Tensor  # float32 scalar
  personal: tff.learning.models.ModelWeights
  metrics: Any
  counts: ClientCounts


class _Progress(NamedTuple):
  """The sums that a phase carries from step to step."""

  steps: tf.Tensor  # int64 scalar
  examples: tf.Tensor  # int64 scalar
  finite: tf.Tensor  # bool scalar: whether the loss was, at every step
  metrics: Any  # name -> (total, weight), float32 scalars


def local_update(
    model: partial_model.PartialModel,
    phases: Sequence[Phase],
    shared: tff.learning.models.ModelWeights,
    personal: tff.learning.models.ModelWeights,
    examples: Any,
    *,
    client_examples: examples_lib.ClientExamples,
    round_num: Any = 0,
    initial_personal: Optional[tff.learning.models.ModelWeights] = None,
    uniform_weight: bool = False,
) -> ClientOutput:
  """Trains a client's copy of the shared variables and its personal variables.

  Args:
    model: Made in the current graph; its variables are overwritten.
    phases: What to train, in order.
    shared: The server's shared variables.
    personal: This client's personal variables.
    examples: This client's examples.
    client_examples: The form that `examples` has.
    round_num: Where in the learning-rate schedules we are, int32 scalar.
    initial_personal: The anchor of penalties with anchor 'initial'.
    uniform_weight: Whether clients count alike rather than by their examples.

  Returns:
    A `ClientOutput`.
  """
  progress = run_phases(
      model,
      phases,
      shared,
      personal,
      examples,
      client_examples=client_examples,
      round_num=round_num,
      initial_personal=initial_personal,
  )
  last = progress[-1]
  update = [
      before - after
      for before, after in zip(shared.trainable, model.shared.trainable)
  ]
  trained = tf.nest.map_structure(lambda v: v.read_value(), model.personal)
  finite = tf.reduce_all(
      [
          *(p.finite for p in progress),
          *(
              tf.reduce_all(tf.math.is_finite(t))
              for t in tf.nest.flatten([update, trained])
              if t.dtype.is_floating
          ),
      ]
  )
  empty = tf.equal(last.examples, 0)
  weight = 1.0 if uniform_weight else tf.cast(last.examples, tf.float32)
  zeros = lambda value: tf.nest.map_structure(tf.zeros_like, value)
  return ClientOutput(
      update=_choose(finite, update, zeros(update)),
      weight=tf.where(finite & ~empty, weight, 0.0),
      personal=_choose(finite, trained, personal),
      metrics=_choose(finite, last.metrics, zeros(last.metrics)),
      counts=ClientCounts(
          steps=tf.add_n([p.steps for p in progress]),
          examples=tf.add_n([p.examples for p in progress]),
          non_finite=tf.cast(~finite, tf.int64),
          empty=tf.cast(empty, tf.int64),
      ),
  )


def run_phases(
    model: partial_model.PartialModel,
    phases: Sequence[Phase],
    shared: tff.learning.models.ModelWeights,
    personal: tff.learning.models.ModelWeights,
    examples: Any,
    *,
    client_examples: examples_lib.ClientExamples,
    round_num: Any = 0,
    initial_personal: Optional[tff.learning.models.ModelWeights] = None,
) -> list[_Progress]:
  """Sets the model's variables and trains them, phase after phase.

  Returns:
    The sums of each phase; the model's variables are left as trained.
  """
  model.assign(shared, personal)
  received = {'shared': shared, 'personal': personal}
  progress = []
  for number, phase in enumerate(phases):
    groups = []
    for name in ('personal', 'shared'):
      training = getattr(phase, name)
      variables = tuple(getattr(model, name).trainable)
      if training is None or not variables:
        continue
      anchor: Any = ()
      if training.penalty:
        anchors = {INITIAL: initial_personal, RECEIVED: received[name]}
        anchor = anchors.get(training.anchor, model.shared)
        if anchor is None:
          raise errors.SettingsError(
              'Expected initial_personal for this penalty.'
          )
        # Variables are read here: their values when the phase begins.
        anchor = tuple(tf.convert_to_tensor(a) for a in anchor.trainable)
      groups.append(_Group(name, training, variables, anchor))
    progress.append(
        _run_phase(
            model, phase, groups, examples, client_examples, round_num, number
        )
    )
    if phase.pull:
      _pull(model, phase.pull)
  return progress


def _pull(model: partial_model.PartialModel, part: float) -> None:
  """Moves shared variables towards the personal copies of them."""
  for shared, personal in zip(model.shared.trainable, model.personal.trainable):
    shared.assign_sub(part * (shared - personal))


class _Group(NamedTuple):
  """A group of variables that a phase trains."""

  name: str
  training: GroupTraining
  variables: tuple[tf.Variable, ...]
  anchor: tuple[tf.Tensor, ...]

  def initial_state(self, round_num: Any) -> Any:
    """The optimizer's state, with this round's learning rate."""
    optimizer = self.training.optimizer
    state = optimizer.initialize(
        tf.nest.map_structure(
            lambda v: tf.TensorSpec(v.shape, v.dtype), self.variables
        )
    )
    if self.training.schedule is None:
      return state
    rate = tff.learning.optimizers.LEARNING_RATE_KEY
    hparams = optimizer.get_hparams(state)
    hparams[rate] = self.training.schedule(tf.cast(round_num, tf.int32))
    return optimizer.set_hparams(state, hparams)


def _run_phase(
    model: partial_model.PartialModel,
    phase: Phase,
    groups: Sequence[_Group],
    examples: Any,
    client_examples: examples_lib.ClientExamples,
    round_num: Any,
    number: int,
) -> _Progress:
  """Trains the variables of `groups` in place."""

  def step(state, batch):
    """The training step."""
    optimizer_states, progress = state
    with _dropout(phase, client_examples, examples, number, progress.steps):
      loss, outputs, gradients = model.gradients(
          batch, [group.name for group in groups]
      )
    gradients = [
        _add_penalty(group, gradient)
        for group, gradient in zip(groups, gradients)
    ]
    if phase.clip_norm is not None:
      flat, _ = tf.clip_by_global_norm(
          tf.nest.flatten(gradients), phase.clip_norm
      )
      gradients = tf.nest.pack_sequence_as(gradients, flat)
    # All gradients were taken at the same point: with two groups this is
    # FedSim's simultaneous step.
    new_states = []
    for group, optimizer_state, gradient in zip(
        groups, optimizer_states, gradients
    ):
      new_state, values = group.training.optimizer.next(
          optimizer_state,
          tuple(v.read_value() for v in group.variables),
          gradient,
      )
      for variable, value in zip(group.variables, values):
        variable.assign(value)
      new_states.append(new_state)
    return tuple(new_states), _add_batch(
        progress, loss, model.metrics(batch, outputs)
    )

  _, progress = client_examples.reduce(
      examples,
      # Tuples: a dataset takes a list in its state for a tensor.
      (tuple(g.initial_state(round_num) for g in groups), _zero(model)),
      step,
      epochs=phase.epochs,
      max_steps=phase.max_steps,
      phase=number,
  )
  return progress


def _dropout(phase, client_examples, examples, number, step):
  """The scope of a step's dropout, if the phase has any."""
  if not phase.adapter_dropout:
    return contextlib.nullcontext()
  return dropout.scope(
      phase.adapter_dropout, client_examples.step_seed(examples, number, step)
  )


def _choose(condition: tf.Tensor, value: Any, otherwise: Any) -> Any:
  # Multiplying by zero instead would keep a NaN.
  flat = [
      tf.where(condition, v, o)
      for v, o in zip(tf.nest.flatten(value), tf.nest.flatten(otherwise))
  ]
  return tf.nest.pack_sequence_as(value, flat)


def _add_penalty(group: _Group, gradient: Any) -> Any:
  penalty = group.training.penalty
  if not penalty:
    return gradient
  # A personal variable beyond a copy, such as a mixture weight, has no anchor.
  count = len(group.anchor)
  return (
      *(
          g + penalty * (v - a)
          for g, v, a in zip(gradient, group.variables, group.anchor)
      ),
      *gradient[count:],
  )


def _zero(model: partial_model.PartialModel) -> _Progress:
  return _Progress(
      steps=tf.constant(0, tf.int64),
      examples=tf.constant(0, tf.int64),
      finite=tf.constant(True),
      metrics=collections.OrderedDict(
          (name, (tf.constant(0.0), tf.constant(0.0)))
          for name in model.metric_names
      ),
  )


def _add_batch(progress: _Progress, loss: Any, metrics: Any) -> _Progress:
  size = tf.shape(tf.nest.flatten(metrics)[0])[0]
  return _Progress(
      steps=progress.steps + 1,
      examples=progress.examples + tf.cast(size, tf.int64),
      finite=progress.finite & tf.math.is_finite(loss),
      metrics=tf.nest.map_structure(
          lambda total, term: total + tf.reduce_sum(term),
          progress.metrics,
          metrics,
      ),
  )
