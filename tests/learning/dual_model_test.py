# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""FedAPM's rounds, compared with ADMM in NumPy."""

from absl.testing import absltest
import numpy as np
import tensorflow_federated as tff

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.learning import algorithms
from tff_partial.learning import process

setUpModule, tearDownModule = worker.start, worker.stop

RHO, SIGMA, RATE, OWN_RATE, EPOCHS = 0.5, 0.3, 0.1, 0.2, 2
# Everybody has two examples, in one batch.
DATA = [
    ([1.0, 2.0], [2.0, 3.0]),
    ([1.0, -1.0], [0.0, 4.0]),
    ([2.0, 2.0], [1.0, 3.0]),
]
COHORTS = [[0, 1], [1, 2], [0, 1]]


class Client:
  """v, the copy u and the dual variable pi, by the formulas of the paper."""

  def __init__(self, x, y):
    self.x, self.y = np.array(x), np.array(y)
    self.v = self.u = self.pi = 0.0

  @property
  def z(self):
    return self.u + self.pi / RHO

  def work(self, server):
    error = lambda u, v: u * self.x + v - self.y
    before = self.v
    for _ in range(EPOCHS):
      gradient = np.mean(error(server, self.v)) + SIGMA * (self.v - before)
      self.v -= OWN_RATE * gradient
    u = server
    for _ in range(EPOCHS):
      gradient = np.mean(error(u, self.v) * self.x)
      u -= RATE * (gradient + self.pi + RHO * (u - server))
    self.u = u
    self.pi += RHO * (u - server)


class DualModelTest(absltest.TestCase):

  def test_rounds_are_those_of_admm(self):
    steps = algorithms.Steps(epochs=EPOCHS)
    algorithm = algorithms.fed_apm(
        toy.sgd(RATE), toy.sgd(OWN_RATE, penalty=SIGMA), rho=RHO, steps=steps
    )
    built = process.build_partial_process(
        toy.model_fn(),
        algorithm,
        client_examples=toy.ALL_AT_ONCE,
        server_optimizer=tff.learning.optimizers.build_sgdm(2 / len(DATA)),
    )
    state = built.initialize()
    kept = [built.initialize_personal()] * len(DATA)
    clients = [Client(*data) for data in DATA]
    server = 0.0
    for cohort in COHORTS:
      state, outputs, _ = built.next(
          state,
          [kept[i] for i in cohort],
          [toy.value(*DATA[i]) for i in cohort],
      )
      for i, output in zip(cohort, outputs):
        kept[i] = output
        clients[i].work(server)
      # Also of those that are not in the cohort.
      server = np.mean([client.z for client in clients])
      np.testing.assert_allclose(
          state.global_model_weights.trainable[0], [[server]], rtol=1e-5
      )
      for client, state_of_client in zip(clients, kept):
        found = [
            *state_of_client.trainable,
            *state_of_client.non_trainable,
        ]
        np.testing.assert_allclose(
            np.squeeze([np.squeeze(v) for v in found]),
            [client.v, client.u, client.pi],
            rtol=1e-5,
            atol=1e-6,
        )

  def test_starts_from_copies_of_the_shared_variables(self):
    algorithm = algorithms.fed_apm(toy.sgd(), toy.sgd(), rho=RHO)
    model = algorithm.wrap(toy.model_fn())()
    self.assertEqual(
        [v.path for v in model.variables],
        [
            'line/kernel',
            'line/bias',
            'personal/line/kernel',
            'dual/line/kernel',
        ],
    )
    model.shared.trainable[0].assign([[3.0]])
    copy, dual = model.initial('personal').non_trainable
    self.assertEqual((copy, dual), ([[3.0]], [[0.0]]))


if __name__ == '__main__':
  absltest.main()
