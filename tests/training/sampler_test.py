# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cohorts: uniform, and a function of seed and round alone."""

from collections.abc import Sequence

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats

from tests.helpers import toy
from tff_partial import errors
from tff_partial.privacy import secret_key
from tff_partial.training import sampler as sampler_lib


class _Ids(Sequence):
  """A population of numbers that notes which of them were asked for."""

  def __init__(self, size):
    self._size = size
    self.asked = []

  def __len__(self):
    return self._size

  def __getitem__(self, index):
    if not 0 <= index < self._size:
      raise IndexError(index)
    self.asked.append(index)
    return f'client_{index}'


class _Population:

  def __init__(self, size):
    self.client_ids = _Ids(size)


def sampler(size=1000, clients_per_round=20, seed=0):
  return sampler_lib.UniformSampler(_Population(size), clients_per_round, seed)


class UniformSamplerTest(parameterized.TestCase):

  def test_cohort_depends_on_seed_and_round_alone(self):
    cohort = sampler(seed=1).cohort(5)
    self.assertEqual(cohort, sampler(seed=1).cohort(5))
    self.assertNotEqual(cohort, sampler(seed=2).cohort(5))
    self.assertNotEqual(cohort, sampler(seed=1).cohort(6))
    self.assertLen(set(cohort), 20)

  def test_random_stream_stays_the_same(self):
    rng = np.random.default_rng([3, 7])
    expected = rng.choice(1000, 20, replace=False, shuffle=True)
    self.assertEqual(
        sampler(seed=3).cohort(7), [f'client_{i}' for i in expected]
    )

  def test_is_uniform(self):
    counts = dict.fromkeys(('client_0', 'client_1', 'client_2', 'client_3'), 0)
    pairs = sampler(size=4, clients_per_round=2)
    for round_num in range(2000):
      for client_id in pairs.cohort(round_num):
        counts[client_id] += 1
    # Each is drawn in half of 2000 rounds: 1000 +- 4 standard deviations of 22.
    for count in counts.values():
      self.assertBetween(count, 910, 1090)

  def test_reads_ids_of_the_cohort_only(self):
    few = sampler(size=10**9, clients_per_round=5)
    cohort = few.cohort(0)
    self.assertLen(cohort, 5)
    self.assertLen(few.clients.client_ids.asked, 5)

  @parameterized.parameters(-1, 0, 4)
  def test_refuses_a_cohort_of(self, clients_per_round):
    with self.assertRaisesRegex(
        errors.SettingsError,
        f'`clients_per_round` from 1 to 3,.* found {clients_per_round}',
    ):
      sampler_lib.UniformSampler(toy.random_clients(3), clients_per_round)

  def test_shuffle_seeds_differ_by_seed_round_and_client(self):
    seeds = {
        sampler(seed=seed).shuffle_seed(round_num, client_id).tobytes()
        for seed, round_num, client_id in [
            (0, 1, 'a'),
            (1, 0, 'a'),
            (0, 1, 'b'),
            (0, 11, 'a'),
        ]
    }
    self.assertLen(seeds, 4)


def poisson(size=1000, clients_per_round=20, key_seed=0, **kwargs):
  return sampler_lib.PoissonSampler(
      _Population(size),
      clients_per_round,
      secret_key.from_seed(key_seed),
      **kwargs,
  )


class PoissonSamplerTest(absltest.TestCase):

  def test_depends_on_key_stream_and_round_and_not_on_the_seed(self):
    cohort = poisson().cohort(5)
    self.assertEqual(cohort, poisson(seed=7).cohort(5))
    self.assertNotEqual(cohort, poisson(key_seed=1).cohort(5))
    self.assertNotEqual(cohort, poisson(stream='continued').cohort(5))
    self.assertNotEqual(cohort, poisson().cohort(6))
    self.assertNotIn('key=SecretKey(value', repr(poisson()))

  def test_every_client_independently_with_the_same_probability(self):
    few, rounds = poisson(size=6, clients_per_round=2), 3000
    taken = np.zeros([rounds, 6])
    for round_num in range(rounds):
      cohort = few.cohort(round_num)
      self.assertLen(set(cohort), len(cohort))
      taken[round_num, [int(c.split('_')[1]) for c in cohort]] = 1
    # Chi-square tests, each wrong once in a million keys; this key is fixed.
    q = 2 / 6
    counts = taken.sum(0)
    chi_square = np.sum(np.square(counts - rounds * q)) / (rounds * q * (1 - q))
    self.assertLess(chi_square, stats.chi2.ppf(1 - 1e-6, 6))
    sizes = np.bincount(taken.sum(1).astype(int), minlength=7)
    expected = rounds * stats.binom.pmf(np.arange(7), 6, q)
    # The last two sizes together, or too few are expected.
    merged = lambda x: np.append(x[:5], x[5:].sum())
    self.assertGreater(
        stats.chisquare(merged(sizes), merged(expected)).pvalue, 1e-6
    )
    self.assertGreater(sizes[0], 0)
    correlations = np.corrcoef(taken.T)[np.triu_indices(6, 1)]
    # The standard deviation is 1 / sqrt(3000) = 0.018. Without replacement from
    # cohorts of two, all of them would be -0.2.
    self.assertLess(np.abs(correlations).max(), 0.09)

  def test_reads_ids_of_the_cohort_only(self):
    many = poisson(size=10**9, clients_per_round=5)
    cohort = many.cohort(0)
    self.assertLen(many.clients.client_ids.asked, len(cohort))
    self.assertBetween(len(cohort), 1, 20)

  def test_everybody(self):
    self.assertLen(poisson(size=7, clients_per_round=7).cohort(3), 7)

  def test_too_few_clients(self):
    with self.assertRaisesRegex(
        errors.SettingsError, '`clients_per_round` from 1 to 3, .*found 4'
    ):
      poisson(size=3, clients_per_round=4)

  def test_shuffle_seed_is_that_of_the_uniform_sampler(self):
    for stream in (None, 'continued'):
      np.testing.assert_array_equal(
          poisson(seed=5, stream=stream).shuffle_seed(3, 'a'),
          sampler_lib.UniformSampler(_Population(9), 2, 5, stream).shuffle_seed(
              3, 'a'
          ),
      )


class CyclicSamplerTest(absltest.TestCase):

  def test_every_client_takes_part_every_few_rounds(self):
    cyclic = sampler_lib.CyclicSampler(_Population(11), 3)
    self.assertEqual(cyclic.num_groups, 3)
    cohorts = [cyclic.cohort(round_num) for round_num in range(7)]
    self.assertEqual(
        cohorts[0], ['client_0', 'client_3', 'client_6', 'client_9']
    )
    self.assertEqual([len(c) for c in cohorts], [4, 4, 3, 4, 4, 3, 4])
    self.assertLen({c for cohort in cohorts[:3] for c in cohort}, 11)
    for before, after in zip(cohorts, cohorts[3:]):
      self.assertEqual(before, after)

  def test_reads_ids_of_the_cohort_only(self):
    many = sampler_lib.CyclicSampler(_Population(10**9), 10**9 // 4 + 1)
    self.assertEqual(many.num_groups, 3)
    few = sampler_lib.CyclicSampler(_Population(10**6), 10)
    self.assertLen(few.cohort(5), 10)
    self.assertLen(few.clients.client_ids.asked, 10)

  def test_too_few_clients(self):
    with self.assertRaisesRegex(
        errors.SettingsError, '`clients_per_round` from 1 to 3, .*found 4'
    ):
      sampler_lib.CyclicSampler(_Population(3), 4)


class StreamTest(absltest.TestCase):

  def test_streams_of_one_seed_differ(self):
    clients = toy.random_clients(50)
    first, second, again = (
        sampler_lib.UniformSampler(clients, 10, seed=3, stream=stream)
        for stream in (None, 'continued', 'continued')
    )
    for round_num in range(5):
      self.assertNotEqual(first.cohort(round_num), second.cohort(round_num))
      self.assertEqual(second.cohort(round_num), again.cohort(round_num))
      seeds = [s.shuffle_seed(round_num, 'a') for s in (first, second, again)]
      self.assertTrue((seeds[0] != seeds[1]).any())
      np.testing.assert_array_equal(seeds[1], seeds[2])
    # Of 10 of 50 clients drawn twice, 2 are expected to be the same.
    same = [
        len(set(first.cohort(r)) & set(second.cohort(r))) for r in range(200)
    ]
    self.assertBetween(np.mean(same), 1.7, 2.3)


if __name__ == '__main__':
  absltest.main()
