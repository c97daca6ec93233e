# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training step, and the loop that repeats it over a client's examples.

All phases of all algorithms run this step (`local_update.py`): it takes the
gradients of the groups of variables that are trained, adds penalties, clips,
and lets each group's optimizer update its variables.
"""

import collections
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import randomness


class Progress(NamedTuple):
  """Sums over the steps that were taken."""

  steps: tf.Tensor  # int64 scalar
  examples: tf.Tensor  # int64 scalar
  finite: tf.Tensor  # bool scalar: whether the losses of all steps were
  metrics: Any  # name -> (total, weight), float32 scalars


class Group(NamedTuple):
  """A group of variables, and how it is trained.

  Attributes:
    name: 'shared' or 'personal'.
    variables: Its trainable variables.
    optimizer: Updates them.
    learning_rate: Replaces the optimizer's, float32 scalar; `None` to keep it.
    penalty: Weight of the squared distance from the anchor, a float or a
      float32 scalar.
    anchor: Values for the first variables, if there is a penalty. Variables
      that follow, such as a mixture weight, have no penalty.
    implicit: Whether the penalty acts after the optimizer's step, by the exact
      minimizer of its own part. Unlike a gradient, which diverges if the
      learning rate times the penalty exceeds 2, it is stable for any weight.
  """

  name: str
  variables: tuple[tf.Variable, ...]
  optimizer: tff.learning.optimizers.Optimizer
  learning_rate: Optional[tf.Tensor] = None
  penalty: Any = 0.0
  anchor: tuple[tf.Tensor, ...] = ()
  implicit: bool = False

  def initial_state(self) -> Any:
    """The optimizer's state before the first step."""
    state = self.optimizer.initialize(
        tf.nest.map_structure(
            lambda v: tf.TensorSpec(v.shape, v.dtype), self.variables
        )
    )
    if self.learning_rate is None:
      return state
    hparams = self.optimizer.get_hparams(state)
    hparams[tff.learning.optimizers.LEARNING_RATE_KEY] = self.learning_rate
    return self.optimizer.set_hparams(state, hparams)

  def add_penalty(self, gradient: Any) -> Any:
    """Adds the gradient of the penalty to that of the loss."""
    if not self.anchor or self.implicit:
      return gradient
    return (
        *(
            g + self.penalty * (v - a)
            for g, v, a in zip(gradient, self.variables, self.anchor)
        ),
        *gradient[len(self.anchor) :],
    )

  def apply(self, state: Any, gradient: Any) -> Any:
    """Updates the variables; returns the optimizer's new state.

    As in Keras, a variable's constraint is applied after each update.
    """
    new_state, values = self.optimizer.next(
        state, tuple(v.read_value() for v in self.variables), gradient
    )
    if self.implicit:
      values = self._towards_anchor(state, values)
    for variable, value in zip(self.variables, values):
      if variable.constraint is not None:
        value = variable.constraint(value)
      variable.assign(value)
    return new_state

  def _towards_anchor(self, state: Any, values: Any) -> Any:
    """Minimizes |w - value|^2 / (2 rate) + (penalty / 2) |w - anchor|^2."""
    rate = self.learning_rate
    if rate is None:
      hparams = self.optimizer.get_hparams(state)
      rate = hparams[tff.learning.optimizers.LEARNING_RATE_KEY]
    weight = tf.cast(rate, tf.float32) * self.penalty
    return (
        *((v + weight * a) / (1 + weight) for v, a in zip(values, self.anchor)),
        *values[len(self.anchor) :],
    )


def train(
    model: partial_model.PartialModel,
    groups: Sequence[Group],
    examples: Any,
    client_examples: examples_lib.ClientExamples,
    passes: examples_lib.Pass,
    *,
    clip_norm: Optional[float] = None,
    adapter_dropout: float = 0.0,
) -> Progress:
  """Trains the variables of `groups` in place.

  Args:
    model: The model that the variables belong to.
    groups: What is trained. All gradients of a step are taken at the same
      point: with two groups this is FedSim's simultaneous step.
    examples: A client's examples.
    client_examples: The form of `examples`.
    passes: The steps to take.
    clip_norm: Bound on the global norm of a step's gradients, penalties
      included; `None` for no bound.
    adapter_dropout: The fraction of the outputs of adapters that is dropped.

  Returns:
    The sums over all steps.
  """
  names = [group.name for group in groups]

  def random_scope(step):
    return randomness.scope(
        lambda: client_examples.step_seed(examples, passes.phase, step),
        layers=model.random_layers,
        adapter_dropout=adapter_dropout,
    )

  def step(state, batch):
    optimizer_states, progress = state
    with random_scope(progress.steps):
      loss, outputs, gradients = model.gradients(batch, names)
    gradients = [
        group.add_penalty(gradient)
        for group, gradient in zip(groups, gradients)
    ]
    if clip_norm is not None:
      flat, _ = tf.clip_by_global_norm(tf.nest.flatten(gradients), clip_norm)
      gradients = tf.nest.pack_sequence_as(gradients, flat)
    new_states = tuple(
        group.apply(optimizer_state, gradient)
        for group, optimizer_state, gradient in zip(
            groups, optimizer_states, gradients
        )
    )
    return new_states, _add_batch(progress, loss, model.metrics(batch, outputs))

  # Not a list, which a dataset would turn into a tensor.
  initial_states = tuple(group.initial_state() for group in groups)
  _, progress = client_examples.reduce(
      examples, (initial_states, _zero(model)), step, passes
  )
  return progress


def _zero(model: partial_model.PartialModel) -> Progress:
  return Progress(
      steps=tf.constant(0, tf.int64),
      examples=tf.constant(0, tf.int64),
      finite=tf.constant(True),
      metrics=collections.OrderedDict(
          (name, (tf.constant(0.0), tf.constant(0.0)))
          for name in model.metric_names
      ),
  )


def _add_batch(progress: Progress, loss: Any, metrics: Any) -> Progress:
  size = tf.shape(tf.nest.flatten(metrics)[0])[0]
  return Progress(
      steps=progress.steps + 1,
      examples=progress.examples + tf.cast(size, tf.int64),
      finite=progress.finite & tf.math.is_finite(loss),
      metrics=tf.nest.map_structure(
          lambda total, term: total + tf.reduce_sum(term),
          progress.metrics,
          metrics,
      ),
  )
