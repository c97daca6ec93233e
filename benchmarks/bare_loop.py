# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The same steps without a framework: a `tf.function` and an average in NumPy.

The compiled function takes a client's steps and is called for one client after
another in this process. Examples are in memory. There is no federation, nothing
is serialized, and there are no metrics and no checks that values are finite.
Model, initial values, batches, clipping and SGD are those of the library's
round, so both end with the same variables up to rounding.
"""

import time
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import workload as workload_lib
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import partial_model


class BareLoop:
  """Rounds of FedAvg or FedAlt, one after another.

  Attributes:
    shared: The values of the shared variables after the last round.
  """

  def __init__(self, workload: workload_lib.Workload, *, alternating: bool):
    """Compiles the function.

    Args:
      workload: What is trained.
      alternating: Whether to train the personal variables first and then the
        shared ones; otherwise all variables are shared.
    """
    self._workload = workload
    model_fn = workload.model_fn(workload.split if alternating else 'none')
    initial_shared, initial_personal = client_work_lib.build_initial_weights(
        model_fn, seed=0
    )()
    self.shared = list(initial_shared.trainable)
    self._initial_personal = list(initial_personal.trainable)
    self._personal = {}
    self._examples = {
        client_id: workload.arrays.read(client_id)
        for client_id in workload.arrays.client_ids
    }
    self._model = model_fn()
    # Traced now, because Keras invalidates a model when another one is made in
    # a graph.
    self._train = tf.function(self._steps).get_concrete_function(
        tf.nest.map_structure(
            lambda array: tf.TensorSpec(array.shape, array.dtype),
            next(iter(self._examples.values())),
        ),
        tf.TensorSpec([2], tf.int32),
    )

  def __call__(self, round_num: int) -> float:
    started_at = time.monotonic()
    sums = [np.zeros_like(value) for value in self.shared]
    shared = self._model.shared.trainable
    personal = self._model.personal.trainable
    cohort = self._workload.cohort(round_num)
    for client_id in cohort:
      kept = self._personal.get(client_id, self._initial_personal)
      for variable, value in zip([*shared, *personal], [*self.shared, *kept]):
        variable.assign(value)
      self._train(
          tf.nest.map_structure(tf.constant, self._examples[client_id]),
          tf.constant(clients_lib.seed_for(0, round_num, client_id)),
      )
      for total, variable in zip(sums, shared):
        total += variable.numpy()
      self._personal[client_id] = [variable.numpy() for variable in personal]
    self.shared = [total / len(cohort) for total in sums]
    return time.monotonic() - started_at

  def _steps(self, examples: Any, seed: tf.Tensor):
    """A client's gradient steps."""
    fold_in = tf.random.experimental.stateless_fold_in
    tensors = self._workload.tensors
    num_examples = len(tf.nest.flatten(examples)[0])
    groups = [
        group.trainable
        for group in (self._model.personal, self._model.shared)
        if group.trainable
    ]
    for phase, variables in enumerate(groups):
      phase_seed = fold_in(seed, phase)
      keys = tf.random.stateless_uniform([1, num_examples], phase_seed)
      order = tf.argsort(keys, axis=-1, stable=True)[0]
      for start in tf.range(0, num_examples, tensors.batch_size):
        chosen = order[start : start + tensors.batch_size]
        batch = tf.nest.map_structure(
            lambda t, chosen=chosen: tf.gather(t, chosen), examples
        )
        if tensors.prepare_train is not None:
          batch = tensors.prepare_train(
              batch, fold_in(phase_seed, start // tensors.batch_size)
          )
        self._step(batch, variables)

  def _step(self, batch: partial_model.Batch, variables: list[tf.Variable]):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(variables)
      loss = self._model.loss(batch, self._model.outputs(batch, training=True))
    gradients = tape.gradient(loss, variables)
    if self._workload.clip_norm is not None:
      gradients, _ = tf.clip_by_global_norm(gradients, self._workload.clip_norm)
    for variable, gradient in zip(variables, gradients):
      variable.assign_sub(self._workload.learning_rate * gradient)
