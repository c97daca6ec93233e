# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Adam as in its paper, with epsilon after bias correction.

TFF's Adam [1, end of Section 2] divides by `sqrt(s) + epsilon` and corrects the
bias of the quotient. In the first rounds `s` is small, after one step by a
factor of 1000, so that its epsilon counts for sqrt(1000) = 32 times as much as
in [1, Algorithm 1] and in PyTorch, which divide by
`sqrt(s / (1 - beta_2^t)) + epsilon`. The mean update of a cohort can be so
small that this matters. No constant epsilon of TFF's makes the two the same.

[1] Kingma and Ba. Adam: A Method for Stochastic Optimization. ICLR 2015.
https://arxiv.org/abs/1412.6980
"""

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

EPSILON = 1e-8


class CorrectedAdam(tff.learning.optimizers.Optimizer):
  """TFF's Adam with the epsilon that has the effect of [1, Algorithm 1]'s."""

  def __init__(self, learning_rate: float, *, epsilon: float = EPSILON):
    """Creates the optimizer, with `beta_1` 0.9 and `beta_2` 0.999.

    Args:
      learning_rate: Its learning rate, at least 0.
      epsilon: Added to the root of the corrected second moment, at least 0.
    """
    self._adam = tff.learning.optimizers.build_adam(
        learning_rate, epsilon=epsilon
    )

  def initialize(self, specs: Any) -> Any:
    return self._adam.initialize(specs)

  def next(self, state: Any, weights: Any, gradients: Any) -> Any:
    # sqrt(s / c) + epsilon = (sqrt(s) + sqrt(c) epsilon) / sqrt(c)
    beta_2 = tf.cast(state['beta_2'], tf.float64)
    step = tf.cast(state['step'] + 1, tf.float64)
    epsilon = tf.convert_to_tensor(state['epsilon'])
    correction = tf.cast(tf.sqrt(1.0 - beta_2**step), epsilon.dtype)
    new_state, new_weights = self._adam.next(
        self.set_hparams(
            state, collections.OrderedDict(epsilon=epsilon * correction)
        ),
        weights,
        gradients,
    )
    kept = collections.OrderedDict(epsilon=state['epsilon'])
    return self.set_hparams(new_state, kept), new_weights

  def get_hparams(self, state: Any) -> Any:
    return self._adam.get_hparams(state)

  def set_hparams(self, state: Any, hparams: Any) -> Any:
    return self._adam.set_hparams(state, hparams)
