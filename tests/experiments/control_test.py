# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run is compared with as many more rounds of FedAvg."""

import json
import pathlib
import tempfile

from absl.testing import absltest

from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.settings import config as config_lib

setUpModule, tearDownModule = worker.start, worker.stop


class ControlTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def run_one(self, name, **settings):
    config = config_lib.create(
        **{'total_rounds': 2, **settings},
        pretrain_rounds=1,
        clients_per_round=3,
        learning_rate=0.05,
    )
    plan = plan_lib.build(toy_task.create_task('toy'), config)
    run_lib.run(plan, str(self.folder / name), progress=False)
    return json.loads((self.folder / name / 'report.json').read_text())

  def weights(self, *parts):
    return self.folder.joinpath(*parts, run_folder.WEIGHTS).read_bytes()

  def mean(self, report, model):
    return report['groups']['participated']['models'][model]['weighted_mean']

  def test_control_is_the_run_of_fed_avg(self):
    found = self.run_one('controlled', control=True)
    alone = self.run_one('alone')
    fed_avg = self.run_one('fed_avg', algorithm='fed_avg')
    self.assertEqual(
        self.weights('controlled', 'control'), self.weights('fed_avg')
    )
    self.assertEqual(self.weights('controlled'), self.weights('alone'))
    control = self.mean(found, 'control')
    self.assertEqual(control, self.mean(fed_avg, 'non_personalized'))
    personalized = self.mean(found, 'personalized')
    self.assertEqual(personalized, self.mean(alone, 'personalized'))
    self.assertStartsWith(found['headline'], alone['headline'])
    self.assertIn(
        f'more rounds of FedAvg ({control:.4g}), the difference is',
        found['headline'],
    )
    steps = fed_avg['cost']['gradient_steps']
    self.assertIn(f'took {steps} gradient steps', ' '.join(found['notes']))
    self.assertEqual(
        [r['cost']['gradient_steps'] for r in (found, alone)],
        [2 * steps] * 2,  # FedAlt's phases.
    )
    for report, asked_for in ((alone, True), (found, False)):
      self.assertEqual('--control' in ' '.join(report['notes']), asked_for)
    self.check_goes_on(found)

  def check_goes_on(self, whole):
    control = self.weights('controlled', 'control')
    for rounds in (1, 2):  # A run that becomes longer has a longer control.
      self.run_one('grown', control=True, total_rounds=rounds)
    self.assertEqual(self.weights('grown', 'control'), control)
    for path in ('report.html', f'control/{run_folder.WEIGHTS}'):
      (self.folder / 'controlled' / path).unlink()
    again = self.run_one('controlled', control=True)
    self.assertEqual(self.weights('controlled', 'control'), control)
    self.assertEqual(again['groups'], whole['groups'])

  def test_refused_where_it_says_nothing(self):
    for settings, message in (
        ({'algorithm': 'fed_avg'}, "personalizes in rounds.*'fed_avg'"),
        ({'algorithm': 'finetune'}, "personalizes in rounds.*'finetune'"),
        ({'pretrain_rounds': 0}, '`pretrain_rounds` or `init_from`'),
    ):
      with self.assertRaisesRegex(ValueError, message):
        config_lib.create(control=True, **settings)
    with self.assertRaisesRegex(ValueError, "algorithm 'fed_avg'"):
      combinations.combinations(
          config_lib.create(control=True),
          algorithms=['fed_avg', 'fed_alt'],
          splits=['output'],
          seeds=[0],
      )


if __name__ == '__main__':
  absltest.main()
