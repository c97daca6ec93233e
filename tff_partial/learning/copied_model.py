# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Full personalization: a shared model, and a personal copy of all of it.

A `PartialModel` divides the variables of one model. A `CopiedModel` holds the
same model twice: all variables of the original are shared, and all variables of
the copy are personal. Training one affects the other only through penalties. A
`MixedModel` predicts with a learned mixture of the two [1].

[1] Deng et al. Adaptive Personalized Federated Learning. 2020.
https://arxiv.org/abs/2003.13461
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import partial_model
from tff_partial.learning import partition

MIXTURE = 'personal_mixture'


def copy_of(
    shared: tff.learning.models.ModelWeights,
    personal: tff.learning.models.ModelWeights,
) -> tff.learning.models.ModelWeights:
  """Copies the shared variables into the personal ones.

  Args:
    shared: The variables to copy.
    personal: The personal variables of a `CopiedModel` or a `MixedModel`. Those
      that are no copy of a shared variable, such as a mixture weight, are kept.

  Returns:
    Personal variables with which the model predicts as the shared model does.
  """
  others = personal.trainable[len(shared.trainable) :]
  return personal._replace(trainable=[*shared.trainable, *others])


class CopiedModel(partial_model.PartialModel):
  """A shared model and a personal copy of it, which makes the predictions."""

  def __init__(self, model_fn: partial_model.ModelFn):
    """Creates both models.

    Args:
      model_fn: Returns a new model whose variables are all shared.

    Raises:
      errors.SettingsError: If a variable of the model is personal.
    """
    # The parent's constructor is not called: it divides a single Keras model.
    self._original, self._copy = model_fn(), model_fn()
    personal = [v.path for v in self._original.variables if v.personal]
    if personal:
      raise errors.SettingsError(
          'Expected a `model_fn` whose variables are all shared, because each'
          ' client has a copy of the whole model, found personal variables:'
          f' {", ".join(personal)}. Use the split rule partition.none, or an'
          ' algorithm that trains a part of the model, such as fed_alt.'
      )
    self.input_spec = self._original.input_spec
    self.random_layers = [
        *self._original.random_layers,
        *self._copy.random_layers,
    ]
    self.batch_layers = self._original.batch_layers
    self.shared = self._original.shared
    # Constants are the same in both, and shared.
    self.constants = self._original.constants
    self.personal = self._copy.shared._replace(non_trainable=[])
    self.variables = (
        *self._original.variables,
        *(
            dataclasses.replace(
                v, path=partition.COPY_PREFIX + v.path, personal=True
            )
            for v in self._original.variables
            if v.trainable
        ),
    )

  @property
  def metric_names(self) -> tuple[str, ...]:
    return self._original.metric_names

  def outputs(self, batch: partial_model.Batch, *, training: bool) -> Any:
    return self._copy.outputs(batch, training=training)

  def to_keras(self) -> tf.keras.Model:
    return self._copy.to_keras()

  def loss(self, batch: partial_model.Batch, outputs: Any) -> tf.Tensor:
    return self._copy.loss(batch, outputs)

  def metrics(self, batch: partial_model.Batch, outputs: Any) -> Any:
    return self._copy.metrics(batch, outputs)

  def gradients(self, batch, groups: Sequence[str]):
    """Each model's own gradients.

    Args:
      batch: A training batch.
      groups: Some of 'shared' and 'personal'.

    Returns:
      As `PartialModel.gradients`. If both groups are given, the loss and the
      outputs are those of the personal model; the loss is not finite if that of
      either model is not.
    """
    results = {
        group: getattr(self, f'_{group}_gradients')(batch)
        for group in sorted(groups, reverse=True)
    }
    loss, outputs, _ = results[sorted(groups)[0]]
    losses = [result[0] for result in results.values()]
    loss = loss + 0.0 * tf.add_n(losses)
    return loss, outputs, [results[group][2] for group in groups]

  def _shared_gradients(self, batch):
    loss, outputs, (gradients,) = self._original.gradients(batch, ['shared'])
    return loss, outputs, gradients

  def _personal_gradients(self, batch):
    loss, outputs, (gradients,) = self._copy.gradients(batch, ['shared'])
    return loss, outputs, gradients

  def assign(
      self,
      shared: tff.learning.models.ModelWeights,
      personal: tff.learning.models.ModelWeights,
  ) -> None:
    super().assign(shared, personal)
    self._set_constants(self._copy)

  def _set_constants(self, model: partial_model.PartialModel) -> None:
    """Sets what is not trained in a model to what it is in the shared one."""
    for variable, value in zip(model.constants, self.constants):
      variable.assign(value)
    model.refresh_derived()

  def refresh_derived(self) -> None:
    self._original.refresh_derived()

  def initial(self, group: str) -> tff.learning.models.ModelWeights:
    """The initial values of a group, which are the same for both."""
    values = self.values('shared')
    return values if group == 'shared' else values._replace(non_trainable=[])


class MixedModel(CopiedModel):
  """Predicts with `a v + (1 - a) u`, where `a` is personal and learned [1].

  u are the shared variables and v their personal copies. `a` is a personal
  variable that is projected to [0, 1] after each update. If g is the gradient
  of the loss at the mixture, then that of v is `a g` and that of `a` is
  `<g, v - u>`. u is trained on the loss of the shared model.
  """

  def __init__(self, model_fn: partial_model.ModelFn, *, mixture: float = 0.5):
    """Creates the models.

    Args:
      model_fn: Returns a new model whose variables are all shared.
      mixture: The initial value of `a`, from 0 to 1.

    Raises:
      errors.SettingsError: If a variable of the model is personal.
    """
    super().__init__(model_fn)
    self._initial_mixture = mixture
    self._mixed = model_fn()
    self.random_layers = [*self.random_layers, *self._mixed.random_layers]
    self._mixture = tf.Variable(
        mixture,
        name=MIXTURE,
        constraint=lambda value: tf.clip_by_value(value, 0.0, 1.0),
    )
    self.personal = tff.learning.models.ModelWeights(
        [*self._copy.shared.trainable, self._mixture], []
    )
    self.variables = (
        *self.variables,
        partition.VariableInfo(MIXTURE, (), 'float32', personal=True),
    )

  def assign(
      self,
      shared: tff.learning.models.ModelWeights,
      personal: tff.learning.models.ModelWeights,
  ) -> None:
    super().assign(shared, personal)
    self._set_constants(self._mixed)

  def outputs(self, batch: partial_model.Batch, *, training: bool) -> Any:
    self._mix()
    return self._mixed.outputs(batch, training=training)

  def to_keras(self) -> tf.keras.Model:
    self._mix()
    return self._mixed.to_keras()

  def _personal_gradients(self, batch):
    mixture = self._mix()
    loss, outputs, (gradients,) = self._mixed.gradients(batch, ['shared'])
    pairs = zip(self._copy.shared.trainable, self._original.shared.trainable)
    mixture_gradient = tf.add_n(
        [tf.reduce_sum(g * (v - u)) for g, (v, u) in zip(gradients, pairs)]
    )
    return loss, outputs, (*(mixture * g for g in gradients), mixture_gradient)

  def _mix(self) -> tf.Tensor:
    """Sets the variables of the mixed model; returns the weight."""
    mixture = self._mixture.read_value()
    for mixed, v, u in zip(
        self._mixed.shared.trainable,
        self._copy.shared.trainable,
        self._original.shared.trainable,
    ):
      mixed.assign(mixture * v + (1 - mixture) * u)
    return mixture

  def initial(self, group: str) -> tff.learning.models.ModelWeights:
    weights = super().initial(group)
    if group == 'personal':
      mixture = tf.constant(self._initial_mixture)
      weights = weights._replace(trainable=[*weights.trainable, mixture])
    return weights
