# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Constants of small problems, by hand and by enumeration."""

import itertools
import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tff_partial import errors
from tff_partial.evaluation import moments as moments_lib
from tff_partial.evaluation import one_round
from tff_partial.evaluation import paper_bounds


def create(**fields):
  """Moments with ones, for as many clients as the fields have."""
  size = len(next(iter(fields.values())))
  defaults = {
      'num_examples': 4,
      'num_batches': 2,
      'shared_squares': 8,
      'personal_squares': 8,
      'shared_norms': 1,
      'personal_norms': 1,
      'shared_distances': 1,
      'shared_curvature': 1,
      'personal_curvature': 1,
      'mixed_curvature': 1,
      'global_coupling': 0,
      'own_coupling': 0,
      'weights': 1,
  }
  arrays = {k: np.full(size, float(v)) for k, v in defaults.items()}
  arrays['num_examples'] = arrays['num_examples'].astype(int)
  arrays['num_batches'] = arrays['num_batches'].astype(int)
  return moments_lib.ClientMoments(
      **(arrays | {k: np.asarray(v) for k, v in fields.items()})
  )


# Clients x = [1, 1], y = [3, 5] and x = [2, 2], y = [1, 1] of tests/helpers/toy
# at w = b = 0, in batches of one example: the gradients are -3 and -5 (both
# groups), and -2 and -2 (shared), -1 and -1 (personal).
TOY = create(
    num_examples=[2, 2],
    num_batches=[2, 2],
    shared_squares=[34.0, 8.0],
    personal_squares=[34.0, 2.0],
    shared_norms=[16.0, 4.0],
    personal_norms=[16.0, 1.0],
    shared_distances=[1.0, 1.0],  # G = -3.
    shared_curvature=[1.0, 4.0],
    personal_curvature=[1.0, 1.0],
    mixed_curvature=[1.0, 2.0],
    global_coupling=[12.0, 6.0],  # G C_i h_i with C = (1, 2).
    own_coupling=[16.0, 4.0],
)


class NoiseTest(parameterized.TestCase):

  def test_variances_of_the_toy(self):
    np.testing.assert_allclose(TOY.shared_variances, [2, 0])
    np.testing.assert_allclose(TOY.personal_variances, [2, 0])

  @parameterized.parameters(1, 2, 3)
  def test_variance_is_unbiased_over_all_orders(self, batch_size):
    gradients = np.array([[1.0, 0.0], [2.0, 5.0], [-3.0, 1.0], [0.5, 2.0]])
    found = []
    for order in itertools.permutations(range(4)):
      batches = [
          gradients[list(order[i : i + batch_size])]
          for i in range(0, 4, batch_size)
      ]
      squares = sum(len(b) * np.sum(b.mean(0) ** 2) for b in batches)
      found.append(
          moments_lib.example_variance(
              np.array([squares]),
              np.array([np.sum(gradients.mean(0) ** 2)]),
              np.array([4]),
              np.array([len(batches)]),
          )[0]
      )
    self.assertAlmostEqual(
        np.mean(found), np.sum(gradients.var(axis=0, ddof=1))
    )

  @parameterized.parameters(1, 2, 3, 5, 7)
  def test_noise_as_drawn_by_enumeration(self, steps):
    gradients = np.array([1.0, 4.0, -2.0, 0.0, 7.0, 3.0])
    means = []
    # Epochs are independent, and whole ones have no noise.
    whole, rest = divmod(steps, 3)
    for order in itertools.permutations(gradients):
      batches = np.reshape(order, [3, 2]).mean(1)
      means.append(
          (whole * 3 * gradients.mean() + batches[:rest].sum()) / steps
      )
    found = moments_lib.drawn_noise(
        np.array([gradients.var(ddof=1)]),
        np.array([6]),
        batch_size=2,
        steps=np.array([steps]),
    )
    self.assertAlmostEqual(found[0], np.var(means))

  def test_whole_epochs_have_no_noise_as_drawn(self):
    noise = {'num_examples': np.array([10]), 'batch_size': 4}
    variance = np.array([3.0])
    found = moments_lib.drawn_noise(variance, steps=np.array([6]), **noise)
    self.assertEqual(found[0], 0)
    found = moments_lib.independent_noise(
        variance, steps=np.array([6]), **noise
    )
    self.assertAlmostEqual(found[0], 3 / 24)

  def test_refuses_a_single_batch(self):
    with self.assertRaisesRegex(errors.SettingsError, 'at least 2 batches'):
      create(num_batches=[2, 1])


class DiversityTest(absltest.TestCase):

  def test_toy(self):
    # Of all clients: ((-4 + 3)^2 + (-2 + 3)^2) / 2.
    self.assertAlmostEqual(moments_lib.diversity(TOY, population=2), 1)

  def test_unbiased_over_all_samples_of_clients(self):
    gradients = np.array([[1.0, 0.0], [2.0, 5.0], [-3.0, 1.0], [0.5, 2.0]])
    truth = np.mean(np.sum((gradients - gradients.mean(0)) ** 2, axis=1))
    found = []
    for sample in itertools.combinations(range(4), 3):
      chosen = gradients[list(sample)]
      distances = np.sum((chosen - chosen.mean(0)) ** 2, axis=1)
      found.append(
          moments_lib.diversity(
              create(shared_distances=distances), population=4
          )
      )
    self.assertAlmostEqual(np.mean(found), truth)

  def test_weights(self):
    weighted = create(shared_distances=[4.0, 1.0], weights=[30.0, 10.0])
    # w = (1.5, 0.5), all of two clients.
    self.assertAlmostEqual(
        moments_lib.diversity(weighted, population=2), (2.25 * 4 + 0.25 * 1) / 2
    )


class ConstantsTest(absltest.TestCase):

  def test_values_and_jackknife(self):
    moments = create(
        personal_squares=[8.0, 10.0, 12.0],
        shared_curvature=[1.0, 2.0, 4.0],
        mixed_curvature=[1.0, 1.0, 1.0],
    )
    found = moments_lib.estimate(moments, population=30, batch_size=2)
    # S^2 = 8 - 4, 10 - 4, 12 - 4; a batch has two examples.
    self.assertAlmostEqual(found.personal_noise.value, 3)
    self.assertAlmostEqual(found.shared_curvature.value, 7 / 3)
    self.assertAlmostEqual(found.coupling.value, 1 / math.sqrt(7 / 3))
    left_out = np.log([3.0, 2.5, 1.5])
    error = math.sqrt(2 / 3 * np.sum((left_out - left_out.mean()) ** 2))
    half = 4.302652729911275 * error  # Student's t with 2 degrees of freedom.
    self.assertAlmostEqual(found.shared_curvature.low, 7 / 3 * math.exp(-half))
    self.assertAlmostEqual(found.shared_curvature.high, 7 / 3 * math.exp(half))

  def test_refuses_two_clients(self):
    with self.assertRaisesRegex(errors.SettingsError, 'at least 3 clients'):
      moments_lib.estimate(TOY, population=2, batch_size=2)


class CriterionTest(parameterized.TestCase):

  @parameterized.parameters(
      ((1, 1, 1), 100, (2.0646, 48.4354)),
      ((2, 1, 3), 40, (6.8051, 14.6950)),
      ((1, 1, 0), 4, ()),
      ((1, 0, 1), 10, ()),
  )
  def test_flip_points(self, terms, population, expected):
    found = paper_bounds.flip_points(
        paper_bounds.BoundTerms(*terms), population=population
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)

  def test_margin_is_zero_at_flip_points(self):
    terms = paper_bounds.BoundTerms(1, 1, 1)
    for m in paper_bounds.flip_points(terms, population=100):
      self.assertAlmostEqual(
          paper_bounds.criterion(terms, clients_per_round=m, population=100), 0
      )
    inside = paper_bounds.criterion(terms, clients_per_round=10, population=100)
    self.assertAlmostEqual(inside, 0.1 + 0.09 - 0.8)

  def test_terms_do_not_depend_on_the_units_of_v(self):
    rescaled = create(
        personal_squares=[72.0] * 3,
        personal_norms=[9.0] * 3,
        personal_curvature=[9.0] * 3,
        mixed_curvature=[3.0] * 3,
    )
    for drawn in (True, False):
      terms = [
          paper_bounds.bound_terms(
              moments,
              population=10,
              batch_size=2,
              steps=np.array([3] * 3),
              drawn=drawn,
          )
          for moments in (create(weights=[1.0] * 3), rescaled)
      ]
      np.testing.assert_allclose(*terms)

  def test_whole_epochs_always_favor_fed_alt(self):
    moments = create(personal_squares=[800.0, 900.0, 100.0])
    setting = {
        'clients_per_round': 2,
        'population': 100,
        'batch_size': 2,
        'steps': np.array([2, 2, 4]),
    }
    probability = lambda drawn: paper_bounds.criterion_probability(
        moments, drawn=drawn, **setting
    )
    self.assertEqual(probability(True), 1)
    self.assertEqual(probability(False), 0)


class LeadingDifferenceTest(parameterized.TestCase):

  @parameterized.parameters((1, 9), (2, 17), (3, 24))
  def test_toy(self, steps, expected):
    found = one_round.leading_difference(
        TOY,
        rates=one_round.Rates(0.1, 0.1),
        steps=np.array([steps, steps]),
        participation=1.0,
    )
    self.assertAlmostEqual(found.value / 0.01, expected)

  def test_interval_over_clients(self):
    found = one_round.leading_difference(
        TOY,
        rates=one_round.Rates(1.0, 1.0),
        steps=np.array([1, 1]),
        participation=1.0,
    )
    # The terms are 12 and 6; Student's t with 1 degree of freedom.
    half = 12.706204736432095 * 3
    np.testing.assert_allclose(found, [9, 9 - half, 9 + half])


class LookaheadTest(absltest.TestCase):

  def test_by_enumeration_of_cohorts(self):
    # F_i(u, v) = a_i u^2 / 2 + c u v + b v^2 / 2: one personal number each.
    a, b, c = np.array([1.0, 2.0, 0.5, 3.0]), 1.5, 0.7
    u, v = 0.3, np.array([0.1, -0.4, 0.8, 0.2])
    du, dv = np.array([0.5, -0.2, 0.1, 0.4]), np.array([0.3, 0.1, -0.5, 0.2])
    loss = lambda u, v: np.mean(a * u**2 / 2 + c * u * v + b * v**2 / 2)
    mean = du.mean()
    parts = one_round.LookaheadParts(
        everyone=loss(u + mean, v),
        personal=loss(u + mean, v + dv) - loss(u + mean, v),
        between=a.mean() * np.var(du) / 2,
        within=0.0,
    )
    for m in (1, 2, 3, 4):
      truth, cross = [], []
      for cohort in itertools.combinations(range(4), m):
        moved = np.isin(np.arange(4), cohort)
        new_u = u + du[moved].mean()
        truth.append(loss(new_u, v + moved * dv))
        # What the formula leaves out, of order 1/n.
        cross.append(c * (new_u - u - mean) * np.mean(moved * dv))
      found = one_round.lookahead(
          parts, clients_per_round=np.array([m]), population=4
      )
      self.assertAlmostEqual(found[0] + np.mean(cross), np.mean(truth))

  def test_difference_and_interval_by_hand(self):
    first = one_round.LookaheadLosses(
        everyone=np.array([1.0, 3.0]),
        personal=np.array([0.0, 2.0]),
        forward=np.array([[2.0, 4.0], [1.0, 3.0]]),
        backward=np.array([[1.0, 3.0], [1.0, 3.0]]),
        weights=np.array([1.0, 1.0]),
    )
    zero = one_round.LookaheadLosses(
        *(np.zeros_like(a) for a in first[:-1]), first.weights
    )
    value, low, high = one_round.lookahead_difference(
        first,
        zero,
        signs=np.array([[1, -1], [-1, 1]]),
        updates=3,
        clients_per_round=np.array([1, 4]),
        population=4,
    )
    # The parts are 2, -1 and 0.5, the latter from curvatures of 1 and 0.
    np.testing.assert_allclose(value, [2 - 1 / 4 + 0.5, 2 - 1])
    # One half less the other is -1 and 1; contrasts add 0.5 and 0. For a single
    # client, the mean of the two curvatures adds its own variance.
    variance = (0.5**2 + 1**2) / 2 + np.array([0.5 / 2, 0])
    half = 12.706204736432095 * np.sqrt(variance)  # 1 degree of freedom.
    np.testing.assert_allclose(low, value - half)
    np.testing.assert_allclose(high, value + half)

  def test_variance_is_that_over_samples_of_clients(self):
    # Client i's loss is (u - c_i)^2 / 2, and its update depends on c_i too.
    rng = np.random.default_rng(0)
    size, contrasts, found = 20, 4, []
    for _ in range(1000):
      c = rng.normal(1.0, 1.0, size)
      update = 0.3 * c + rng.normal(0.5, 0.2, size)
      loss = lambda u, c=c: (u - c) ** 2 / 2
      signs = np.stack(
          [
              np.where(np.argsort(rng.random(size)) < size // 2, 1, -1)
              for _ in range(contrasts)
          ]
      )
      shifts = (signs @ update / size)[:, None]
      everyone = loss(update.mean())
      first = one_round.LookaheadLosses(
          everyone=everyone,
          personal=everyone - 0.1 * c,
          forward=loss(update.mean() + shifts),
          backward=loss(update.mean() - shifts),
          weights=np.ones(size),
      )
      zero = one_round.LookaheadLosses(
          *(np.zeros_like(a) for a in first[:-1]), first.weights
      )
      value, low, _ = one_round.lookahead_difference(
          first,
          zero,
          signs=signs,
          updates=size,
          clients_per_round=np.array([20, 100]),
          population=100,
      )
      found.append([value, ((value - low) / 3.182446305284263) ** 2])
    values, variances = np.swapaxes(found, 0, 1)
    np.testing.assert_allclose(
        variances.mean(axis=0), values.var(axis=0, ddof=1), rtol=0.15
    )


if __name__ == '__main__':
  absltest.main()
