# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow computations of a round and their types, without placements.

`process.py` places them at the server and at the clients.
"""

import collections
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import outlines
from tff_partial.learning import partial_model
from tff_partial.learning import phase as phase_lib


class ClientWorkState(NamedTuple):
  """What the server sends to clients in addition to the shared variables.

  Attributes:
    round_num: Number of completed rounds, int32; learning-rate schedules use
      it.
    initial_personal: The initial personal variables if a penalty is anchored
      there, else `()`. They are the same for all clients, and the server knows
      them because it seeded or pretrained them.
    learning_rates: A `phase.LearningRates` for each phase. They are part of the
      state, as hyperparameters are in `tff.learning`, so that rounds with other
      learning rates are the same computation.
  """

  round_num: Any
  initial_personal: Any
  learning_rates: Any = ()

  def inputs(
      self,
      shared: tff.learning.models.ModelWeights,
      personal: tff.learning.models.ModelWeights,
      examples: Any,
  ) -> local_update.ClientInputs:
    """The inputs of a client's work in this state."""
    return local_update.ClientInputs(
        shared,
        personal,
        examples,
        self.round_num,
        self.initial_personal,
        self.learning_rates,
    )


class ModelTypes(NamedTuple):
  """The TFF types of a model's variables and of a client's examples."""

  shared: tff.Type
  personal: tff.Type
  examples: tff.Type


def model_types(
    model_fn: partial_model.ModelFn,
    client_examples: examples_lib.ClientExamples,
) -> ModelTypes:
  """Derives the types from the outline of a model."""
  model = outlines.outline(model_fn)
  weights_type = lambda weights: tff.types.to_type(
      tf.nest.map_structure(
          lambda v: tff.TensorType(v.dtype.as_numpy_dtype, v.shape.as_list()),
          weights,
      )
  )
  return ModelTypes(
      shared=weights_type(model.shared),
      personal=weights_type(model.personal),
      examples=client_examples.type(model.input_spec),
  )


def state_type(
    types: ModelTypes, phases: Sequence[phase_lib.Phase]
) -> tff.Type:
  """The type of the `ClientWorkState` that these phases need."""
  anchored = phase_lib.needs_initial_personal(phases)
  return tff.types.to_type(
      ClientWorkState(
          round_num=tff.TensorType(np.int32),
          initial_personal=types.personal if anchored else (),
          learning_rates=tf.nest.map_structure(
              lambda rate: tff.TensorType(rate.dtype.type),
              phase_lib.learning_rates(phases),
          ),
      )
  )


def build_initial_weights(
    model_fn: partial_model.ModelFn, *, seed: int
) -> tff.Computation:
  """Builds `( -> <U,P>)`, the seeded initial shared and personal variables."""

  @tff.tensorflow.computation
  def initial_weights():
    # A single model: Keras would number the layers of a second one on.
    with partial_model.seeded(seed):
      model = model_fn()
    return model.initial('shared'), model.initial('personal')

  return initial_weights


def build_initial_group(
    model_fn: partial_model.ModelFn, group: str, *, seed: int
) -> tff.Computation:
  """Builds `( -> U)` or `( -> P)`, one part of `build_initial_weights`."""
  return tff.tensorflow.computation(lambda: _initial(model_fn, seed, group))


def build_initial_state(
    model_fn: partial_model.ModelFn,
    phases: Sequence[phase_lib.Phase],
    *,
    seed: int,
) -> tff.Computation:
  """Builds `( -> W)`, the `ClientWorkState` before the first round."""
  anchored = phase_lib.needs_initial_personal(phases)

  @tff.tensorflow.computation
  def initial_state():
    return ClientWorkState(
        round_num=tf.constant(0),
        initial_personal=_initial(model_fn, seed, 'personal')
        if anchored
        else (),
        learning_rates=phase_lib.learning_rates(phases),
    )

  return initial_state


def build_next_state(work_type: tff.Type) -> tff.Computation:
  """Builds `(W -> W)`, the step from one round to the next."""
  return tff.tensorflow.computation(
      lambda state: state._replace(round_num=state.round_num + 1), work_type
  )


def _initial(
    model_fn: partial_model.ModelFn, seed: int, group: str
) -> tff.learning.models.ModelWeights:
  """The initial variables of a group, inside a computation."""
  with partial_model.seeded(seed):
    model = model_fn()
  return model.initial(group)


def build_client_work(
    model_fn: partial_model.ModelFn,
    phases: Sequence[phase_lib.Phase],
    *,
    types: ModelTypes,
    client_examples: examples_lib.ClientExamples,
    uniform_weight: bool,
) -> tff.Computation:
  """Builds `(<U,W,P,E> -> ClientOutput)`, one client's `local_update`.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    phases: What to train, in order.
    types: The types of the model and of `client_examples`.
    client_examples: The form in which examples are passed.
    uniform_weight: Whether all clients have weight 1.
  """

  def work(model, shared, state, personal, examples):
    return local_update.local_update(
        model,
        phases,
        state.inputs(shared, personal, examples),
        client_examples=client_examples,
        uniform_weight=uniform_weight,
    )

  @tff.tensorflow.computation(
      types.shared, state_type(types, phases), types.personal, types.examples
  )
  def client_work(shared, state, personal, examples):
    return partial_model.run(model_fn, work, shared, state, personal, examples)

  return client_work


def build_ratios(metrics_type: tff.Type) -> tff.Computation:
  """Builds the computation that divides the two terms of each metric.

  Args:
    metrics_type: By name, (total, weight), float32 scalars.

  Returns:
    A computation `(<name=<float32,float32>,...> -> <name=float32,...>)`. A
    metric of weight 0, a mean of nothing, is NaN.
  """

  @tff.tensorflow.computation(metrics_type)
  def ratios(metrics):
    return collections.OrderedDict(
        (name, total / weight) for name, (total, weight) in metrics.items()
    )

  return ratios
