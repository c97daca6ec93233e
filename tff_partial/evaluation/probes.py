# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What clients measure about gradients, for `regime.py`.

Two computations, each of which goes over a client's examples once or a few
times and changes nothing. The gradient probe measures the noise of gradients,
and averages the clients' shared gradients. The secant probe then measures how
gradients change along the steps that a round takes. These secants need first
derivatives only, which every loss has, and describe the loss where training
goes rather than at a point.

Only scalars stay at the clients' places as results, and only the gradient of
shared variables is aggregated: nothing personal is. Gradients are those of the
loss, without penalties.
"""

import collections
from collections.abc import Sequence
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model

_GROUPS = ('shared', 'personal')
_CURVATURE_STEP = 1e-2  # Along a direction of entries 1 and -1.


@dataclasses.dataclass(frozen=True)
class Probe:
  """A computation that clients run, made by one of the functions below.

  Attributes:
    computation: `(<...@SERVER, personal={P}@CLIENTS, examples={E}@CLIENTS, ...>
      -> ...)`.
    client_examples: The form in which it takes examples.
  """

  computation: tff.Computation
  client_examples: examples_lib.ClientExamples


class _Sums(NamedTuple):
  """Sums over the batches of a pass, of both groups' gradients."""

  batches: Any
  examples: Any
  gradients: Any  # By group: sum of |b| g_b.
  squares: Any  # By group: sum of |b| |g_b|^2.


def build_gradient_probe(
    model_fn: partial_model.ModelFn,
    *,
    client_examples: examples_lib.ClientExamples,
    weighted: bool = True,
) -> Probe:
  """Builds the probe that measures the noise of gradients.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    client_examples: The form of the examples. A client needs at least two
      batches.
    weighted: Whether the mean gradient weights clients by their examples.

  Returns:
    A computation of type `(<shared=U@SERVER, personal={P}@CLIENTS,
    examples={E}@CLIENTS> -> <{moments}@CLIENTS, gradient@SERVER,
    weight=float32@SERVER>)`, where `moments` maps names of
    `regime.ClientMoments` to float32 scalars, and `gradient` is the mean of the
    clients' gradients with respect to the shared trainable variables.
  """
  types = client_work_lib.model_types(model_fn, client_examples)

  def run(model, shared, personal, examples):
    model.assign(shared, personal)
    sums = _sums(model, examples, client_examples)
    total = tf.cast(sums.examples, tf.float32)
    means = [[g / total for g in group] for group in sums.gradients]
    moments = collections.OrderedDict(
        num_examples=total, num_batches=tf.cast(sums.batches, tf.float32)
    )
    for name, mean, squares in zip(_GROUPS, means, sums.squares):
      moments[f'{name}_squares'] = squares
      moments[f'{name}_norms'] = _product(mean, mean)
    weight = total if weighted else tf.constant(1.0)
    return moments, list(means[0]), weight

  @tff.tensorflow.computation(types.shared, types.personal, types.examples)
  def probe(shared, personal, examples):
    return partial_model.run(model_fn, run, shared, personal, examples)

  aggregation = tff.aggregators.MeanFactory().create(
      tff.types.to_type(list(types.shared.trainable)),
      tff.TensorType(np.float32),
  )
  total = tff.aggregators.SumFactory().create(tff.TensorType(np.float32))

  @tff.federated_computation(
      tff.FederatedType(types.shared, tff.SERVER),
      tff.FederatedType(types.personal, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def probe_clients(shared, personal, examples):
    moments, gradient, weight = tff.federated_map(
        probe, (tff.federated_broadcast(shared), personal, examples)
    )
    mean = aggregation.next(aggregation.initialize(), gradient, weight)
    weights = total.next(total.initialize(), weight)
    return moments, mean.result, weights.result

  return Probe(probe_clients, client_examples)


def build_secant_probe(
    model_fn: partial_model.ModelFn,
    *,
    client_examples: examples_lib.ClientExamples,
) -> Probe:
  """Builds the probe that measures how gradients change along a round's steps.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    client_examples: The form of the examples.

  Returns:
    A computation of type `(<shared=U@SERVER, gradient@SERVER,
    step=float32@SERVER, personal={P}@CLIENTS, steps={float32}@CLIENTS,
    examples={E}@CLIENTS> -> {secants}@CLIENTS)`. It moves the shared variables
    by `-step gradient`, and each client's personal variables by `-steps` times
    their own gradient. `secants` maps names of `regime.ClientMoments` to
    float32 scalars.
  """
  types = client_work_lib.model_types(model_fn, client_examples)
  gradient_type = tff.types.to_type(list(types.shared.trainable))
  scalar = tff.TensorType(np.float32)

  def run(model, shared, gradient, step, personal, own_step, examples):
    def means(move_shared=0.0, move_personal=0.0, along=()):
      model.assign(shared, personal)
      for variable, g in zip(model.shared.trainable, gradient):
        variable.assign_sub(move_shared * g)
      for variable, g in zip(model.personal.trainable, along):
        variable.assign_sub(move_personal * g)
      sums = _sums(model, examples, client_examples)
      total = tf.cast(sums.examples, tf.float32)
      return [[g / total for g in group] for group in sums.gradients]

    g, h = means()
    g_x, h_x = means(move_shared=step)
    g_y, h_y = means(move_personal=own_step, along=h)
    x, y = step * _norm(gradient), own_step * _norm(h)
    change = _minus(g_y, g)
    return collections.OrderedDict(
        shared_distances=_square(_minus(g, gradient)),
        shared_curvature=_norm(_minus(g_x, g)) / x,
        personal_curvature=_norm(_minus(h_y, h)) / y,
        mixed_curvature=tf.maximum(
            _norm(change) / y, _norm(_minus(h_x, h)) / x
        ),
        # To first order, g changes by -own_step C h.
        global_coupling=-_product(gradient, change) / own_step,
        own_coupling=-_product(g, change) / own_step,
    )

  @tff.tensorflow.computation(
      types.shared,
      gradient_type,
      scalar,
      types.personal,
      scalar,
      types.examples,
  )
  def probe(shared, gradient, step, personal, own_step, examples):
    return partial_model.run(
        model_fn, run, shared, gradient, step, personal, own_step, examples
    )

  @tff.federated_computation(
      tff.FederatedType(types.shared, tff.SERVER),
      tff.FederatedType(gradient_type, tff.SERVER),
      tff.FederatedType(scalar, tff.SERVER),
      tff.FederatedType(types.personal, tff.CLIENTS),
      tff.FederatedType(scalar, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def probe_clients(shared, gradient, step, personal, own_step, examples):
    broadcast = tff.federated_broadcast
    return tff.federated_map(
        probe,
        (
            broadcast(shared),
            broadcast(gradient),
            broadcast(step),
            personal,
            own_step,
            examples,
        ),
    )

  return Probe(probe_clients, client_examples)


def build_curvature_probe(
    model_fn: partial_model.ModelFn,
    *,
    client_examples: examples_lib.ClientExamples,
    weighted: bool = True,
) -> Probe:
  """Builds the probe of the mean personal Hessian along a direction.

  The mean of H_i z leaves the clients, where z is the same for all; it tells
  how steep the loss is, and nothing about one client.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    client_examples: The form of the examples.
    weighted: Whether the mean weights clients by their examples.

  Returns:
    A computation of type `(<shared=U@SERVER, direction@SERVER, personal=
    {P}@CLIENTS, examples={E}@CLIENTS> -> <mean@SERVER, weight=float32@SERVER>)`
    whose direction and mean are shaped like the personal trainable variables.
  """
  types = client_work_lib.model_types(model_fn, client_examples)
  direction_type = tff.types.to_type(list(types.personal.trainable))

  def run(model, shared, direction, personal, examples):
    def mean_gradient(step):
      model.assign(shared, personal)
      for variable, z in zip(model.personal.trainable, direction):
        variable.assign_add(step * z)
      sums = _sums(model, examples, client_examples)
      total = tf.cast(sums.examples, tf.float32)
      return [g / total for g in sums.gradients[1]], total

    before, total = mean_gradient(0.0)
    after, _ = mean_gradient(_CURVATURE_STEP)
    change = [x / _CURVATURE_STEP for x in _minus(after, before)]
    return change, total if weighted else tf.constant(1.0)

  @tff.tensorflow.computation(
      types.shared, direction_type, types.personal, types.examples
  )
  def probe(shared, direction, personal, examples):
    return partial_model.run(
        model_fn, run, shared, direction, personal, examples
    )

  mean = tff.aggregators.MeanFactory().create(
      direction_type, tff.TensorType(np.float32)
  )
  total = tff.aggregators.SumFactory().create(tff.TensorType(np.float32))

  @tff.federated_computation(
      tff.FederatedType(types.shared, tff.SERVER),
      tff.FederatedType(direction_type, tff.SERVER),
      tff.FederatedType(types.personal, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def probe_clients(shared, direction, personal, examples):
    change, weight = tff.federated_map(
        probe,
        (
            tff.federated_broadcast(shared),
            tff.federated_broadcast(direction),
            personal,
            examples,
        ),
    )
    return (
        mean.next(mean.initialize(), change, weight).result,
        total.next(total.initialize(), weight).result,
    )

  return Probe(probe_clients, client_examples)


def build_clipping_probe(
    model_fn: partial_model.ModelFn,
    *,
    client_examples: examples_lib.ClientExamples,
    clip_norm: float,
) -> Probe:
  """Builds the probe that counts the steps that clipping would shorten.

  FedSim bounds the norm of both groups' gradients together, and each phase of
  FedAlt that of one group. Where a step is clipped, FedAlt's are therefore
  longer, which is no merit of alternating.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    client_examples: The form of the examples, with training's batches.
    clip_norm: The bound.

  Returns:
    A computation of type `(<shared=U@SERVER, personal={P}@CLIENTS,
    examples={E}@CLIENTS> -> {<steps=float32, clipped=float32>}@CLIENTS)`.
  """
  types = client_work_lib.model_types(model_fn, client_examples)

  def run(model, shared, personal, examples):
    model.assign(shared, personal)

    def step(counts, batch):
      _, _, gradients = model.gradients(batch, _GROUPS)
      steps, clipped = counts
      norm = tf.linalg.global_norm(tf.nest.flatten(gradients))
      return steps + 1.0, clipped + tf.cast(norm > clip_norm, tf.float32)

    steps, clipped = client_examples.reduce(
        examples, (tf.constant(0.0), tf.constant(0.0)), step
    )
    return collections.OrderedDict(steps=steps, clipped=clipped)

  @tff.tensorflow.computation(types.shared, types.personal, types.examples)
  def probe(shared, personal, examples):
    return partial_model.run(model_fn, run, shared, personal, examples)

  @tff.federated_computation(
      tff.FederatedType(types.shared, tff.SERVER),
      tff.FederatedType(types.personal, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def probe_clients(shared, personal, examples):
    return tff.federated_map(
        probe, (tff.federated_broadcast(shared), personal, examples)
    )

  return Probe(probe_clients, client_examples)


def _sums(
    model: partial_model.PartialModel,
    examples: Any,
    client_examples: examples_lib.ClientExamples,
) -> _Sums:
  """Goes over a client's examples once, with the model as it is."""
  variables = [getattr(model, group).trainable for group in _GROUPS]

  def step(sums, batch):
    _, _, gradients = model.gradients(batch, _GROUPS)
    number = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]
    size = tf.cast(number, tf.float32)
    return _Sums(
        sums.batches + 1,
        sums.examples + number,
        tf.nest.map_structure(
            lambda total, g: total + size * g, sums.gradients, tuple(gradients)
        ),
        tuple(
            total + size * _square(g)
            for total, g in zip(sums.squares, gradients)
        ),
    )

  zero = _Sums(
      tf.constant(0, tf.int64),
      tf.constant(0, tf.int64),
      tuple(tuple(tf.zeros(v.shape, v.dtype) for v in vs) for vs in variables),
      tuple(tf.constant(0.0) for _ in variables),
  )
  return client_examples.reduce(examples, zero, step)


def _product(a: Sequence[Any], b: Sequence[Any]) -> tf.Tensor:
  parts = [tf.reduce_sum(x * y) for x, y in zip(a, b)]
  return tf.add_n([tf.constant(0.0), *parts])


def _square(a: Sequence[Any]) -> tf.Tensor:
  return _product(a, a)


def _norm(a: Sequence[Any]) -> tf.Tensor:
  return tf.sqrt(_square(a))


def _minus(a: Sequence[Any], b: Sequence[Any]) -> list[tf.Tensor]:
  return [x - y for x, y in zip(a, b)]
