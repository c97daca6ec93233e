# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a report wrote is read again, whatever clients are called."""

import csv
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.helpers import written_runs
from tff_partial.evaluation import client_table
from tff_partial.evaluation import csv_cells
from tff_partial.evaluation import run_results
from tff_partial.experiments import client_names
from tff_partial.experiments.settings import config_groups

_HOSTILE = ('=cmd()', '<script>alert(1)</script>', '\u202eeve', "'-1", '\r@x')


class RunResultsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def write(self, mode, candidate='personalized'):
    """Five clients with two examples; client i loses if i is even."""
    right = {
        'initial': [1, 0] * 5,
        candidate: [0, 0, 1, 1] * 2 + [0, 0],
    }
    table = client_table.ClientTable(
        client_ids=_HOSTILE,
        train_examples=np.arange(1, 6),
        test_examples=np.full(5, 2),
        participated=np.array([True] * 4 + [False]),
        trained_earlier=np.array([False] * 4 + [True]),
        scores={
            model: {
                'accuracy': client_table.Scores(
                    np.array(terms, float), np.ones(10)
                )
            }
            for model, terms in right.items()
        },
    )
    names = client_names.load(self.folder, mode)
    written_runs.write_table(
        self.folder,
        names.rename(table),
        candidate,
        lists_clients=names.listed,
    )
    return names

  def read(self, names):
    return run_results.read_run(self.folder, unseen=names.of(_HOSTILE[4:]))

  def files(self):
    return {
        name: (self.folder / name).read_bytes().decode()
        for name in ('report.html', 'report.json', 'clients.csv')
    }

  @parameterized.parameters(*config_groups.REPORT_CLIENT_IDS)
  def test_hostile_ids_are_read_again(self, mode):
    names = self.write(mode)
    outcome = self.read(names).outcomes['personalized']
    self.assertCountEqual(outcome.client_ids, names.of(_HOSTILE[:4]))
    found = dict(zip(outcome.client_ids, outcome.values['accuracy']))
    self.assertEqual([found[n] for n in names.of(_HOSTILE[:4])], [0, 1, 0, 1])
    with open(self.folder / 'clients.csv', newline='', encoding='utf-8') as f:
      for row in csv.reader(f):
        self.assertNotIn(row[0][:1], ('=', '+', '-', '@', '\t', '\r'))

  def test_full_ids_are_text_and_isolated(self):
    self.write(config_groups.FULL_CLIENT_IDS)
    page = self.files()['report.html']
    self.assertNotIn('<script>', page)
    self.assertIn('<bdi>=cmd()</bdi>', page)
    self.assertIn('<bdi>\u202eeve</bdi>', page)
    self.assertIn('default-src &#39;none&#39;'.replace('&#39;', "'"), page)
    self.assertFalse((self.folder / '.report_key').exists())

  @parameterized.parameters('none', 'hashed')
  def test_without_ids(self, mode):
    names = self.write(mode)
    texts = self.files()
    for text in texts.values():
      for client_id in (*_HOSTILE, 'alert(1)', names.key.decode()):
        self.assertNotIn(client_id, text)
    [first, *_] = names.of(_HOSTILE)
    self.assertLen(first, 16)
    self.assertIn(first, texts['clients.csv'])
    self.assertEqual(first in texts['report.html'], mode == 'hashed')
    self.assertEqual(first in texts['report.json'], mode == 'hashed')
    self.assertEqual(
        'does not list single clients' in texts['report.html'], mode == 'none'
    )
    # Rows are not in the order of the ids.
    rows = [line.split(',')[0] for line in texts['clients.csv'].split('\n')]
    self.assertEqual(rows[1:6], sorted(names.of(_HOSTILE)))
    # The key is private, and the same when the run goes on.
    key = self.folder / '.report_key'
    self.assertEqual(key.stat().st_mode & 0o777, 0o600)
    self.assertEqual(client_names.load(self.folder, mode), names)

  @parameterized.parameters(*config_groups.REPORT_CLIENT_IDS)
  def test_who_trained_an_earlier_model(self, mode):
    names = self.write(mode)
    with open(self.folder / 'clients.csv', newline='', encoding='utf-8') as f:
      found = {row['client_id']: row for row in csv.DictReader(f)}
    earlier = [c for c, row in found.items() if row['trained_earlier'] == '1']
    escaped = list(map(csv_cells.escape, names.of(_HOSTILE[4:])))
    self.assertEqual(earlier, escaped)
    self.assertEqual(self.read(names).known_newcomers, 1)

  def test_what_tests_of_clients_can_show(self):
    names = self.write('none')
    outcome = run_results.read_run(self.folder).outcomes['personalized']
    # Nobody has more than two test examples.
    self.assertEqual((outcome.hurt_by_chance, outcome.testable), (0, 0))
    # The groups of the report have the client kept out of training, too.
    outcome = self.read(names).outcomes['personalized']
    self.assertTrue(np.isnan([outcome.hurt_by_chance, outcome.testable]).all())

  def test_six_examples_can_show_that_a_client_is_hurt(self):
    scores = lambda *terms: {
        'accuracy': client_table.Scores(np.array(terms, float), np.ones(7))
    }
    table = client_table.ClientTable(
        client_ids=('a', 'b'),
        train_examples=np.ones(2, int),
        test_examples=np.array([6, 1]),
        participated=np.ones(2, bool),
        scores={
            'initial': scores(1, 1, 1, 1, 1, 1, 1),
            'personalized': scores(0, 0, 0, 0, 0, 0, 0),
        },
    )
    written_runs.write_table(self.folder, table, 'personalized')
    outcome = run_results.read_run(self.folder).outcomes['personalized']
    # p < .05 only if all six are worse, which six coins are once in 64 times.
    self.assertEqual(outcome.hurt_by_chance, 1 / 64 / 2)
    self.assertEqual(outcome.testable, 1 / 2)

  def test_pseudonyms_need_the_key(self):
    first = client_names.load(self.folder, 'hashed').of(['ann'])
    (self.folder / '.report_key').unlink()
    second = client_names.load(self.folder, 'hashed').of(['ann'])
    self.assertNotEqual(second, first)

  def test_clients_kept_out_of_training_have_the_control(self):
    # FedAvg has no policies for newcomers; its one model is theirs too.
    names = self.write('full', candidate='non_personalized')
    newcomers = self.read(names).newcomers
    self.assertEqual(list(newcomers), ['non_personalized'])
    outcome = newcomers['non_personalized']
    self.assertEqual(outcome.client_ids, _HOSTILE[4:])
    self.assertEqual(outcome.values['accuracy'].tolist(), [0.0])
    self.assertEqual(outcome.baseline['accuracy'].tolist(), [0.5])


if __name__ == '__main__':
  absltest.main()
