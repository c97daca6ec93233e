# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Paths of a Keras model's variables, and those that training moves."""

from collections.abc import Sequence
import re
from typing import Any

import tensorflow as tf

from tff_partial import errors
from tff_partial.learning import keras_layers

_NUMBERED_LAYER = re.compile(r'layer_with_weights-(\d+)')


def _named(keras_model: tf.keras.Model, parts: Sequence[str]) -> str:
  """A path with the names of layers, also of those of models in the model.

  Keras calls these by their number among the layers that have weights.
  """
  named, owner = [], keras_model
  for part in parts:
    if match := _NUMBERED_LAYER.fullmatch(part):
      with_weights = [layer for layer in owner.layers if layer.weights]
      owner = with_weights[int(match[1])]
      part = owner.name
    elif owner is keras_model:
      owner = next((x for x in owner.layers if x.name == part), None)
    else:
      owner = getattr(owner, part, None)
    named.append(part)
  return '/'.join(named)


def normalizes_batch(layer: tf.keras.layers.Layer) -> bool:
  """Whether a layer computes with statistics of training batches."""
  return isinstance(layer, tf.keras.layers.BatchNormalization)


def moving(
    keras_model: tf.keras.Model,
) -> list[tuple[tf.keras.layers.Layer, set[Any]]]:
  """The variables that training changes without gradients.

  Returns:
    Layers with references to these variables of theirs.
  """
  found = []
  for layer in keras_layers.inside(keras_model):
    if not layer.trainable:
      continue
    if keras_layers.inside(layer):
      continue  # Its parts come by themselves.
    # A layer without weights to train is set up before training, such as
    # `Normalization` by `adapt`.
    if layer.trainable_weights or normalizes_batch(layer):
      found.append((layer, {v.ref() for v in layer.non_trainable_weights}))
  return found


def by_path(
    keras_model: tf.keras.Model,
) -> dict[str, tf.Variable]:
  """Variables by unique path, in the order of Keras's `variables`."""
  path_of = {
      variable.ref(): _named(keras_model, path.split('.'))
      for path, variable in keras_model.get_weight_paths().items()
  }
  missing = [v.name for v in keras_model.variables if v.ref() not in path_of]
  if missing:
    raise errors.SettingsError(
        'Expected every variable to belong to a layer that Keras tracks, found'
        f' {missing} outside. Make the layers that own them attributes of the'
        ' model.'
    )
  return {path_of[v.ref()]: v for v in keras_model.variables}
