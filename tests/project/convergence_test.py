# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The quadratics of the benchmark are what they say, and so are its numbers."""

from absl.testing import absltest
import numpy as np

from benchmarks import convergence
from benchmarks import quadratics
from tests.helpers import worker

setUpModule, tearDownModule = worker.start, worker.stop


class QuadraticsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.problem = quadratics.create(
        num_clients=5, chi=0.7, diversity=2.0, noise=3.0, seed=1
    )
    rng = np.random.default_rng(0)
    self.u, self.v = rng.normal(size=6), rng.normal(size=[5, 4])

  def test_constants(self):
    p = self.problem
    norms = lambda matrices: np.linalg.norm(matrices, 2, axis=(1, 2))
    np.testing.assert_allclose(norms(p.a), 1)
    np.testing.assert_allclose(norms(p.b), 1)
    self.assertTrue(np.all(norms(p.c) <= 0.7 + 1e-9))
    for noise in (p.noise_u, p.noise_v):
      np.testing.assert_allclose(noise.sum(axis=1), 0, atol=1e-12)
      np.testing.assert_allclose(noise.var(axis=1, ddof=1).sum(axis=-1), 3)

  def test_gradients_are_those_of_the_loss(self):
    g, h = self.problem.gradients(self.u, self.v)
    loss, step = self.problem.loss, 1e-6
    for i in range(6):
      move = step * np.eye(6)[i]
      change = loss(self.u + move, self.v) - loss(self.u - move, self.v)
      self.assertAlmostEqual(change / (2 * step), g.mean(axis=0)[i], places=5)
    move = np.zeros([5, 4])
    move[2, 1] = step
    change = loss(self.u, self.v + move) - loss(self.u, self.v - move)
    self.assertAlmostEqual(change / (2 * step), h[2, 1] / 5, places=5)

  def test_minimum(self):
    u, v = self.u, self.v
    for _ in range(3000):
      g, h = self.problem.gradients(u, v)
      u, v = u - 0.5 * g.mean(axis=0), v - 0.5 * h
    self.assertAlmostEqual(self.problem.loss(u, v), self.problem.minimum())

  def test_real_rounds_take_these_gradients(self):
    setting = convergence.Setting(steps=1, noise=0.0)
    for name in ('FedAlt', 'FedSim'):
      (u, v), (new_u, new_v) = setting.run(
          name, rate=0.1, clients_per_round=20, rounds=1, seed=0
      )
      g, h = setting.problem.gradients(u, v)
      expected_v = v - 0.1 * h
      if name == 'FedAlt':
        g, _ = setting.problem.gradients(u, expected_v)
      np.testing.assert_allclose(new_v, expected_v, atol=1e-5)
      np.testing.assert_allclose(new_u, u - 0.1 * g.mean(axis=0), atol=1e-5)

  def test_table_agrees_with_equation_d(self):
    setting = convergence.Setting(steps=1, noise=0.0)
    row = convergence.one_round_table(setting, 20, 1)[-1].split('|')
    self.assertAlmostEqual(float(row[4]) / float(row[5]), 1, delta=0.05)

  def test_figure_and_table(self):
    panel = lambda bounds: convergence.Panel(
        'm/n 1, tau 1, sigma^2 0',
        {'FedAlt': np.array([3.0, 2.0]), 'FedSim': np.array([4.0, 2.5])},
        bounds,
    )
    bounds = {'FedAlt': np.array([9.0, 8.0]), 'FedSim': np.array([7.0, 6.0])}
    rows = [[panel(bounds)] * 3, [panel({})] * 3]
    _, _, *lines = convergence.last_values(rows)
    self.assertLen(lines, 6)
    self.assertIn('| 2.000 | 2.500 | 8.000 | 6.000 |', lines[0])
    self.assertIn('| 2.000 | 2.500 | – | – |', lines[5])
    figure = convergence.draw(rows)
    figure.draw_without_rendering()
    widths = [axes.get_position().width for axes in figure.axes]
    # A legend that is laid out as part of a panel pushes the others aside.
    self.assertLess(max(widths) / min(widths), 1.05)
    self.assertGreater(min(widths), 0.2)


if __name__ == '__main__':
  absltest.main()
