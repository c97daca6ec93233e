# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Paths of a Keras model's variables, and those that training moves."""

from collections.abc import Mapping, Sequence
import re
from typing import Any

import tensorflow as tf

from tff_partial import errors
from tff_partial.learning import keras_layers

# Operations that take a variable and leave its value.
_READS = frozenset(
    ('ReadVariableOp', 'ResourceGather', 'ResourceGatherNd', 'VariableShape')
)
_NUMBERED_LAYER = re.compile(r'layer_with_weights-\d+')


def _named(references: Sequence[Any]) -> str:
  """A path with the names of layers, also of those of models in the model.

  Keras calls these by their number among the layers that have weights.

  Args:
    references: From the model to a variable, each to an attribute, an element
      or a key of the one before.
  """
  return '/'.join(
      r.ref.name if _NUMBERED_LAYER.fullmatch(r.name) else r.name
      for r in references
  )


def normalizes_batch(layer: tf.keras.layers.Layer) -> bool:
  """Whether a layer computes with statistics of training batches."""
  return isinstance(layer, tf.keras.layers.BatchNormalization)


def moving(
    keras_model: tf.keras.Model,
) -> list[tuple[tf.keras.layers.Layer, set[Any]]]:
  """The variables that training may change without gradients.

  Returns:
    Layers with references to these variables of theirs. Layers of one's own may
    have constants among them, see `only_reads`.
  """
  found = []
  # Such as `Normalization`, which `adapt` sets up before training.
  prepared = tf.keras.layers.experimental.preprocessing.PreprocessingLayer
  for layer in [keras_model, *keras_layers.inside(keras_model)]:
    if not layer.trainable or isinstance(layer, prepared):
      continue
    # Without those of the layers in it, which come by themselves.
    own = {v.ref() for v in layer._non_trainable_weights}
    if own or normalizes_batch(layer):
      found.append((layer, own))
  return found


def only_reads(graph: tf.Graph, variable: tf.Variable) -> bool:
  """Whether a function's graph surely does not assign a variable.

  Args:
    graph: That of a `tf.function`.
    variable: A variable that was made outside of it.
  """
  return all(
      _leaves(op, inner)
      for outer, inner in graph.captures
      if outer is variable.handle
      for op in inner.consumers()
  )


def _leaves(op: tf.Operation, handle: tf.Tensor) -> bool:
  """Whether an operation leaves the value of a variable that it takes."""
  if op.type in _READS:
    return True
  try:  # A condition, a loop or a function, for which TensorFlow knows it.
    read_only = op.get_attr('_read_only_resource_inputs')
  except ValueError:
    return False
  return all(i in read_only for i, x in enumerate(op.inputs) if x is handle)


def assigned(by_path: Mapping[str, tf.Variable]) -> list[str]:
  """Paths of a graph's variables that not only their initializers assign.

  Args:
    by_path: Variables by path.
  """
  return [
      path
      for path, v in by_path.items()
      if tf.is_symbolic_tensor(v.handle)  # In eager execution it is not.
      and any(
          op.type.startswith('Assign') and op is not v.initializer
          for op in v.handle.consumers()
      )
  ]


def by_path(
    keras_model: tf.keras.Model,
) -> dict[str, tf.Variable]:
  """Variables by unique path, in the order of Keras's `variables`."""
  # As Keras's `get_weight_paths`, which joins names that may contain dots.
  view = tf.__internal__.tracking.ObjectGraphView(keras_model)
  found, references = view.breadth_first_traversal()
  path_of = {
      x.ref(): _named(references[x])
      for x in found
      if isinstance(x, tf.Variable)
  }
  missing = [v.name for v in keras_model.variables if v.ref() not in path_of]
  if missing:
    raise errors.SettingsError(
        'Expected every variable to belong to a layer that Keras tracks, found'
        f' {missing} outside. Make the layers that own them attributes of the'
        ' model.'
    )
  return {path_of[v.ref()]: v for v in keras_model.variables}
