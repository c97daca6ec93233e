# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Validation: which examples train, make curves, decide and are tested."""

import collections
import csv
import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import hold_out
from tff_partial.learning import weights

setUpModule, tearDownModule = worker.start, worker.stop

SHARE, SEED = 0.3, 4


class _Watched:
  """Clients whose reads are counted."""

  def __init__(self, clients):
    self._clients = clients
    self.reads = collections.Counter()

  @property
  def client_ids(self):
    return self._clients.client_ids

  def num_examples(self, client_id):
    return self._clients.num_examples(client_id)

  def read(self, client_id):
    self.reads[client_id] += 1
    return self._clients.read(client_id)


def _mean_error(folder, examples):
  """The weighted mean that the model of a run has, by NumPy."""
  model = weights.load(folder / 'model.safetensors')
  kernel, bias = model['line/kernel'][0, 0], model['line/bias'][0]
  errors = [
      (kernel * e['x'] + bias - e['y']).astype(float).ravel() ** 2
      for e in examples
  ]
  return np.concatenate(errors).mean()


class ValidationTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    task = toy_task.create_task('points', num_clients=6)
    data = {c: task.train.read(c) for c in task.train.client_ids}
    data['client_5'] = toy.examples([1], [7])  # Too few to hold one out.
    self.clients = toy.Clients(data)
    self.test = _Watched(toy.random_clients(6, seed=1))
    self.task = task.with_clients(train=self.clients, test=self.test)
    self.test.reads.clear()  # The task looked at the first client.
    view = lambda held_out: hold_out.HoldOutView(
        self.clients,
        toy.ALL_AT_ONCE.take,
        share=SHARE,
        seed=SEED,
        held_out=held_out,
    )
    self.held_out, self.kept = view(True), view(False)

  def run_one(self, *, on_validation=False, **settings):
    """The plan of a run, its report and its rounds."""
    config = config_lib.create(
        **{
            'algorithm': 'fed_avg',
            'total_rounds': 2,
            'pretrain_rounds': 0,
            'clients_per_round': 6,
            'rounds_per_evaluation': 1,
            'learning_rate': 0.05,
            'seed': SEED,
            **settings,
        }
    )
    plan = plan_lib.build(self.task, config, on_validation=on_validation)
    run_lib.run(plan, str(self.folder / 'run'), progress=False)
    report = json.loads((self.folder / 'run/report.json').read_text())
    with open(self.folder / 'run/metrics.csv', newline='') as f:
      return plan, report, list(csv.DictReader(f))

  def test_curves_are_of_held_out_examples_and_test_is_read_once(self):
    _, report, rounds = self.run_one(validation=SHARE)
    ids = self.clients.client_ids
    self.assertEqual(self.test.reads, {c: 1 for c in ids})
    name = 'non_personalized/squared_error'
    self.assertAlmostEqual(
        float(rounds[-1][f'eval/{name}']),
        _mean_error(self.folder / 'run', [self.held_out.read(c) for c in ids]),
        places=5,
    )
    tested = report['groups']['participated']['models']['non_personalized']
    self.assertAlmostEqual(
        tested['weighted_mean'],
        _mean_error(self.folder / 'run', [self.test.read(c) for c in ids]),
        places=5,
    )
    # What is held out trains nothing.
    self.assertEqual(
        float(rounds[-1]['counts/examples']),
        sum(self.kept.num_examples(c) for c in ids),
    )
    self.assertTrue(report['curves_on_validation'])
    [note] = [n for n in report['notes'] if 'for validation' in n]
    self.assertIn('1 client of the 6 in the learning curves', note)
    self.assertIn('read once', note)
    page = (self.folder / 'run/report.html').read_text()
    self.assertIn('evaluation metrics on\n    validation examples', page)

  def test_without_validation_curves_are_of_test_examples(self):
    _, report, rounds = self.run_one()
    self.assertEqual(set(self.test.reads.values()), {1 + len(rounds)})
    self.assertFalse(report['curves_on_validation'])
    page = (self.folder / 'run/report.html').read_text()
    self.assertIn('evaluation metrics on\n    test data', page)

  def test_a_run_for_choosing_reads_no_test_example(self):
    plan, report, _ = self.run_one(
        validation=SHARE,
        on_validation=True,
        algorithm='fed_alt',
        pretrain_rounds=1,
        unseen_clients=1,
        clients_per_round=5,
        finetune_epochs=1,
    )
    self.assertEmpty(self.test.reads)
    [unseen] = plan.unseen
    ids = [c for c in self.clients.client_ids if c != unseen]
    self.assertEqual(list(plan.evaluated), ids)
    before = report['groups']['participated']['models']['non_personalized']
    self.assertAlmostEqual(
        before['weighted_mean'],
        _mean_error(
            self.folder / 'run/pretrain',
            [self.held_out.read(c) for c in ids],
        ),
        places=5,
    )
    self.assertEqual(report['settings']['evaluated_on'], 'validation')
    self.assertIn('Test examples were not read', ' '.join(report['notes']))

  def test_validation_and_gate_hold_out_the_same_examples(self):
    # Clients that are unseen make personal variables of their own, too.
    both, report, _ = self.run_one(
        algorithm='fed_recon',
        validation=SHARE,
        gate=SHARE,
        unseen_clients=2,
        clients_per_round=4,
    )
    gated = plan_lib.build(
        self.task, config_lib.create(gate=SHARE, seed=SEED, clients_per_round=1)
    )
    for client_id in self.clients.client_ids:
      for plan in (both, gated):
        np.testing.assert_array_equal(
            plan.held_out.read(client_id)['x'],
            self.held_out.read(client_id)['x'],
        )
    self.assertEqual(report['gate']['share_held_out'], SHARE)
    self.assertIn('decides by the validation', ' '.join(report['notes']))
    with open(self.folder / 'run/clients.csv', newline='') as f:
      takers = {
          row['client_id']
          for row in csv.DictReader(f)
          if row['squared_error/gated'] == row['squared_error/personalized']
      }
    self.assertTrue(takers & both.unseen)
    self.assertEqual(report['gate']['takers'], len(takers - both.unseen))

  def test_refuses_to_choose_without_examples(self):
    with self.assertRaisesRegex(ValueError, '`validation` above 0'):
      self.run_one(on_validation=True)


if __name__ == '__main__':
  absltest.main()
