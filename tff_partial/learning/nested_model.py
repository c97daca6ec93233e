# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Clients that differ in how much of the model is personal.

The variables that may be personal are in groups, numbered from 0. A client of
level k has the first k groups as personal variables of its own, v_i, and shares
the rest of the model with the others. For each variable of a group there is
therefore a shared one on the server, which clients of lower levels train and
average, and a personal copy at the client. A client's model computes with the
one that its level says; the other one has no gradient and is not sent.

If all clients have the highest level, this is the split model itself, and at
level 0 everything is shared.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import sharers_mean
from tff_partial.learning import wrapped_model

LEVEL = 'personal_groups'  # The path of a client's level.
_T = TypeVar('_T')


@dataclasses.dataclass(frozen=True, eq=False)
class NestedModelFn:
  """A `ModelFn` of models whose clients differ in what is personal.

  Attributes:
    model_fn: Makes the split models, with all groups personal.
    groups: For the path of each personal variable the number of its group.
  """

  model_fn: partial_model.ModelFn
  groups: Mapping[str, int]

  def __call__(self) -> 'NestedModel':
    return NestedModel(self.model_fn, self.groups)


def with_level(
    personal: tff.learning.models.ModelWeights, level: int
) -> tff.learning.models.ModelWeights:
  """A client's personal variables with its level.

  Args:
    personal: Those of a `NestedModel`.
    level: How many groups are personal.
  """
  return personal._replace(non_trainable=[np.float32(level)])


class NestedModel(wrapped_model.WrappedModel):
  """A split model with a shared variable for each of its personal ones.

  Its personal variables are the client's copies and its level, which training
  does not change.
  """

  def __init__(
      self, model_fn: partial_model.ModelFn, groups: Mapping[str, int]
  ):
    """Creates the variables.

    Args:
      model_fn: Returns a new model with personal variables.
      groups: For the path of each of them the number of its group.

    Raises:
      errors.SettingsError: If a personal variable is a moving average.
    """
    super().__init__(model_fn)
    variables = self._model.variables
    moving = [v.path for v in variables if v.personal and v.moving]
    if moving:
      raise errors.SettingsError(
          'Expected personal variables that gradients train, because some'
          f' clients share them, found the moving averages {", ".join(moving)}.'
          ' Use group or layer normalization.'
      )
    self._is_personal = [v.personal for v in variables if v.trainable]
    self._groups = [groups[v.path] for v in variables if v.personal]
    self._in_use = self._model.personal.trainable
    create = lambda: [
        tf.Variable(tf.zeros(v.shape, v.dtype), constraint=v.constraint)
        for v in self._in_use
    ]
    self._received, self._own = create(), create()
    self._level = tf.Variable(0.0)
    self.shared = self._model.shared._replace(
        trainable=self._joined(self._model.shared.trainable, self._received)
    )
    self.personal = tff.learning.models.ModelWeights(self._own, [self._level])
    self.variables = (
        *(dataclasses.replace(v, personal=False) for v in variables),
        *(
            dataclasses.replace(v, path=partition.COPY_PREFIX + v.path)
            for v in variables
            if v.personal
        ),
        partition.VariableInfo(
            LEVEL, (), 'float32', personal=True, trainable=False, moving=True
        ),
    )

  def _joined(self, shared: Sequence[_T], personal: Sequence[_T]) -> list[_T]:
    """Values of the variables of both groups in the order of the model."""
    rest, own = iter(shared), iter(personal)
    return [next(own if p else rest) for p in self._is_personal]

  def _owned(self) -> list[tf.Tensor]:
    """For each variable that may be personal whether it is, bool scalars."""
    level = self._level.read_value()
    return [level > group for group in self._groups]

  def _set_in_use(self) -> None:
    """Lets the model compute with what the client's level says."""
    for used, received, own, owned in zip(
        self._in_use, self._received, self._own, self._owned()
    ):
      used.assign(tf.where(owned, own, received))

  def outputs(self, batch: partial_model.Batch, *, training: bool) -> Any:
    self._set_in_use()
    return super().outputs(batch, training=training)

  def to_keras(self) -> tf.keras.Model:
    self._set_in_use()
    return super().to_keras()

  def gradients(self, batch: partial_model.Batch, groups: Sequence[str]):
    """Gradients of the variables that the model computes with, else zeros.

    Args:
      batch: A training batch.
      groups: Some of 'shared' and 'personal'.

    Returns:
      As `PartialModel.gradients`.
    """
    self._set_in_use()
    needed = ['shared', 'personal'] if 'shared' in groups else ['personal']
    loss, outputs, found = self._model.gradients(batch, needed)
    owned = self._owned()
    of_own = [
        tf.where(o, g, tf.zeros_like(g)) for o, g in zip(owned, found[-1])
    ]
    by_group = {'personal': tuple(of_own)}
    if 'shared' in groups:
      of_received = [
          tf.where(o, tf.zeros_like(g), g) for o, g in zip(owned, found[-1])
      ]
      by_group['shared'] = tuple(self._joined(found[0], of_received))
    return loss, outputs, [by_group[group] for group in groups]

  def sent(self, update: Sequence[tf.Tensor]) -> sharers_mean.PartialUpdate:
    """An update, with which of the variables the client shares."""
    num_rest = len(update) - len(self._groups)
    shares = [1.0 - tf.cast(owned, tf.float32) for owned in self._owned()]
    return sharers_mean.PartialUpdate(
        list(update), self._joined([tf.constant(1.0)] * num_rest, shares)
    )

  def initial(self, group: str) -> tff.learning.models.ModelWeights:
    """The initial values: copies are like the shared ones, and the level 0."""
    own = list(self._model.initial('personal').trainable)
    if group == 'personal':
      return tff.learning.models.ModelWeights(own, [tf.constant(0.0)])
    shared = self._model.initial('shared')
    return shared._replace(trainable=self._joined(shared.trainable, own))
