# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Experiments with newcomers, the gate, and clients that train alone."""

import contextlib
import json
import pathlib
import sqlite3
import tempfile

from absl.testing import absltest
import numpy as np

from tests.helpers import programs
from tests.helpers import small_emnist
from tests.helpers import worker
from tff_partial.evaluation import gate
from tff_partial.evaluation import run_results
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.training import personal_store

setUpModule, tearDownModule = worker.start, worker.stop

ROUNDS, COHORT = 3, 3
NEW = ('new_initial', 'new_mean', 'new_reconstruct', 'new_finetune')


class _Stopping:
  """Clients that can be read this many times before the disk fails."""

  def __init__(self, clients, reads):
    self._clients = clients
    self._reads = reads

  @property
  def client_ids(self):
    return self._clients.client_ids

  def num_examples(self, client_id):
    return self._clients.num_examples(client_id)

  def read(self, client_id):
    if not self._reads:
      raise OSError('The disk is gone.')
    self._reads -= 1
    return self._clients.read(client_id)


class OptionsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    data = programs.write_data(self.folder / 'data')
    self.task = small_emnist.create_task(str(data))

  def plan(self, **settings):
    """A short run without two of the eight writers."""
    config = config_lib.create(
        total_rounds=ROUNDS,
        clients_per_round=COHORT,
        rounds_per_evaluation=0,
        unseen_clients=2,
        **{'pretrain_rounds': 0, **settings},
    )
    return plan_lib.build(self.task, config)

  def run_one(self, name='run', **settings):
    """Table and report of a run."""
    folder = self.folder / name
    table = run_lib.run(self.plan(**settings), str(folder), progress=False)
    return table, json.loads((folder / 'report.json').read_text())

  def test_cohorts_do_not_repeat_those_of_pretraining(self):
    def cohorts(plan):
      return [plan.sampler.cohort(r) for r in range(4)]

    def build(**settings):
      return plan_lib.build(
          self.task,
          config_lib.create(
              total_rounds=ROUNDS, clients_per_round=3, **settings
          ),
      )

    pretrained = build(pretrain_rounds=4)
    first = cohorts(pretrained.pretraining)
    second = cohorts(pretrained)
    for round_num in range(4):
      self.assertNotEqual(first[round_num], second[round_num])
    # From scratch there is nothing to repeat.
    self.assertEqual(cohorts(build(pretrain_rounds=0)), first)
    # A run's folder or model has been trained in rounds, other weights not.
    folder = self.folder / 'before'
    folder.mkdir()
    for name in ('config.json', 'model.safetensors'):
      (folder / name).touch()
    other = self.folder / 'imagenet.safetensors'
    other.touch()
    for start, expected in (
        (folder, second),
        (folder / 'model.safetensors', second),
        (other, first),
    ):
      # All algorithms of a comparison have the same cohorts.
      for algorithm in ('fed_avg', 'fed_alt'):
        plan = build(algorithm=algorithm, init_from=str(start))
        self.assertEqual(cohorts(plan), expected)

  def test_newcomers(self):
    table, report = self.run_one(
        personal='output', onboarding=','.join(config_groups.ONBOARDING)
    )
    groups = report['groups']
    self.assertRegex(
        ' '.join(report['notes']),
        r'the server averaged the personal variables of \d clients\.',
    )
    self.assertContainsSubset(NEW, groups['never_seen']['models'])
    self.assertNoCommonElements(NEW, groups['participated']['models'])
    new = ~table.participated
    unseen = [c for c, is_new in zip(table.client_ids, new) if is_new]
    read = run_results.read_run(self.folder / 'run', unseen=unseen)
    self.assertNoCommonElements(NEW, read.outcomes)
    self.assertCountEqual(read.newcomers, NEW)
    for model, outcome in read.newcomers.items():
      self.assertEqual(outcome.client_ids, tuple(unseen))
      np.testing.assert_allclose(
          outcome.values['loss'], table.values(model, 'loss')[new]
      )
      self.assertTrue(np.isfinite(outcome.p_hurt).all())
    self.assertGreaterEqual(new.sum(), 2)
    loss = lambda model: table.values(model, 'loss')
    # Only newcomers are evaluated with what newcomers get.
    for model in NEW:
      np.testing.assert_array_equal(np.isfinite(loss(model)), new)
    # Without a policy, they start from the initial values.
    np.testing.assert_array_equal(
        loss('new_initial')[new], loss('personalized')[new]
    )
    for i, model in enumerate(NEW):
      for other in NEW[:i]:
        self.assertFalse((loss(model) == loss(other))[new].any())

  def test_newcomers_copy_the_shared_model(self):
    table, report = self.run_one(
        algorithm='ditto', finetune_epochs=1, min_clients_for_mean=7
    )
    self.assertNotIn('new_reconstruct', table.scores)
    # Of six clients that may train, seven cannot have variables.
    self.assertNotIn('new_mean', table.scores)
    self.assertRegex(
        ' '.join(report['notes']),
        r'No mean of personal variables: \d clients had some, and'
        ' --min_clients_for_mean is 7',
    )
    new = ~table.participated
    for other, same in (('shared', True), ('personalized', False)):
      np.testing.assert_array_equal(
          table.values('new_initial', 'loss')[new]
          == table.values(other, 'loss')[new],
          same,
      )

  def test_gate(self):
    table, report = self.run_one(gate=0.3, pretrain_rounds=1)
    # Of 6 examples 2 are held out, also in pretraining.
    np.testing.assert_array_equal(table.train_examples, 4)
    self.assertEqual(
        report['cost']['examples_processed'], ROUNDS * COHORT * 4 * 2
    )
    metrics = (self.folder / 'run/pretrain/metrics.csv').read_text()
    header, row = metrics.splitlines()
    examples = dict(zip(header.split(','), row.split(',')))['counts/examples']
    self.assertEqual(float(examples), COHORT * 4)
    kept = table.values(gate.GATED, 'loss') == table.values(
        'non_personalized', 'loss'
    )
    taken = table.values(gate.GATED, 'loss') == table.values(
        'personalized', 'loss'
    )
    np.testing.assert_array_equal(kept, ~taken)
    found = report['gate']
    self.assertEqual((found['clients'], found['kept_shared']), (8, kept.sum()))
    self.assertEqual(found['kept_shared_share'], kept.mean())
    self.assertIn(gate.GATED, report['groups']['participated']['models'])
    self.assertIn(f'{kept.sum()} of 8 clients', ' '.join(report['notes']))

  def test_sample_of_clients_and_its_standard_error(self):
    table, report = self.run_one(eval_clients=4)
    self.assertLen(set(table.client_ids), len(table.client_ids))
    # Unseen clients are evaluated whether they were sampled or not.
    self.assertBetween(len(table.client_ids), 4, 6)
    self.assertEqual((~table.participated).sum(), 2)
    again = self.plan(eval_clients=4).evaluated
    self.assertEqual(tuple(again), table.client_ids)
    other = self.plan(eval_clients=4, seed=1).evaluated
    self.assertNotEqual(tuple(other), table.client_ids)
    [note] = [n for n in report['notes'] if 'standard error' in n]
    self.assertStartsWith(note, '4 of 8 clients were sampled')
    # Unseen clients that were not sampled follow the sample.
    weights = table.weights('personalized', 'accuracy')[:4]
    values = table.values('personalized', 'accuracy')[:4]
    mean = np.average(values, weights=weights)
    size = len(values)
    error = np.sqrt(
        size / (size - 1) * np.sum((weights * (values - mean)) ** 2)
    ) / np.sum(weights)
    self.assertIn(f'{error:.2g} (personalized)', note)

  def test_seconds_per_checkpoint(self):
    train = self.task.train
    for seconds, version in ((0.0, ROUNDS - 1), (1e6, 0)):
      # Creating a task reads its first client.
      clients = _Stopping(train, reads=1 + (ROUNDS - 1) * COHORT)
      self.task = self.task.with_clients(train=clients)
      with self.assertRaisesRegex(OSError, 'disk is gone'):
        self.run_one(f'{seconds}', seconds_per_checkpoint=seconds)
      store = self.folder / f'{seconds}' / personal_store.FILE_NAME
      with contextlib.closing(sqlite3.connect(store)) as connection:
        found = connection.execute('SELECT version FROM store').fetchall()
      self.assertEqual(found, [(version,)])

  def test_clients_that_train_alone_do_not_start_from_the_baseline(self):
    settings = {'algorithm': 'local', 'finetune_epochs': 2}
    table, report = self.run_one('pretrained', pretrain_rounds=1, **settings)
    other, _ = self.run_one('not', **settings)
    np.testing.assert_array_equal(
        table.values('trained_alone', 'loss'),
        other.values('trained_alone', 'loss'),
    )
    self.assertEqual(report['baseline'], 'non_personalized')
    self.assertTrue(
        (
            table.values('non_personalized', 'loss')
            != other.values('shared', 'loss')
        ).any()
    )
    self.assertEqual(report['cost']['shared_parameters'], 0)


if __name__ == '__main__':
  absltest.main()
