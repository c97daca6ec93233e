# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Epsilons against published values and an independent formula."""

import dataclasses
import math

from absl.testing import absltest
from absl.testing import parameterized
import dp_accounting
from dp_accounting import pld
from dp_accounting import rdp
import numpy as np
from scipy import optimize
from scipy import stats
import tensorflow_privacy as tfp

from tff_partial import errors
from tff_partial.privacy import accounting

DIGITS = accounting.Mechanism(1.0, 'poisson', 836, 50, 100)


def exact_gaussian(mu, delta):
  """Epsilon of `mu`-Gaussian DP (Dong, Roth, Su 2022, Corollary 2.13)."""
  phi = stats.norm.cdf
  excess = lambda eps: (
      phi(-eps / mu + mu / 2) - np.exp(eps) * phi(-eps / mu - mu / 2) - delta
  )
  return optimize.brentq(excess, 0, 100)


class GuaranteeTest(parameterized.TestCase):

  @parameterized.named_parameters(
      # Of the digits of 836 writers.
      ('digits', 1.0, 836, 50, 100, 836**-1.1, 2.856, 1e-3),
      # The tutorial of TensorFlow Federated says 2, by Renyi accounting.
      ('tff_tutorial', 1.2, 3383, 120, 100, 1e-5, 1.7075, 1e-3),
      # That of TensorFlow Privacy says 2.92, by an older conversion.
      ('tfp_tutorial', 1.12, 60_000, 256, 14_063, 1e-5, 2.3103, 1e-3),
  )
  def test_poisson(self, noise, clients, cohort, rounds, delta, expected, tol):
    mechanism = accounting.Mechanism(noise, 'poisson', clients, cohort, rounds)
    found = accounting.guarantee([mechanism], delta)
    self.assertAlmostEqual(found.epsilon, expected, delta=tol)
    self.assertEqual(found.against, 'adding or removing one person')

  @parameterized.named_parameters(
      # 763,430 users of McMahan et al. (ICLR 2018).
      ('mcmahan', 1.0, 763_430, 5000, 5000, 1e-9, 4.634, 4.1833),
      # Two tutorials of TensorFlow Privacy, and that of TensorFlow Federated,
      # which says (2, 1e-5) by the newer conversion.
      ('tfp_tutorial', 1.12, 60_000, 256, 14_063, 1e-5, 2.922, 2.5187),
      ('tfp_more_noise', 1.3, 60_000, 250, 3600, 1e-5, 1.180, 0.9422),
      ('tff_tutorial', 1.2, 3383, 120, 100, 1e-5, 2.419, 1.9861),
      ('digits', 1.0, 836, 50, 100, 836**-1.1, 4.192, 3.4247),
  )
  def test_published_values(
      self, noise, clients, cohort, rounds, delta, published, newer
  ):
    # Of Renyi accounting, by the conversion of that time and by a newer one.
    event = accounting.Mechanism(
        noise, 'poisson', clients, cohort, rounds
    ).event()
    orders = list(range(2, 64))
    accountant = rdp.RdpAccountant(orders=orders).compose(event)
    # pylint: disable-next=protected-access
    losses = accountant._rdp - math.log(delta) / (np.array(orders) - 1)
    self.assertAlmostEqual(np.min(losses), published, delta=5e-4)
    found = rdp.RdpAccountant().compose(event).get_epsilon(delta)
    self.assertAlmostEqual(found, newer, delta=1e-4)

  def test_everybody_in_every_round_is_the_gaussian_mechanism(self):
    for noise, rounds in ((4.0, 10), (2.0, 1), (20.0, 100)):
      mechanism = accounting.Mechanism(noise, 'poisson', 50, 50, rounds)
      self.assertAlmostEqual(
          accounting.guarantee([mechanism], 1e-3).epsilon,
          exact_gaussian(math.sqrt(rounds) / noise, 1e-3),
          delta=2e-3,
      )

  def test_cyclic_counts_the_rounds_of_a_client(self):
    # 836 clients in 4 groups of 209: 10 of 40 rounds, and 11 of 41.
    for rounds, own in ((40, 10), (41, 11)):
      mechanism = accounting.Mechanism(2.7, 'cyclic', 836, 209, rounds)
      found = accounting.guarantee([mechanism], 6.1e-4)
      self.assertAlmostEqual(
          found.epsilon,
          exact_gaussian(math.sqrt(own) / 2.7, 6.1e-4),
          delta=2e-3,
      )
    self.assertIn('by nothing', found.against)

  @parameterized.parameters((40, 4, 146), (100, 9, 173), (100, 39, 22))
  def test_tree_sensitivity(self, rounds, groups, expected):
    # The worst pattern of TensorFlow Privacy's accountant, with gaps of at
    # least this many rounds, is the regular one.
    self.assertEqual(accounting.tree_sensitivity(rounds, groups), expected)

  def test_tree_by_hand_and_by_the_accountant_of_tfp(self):
    # Rounds 0, 2, 4 of 6: 3 leaves, 3 pairs, and 2^2 for the first four.
    self.assertEqual(accounting.tree_sensitivity(6, 2), 3 + 3 + 4)
    rho = tfp.compute_zcdp_single_tree(3.0, 11, 3, 3)
    self.assertAlmostEqual(
        accounting.tree_sensitivity(11, 4) / (2 * 3.0**2), rho
    )

  def test_tree(self):
    # Epsilon 4 for the digits of 836 writers takes noise of 10.3.
    tree = accounting.Mechanism(10.3, 'cyclic', 836, 209, 40, 'tree')
    found = accounting.guarantee([tree], 836**-1.1)
    self.assertAlmostEqual(
        found.epsilon,
        exact_gaussian(146**0.5 / 10.3, 836**-1.1),
        delta=2e-3,
    )
    self.assertAlmostEqual(found.epsilon, 4.0, delta=0.03)
    self.assertIn('by nothing', found.against)
    with self.assertRaisesRegex(errors.SettingsError, "'cyclic' for a tree"):
      accounting.Mechanism(1.0, 'poisson', 836, 50, 100, 'tree')

  def test_fixed_size_is_another_matter(self):
    # As docs/privacy.md has it: replace-one, of twice the sensitivity.
    accountant = rdp.RdpAccountant(
        neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE
    ).compose(
        dp_accounting.SampledWithoutReplacementDpEvent(
            836, 50, dp_accounting.GaussianDpEvent(0.5)
        ),
        100,
    )
    self.assertAlmostEqual(accountant.get_epsilon(836**-1.1), 38.99, delta=0.01)

  def test_runs_one_after_the_other_are_one_budget(self):
    half = dataclasses.replace(DIGITS, rounds=50)
    self.assertEqual(
        accounting.guarantee([half, half], 836**-1.1),
        accounting.guarantee([DIGITS], 836**-1.1),
    )

  def test_without_noise_or_rounds(self):
    no_noise = dataclasses.replace(DIGITS, noise_multiplier=0.0)
    no_rounds = dataclasses.replace(no_noise, rounds=0)
    self.assertEqual(
        accounting.guarantee([DIGITS, no_noise], 1e-3).epsilon, math.inf
    )
    self.assertEqual(accounting.guarantee([no_rounds], 1e-3).epsilon, 0.0)
    accounting.guarantee([DIGITS, no_rounds], 1e-3)

  def test_different_sampling(self):
    other = dataclasses.replace(DIGITS, sampling='cyclic')
    with self.assertRaisesRegex(errors.SettingsError, 'one way of sampling'):
      accounting.guarantee([DIGITS, other], 1e-3)
    with self.assertRaisesRegex(errors.SettingsError, 'one way of sampling'):
      accounting.calibrate([other], epsilon=9.0, delta=1e-3, before=[DIGITS])

  def test_cohort_larger_than_the_population(self):
    for cohort in (0, 837):
      with self.assertRaisesRegex(
          errors.SettingsError, f'from 1 to 836, .* found {cohort}'
      ):
        dataclasses.replace(DIGITS, clients_per_round=cohort)

  def test_several_deltas(self):
    mechanism = accounting.Mechanism(2.0, 'cyclic', 10, 5, 4)
    several = accounting.guarantees([mechanism], [1e-2, 1e-4])
    for delta, found in zip([1e-2, 1e-4], several):
      alone = accounting.guarantee([mechanism], delta)
      self.assertAlmostEqual(found.epsilon, alone.epsilon, delta=1e-4)
      self.assertEqual((found.delta, found.against), (delta, alone.against))
    self.assertLess(several[0].epsilon, several[1].epsilon)

  @parameterized.named_parameters(
      ('few_rounds', 0.638, 50, 100, 6e-4),
      ('many_rounds', 3.98, 209, 1000, 1e-3),
      ('large_epsilon', 0.25, 50, 10, 6e-4),
      ('small_epsilon', 30.0, 50, 10, 6e-4),
  )
  def test_grid_of_losses_is_fine_enough(self, noise, cohort, rounds, delta):
    mechanism = accounting.Mechanism(noise, 'poisson', 836, cohort, rounds)
    found = accounting.guarantee([mechanism], delta).epsilon
    step = 2e-5 * max(1, found)
    finer = pld.PLDAccountant(value_discretization_interval=step)
    expected = finer.compose(mechanism.event()).get_epsilon(delta)
    self.assertAlmostEqual(found / expected, 1, delta=5e-5)

  @parameterized.parameters((1e3, 6e-4), (1e5, 0.3))
  def test_so_much_noise_that_nothing_is_seen(self, noise, delta):
    mechanism = accounting.Mechanism(noise, 'poisson', 836, 50, 100)
    found = accounting.guarantee([mechanism], delta).epsilon
    self.assertBetween(found, 0.0, 1e-4)

  def test_default_delta(self):
    self.assertAlmostEqual(accounting.default_delta(836), 6.1e-4, delta=1e-5)


class CalibrateTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('poisson', 'poisson', 2.0, 50, 1.205),
      ('poisson_4', 'poisson', 4.0, 209, None),
      ('poisson_large', 'poisson', 50.0, 50, None),
      ('poisson_small', 'poisson', 0.1, 50, None),
      ('cyclic', 'cyclic', 1.0, 209, None),
  )
  def test_reaches_the_epsilon(self, sampling, epsilon, cohort, expected):
    mechanism = accounting.Mechanism(0.0, sampling, 836, cohort, 100)
    delta = 836**-1.1
    noise = accounting.calibrate([mechanism], epsilon=epsilon, delta=delta)
    given = dataclasses.replace(mechanism, noise_multiplier=noise)
    found = accounting.guarantee([given], delta).epsilon
    self.assertLessEqual(found, epsilon)
    self.assertAlmostEqual(found / epsilon, 1, delta=5e-3)
    if expected is not None:
      self.assertAlmostEqual(noise, expected, delta=2e-3)

  def test_finds_the_noise_of_a_guarantee(self):
    mechanism = accounting.Mechanism(2.0, 'cyclic', 836, 209, 40)
    epsilon = accounting.guarantee([mechanism], 1e-3).epsilon
    noise = accounting.calibrate([mechanism], epsilon=epsilon, delta=1e-3)
    self.assertAlmostEqual(noise / 2.0, 1.0, delta=1e-3)

  def test_earlier_runs_are_part_of_it(self):
    before = accounting.Mechanism(3.0, 'cyclic', 100, 25, 4)
    after = dataclasses.replace(before, noise_multiplier=0.0)
    noise = accounting.calibrate(
        [after], epsilon=3.0, delta=1e-3, before=[before]
    )
    alone = accounting.calibrate([after], epsilon=3.0, delta=1e-3)
    self.assertGreater(noise, alone)
    both = [before, dataclasses.replace(after, noise_multiplier=noise)]
    self.assertAlmostEqual(
        accounting.guarantee(both, 1e-3).epsilon, 3.0, delta=0.02
    )

  @parameterized.parameters(4.2, 4.5)
  def test_little_is_left_of_the_epsilon(self, epsilon):
    # Earlier runs have 3.998, and 4.461 by Renyi accounting.
    delta = 836**-1.1
    before = accounting.Mechanism(2.7, 'cyclic', 836, 209, 40)
    after = dataclasses.replace(before, noise_multiplier=0.0)
    noise = accounting.calibrate(
        [after], epsilon=epsilon, delta=delta, before=[before]
    )
    both = [before, dataclasses.replace(after, noise_multiplier=noise)]
    found = accounting.guarantee(both, delta).epsilon
    self.assertBetween(found, 0.995 * epsilon, epsilon)
    # Ten rounds of a client each: one Gaussian after the other.
    self.assertAlmostEqual(
        found,
        exact_gaussian((10 * (2.7**-2 + noise**-2)) ** 0.5, delta),
        delta=2e-3,
    )

  def test_nothing_is_left_of_the_epsilon(self):
    before = accounting.Mechanism(2.7, 'cyclic', 836, 209, 40)
    with self.assertRaisesRegex(errors.SettingsError, 'found none'):
      accounting.calibrate(
          [before], epsilon=3.99, delta=836**-1.1, before=[before]
      )

  def test_hardly_any_noise_is_enough(self):
    mechanism = accounting.Mechanism(0.0, 'cyclic', 10, 5, 1)
    self.assertEqual(
        accounting.calibrate([mechanism], epsilon=1e4, delta=1e-3), 0.05
    )

  def test_out_of_reach(self):
    mechanism = accounting.Mechanism(0.0, 'cyclic', 10, 10, 10_000_000)
    with self.assertRaisesRegex(
        errors.SettingsError,
        'multiplier up to 1000 for `target_epsilon` of 0.1, found none: take'
        ' fewer rounds',
    ):
      accounting.calibrate([mechanism], epsilon=0.1, delta=1e-3)


if __name__ == '__main__':
  absltest.main()
