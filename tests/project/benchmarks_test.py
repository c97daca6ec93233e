# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run, on very little data."""

import os
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from benchmarks import apfl
from benchmarks import bare_loop
from benchmarks import evaluations
from benchmarks import interleaved
from benchmarks import library_round
from benchmarks import long_run
from benchmarks import memory
from benchmarks import population
from benchmarks import rounds
from benchmarks import runtimes
from benchmarks import task_rounds
from benchmarks import task_workloads
from benchmarks import workers
from benchmarks.peers import __main__ as peers
from benchmarks.peers import work as work_lib
from benchmarks.peers import workloads
from tff_partial.data import client_data
from tff_partial.runtime import in_process
from tff_partial.runtime import local


class RoundsTest(absltest.TestCase):

  def test_every_round_runs_and_is_compared(self):
    sizes = dict(clients=4, clients_per_round=2, examples=6, batch_size=3)
    seconds = rounds.run(sizes, num_rounds=2)
    self.assertLen(seconds, 7)
    for values in seconds.values():
      self.assertLen(values, 2)
      self.assertTrue(np.all(values > 0))

  def test_ratios_compare_rounds_of_the_same_number(self):
    # Ratios to stock: 1/2, 1/4 and 2/4 have median 0.5, whereas the medians, 1
    # and 4, have ratio 0.25. FedAlt is compared with FedAlt's bare loop.
    table = interleaved.format_table(
        'LR',
        {
            'ours, FedAlt': np.array([1.0, 1.0, 2.0]),
            'stock': np.array([2.0, 4.0, 4.0]),
            'bare, FedAlt': np.array([0.5, 0.5, 1.0]),
        },
        {'stock': lambda kind: 'stock', 'bare': lambda kind: 'bare, FedAlt'},
    )
    self.assertEqual(
        table.splitlines()[:3],
        [
            '| LR | seconds | quartiles | / stock | / bare |',
            '| --- | ---: | ---: | ---: | ---: |',
            '| ours, FedAlt | 1.0000 | 1.0000 to 1.5000 | 0.50 | 2.00 |',
        ],
    )


class TaskRoundsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  @parameterized.parameters(
      ('emnist', {}),
      ('landmarks', {'model': 'resnet8', 'image_size': 16}),
      ('speech', {'seconds': 0.5}),
      ('stackoverflow', {'model': 'tiny', 'words': 20}),
  )
  def test_bare_loop_takes_the_same_steps(self, task, sizes):
    workload = task_workloads.CREATE[task](
        self.folder, clients=2, examples=5, batch_size=3, **sizes
    )
    with local.local_worker():
      library = library_round.LibraryRound(workload, 'fed_alt')
      bare = bare_loop.BareLoop(workload, alternating=True)
      initial = [np.copy(value) for value in bare.shared]
      for round_num in range(2):
        library(round_num)
        bare(round_num)
    trained = library.state.global_model_weights.trainable
    self.assertGreater(_distance(trained, initial), 1e-3)
    # Equal up to rounding, although the two use different numbers of threads.
    self.assertLess(
        _distance(trained, bare.shared), 1e-3 * _distance(trained, initial)
    )

  def test_every_round_is_in_the_table(self):
    sizes = dict(clients=2, examples=4, batch_size=2)
    seconds = task_rounds.run('emnist', sizes, num_rounds=2)
    self.assertLen(seconds, 3)
    for values in seconds.values():
      self.assertLen(values, 2)
      self.assertTrue(np.all(values > 0))


class EvaluationsTest(absltest.TestCase):

  def test_losses_are_those_of_the_forward_pass(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    workload = task_workloads.create_emnist(
        folder, clients=2, examples=4, batch_size=2
    )
    with in_process.in_process():
      bare = evaluations.BareForwardPass(workload)
      library = evaluations.LibraryEvaluation(workload)
      for evaluate in (library, bare):
        self.assertGreater(evaluate(0), 0)
    self.assertNotAlmostEqual(*library.losses)
    np.testing.assert_allclose(library.losses, bare.losses, rtol=1e-5)


def _distance(some, others):
  return sum(np.sum((a - b) ** 2) for a, b in zip(some, others)) ** 0.5


class RuntimesTest(absltest.TestCase):

  def test_both_runtimes_are_measured(self):
    sizes = dict(clients=2, clients_per_round=2, examples=4, batch_size=2)
    seconds = runtimes.run('lr', 2, sizes)
    names = ['worker', 'in_process', 'worker, CPU', 'in_process, CPU']
    self.assertEqual(list(seconds), names)
    for name in names[:2]:
      self.assertLen(seconds[name], 2)
      self.assertTrue(np.all(seconds[name] > 0))


class ApflTest(absltest.TestCase):

  def test_all_clients_have_a_model(self):
    row = apfl.measure(
        'in_process', num_rounds=1, clients=4, clients_per_round=2, examples=3
    )
    self.assertEqual((row.rounds, row.stored, row.worker_bytes), (1, 4, 0))
    # 784 x 200 + 200, 200 x 200 + 200, 200 x 62 + 62, and the mixture weight.
    self.assertGreater(row.store_bytes, 4 * 4 * (157_000 + 40_200 + 12_462 + 1))
    self.assertGreater(row.round_seconds, 0)


class PeersTest(parameterized.TestCase):

  def test_programs_read_the_same_bytes(self):
    work = workloads.create_lr(
        num_rounds=2, clients=3, clients_per_round=2, examples=4, batch_size=3
    )
    self.assertEqual(work.cohorts.shape, (2, 2))
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'work.npz')
      work_lib.save(work, path)
      found = work_lib.load(path)
    for name, value in vars(work).items():
      if name not in ('weights', 'personal'):
        np.testing.assert_array_equal(getattr(found, name), value)
    self.assertLen(found.weights, 2)
    self.assertEmpty(found.personal)
    for ours, theirs in zip(work.weights, found.weights):
      np.testing.assert_array_equal(ours, theirs)

  def test_rounds_of_another_process(self):
    work = workloads.create_cnn(
        num_rounds=3, clients=2, examples=3, batch_size=2
    )
    program = [sys.executable, 'tff_partial_rounds', 'in_process']
    seconds = peers.run(work, {'tff_partial': program})
    self.assertLen(seconds['tff_partial'], 1)
    self.assertGreater(seconds['tff_partial'][0], 0)

  def test_the_papers_work_says_what_is_personal(self):
    work = workloads.create_conv_net(
        num_rounds=3, clients=2, examples=3, batch_size=2
    )
    self.assertEqual(work.paths[-2:], ('head/kernel', 'head/bias'))
    self.assertEqual([v.shape for v in work.personal], [(1024, 62), (62,)])
    self.assertLen(work.weights, 4)
    ours = {
        name: program
        for name, program in peers.of_paper('clone').items()
        if program[1] == 'tff_partial_rounds'
    }
    # Both have the same weights, or this fails.
    self.assertLen(peers.run(work, ours), 2)

  def test_rounds_start_from_the_given_values(self):
    work = workloads.create_conv_net(
        num_rounds=2, clients=2, examples=3, batch_size=2
    )

    def first_round(personal):
      rounds = library_round.LibraryRound(
          workloads.workload(work), 'fed_alt', initial=(work.weights, personal)
      )
      rounds(0)
      return rounds.state.global_model_weights.trainable

    zeros = [np.zeros_like(v) for v in work.personal]
    with in_process.in_process():
      trained, from_zeros = first_round(work.personal), first_round(zeros)
    moved = _distance(trained, work.weights)
    self.assertGreater(moved, 1e-3)
    self.assertGreater(_distance(trained, from_zeros), 0.1 * moved)

  def test_other_weights_are_refused(self):
    initial, ours = [np.zeros(2)], [np.array([3.0, 4.0])]
    ends = {'tff_partial': ours, 'peer': [np.array([3.0, 4.04])]}
    # 0.04 of 5 is less than 1%.
    self.assertAlmostEqual(peers.check_weights(ends, initial), 0.008)
    for weight in (4.06, np.nan):
      ends['peer'] = [np.array([3.0, weight])]
      with self.assertRaisesRegex(ValueError, 'peer to have our weights'):
        peers.check_weights(ends, initial)


class WorkersTest(absltest.TestCase):

  def test_one_and_two_workers(self):
    cores = os.sched_getaffinity(0)
    self.assertGreater(len(cores), 1, 'Two processes take two cores.')
    seconds = workers.run(
        clients=2, examples=4, clients_per_shard=1, num_rounds=2
    )
    self.assertLen(seconds, 4)
    for values in seconds.values():
      self.assertLen(values, 2)
      self.assertTrue(np.all(values > 0))
    self.assertEqual(os.sched_getaffinity(0), cores)


class PopulationTest(absltest.TestCase):

  def test_counts_registered_and_stored_clients(self):
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'clients.sqlite')
      population.write_clients(path, 30)
      rows = [
          population.measure(path, 3, stored, 4) for stored in (False, True)
      ]
    print(population.format_header())
    for row in rows:
      print(population.format_row(row))
    self.assertEqual(
        [(row.registered, row.stored, row.cohort) for row in rows],
        [(30, 0, 3), (30, 30, 3)],
    )
    for row in rows:
      self.assertGreater(min(row[3:]), 0)


class LongRunTest(absltest.TestCase):

  def test_fits_a_line_without_the_first_quarter(self):
    rounds = range(10, 90, 10)
    first, rest = [10**9, 0], [7000 + 3 * r for r in rounds[2:]]
    growth = long_run.fit(rounds, first + rest)
    self.assertEqual(growth[:2], (7090, 7240))
    self.assertAlmostEqual(growth.bytes_per_round, 3)

  def test_measures_driver_and_worker(self):
    found = long_run.measure(num_rounds=40, cohort=2, clients_per_shard=1)
    self.assertCountEqual(found, ['driver', 'worker'])
    for growth in found.values():
      self.assertGreater(growth.first_bytes, 2**24)
      self.assertGreater(growth.last_bytes, 2**24)


class MemoryTest(absltest.TestCase):

  def test_some_clients_have_many_photos(self):
    with tempfile.TemporaryDirectory() as folder:
      memory.write_data(folder, num_clients=3, num_full=1, photos=5)
      train, test = client_data.open_folder(folder)
      for clients, sizes in ((train, [5, 2, 2]), (test, [2, 2, 2])):
        found = [clients.num_examples(c) for c in clients.client_ids]
        self.assertEqual(found, sizes)

  def test_measures_driver_and_worker(self):
    peak = memory.measure(
        num_clients=2,
        num_full=1,
        batch_size=3,
        clients_per_shard=1,
        runtime='worker',
        model='resnet8',
        image_size=16,
    )
    self.assertGreater(peak.driver_bytes, 2**24)
    self.assertGreater(peak.worker_bytes, 2**24)
    self.assertGreater(peak.seconds, 0)


if __name__ == '__main__':
  absltest.main()
