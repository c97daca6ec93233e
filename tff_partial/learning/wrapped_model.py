# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A model that wraps another one and divides its variables differently."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tff_partial.learning import partial_model


class WrappedModel(partial_model.PartialModel):
  """Passes everything on to the model inside, except for its variables.

  Classes that derive from it set `shared`, `personal` and `variables`.
  """

  def __init__(self, model_fn: partial_model.ModelFn):
    """Creates the model inside.

    Args:
      model_fn: Returns a new model on every call.
    """
    # The parent's constructor is not called: it divides a single Keras model.
    self._model = model_fn()
    self.input_spec = self._model.input_spec
    self.random_layers = self._model.random_layers
    self.batch_layers = self._model.batch_layers
    self.constants = self._model.constants

  def fix_constants(self, values: Sequence[Any]) -> None:
    self._model.fix_constants(values)
    super().fix_constants(values)

  def refresh_derived(self) -> None:
    self._model.refresh_derived()

  @property
  def metric_names(self) -> tuple[str, ...]:
    return self._model.metric_names

  def outputs(self, batch: partial_model.Batch, *, training: bool) -> Any:
    return self._model.outputs(batch, training=training)

  def to_keras(self) -> tf.keras.Model:
    return self._model.to_keras()

  def loss(self, batch: partial_model.Batch, outputs: Any) -> tf.Tensor:
    return self._model.loss(batch, outputs)

  def metrics(self, batch: partial_model.Batch, outputs: Any) -> Any:
    return self._model.metrics(batch, outputs)
