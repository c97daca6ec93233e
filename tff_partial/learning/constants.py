# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Constants of models, sent to clients once.

A constant is a variable that training never changes, such as a weight of a
frozen backbone. By default it is one of the shared variables: part of the
server's state, and of what is broadcast in each round. A model from
`with_constants` has the values of its constants itself. They are part of the
computation, which clients are sent once, and neither the state nor the
broadcast contains them.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import partial_model


@dataclasses.dataclass(frozen=True, eq=False)
class ConstantsModelFn:
  """A `ModelFn` whose models have the values of their constants.

  Attributes:
    model_fn: Makes the models, which have their constants among the shared
      variables.
    values: The values of the constants, in the order of the models' variables.
  """

  model_fn: partial_model.ModelFn
  values: Sequence[np.ndarray]

  def __call__(self) -> partial_model.PartialModel:
    model = self.model_fn()
    model.fix_constants(self.values)
    return model


def with_constants(
    model_fn: partial_model.ModelFn, values: Sequence[np.ndarray]
) -> partial_model.ModelFn:
  """Makes a model's constants part of the computations that use the model.

  TFF takes about a second for each 10 MB to build and compile a round.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    values: The values of its constants: `non_trainable` of the shared
      variables.

  Returns:
    A `ModelFn` whose models have no constants among their shared variables;
    `model_fn` itself if there are no values.
  """
  if not values:
    return model_fn
  return ConstantsModelFn(model_fn, tuple(values))


def without_constants(
    model_fn: partial_model.ModelFn, shared: tff.learning.models.ModelWeights
) -> tff.learning.models.ModelWeights:
  """Shared variables as computations that use the models take them.

  Args:
    model_fn: Makes the models.
    shared: Values of the shared variables, with or without the constants.

  Returns:
    The same without constants, if the models have those themselves.

  Raises:
    errors.SettingsError: If a constant has another value in the models.
  """
  if not isinstance(model_fn, ConstantsModelFn) or not shared.non_trainable:
    return shared
  for ours, theirs in zip(model_fn.values, shared.non_trainable, strict=True):
    if ours is not theirs and not np.array_equal(ours, theirs, equal_nan=True):
      raise errors.SettingsError(
          'Expected the constants that `with_constants` was given, found other'
          ' values. Give it these before you build the process.'
      )
  return shared._replace(non_trainable=[])
