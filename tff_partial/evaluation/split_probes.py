# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What clients measure about each variable, to choose which are personal.

The model is one whose variables are all personal. The score probe takes the
gradient of each variable at the model that everybody starts from, and, for
scores that need it, trains a copy for an epoch. The subset probe trains some
variables and returns the loss on held-out examples; which ones is an input, so
that one computation serves all subsets. Scalars stay as results, a few for each
client and variable; nothing else does.
"""

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.evaluation import probes
from tff_partial.learning import algorithms
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import training_step

LOSS = 'loss'


def build_score_probe(
    model_fn: partial_model.ModelFn,
    *,
    client_examples: examples_lib.ClientExamples,
    training_examples: examples_lib.ClientExamples,
    optimizer: tff.learning.optimizers.Optimizer,
    steps: algorithms.Steps,
    after_training: bool,
) -> probes.Probe:
  """Builds the probe of gradients and of what an epoch changes.

  Args:
    model_fn: Returns a new model, all of whose variables are personal.
    client_examples: The form of the examples. A client needs two batches.
    training_examples: The same, with the batches of training.
    optimizer: Trains the variables.
    steps: How long. Nothing is dropped.
    after_training: Whether anything is trained.

  Returns:
    A computation `(<start=<U,P>@SERVER, examples={E}@CLIENTS> ->
    {<...>}@CLIENTS)`. Its results are the scalars `num_examples` and
    `num_batches` and, float32 [variables], `norms` (|g|^2 of the mean gradient
    g) and `squares` (sum of |b| |g_b|^2 over batches b); with `after_training`,
    also `moved` (sum of the absolute changes) and `sensitivities` (sum of
    (g w)^2 afterwards).
  """
  types = client_work_lib.model_types(model_fn, client_examples)

  def run(model, start, examples):
    model.assign(*start)
    _, norms, squares, counts = _gradients(model, examples, client_examples)
    found = collections.OrderedDict(
        num_examples=counts[0],
        num_batches=counts[1],
        norms=norms,
        squares=squares,
    )
    if not after_training:
      return found
    values = [v.read_value() for v in model.personal.trainable]
    _train(model, examples, training_examples, optimizer, (), steps)
    after, *_ = _gradients(model, examples, client_examples)
    trained = model.personal.trainable
    stack = lambda terms: tf.stack([tf.reduce_sum(t) for t in terms])
    found['moved'] = stack([tf.abs(v - w) for v, w in zip(trained, values)])
    found['sensitivities'] = stack(
        [tf.square(g * w) for g, w in zip(after, trained)]
    )
    return found

  start_type = tff.types.to_type((types.shared, types.personal))

  @tff.tensorflow.computation(start_type, types.examples)
  def probe(start, examples):
    return partial_model.run(model_fn, run, start, examples)

  @tff.federated_computation(
      tff.FederatedType(start_type, tff.SERVER),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def probe_clients(start, examples):
    return tff.federated_map(probe, (tff.federated_broadcast(start), examples))

  return probes.Probe(probe_clients, client_examples)


def build_subset_probe(
    model_fn: partial_model.ModelFn,
    *,
    client_examples: examples_lib.ClientExamples,
    optimizer: tff.learning.optimizers.Optimizer,
    steps: algorithms.Steps,
) -> probes.Probe:
  """Builds the probe of the held-out loss after training some variables.

  Args:
    model_fn: Returns a new model, all of whose variables are personal, with a
      metric named 'loss'.
    client_examples: The form of the examples.
    optimizer: Trains the variables.
    steps: How long. Nothing is dropped.

  Returns:
    A computation `(<start=<U,P>@SERVER, gates=float32[variables]@SERVER,
    examples={E}@CLIENTS, held_out={E}@CLIENTS> -> {<total=float32,
    weight=float32>}@CLIENTS)`. A gate of 0 keeps the variable as it is.
  """
  types = client_work_lib.model_types(model_fn, client_examples)

  def run(model, start, gates, examples, held_out):
    model.assign(*start)
    opened = tuple(tf.unstack(gates, len(model.personal.trainable)))

    def train():
      _train(model, examples, client_examples, optimizer, opened, steps)
      return True

    # With all gates at 0, training would change nothing.
    tf.cond(tf.reduce_any(gates > 0), train, lambda: False)

    def add(sums, batch):
      terms = model.metrics(batch, model.outputs(batch, training=False))[LOSS]
      return tuple(s + tf.reduce_sum(t) for s, t in zip(sums, terms))

    total, weight = client_examples.reduce(
        held_out,
        (tf.constant(0.0), tf.constant(0.0)),
        add,
        examples_lib.Pass(training=False),
    )
    return collections.OrderedDict(total=total, weight=weight)

  start_type = tff.types.to_type((types.shared, types.personal))
  gates_type = tff.TensorType(np.float32, [len(types.personal.trainable)])

  @tff.tensorflow.computation(
      start_type, gates_type, types.examples, types.examples
  )
  def probe(start, gates, examples, held_out):
    return partial_model.run(model_fn, run, start, gates, examples, held_out)

  @tff.federated_computation(
      tff.FederatedType(start_type, tff.SERVER),
      tff.FederatedType(gates_type, tff.SERVER),
      tff.FederatedType(types.examples, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def probe_clients(start, gates, examples, held_out):
    broadcast = tff.federated_broadcast
    return tff.federated_map(
        probe, (broadcast(start), broadcast(gates), examples, held_out)
    )

  return probes.Probe(probe_clients, client_examples)


def _train(
    model: partial_model.PartialModel,
    examples: Any,
    client_examples: examples_lib.ClientExamples,
    optimizer: tff.learning.optimizers.Optimizer,
    gates: Sequence[tf.Tensor],
    steps: algorithms.Steps,
) -> None:
  group = training_step.Group(
      'personal',
      tuple(model.personal.trainable),
      optimizer,
      gates=tuple(gates),
  )
  phase = phase_lib.Phase(
      personal=phase_lib.GroupTraining(optimizer),
      epochs=steps.epochs,
      max_steps=steps.max_steps,
      clip_norm=steps.clip_norm,
  )
  training_step.train(
      model, [group], examples, client_examples, phase, measured=False
  )


def _gradients(
    model: partial_model.PartialModel,
    examples: Any,
    client_examples: examples_lib.ClientExamples,
) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor, tuple[tf.Tensor, ...]]:
  """Mean gradients; of each its |.|^2 and the squares of batches; counts."""
  variables = model.personal.trainable
  square = lambda gs: tf.stack([tf.reduce_sum(tf.square(g)) for g in gs])

  def add(sums, batch):
    total, squares, number, batches = sums
    _, _, [gradient] = model.gradients(batch, ['personal'])
    size = tf.cast(tf.shape(tf.nest.flatten(batch)[0])[0], tf.float32)
    return (
        tuple(t + size * g for t, g in zip(total, gradient)),
        squares + size * square(gradient),
        number + size,
        batches + 1.0,
    )

  zero = (
      tuple(tf.zeros(v.shape, v.dtype) for v in variables),
      tf.zeros([len(variables)]),
      tf.constant(0.0),
      tf.constant(0.0),
  )
  total, squares, number, batches = client_examples.reduce(examples, zero, add)
  mean = [t / number for t in total]
  return mean, square(mean), squares, (number, batches)
