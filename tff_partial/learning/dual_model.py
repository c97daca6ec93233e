# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Consensus ADMM on the shared variables: what a client keeps for it [1].

A client i keeps, next to its personal variables, a copy u_i of the shared
variables u and a dual variable pi_i, which are initially u and zero. It
minimizes

    f_i(u_i, v_i) + <pi_i, u_i - u> + (rho / 2) ||u_i - u||^2

and then adds rho (u_i - u) to pi_i. The server's u is the mean over all clients
of z_i = u_i + pi_i / rho. A client therefore sends how its z_i has changed.

The copy and the dual variable are client state that is not personal: the model
predicts with the server's u.

[1] Zhu et al. FedAPM: Federated Learning via ADMM with Partial Model
Personalization. KDD 2025. https://arxiv.org/abs/2506.04672
"""

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import wrapped_model

_DUAL_PREFIX = 'dual/'


class DualModel(wrapped_model.WrappedModel):
  """A split model whose clients keep copies and duals of shared variables."""

  def __init__(self, model_fn: partial_model.ModelFn):
    """Creates the variables.

    Args:
      model_fn: Returns a new model, with or without personal variables.
    """
    super().__init__(model_fn)
    self.shared = self._model.shared
    zeros = lambda: [tf.Variable(tf.zeros(v.shape)) for v in self._trained]
    self._copies, self._duals = zeros(), zeros()
    own = self._model.personal
    self.personal = tff.learning.models.ModelWeights(
        own.trainable, [*own.non_trainable, *self._copies, *self._duals]
    )
    self.variables = (
        *self._model.variables,
        *self._infos(partition.COPY_PREFIX),
        *self._infos(_DUAL_PREFIX),
    )

  @property
  def _trained(self) -> Sequence[tf.Variable]:
    return self._model.shared.trainable

  def _infos(self, prefix: str) -> list[partition.VariableInfo]:
    return [
        partition.VariableInfo(
            prefix + v.path,
            v.shape,
            v.dtype,
            personal=True,
            trainable=False,
            moving=True,
        )
        for v in self._model.variables
        if v.trainable and not v.personal
    ]

  def gradients(self, batch: partial_model.Batch, groups: Sequence[str]):
    """Gradients of the loss and, of shared variables, of <pi_i, u_i - u>.

    Args:
      batch: A training batch.
      groups: Some of 'shared' and 'personal'.

    Returns:
      As `PartialModel.gradients`.
    """
    loss, outputs, gradients = self._model.gradients(batch, groups)
    add = lambda found: tuple(g + d for g, d in zip(found, self._duals))
    return (
        loss,
        outputs,
        [
            add(found) if group == 'shared' else found
            for group, found in zip(groups, gradients)
        ],
    )

  def take_dual_step(
      self, received: Sequence[tf.Tensor], rho: float, trained: tf.Tensor
  ) -> None:
    """Updates copy and dual; the shared variables become what is sent.

    Args:
      received: The server's shared variables.
      rho: The weight of the squared distance from them.
      trained: Whether the client took a step, bool scalar. Otherwise nothing
        changes.
    """
    for u, copy, dual, server in zip(
        self._trained, self._copies, self._duals, received
    ):
      moved = u - server
      # The change of z_i = u_i + pi_i / rho.
      change = (u - copy) + moved
      copy.assign(tf.where(trained, u, copy))
      dual.assign_add(tf.where(trained, rho * moved, tf.zeros_like(dual)))
      u.assign(tf.where(trained, server + change, server))

  def initial(self, group: str) -> tff.learning.models.ModelWeights:
    """The initial values of a group: the copy is that of shared variables."""
    values = self._model.initial(group)
    if group == 'shared':
      return values
    copies = self._model.initial('shared').trainable
    duals = [tf.zeros_like(v) for v in copies]
    return values._replace(
        non_trainable=[*values.non_trainable, *copies, *duals]
    )
