# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds of clients that differ in what is personal, compared with NumPy.

The model predicts w (x + s) + b. The offset s is always shared; b is personal
from level 1 on, and w at level 2.
"""

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import worker
from tff_partial import errors
from tff_partial.learning import algorithms
from tff_partial.learning import identity_layers
from tff_partial.learning import nested_model
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import process

setUpModule, tearDownModule = worker.start, worker.stop

RATE, OWN_RATE = 0.1, 0.2
GROUPS = {'line/bias': 0, 'line/kernel': 1}
# One client of each level, with different numbers of examples.
DATA = [
    ([1.0, 2.0], [2.0, 3.0]),
    ([1.0], [4.0]),
    ([2.0, 2.0, 1.0], [1.0, 3.0, -1.0]),
]
# In the second round, nobody shares b.
COHORTS = [[0, 1, 2], [2, 1]]


def split_model_fn():
  return partial_model.PartialModel(
      tf.keras.Sequential(
          [
              tf.keras.layers.InputLayer([1]),
              identity_layers.FeatureBias(name='shift'),
              tf.keras.layers.Dense(1, kernel_initializer='ones', name='line'),
          ]
      ),
      partition.layers('line'),
      loss_fn=toy.loss,
      metric_fns={'squared_error': toy.squared_error},
      input_spec=toy.INPUT_SPEC,
  )


class Client:
  """FedAlt at one client, whose values are by name."""

  def __init__(self, level, x, y):
    self.x, self.y = np.array(x), np.array(y)
    self.own = {'b': 0.0, 'w': 1.0}
    self.personal = {0: '', 1: 'b', 2: 'bw'}[level]

  def work(self, server):
    """Trains; returns how the shared variables change."""
    now = {**server, **{name: self.own[name] for name in self.personal}}
    for names, rate in ((self.personal, OWN_RATE), ('sbw', RATE)):
      moved = self.x + now['s']
      error = now['w'] * moved + now['b'] - self.y
      gradients = {
          's': np.mean(error * now['w']),
          'b': np.mean(error),
          'w': np.mean(error * moved),
      }
      for name in names:
        if names == self.personal or name not in self.personal:
          now[name] -= rate * gradients[name]
    self.own.update({name: now[name] for name in self.personal})
    return {n: now[n] - server[n] for n in 'sbw' if n not in self.personal}


class NestedModelTest(absltest.TestCase):

  def test_rounds_of_clients_of_different_levels(self):
    built = process.build_partial_process(
        nested_model.NestedModelFn(split_model_fn, GROUPS),
        algorithms.fed_alt(toy.sgd(RATE), toy.sgd(OWN_RATE)),
        client_examples=toy.ALL_AT_ONCE,
    )
    state = built.initialize()
    initial = built.initialize_personal()
    kept = [nested_model.with_level(initial, level) for level in range(3)]
    clients = [Client(level, *data) for level, data in enumerate(DATA)]
    server = {'s': 0.0, 'w': 1.0, 'b': 0.0}
    for cohort in COHORTS:
      state, outputs, _ = built.next(
          state,
          [kept[i] for i in cohort],
          [toy.value(*DATA[i]) for i in cohort],
      )
      for i, output in zip(cohort, outputs):
        kept[i] = output
      changes = {i: clients[i].work(server) for i in cohort}
      for name in server:
        sharers = [i for i in cohort if name in changes[i]]
        if sharers:
          server[name] += np.average(
              [changes[i][name] for i in sharers],
              weights=[len(clients[i].x) for i in sharers],
          )
      found = np.ravel([np.ravel(v) for v in _shared(state)])
      np.testing.assert_allclose(found, list(server.values()), rtol=1e-5)
    for level, (client, output) in enumerate(zip(clients, kept)):
      w, b = (np.squeeze(v) for v in output.trainable)
      np.testing.assert_allclose(
          [b, w], [client.own['b'], client.own['w']], rtol=1e-5
      )
      self.assertEqual(output.non_trainable, [level])

  def test_a_clients_model_is_what_its_level_says(self):
    model = nested_model.NestedModel(split_model_fn, GROUPS)
    paths = lambda personal: [
        v.path for v in model.variables if v.personal == personal
    ]
    self.assertEqual(
        paths(True),
        ['personal/line/kernel', 'personal/line/bias', 'personal_groups'],
    )
    self.assertEqual(paths(False)[1:], ['line/kernel', 'line/bias'])
    shared = toy.weights([0.0], [[2.0]], [3.0])
    own = toy.weights([[20.0]], [30.0])._replace(non_trainable=[0.0])
    for level, expected in ((0, [2.0, 3.0]), (1, [2.0, 30.0]), (2, [20.0, 30])):
      model.assign(shared, nested_model.with_level(own, level))
      _, w, b = model.to_keras().get_weights()
      self.assertEqual([w, b], expected)

  def test_refuses_personal_moving_averages(self):
    def with_batch_norm():
      return partial_model.PartialModel(
          tf.keras.Sequential(
              [
                  tf.keras.layers.InputLayer([1]),
                  tf.keras.layers.BatchNormalization(name='norm'),
                  tf.keras.layers.Dense(1, name='line'),
              ]
          ),
          partition.layers('norm'),
          loss_fn=toy.loss,
          metric_fns={'squared_error': toy.squared_error},
          input_spec=toy.INPUT_SPEC,
      )

    with self.assertRaisesRegex(errors.SettingsError, 'norm/moving_mean'):
      nested_model.NestedModel(with_batch_norm, {})


def _shared(state):
  return state.global_model_weights.trainable


if __name__ == '__main__':
  absltest.main()
