# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cohorts: uniform, and a function of seed and round alone."""

from collections.abc import Sequence

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.helpers import toy
from tff_partial import errors
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
