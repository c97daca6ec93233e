# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Views that leave out clients, without listing the population."""

from collections.abc import Sequence

from absl.testing import absltest
from absl.testing import parameterized

from tests.helpers import toy
from tff_partial.learning import clients as clients_lib


class _Million(Sequence):
  """The ids '0' to '999999', which must not be iterated over."""

  def __len__(self):
    return 10**6

  def __getitem__(self, index):
    return str(range(10**6)[index])

  def __iter__(self):
    raise AssertionError('The population was listed.')

  def __contains__(self, client_id):
    return 0 <= int(client_id) < 10**6

  def index(self, client_id, *unused_bounds):
    return int(client_id)


class _Population:
  client_ids = _Million()


class ExcludingClientsTest(parameterized.TestCase):

  @parameterized.parameters(
      ([], 'abcde'),
      (['a'], 'bcde'),
      (['e'], 'abcd'),
      (['b', 'c'], 'ade'),
      (['e', 'a', 'c'], 'bd'),
      (list('abcde'), ''),
  )
  def test_other_clients_keep_their_order(self, excluded, expected):
    population = toy.Clients({c: toy.examples([1], [1]) for c in 'abcde'})
    clients = clients_lib.ExcludingClients(population, excluded)
    self.assertEqual(list(clients.client_ids), list(expected))
    self.assertLen(clients.client_ids, len(expected))
    for client_id in 'abcdef':
      self.assertEqual(client_id in clients.client_ids, client_id in expected)

  def test_examples_are_those_of_the_population(self):
    population = toy.random_clients(3)
    clients = clients_lib.ExcludingClients(population, ['client_0'])
    self.assertIs(clients.read('client_2'), population.read('client_2'))
    self.assertEqual(
        clients.num_examples('client_2'), population.num_examples('client_2')
    )

  def test_nothing_excluded_is_the_population_itself(self):
    clients = clients_lib.ExcludingClients(_Population, [])
    self.assertIs(clients.client_ids, _Population.client_ids)

  def test_a_large_population_is_not_listed(self):
    excluded = ['0', '7', '500000', '999999']
    ids = clients_lib.ExcludingClients(_Population, excluded).client_ids
    self.assertLen(ids, 10**6 - 4)
    # Two ids are missing before position 499998, and three up to it.
    self.assertEqual(
        [ids[i] for i in (0, 5, 6, 499997, 499998, 10**6 - 5)],
        ['1', '6', '8', '499999', '500001', '999998'],
    )
    for i in (-1, 10**6 - 4):
      with self.assertRaises(IndexError):
        ids[i]
    cohort = clients_lib.sample(ids, 100, seed=0, round_num=0)
    self.assertLen(set(cohort) - set(excluded), 100)

  def test_all_but_excluded_clients_are_sampled(self):
    ids = clients_lib.ExcludingClients(
        toy.Clients({c: None for c in 'abcd'}), ['b']
    ).client_ids
    cohort = clients_lib.sample(ids, 3, seed=0, round_num=0)
    self.assertCountEqual(cohort, 'acd')
    with self.assertRaisesRegex(ValueError, 'from 1 to 3 clients .* found 4'):
      clients_lib.sample(ids, 4, seed=0, round_num=0)


if __name__ == '__main__':
  absltest.main()
