# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What Keras does not offer about the layers of a model."""

import tensorflow as tf


def inside(layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
  """The layers in a layer or a model, at any depth, each once."""
  # `submodules` fails at recurrent cells with dropout, whose caches of masks
  # cannot be searched.
  found = {id(x): x for x in layer._flatten_layers(include_self=False)}
  return list(found.values())
