# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Quadratic losses with known constants, as clients and as a model.

Client i's loss is u'A_i u / 2 + u'C_i v_i + v_i'B_i v_i / 2 - a_i'u - b_i'v_i.
Each of its examples adds a linear term of its own; these sum to zero over the
client, so they are the noise of gradients of batches and nothing else. A model
with the variables u and v computes the loss of an example from its numbers, so
that ordinary processes train it.
"""

import collections
from collections.abc import Mapping, Sequence
import dataclasses

import numpy as np
import tensorflow as tf

from tff_partial.learning import partial_model
from tff_partial.learning import partition


@dataclasses.dataclass(frozen=True)
class Quadratics:
  """The losses of n clients, and where they are smallest.

  Attributes:
    a: A_i, float64 [n, du, du].
    b: B_i, float64 [n, dv, dv].
    c: C_i, float64 [n, du, dv].
    linear_u: a_i, float64 [n, du].
    linear_v: b_i, float64 [n, dv].
    noise_u: The examples' own shared gradients, float64 [n, examples, du].
    noise_v: Likewise, float64 [n, examples, dv].
  """

  a: np.ndarray
  b: np.ndarray
  c: np.ndarray
  linear_u: np.ndarray
  linear_v: np.ndarray
  noise_u: np.ndarray
  noise_v: np.ndarray

  def gradients(
      self, u: np.ndarray, v: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """g_i, [n, du], and h_i, [n, dv], at u, [du], and v_i, [n, dv]."""
    g = self.a @ u + np.einsum('nij,nj->ni', self.c, v) - self.linear_u
    h = np.einsum('nji,j->ni', self.c, u) - self.linear_v
    return g, h + np.einsum('nij,nj->ni', self.b, v)

  def loss(self, u: np.ndarray, v: np.ndarray) -> float:
    """F(u, V), the mean over clients."""
    g, h = self.gradients(u, v)
    return float(
        np.mean((g - self.linear_u) @ u + np.sum((h - self.linear_v) * v, 1))
        / 2
    )

  def minimum(self) -> float:
    """The smallest value of F."""
    # v_i = B_i^-1 (b_i - C_i'u) leaves a quadratic in u.
    inverse = np.linalg.inv(self.b)
    reduced = self.a - self.c @ inverse @ self.c.transpose(0, 2, 1)
    linear = self.linear_u - np.einsum(
        'nij,njk,nk->ni', self.c, inverse, self.linear_v
    )
    u = np.linalg.solve(reduced.mean(0), linear.mean(0))
    rest = self.linear_v - np.einsum('nji,j->ni', self.c, u)
    return self.loss(u, np.einsum('nij,nj->ni', inverse, rest))

  def clients(self) -> 'Clients':
    """The clients' examples."""
    return Clients(self)

  def model_fn(self) -> partial_model.ModelFn:
    """Makes models whose loss on an example is the client's, with its noise."""
    du, dv = self.c.shape[1:]
    input_spec = collections.OrderedDict(
        x=tf.TensorSpec([None, _width(du, dv)], tf.float32),
        y=tf.TensorSpec([None], tf.float32),
    )

    def model():
      inputs = tf.keras.layers.Input([_width(du, dv)])
      layer = _Loss(du, dv, name='quadratic')
      return partial_model.PartialModel(
          tf.keras.Model(inputs, layer(inputs)),
          partition.matches('/v$'),
          loss_fn=lambda labels, losses: tf.reduce_mean(losses - labels),
          metric_fns={
              'loss': lambda labels, losses: (losses, tf.ones_like(losses))
          },
          input_spec=input_spec,
      )

    return model


def create(
    *,
    num_clients: int,
    chi: float,
    diversity: float,
    noise: float,
    num_examples: int = 8,
    sizes: tuple[int, int] = (6, 4),
    seed: int = 0,
) -> Quadratics:
  """Draws losses with L_u = L_v = 1 and the given other constants.

  Args:
    num_clients: n.
    chi: The coupling; all C_i have the norm that makes L_uv this.
    diversity: delta^2 at the point where all gradients of u average to zero.
    noise: sigma^2, the variance of one example's gradient, of each group.
    num_examples: Examples of each client.
    sizes: Numbers of shared and of personal parameters.
    seed: Determines everything.
  """
  rng = np.random.default_rng(seed)
  du, dv = sizes

  def curvature(d):
    q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return (q * np.geomspace(0.2, 1, d)) @ q.T, (
        q * np.sqrt(np.geomspace(0.2, 1, d))
    ) @ q.T

  shared, root = curvature(du)
  parts = [curvature(dv) for _ in range(num_clients)]
  mixing = rng.normal(size=(num_clients, du, dv)) + rng.normal(size=(du, dv))
  mixing /= np.linalg.norm(mixing, 2, axis=(1, 2))[:, None, None]
  c = np.stack(
      [chi * root @ k @ own_root for k, (_, own_root) in zip(mixing, parts)]
  )
  own = rng.normal(size=(num_clients, du))
  own -= own.mean(axis=0)
  own *= np.sqrt(diversity / np.mean(np.sum(own**2, axis=1)))

  def centered(d):
    drawn = rng.normal(size=(num_clients, num_examples, d))
    drawn -= drawn.mean(axis=1, keepdims=True)
    variance = np.sum(drawn**2, axis=(1, 2)) / (num_examples - 1)
    return drawn * np.sqrt(noise / variance)[:, None, None]

  u = rng.normal(size=du)
  v = rng.normal(size=dv) + rng.normal(size=(num_clients, dv))
  a = np.broadcast_to(shared, (num_clients, du, du))
  b = np.stack([matrix for matrix, _ in parts])
  return Quadratics(
      a=a,
      b=b,
      c=c,
      linear_u=a @ u + np.einsum('nij,nj->ni', c, v) + own,
      linear_v=np.einsum('nij,nj->ni', b, v) + np.einsum('nji,j->ni', c, u),
      noise_u=centered(du),
      noise_v=centered(dv),
  )


def _width(du: int, dv: int) -> int:
  return du * du + dv * dv + du * dv + du + dv


class _Loss(tf.keras.layers.Layer):
  """The loss of each example at u and v, [batch]."""

  def __init__(self, du: int, dv: int, **kwargs):
    super().__init__(**kwargs)
    self._sizes = du, dv

  def build(self, input_shape):
    del input_shape
    du, dv = self._sizes
    self.u = self.add_weight('u', [du], initializer='zeros')
    self.v = self.add_weight('v', [dv], initializer='zeros')

  def call(self, inputs):
    du, dv = self._sizes
    a, b, c, linear_u, linear_v = tf.split(
        inputs, [du * du, dv * dv, du * dv, du, dv], axis=1
    )
    u, v = tf.convert_to_tensor(self.u), tf.convert_to_tensor(self.v)
    form = lambda left, matrix, right: tf.einsum(
        'i,bij,j->b',
        left,
        tf.reshape(matrix, [-1, *left.shape, *right.shape]),
        right,
    )
    return (
        form(u, a, u) / 2
        + form(u, c, v)
        + form(v, b, v) / 2
        - tf.linalg.matvec(linear_u, u)
        - tf.linalg.matvec(linear_v, v)
    )


class Clients:
  """Clients whose examples hold the numbers of their losses."""

  def __init__(self, problem: Quadratics):
    self._problem = problem
    self._positions = {f'{i:04}': i for i in range(len(problem.a))}

  @property
  def client_ids(self) -> Sequence[str]:
    return list(self._positions)

  def num_examples(self, client_id: str) -> int:
    del client_id
    return self._problem.noise_u.shape[1]

  def read(self, client_id: str) -> Mapping[str, np.ndarray]:
    p, i = self._problem, self._positions[client_id]
    number = self.num_examples(client_id)
    same = np.concatenate([p.a[i].ravel(), p.b[i].ravel(), p.c[i].ravel()])
    return collections.OrderedDict(
        x=np.concatenate(
            [
                np.tile(same, (number, 1)),
                # An example's own gradient is minus its own linear term.
                p.linear_u[i] - p.noise_u[i],
                p.linear_v[i] - p.noise_v[i],
            ],
            axis=1,
        ).astype(np.float32),
        y=np.zeros(number, np.float32),
    )
