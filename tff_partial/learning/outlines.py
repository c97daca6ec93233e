# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What models are like, found out without training one."""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.learning import partial_model
from tff_partial.learning import partition


class Outline(NamedTuple):
  """What is known of a model without its graph.

  Attributes:
    variables: As those of a `PartialModel`.
    shared: The `tf.TensorSpec`s of the shared variables.
    personal: Those of the personal variables.
    input_spec: The type of a batch.
    batch_layers: As those of a `PartialModel`.
  """

  variables: tuple[partition.VariableInfo, ...]
  shared: tff.learning.models.ModelWeights
  personal: tff.learning.models.ModelWeights
  input_spec: Any
  batch_layers: Sequence[str]


@dataclasses.dataclass(frozen=True, eq=False)
class OutlinedModelFn:
  """A `ModelFn` that makes one model to find out what all of them are like.

  Attributes:
    model_fn: Makes the models, which must all be alike.
  """

  model_fn: partial_model.ModelFn

  def __call__(self) -> partial_model.PartialModel:
    return self.model_fn()

  @functools.cached_property
  def outline(self) -> Outline:
    return _outline(self.model_fn)


def outline(model_fn: partial_model.ModelFn) -> Outline:
  """Finds out what the models that `model_fn` returns are like."""
  if isinstance(model_fn, OutlinedModelFn):
    return model_fn.outline
  return _outline(model_fn)


def _outline(model_fn: partial_model.ModelFn) -> Outline:
  with tf.Graph().as_default():
    model = model_fn()
  specs = lambda weights: tf.nest.map_structure(
      lambda v: tf.TensorSpec(v.shape, v.dtype), weights
  )
  return Outline(
      tuple(model.variables),
      specs(model.shared),
      specs(model.personal),
      model.input_spec,
      model.batch_layers,
  )


def describe(
    model_fn: partial_model.ModelFn,
) -> tuple[partition.VariableInfo, ...]:
  """Describes the variables of the models that `model_fn` returns."""
  return outline(model_fn).variables
