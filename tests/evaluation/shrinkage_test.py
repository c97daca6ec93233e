# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The penalty of empirical Bayes, by hand and by enumeration."""

import itertools
import math

from absl.testing import absltest
import numpy as np

from tff_partial.evaluation import shrinkage


class ShrinkageTest(absltest.TestCase):

  def test_between_clients_is_unbiased_by_enumeration(self):
    # A client whose true gradient is 1 draws 3 of these 4 examples' gradients.
    gradients = np.array([1.0, 4.0, -2.0, 1.0])
    found = []
    for drawn in itertools.product(gradients, repeat=3):
      drawn = np.array(drawn)
      found.append(drawn.mean() ** 2 - drawn.var(ddof=1) / 3)
    self.assertAlmostEqual(np.mean(found), 1)
    # And that is what is averaged, where all clients weigh the same.
    value = shrinkage.between_clients(
        np.array([4.0, 9.0]), np.array([6.0, 6.0]), np.array([3, 3])
    )
    self.assertAlmostEqual(value, (4 - 2 + 9 - 2) / 2)

  def test_clients_with_many_examples_weigh_more(self):
    value = shrinkage.between_clients(
        np.array([4.0, 100.0]), np.array([1.0, 1.0]), np.array([1000, 2])
    )
    unweighted = (4 - 1 / 1000 + 100 - 1 / 2) / 2
    self.assertLess(value, unweighted - 0.1)

  def test_noise_alone_is_nothing_to_personalize(self):
    norms, variances = np.array([1.0, 1.0, 1.0]), np.array([9.0, 9.0, 9.0])
    sizes = np.array([3, 3, 3])
    self.assertEqual(shrinkage.between_clients(norms, variances, sizes), 0)
    found = shrinkage.total(norms, variances, sizes, curvature=1.0, noise=9.0)
    self.assertEqual(found.value, math.inf)

  def test_total_by_hand(self):
    found = shrinkage.total(
        np.array([5.0, 5.0, 5.0]),
        np.array([4.0, 4.0, 4.0]),
        np.array([4, 4, 4]),
        curvature=2.0,
        noise=3.0,
    )
    self.assertAlmostEqual(found.value, 2 * 3 / (5 - 1))
    self.assertAlmostEqual(found.low, found.high)  # Clients do not differ.

  def test_kappa_of_a_diagonal_hessian(self):
    # z has entries 1 and -1: |H z|^2 = 1 + 9 and z'H z = 1 + 3.
    self.assertAlmostEqual(shrinkage.kappa([10, 10], [4, 4]), 2.5)

  def test_pooled_by_degrees_of_freedom(self):
    self.assertAlmostEqual(
        shrinkage.pool(np.array([2.0, 6.0]), np.array([2, 4])), 5
    )

  def test_kept(self):
    np.testing.assert_allclose(
        shrinkage.kept(10.0, np.array([5, 20]), 2.0), [0.5, 0.8]
    )

  def test_risk_is_smallest_at_the_formula(self):
    # One coordinate, Hessian h: the risk of the penalized solution is
    # (j / N + lambda^2 t^2) / (h + lambda)^2, with delta_v^2 = t^2 h^2 and
    # S_v^2 = j.
    h, j, t2, num = 2.0, 3.0, 0.5, 7
    penalties = np.linspace(0.01, 5, 5000)
    risk = (j / num + penalties**2 * t2) / (h + penalties) ** 2
    best = penalties[np.argmin(risk)]
    formula = h * j / (t2 * h**2) / num
    self.assertAlmostEqual(best, formula, delta=0.001)


if __name__ == '__main__':
  absltest.main()
