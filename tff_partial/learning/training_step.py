# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training step, and the loop that repeats it over a client's examples.

All phases of all algorithms run this step (`local_update.py`): it takes the
gradients of the groups of variables that are trained, adds penalties, clips,
and lets each group's optimizer update its variables.
"""

import collections
from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any, NamedTuple, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.learning import examples as examples_lib
from tff_partial.learning import microbatches
from tff_partial.learning import partial_model
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import randomness


class Progress(NamedTuple):
  """Sums over the steps that were taken."""

  steps: tf.Tensor  # int64 scalar
  examples: tf.Tensor  # int64 scalar
  finite: tf.Tensor  # bool scalar: whether the losses of all steps were
  metrics: Any  # name -> (total, weight), float32 scalars; maybe none


class Group(NamedTuple):
  """A group of variables, and how it is trained.

  Attributes:
    name: 'shared' or 'personal'.
    variables: Its trainable variables.
    optimizer: Updates them.
    learning_rate: Replaces the optimizer's, float32 scalar; `None` to keep it.
    penalty: Weight of the squared distance from the anchor, a float or a
      float32 scalar.
    anchor: Values for the first variables, or variables that have them, if
      there is a penalty. Variables that follow, such as a mixture weight, have
      no penalty.
    gates: What the gradient of each variable is multiplied by, penalty
      included, float32 scalars; none for 1.
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
  gates: tuple[tf.Tensor, ...] = ()

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
    if self.anchor and not self.implicit:
      gradient = self._with_penalty(gradient)
    if not self.gates:
      return gradient
    return tuple(gate * g for gate, g in zip(self.gates, gradient))

  def _with_penalty(self, gradient: Any) -> Any:
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
    phase: phase_lib.Phase,
    *,
    number: int = 0,
    log_counts: Optional[tf.Tensor] = None,
    measured: bool = True,
) -> Progress:
  """Trains the variables of `groups` in place.

  Args:
    model: The model that the variables belong to.
    groups: What is trained. All gradients of a step are taken at the same
      point: with two groups this is FedSim's simultaneous step.
    examples: A client's examples.
    client_examples: The form of `examples`.
    phase: Which steps to take, and how; `groups` replaces its groups.
    number: Number of the phase in the client's work. Phases with different
      numbers see the examples in different orders.
    log_counts: With `phase.shared_ignores_personal`, the logarithm of the
      client's number of examples of each class, float32 [classes], by which the
      loss of the shared variables is balanced; `None` for the plain loss.
    measured: Whether the model's metrics are summed up. What nobody reads is
      not computed.

  Returns:
    The sums over all steps. With `full_batch`, these are sums over batches.

  Raises:
    errors.SettingsError: If `client_examples` has microbatches and a layer
      takes statistics of a batch.
  """
  passes = examples_lib.Pass(phase.epochs, phase.max_steps, phase=number)
  size = client_examples.microbatch_size
  if size is not None:
    microbatches.check(model.batch_layers)

  def random_scope(step, part):
    return randomness.scope(
        lambda: client_examples.step_seed(examples, number, step, part),
        layers=model.random_layers,
        adapter_dropout=phase.adapter_dropout,
    )

  def compute(step, batch, part=None):
    with random_scope(step, part):
      loss, outputs, found = _gradients(
          model,
          batch,
          groups,
          ignores_personal=phase.shared_ignores_personal,
          log_counts=log_counts,
      )
    return loss, found, model.metrics(batch, outputs)

  def gradients(progress, batch):
    one = functools.partial(compute, progress.steps)
    if size is not None:
      loss, found, added = _in_parts(one, groups, progress, batch, size)
    else:
      loss, found, metrics = one(batch)
      added = _add_examples(progress, batch, metrics)
    finite = progress.finite & tf.math.is_finite(loss)
    return found, added._replace(steps=progress.steps + 1, finite=finite)

  def step(state, batch):
    optimizer_states, progress = state
    found, added = gradients(progress, batch)
    found = _penalized(groups, found, phase.clip_norm)
    return _apply(groups, optimizer_states, found), added

  def step_on_batch(state, batch):
    state = _repeat(phase.inner_steps, lambda s: step(s, batch), state)
    if phase.pull:
      _pull(model, phase.pull)
    return state

  # Not a list, which a dataset would turn into a tensor.
  initial_states = tuple(group.initial_state() for group in groups)
  zero = _zero(model.metric_names if measured else ())
  if phase.full_batch:
    reduce = functools.partial(client_examples.reduce, examples)
    return _train_on_all(groups, zero, gradients, reduce, passes, phase)
  _, progress = client_examples.reduce(
      examples, (initial_states, zero), step_on_batch, passes
  )
  return progress


def _repeat(times: int, fn: Callable[[Any], Any], state: Any) -> Any:
  """The state after some steps on the same batch."""
  if times == 1:
    return fn(state)
  _, state = tf.while_loop(
      lambda number, unused_state: number < times,
      lambda number, state: (number + 1, fn(state)),
      (tf.constant(0), state),
      # Steps depend on each other through the model's variables.
      parallel_iterations=1,
  )
  return state


def _pull(model: partial_model.PartialModel, fraction: float) -> None:
  """Moves the shared variables towards their personal copies."""
  for shared, personal in zip(model.shared.trainable, model.personal.trainable):
    shared.assign_sub(fraction * (shared - personal))


def _in_parts(
    compute: Callable[..., tuple[tf.Tensor, Any, Any]],
    groups: Sequence[Group],
    progress: Progress,
    batch: Any,
    size: int,
) -> tuple[tf.Tensor, Any, Progress]:
  """Computes a batch a few examples at a time.

  Args:
    compute: Maps a microbatch and its number to loss, gradients and metrics.
    groups: What the gradients are of.
    progress: The sums before the batch.
    batch: The batch.
    size: Examples in a microbatch.

  Returns:
    The batch's loss and gradients, and progress with its examples.
  """

  def add(progress, part, number):
    loss, found, metrics = compute(part, number)
    values = (tf.cast(loss, tf.float32), found)
    return _add_examples(progress, part, metrics), values, metrics

  added, (loss, found) = microbatches.mean(
      add,
      progress,
      batch,
      (tf.constant(0.0), [group.variables for group in groups]),
      size=size,
  )
  return loss, found, added


def _gradients(
    model: partial_model.PartialModel,
    batch: Any,
    groups: Sequence[Group],
    *,
    ignores_personal: bool,
    log_counts: Optional[tf.Tensor],
) -> tuple[tf.Tensor, Any, Any]:
  """The loss of a batch, the outputs, and the gradients of each group."""
  names = [group.name for group in groups]
  if not ignores_personal or 'shared' not in names:
    return model.gradients(batch, names)
  variables = model.personal.trainable
  values = [v.read_value() for v in variables]
  for variable in variables:
    variable.assign(tf.zeros_like(variable))
  if log_counts is None:
    loss, outputs, found = model.gradients(batch, ['shared'])
  else:
    loss, outputs, found = model.balanced_gradients(
        batch, ['shared'], log_counts
    )
  for variable, value in zip(variables, values):
    variable.assign(value)
  if names == ['shared']:
    return loss, outputs, found
  by_name = {'shared': found[0]}
  own_loss, outputs, [by_name['personal']] = model.gradients(
      batch, ['personal']
  )
  # Not finite if either is not.
  return own_loss + 0.0 * loss, outputs, [by_name[name] for name in names]


def _penalized(
    groups: Sequence[Group], gradients: Any, clip_norm: Optional[float]
) -> Any:
  """Gradients with those of the penalties, clipped together."""
  gradients = [
      group.add_penalty(gradient) for group, gradient in zip(groups, gradients)
  ]
  if clip_norm is not None:
    # The norm of a sparse gradient would be that of its rows before they are
    # added up, if one is there twice.
    dense = [tf.convert_to_tensor(g) for g in tf.nest.flatten(gradients)]
    flat, _ = tf.clip_by_global_norm(dense, clip_norm)
    gradients = tf.nest.pack_sequence_as(gradients, flat)
  return gradients


def _apply(
    groups: Sequence[Group], optimizer_states: Any, gradients: Any
) -> Any:
  """Updates all groups; returns the new states of their optimizers."""
  return tuple(
      group.apply(optimizer_state, gradient)
      for group, optimizer_state, gradient in zip(
          groups, optimizer_states, gradients
      )
  )


def _train_on_all(
    groups: Sequence[Group],
    zero: Progress,
    gradients: Any,
    reduce: Any,
    passes: examples_lib.Pass,
    phase: phase_lib.Phase,
) -> Progress:
  """Takes a step an epoch until the gradient is small.

  Args:
    groups: What is trained.
    zero: The sums before the first step.
    gradients: Maps progress and a batch to the batch's gradients and the new
      progress.
    reduce: Goes over all batches, as `ClientExamples.reduce`.
    passes: At most this many steps.
    phase: The bound on the gradients, and the tolerance.

  Returns:
    The sums over all batches.
  """
  epoch = dataclasses.replace(passes, epochs=1, max_steps=None)
  steps = min(passes.epochs, passes.max_steps or passes.epochs)
  nothing = tuple(
      tuple(tf.zeros(v.shape, v.dtype) for v in group.variables)
      for group in groups
  )

  def add(state, batch):
    total, progress = state
    found, added = gradients(progress, batch)
    size = tf.cast(added.examples - progress.examples, tf.float32)
    weighted = lambda t, g: t + size * g
    return (
        tf.nest.map_structure(weighted, total, tuple(map(tuple, found))),
        added,
    )

  def body(number, unused_goes_on, optimizer_states, progress):
    total, added = reduce((nothing, progress), add, epoch)
    count = tf.cast(added.examples - progress.examples, tf.float32)
    mean = tf.nest.map_structure(
        lambda t: tf.math.divide_no_nan(t, count), total
    )
    exact = _penalized(groups, mean, None)
    # A gradient that is not a number makes a step, by which it is noticed.
    large = ~(tf.linalg.global_norm(tf.nest.flatten(exact)) < phase.tolerance)
    # A client without examples is not drawn to its anchors.
    goes_on = large & (count > 0)
    found = _penalized(groups, mean, phase.clip_norm)
    new_states = tf.cond(
        goes_on,
        lambda: _apply(groups, optimizer_states, found),
        lambda: optimizer_states,
    )
    return number + 1, goes_on, new_states, added

  *_, progress = tf.while_loop(
      lambda number, goes_on, *unused: goes_on & (number < steps),
      body,
      (
          tf.constant(0),
          tf.constant(True),
          tuple(group.initial_state() for group in groups),
          zero,
      ),
      # Steps depend on each other through the model's variables.
      parallel_iterations=1,
  )
  return progress


def _zero(metric_names: Sequence[str]) -> Progress:
  return Progress(
      steps=tf.constant(0, tf.int64),
      examples=tf.constant(0, tf.int64),
      finite=tf.constant(True),
      metrics=collections.OrderedDict(
          (name, (tf.constant(0.0), tf.constant(0.0))) for name in metric_names
      ),
  )


def _add_examples(progress: Progress, batch: Any, metrics: Any) -> Progress:
  """Adds examples with the terms of their metrics, but no step."""
  size = tf.shape(tf.nest.flatten(batch['y'])[0])[0]
  return progress._replace(
      examples=progress.examples + tf.cast(size, tf.int64),
      metrics=collections.OrderedDict(
          (
              name,
              tuple(s + tf.reduce_sum(t) for s, t in zip(sums, metrics[name])),
          )
          for name, sums in progress.metrics.items()
      ),
  )
