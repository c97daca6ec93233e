# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Full personalization: a shared model, and a personal copy of all of it.

Where a `PartialModel` divides one model, a `CopiedModel` is two of the same:
the server's, all of it shared, and the client's, all of it personal. Training
one does not move the other but through penalties between them. A `MixedModel`
predicts with a learnt mixture of the two [1].

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
  """Personal variables that are a copy of the shared ones.

  Args:
    shared: What is copied.
    personal: Gives what there is beyond the copy, such as a mixture weight.
  """
  beyond = personal.trainable[len(shared.trainable) :]
  return personal._replace(trainable=[*shared.trainable, *beyond])


class CopiedModel(partial_model.PartialModel):
  """A shared model and a personal copy of it; the copy is what predicts."""

  def __init__(self, model_fn: partial_model.ModelFn):
    """Makes both models.

    Args:
      model_fn: Makes models with nothing personal.

    Raises:
      ValueError: If a variable of such a model is personal.
    """
    # Not the parent's constructor: there is no one Keras model to divide.
    self._original, self._copy = model_fn(), model_fn()
    if self._original.personal.trainable:
      raise errors.SettingsError(
          'Expected a model with nothing personal to copy, found personal'
          ' variables. Full personalization needs the split "none".'
      )
    self.input_spec = self._original.input_spec
    self.shared = self._original.shared
    self.personal = self._copy.shared
    self.variables = (
        *self._original.variables,
        *(
            dataclasses.replace(
                v, path=partition.COPY_PREFIX + v.path, personal=True
            )
            for v in self._original.variables
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
    """Each model's own gradients; loss and outputs are the last group's."""
    results = {
        group: getattr(self, f'_{group}_gradients')(batch)
        # Whatever the order, what is reported is the personal model's.
        for group in sorted(groups, reverse=True)
    }
    loss, outputs, _ = results[sorted(groups)[0]]
    losses = [result[0] for result in results.values()]
    # Not finite if any of them is not.
    loss = loss + 0.0 * tf.add_n(losses)
    return loss, outputs, [results[group][2] for group in groups]

  def _shared_gradients(self, batch):
    loss, outputs, (gradients,) = self._original.gradients(batch, ['shared'])
    return loss, outputs, gradients

  def _personal_gradients(self, batch):
    loss, outputs, (gradients,) = self._copy.gradients(batch, ['shared'])
    return loss, outputs, gradients

  def initial(self, group: str) -> tff.learning.models.ModelWeights:
    """Both models start from the same values."""
    del group
    return self._original.initial('shared')


class MixedModel(CopiedModel):
  """Predicts with `a v + (1 - a) u`, where `a` is personal and learnt [1].

  `a` is a personal variable kept in [0, 1] where it is used. The gradient of
  the loss at the mixture is g; that of v is `a g`, that of `a` is `<g, v - u>`.
  u is trained on its own loss.
  """

  def __init__(self, model_fn: partial_model.ModelFn, *, mixture: float = 0.5):
    """Makes the models.

    Args:
      model_fn: Makes models with nothing personal.
      mixture: What `a` starts from.
    """
    super().__init__(model_fn)
    self._initial_mixture = mixture
    self._mixed = model_fn()
    self._mixture = tf.Variable(mixture, name=MIXTURE)
    self.personal = tff.learning.models.ModelWeights(
        [*self._copy.shared.trainable, self._mixture],
        self._copy.shared.non_trainable,
    )
    self.variables = (
        *self.variables,
        partition.VariableInfo(MIXTURE, (), 'float32', personal=True),
    )

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
    along = tf.add_n(
        [tf.reduce_sum(g * (v - u)) for g, (v, u) in zip(gradients, pairs)]
    )
    return loss, outputs, (*(mixture * g for g in gradients), along)

  def _mix(self) -> tf.Tensor:
    """Sets the mixed model's variables; the mixture weight."""
    mixture = tf.clip_by_value(self._mixture, 0.0, 1.0)
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
