# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds of FedJAX's federated_averaging, compiled for the CPU."""

from collections.abc import Sequence

import fedjax
from fedjax.algorithms import fed_avg
import haiku as hk
import jax
import numpy as np

from benchmarks.peers import turns
from benchmarks.peers import work as work_lib

# The modules, and the names of their parameters, in the order of the weights.
_NAMES = {
    'LR': [('linear', 'w'), ('linear', 'b')],
    'CNN': [
        ('conv1', 'w'),
        ('norm1', 'scale'),
        ('norm1', 'offset'),
        ('conv2', 'w'),
        ('norm2', 'scale'),
        ('norm2', 'offset'),
        ('dense', 'w'),
        ('dense', 'b'),
        ('head', 'w'),
        ('head', 'b'),
    ],
}


class _Unpadded(fedjax.ClientDataset):
  """A client whose last batch has the examples that are left.

  FedJAX would fill it with others, which takes more time and trains a model
  that cannot be compared.
  """

  def shuffle_repeat_batch(self, hparams=None, **kwargs):
    del kwargs  # Not given by `fed_avg`.
    return self.batch(batch_size=hparams.batch_size)


def _forward(shapes: dict[str, tuple[int, ...]]):
  def linear(batch):
    return hk.Linear(shapes['linear'][-1], name='linear')(batch['x'])

  def cnn(batch):
    x = batch['x']
    for i in (1, 2):
      x = hk.Conv2D(
          shapes[f'conv{i}'][-1],
          3,
          with_bias=False,
          padding='VALID',
          name=f'conv{i}',
      )(x)
      x = hk.GroupNorm(8, eps=1e-5, name=f'norm{i}')(x)
      x = hk.max_pool(jax.nn.relu(x), [2, 2, 1], [2, 2, 1], 'VALID')
    x = jax.nn.relu(
        hk.Linear(shapes['dense'][-1], name='dense')(hk.Flatten()(x))
    )
    return hk.Linear(shapes['head'][-1], name='head')(x)

  return linear if 'linear' in shapes else cnn


def _losses(batch, logits):
  return fedjax.metrics.unreduced_cross_entropy_loss(batch['y'], logits)


def create(work: work_lib.Work, options: Sequence[str]) -> turns.Rounds:
  """Prepares the rounds, as `turns.CreateFn`."""
  del options  # There are none.
  names = _NAMES[work.name]
  params: dict[str, dict[str, jax.Array]] = {}
  for (module, name), weight in zip(names, work.weights, strict=True):
    params.setdefault(module, {})[name] = jax.numpy.asarray(weight)
  shapes = {
      module: values['w'].shape
      for module, values in params.items()
      if 'w' in values
  }
  forward = hk.transform(_forward(shapes))
  model = fedjax.create_model_from_haiku(
      transformed_forward_pass=forward,
      sample_batch={'x': work.x[0], 'y': work.y[0]},
      train_loss=_losses,
  )
  algorithm = fed_avg.federated_averaging(
      fedjax.model_grad(model),
      fedjax.optimizers.sgd(work.learning_rate),
      fedjax.optimizers.sgd(1.0),
      fedjax.ShuffleRepeatBatchHParams(batch_size=work.batch_size),
  )
  clients = [_Unpadded({'x': x, 'y': y}) for x, y in zip(work.x, work.y)]
  keys = jax.random.split(jax.random.PRNGKey(0), work.cohorts.shape[1])
  state = algorithm.init(params)

  def run_round(round_num):
    nonlocal state
    cohort = work.cohorts[round_num]
    state, _ = algorithm.apply(
        state, [(str(i), clients[i], key) for i, key in zip(cohort, keys)]
    )
    jax.block_until_ready(state.params)

  def weights():
    return [np.asarray(state.params[module][name]) for module, name in names]

  return run_round, weights


if __name__ == '__main__':
  turns.serve(create)
