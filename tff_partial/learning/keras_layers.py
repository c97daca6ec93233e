# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What Keras does not offer about the layers of a model."""

from typing import Any, Optional

import tensorflow as tf

from tff_partial import errors

# AutoGraph as it is outside of functions: Keras converts layers of one's own.
_CONVERTING = tf.__internal__.autograph.control_status_ctx()


def inside(layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
  """The layers in a layer or a model, at any depth, each once."""
  # `submodules` fails at recurrent cells with dropout, whose caches of masks
  # cannot be searched.
  found = {id(x): x for x in layer._flatten_layers(include_self=False)}
  return list(found.values())


def call(model: tf.keras.Model, inputs: Any, *, training: bool) -> Any:
  """Calls a model, whose own layers may have `if` and `for` over tensors.

  Args:
    model: Any model.
    inputs: Its inputs, each [batch, ...].
    training: Whether layers such as dropout behave as in training.

  Returns:
    Its outputs, also where AutoGraph is switched off for the caller.
  """
  try:
    with _CONVERTING:
      return model(inputs, training=training)
  except Exception as e:
    # AutoGraph replaces errors of kinds that it does not know.
    cause: Optional[BaseException] = e
    while cause is not None and not isinstance(cause, errors.UserError):
      cause = cause.__context__
    if cause is None:
      raise
    raise cause from None
