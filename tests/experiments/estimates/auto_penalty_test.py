# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""`--personal_l2=auto` on lines whose offsets differ between clients."""

import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import finished_run
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run
from tff_partial.experiments.estimates import auto_penalty
from tff_partial.experiments.estimates import penalty_estimate
from tff_partial.experiments.settings import config as config_lib
from tff_partial.runtime import sharding as sharding_lib

setUpModule, tearDownModule = worker.start, worker.stop

NOISE = 1.0


def clients(offsets, sizes=(20, 40)):
  """y = offset + noise at x = 0, so that only b matters."""
  data = {}
  for i, offset in enumerate(offsets):
    rng = np.random.default_rng([7, i])
    number = sizes[i % len(sizes)]
    data[f'client_{i}'] = toy.examples(
        np.zeros(number), offset + NOISE * rng.normal(size=number)
    )
  return toy.Clients(data)


def create_plan(offsets, **settings):
  task = toy_task.create_task('here', batch_size=4, with_loss=True)
  people = clients(offsets)
  task = task.with_clients(train=people, test=people)
  config = config_lib.create(
      **{
          'personal_l2': 'auto',
          'personal_learning_rate': 0.3,
          'pretrain_rounds': 0,
          'clients_per_round': 3,
          'total_rounds': 1,
          'rounds_per_evaluation': 0,
          **settings,
      }
  )
  return plan_lib.build(task, config)


class AutoPenaltyTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def resolve(self, plan):
    return auto_penalty.resolve(
        plan,
        self.folder,
        None,
        sharding=sharding_lib.Sharding(),
        progress=False,
    )

  def test_estimates_noise_over_scatter(self):
    scatter = 2.0
    offsets = scatter * np.random.default_rng(1).normal(size=40)
    plan = self.resolve(create_plan(offsets))
    found = json.loads((self.folder / 'personal_l2.json').read_text())
    # The Hessian is 1, so that s is the ratio of the variances.
    self.assertAlmostEqual(found['kappa'], 1, places=2)
    self.assertAlmostEqual(
        found['between_clients'], np.mean(offsets**2), delta=0.5
    )
    expected = NOISE**2 / np.mean(offsets**2)
    self.assertAlmostEqual(found['formula']['value'] / expected, 1, delta=0.25)
    self.assertLess(found['formula']['low'], found['formula']['value'])
    self.assertEqual(plan.config.penalty_total, found['total'])
    np.testing.assert_allclose(
        np.multiply(
            found['penalty_quartiles'], found['num_examples_quartiles']
        ),
        [found['total']] * 3,
    )
    self.assertNotEqual(found['chosen'], 'no personalization')
    # It is not measured again.
    (self.folder / 'personal_l2.json').write_text('{"total": 3.5}')
    again = auto_penalty.penalty_estimate.read(self.folder)
    self.assertEqual(again['total'], 3.5)

  def test_clients_that_do_not_differ_are_held_tightly(self):
    plan = self.resolve(create_plan(np.zeros(12)))
    found = json.loads((self.folder / 'personal_l2.json').read_text())
    self.assertLess(max(found['kept_quartiles']), 0.4)
    self.assertEqual(plan.config.penalty_total, found['total'])

  def test_in_words_where_numbers_are_not_finite(self):
    lines = penalty_estimate.lines(
        {
            'formula': {'value': 2.0, 'low': None, 'high': None},
            'candidates': [
                {'name': '0.5 s', 'loss': None},
                {'name': 's', 'loss': 1.25},
            ],
            'total': 2.0,
            'chosen': 's',
            'num_examples_quartiles': [1, 2, 3],
            'penalty_quartiles': [2, 1, 0.7],
            'kept_quartiles': [0.1, 0.2, 0.3],
        }
    )
    self.assertIn('interval unknown to unknown', lines[0])
    self.assertIn('0.5 s not finite, s 1.25', lines[2])

  def test_a_number_stays(self):
    plan = create_plan(np.zeros(3), personal_l2=0.5)
    self.assertIs(self.resolve(plan), plan)

  def test_needs_examples(self):
    task = toy_task.create_task('here', num_clients=3, with_loss=True)
    plan = plan_lib.build(
        task, config_lib.create(personal_l2='auto', clients_per_round=2)
    )
    with self.assertRaisesRegex(errors.SettingsError, '8 training examples'):
      self.resolve(plan)

  def test_a_run_reports_it_and_keeps_it(self):
    folder = str(self.folder / 'run')
    run.run(create_plan(np.arange(8.0) - 4), folder, progress=False)
    report = json.loads((self.folder / 'run' / 'report.json').read_text())
    self.assertIn('The penalty s / N_i: s ', ' '.join(report['notes']))
    settings = finished_run.read_settings(folder)
    found = penalty_estimate.read(self.folder / 'run')
    self.assertIsNone(settings['personal_l2'])
    self.assertEqual(settings['personal_l2_total'], found['total'])

  def test_refuses_methods_without_a_personal_part(self):
    for algorithm in ('fed_avg', 'ditto', 'pfedme', 'local', 'fed_apm'):
      with self.assertRaisesRegex(errors.SettingsError, 'Expected a number'):
        config_lib.create(algorithm=algorithm, personal_l2='auto')

  def test_refuses_other_words(self):
    with self.assertRaisesRegex(
        errors.SettingsError, "a number or one of \\['auto'\\], found 'most'"
    ):
      config_lib.create(personal_l2='most')


if __name__ == '__main__':
  absltest.main()
