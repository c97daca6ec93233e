# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs know who trained the models that they started from."""

import dataclasses
import json
import pathlib
import shutil
import tempfile

from absl.testing import absltest

from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import lineage
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import clients as clients_lib
from tff_partial.training import earlier_clients
from tff_partial.training import store_summary

setUpModule, tearDownModule = worker.start, worker.stop


class _Fingerprinted(clients_lib.ExcludingClients):
  fingerprint: str = ''


class LineageTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def plan(self, fingerprint='', texts=None, **settings):
    task = toy_task.create_task('points')
    if texts is not None:
      task = dataclasses.replace(task, texts=texts)
    train = _Fingerprinted(task.train, ())
    train.fingerprint = fingerprint
    return plan_lib.build(
        task.with_clients(train=train, test=train),
        config_lib.create(
            **{
                'total_rounds': 1,
                'pretrain_rounds': 0,
                'clients_per_round': 2,
                'learning_rate': 0.01,
                'rounds_per_evaluation': 0,
                **settings,
            }
        ),
    )

  def run_in(self, name, *, overwrite=False, **settings):
    """Runs, and returns the results, the report and who trained before."""
    folder = self.folder / name
    table = run_lib.run(
        self.plan(**settings), str(folder), overwrite=overwrite, progress=False
    )
    with earlier_clients.EarlierClients(folder) as earlier:
      return (
          table,
          json.loads((folder / 'report.json').read_text()),
          set(earlier),
      )

  def trained(self, name):
    return set(store_summary.trained_clients(self.folder / name))

  def test_pretraining(self):
    table, report, earlier = self.run_in(
        'run', pretrain_rounds=1, unseen_clients=1, seed=3
    )
    before, now = self.trained('run/pretrain'), self.trained('run')
    self.assertLen(before, 2)
    self.assertEqual(earlier, before)
    only_before = before - now
    neither = set(table.client_ids) - before - now
    self.assertNotEmpty(only_before)
    groups = report['groups']
    self.assertEqual(
        [groups[name]['clients'] for name in groups],
        [len(now), len(only_before), len(neither)],
    )
    self.assertEqual(
        list(groups), ['participated', 'trained_earlier', 'never_seen']
    )
    self.assertIn(
        f'Of 5 evaluated clients, {len(now)} took part in this training,'
        f' {len(only_before)} only in the training of the model that it started'
        f' from, and {len(neither)} in neither. The last are the ones called'
        ' never seen.',
        report['notes'],
    )
    page = (self.folder / 'run' / 'report.html').read_text()
    self.assertIn('Clients that trained only the model to start from', page)
    self.assertIn('Clients never seen in training', page)

  def test_unseen_clients_that_an_ancestor_trained(self):
    _, report, earlier = self.run_in('first', clients_per_round=5)
    self.assertEmpty(earlier)
    self.assertEqual(list(report['groups']), ['participated'])
    start = {'init_from': str(self.folder / 'first'), 'unseen_clients': 2}
    with self.assertRaisesRegex(
        errors.SettingsError,
        r'found 2 of 2 that did \(client_\d, client_\d\)\. Start from',
    ):
      self.run_in('second', **start, texts={'words.txt': 'a b'})
    # Nothing was trained, so that other settings can be tried.
    _, report, earlier = self.run_in('second', **start, allow_overlap=True)
    self.assertLen(earlier, 5)
    self.assertNotIn('never_seen', report['groups'])
    self.assertGreaterEqual(report['groups']['trained_earlier']['clients'], 2)
    self.assertTrue(
        any(note.startswith('2 of 2 unseen') for note in report['notes'])
    )

  def test_grandparents_and_their_pretraining(self):
    self.run_in('first', pretrain_rounds=1)
    self.run_in('second', init_from=str(self.folder / 'first'))
    expected = (
        self.trained('first/pretrain')
        | self.trained('first')
        | self.trained('second')
    )
    shutil.rmtree(self.folder / 'first')
    _, _, earlier = self.run_in('third', init_from=f'{self.folder}/second')
    self.assertEqual(earlier, expected)

  def test_public_start_is_compared_with_all_of_its_clients(self):
    strangers = [f'a_{i}' for i in range(1001)]
    earlier_clients.write(self.folder, [*strangers, 'client_3'])
    with earlier_clients.EarlierClients(self.folder) as earlier:
      with self.assertRaisesRegex(errors.SettingsError, r'\(client_3\)'):
        lineage._check_public(self.plan(), earlier, self.folder)

  def test_weights_that_do_not_say_who_trained_them(self):
    self.run_in('first')
    weights = self.folder / 'mine.safetensors'
    (self.folder / 'first' / 'model.safetensors').rename(weights)
    _, report, earlier = self.run_in('second', init_from=str(weights))
    self.assertEmpty(earlier)
    self.assertTrue(
        any('do not say which clients' in note for note in report['notes'])
    )

  def test_model_of_other_data_of_the_same_people(self):
    self.run_in('first', fingerprint='a')
    start = {'init_from': str(self.folder / 'first'), 'fingerprint': 'b'}
    with self.assertRaisesRegex(
        errors.SettingsError, r'other data of the same people \(client_\d, cli'
    ):
      self.run_in('second', **start)
    self.run_in('second', **start, allow_overlap=True)
    # A run is overwritten only by one that starts.
    page = self.folder / 'second' / 'report.html'
    for message, refused in (
        ('other data of the same people', {**start, 'total_rounds': 2}),
        ('no such file', {'init_from': str(self.folder / 'a.safetensors')}),
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        self.run_in('second', **refused, overwrite=True)
      self.assertTrue(page.exists())
    self.run_in('second', **start, allow_overlap=True, overwrite=True)
    self.assertTrue(page.exists())


if __name__ == '__main__':
  absltest.main()
