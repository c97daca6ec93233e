# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""`--personal_by_budget`: its file, what it excludes, and a run with it.

Both variables of the toy model may be personal, the offset first.
"""

import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import commands
from tff_partial.experiments import finished_run
from tff_partial.experiments import flags
from tff_partial.experiments import onboard
from tff_partial.experiments import parts
from tff_partial.experiments import personal_budgets
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run
from tff_partial.experiments import run_folder
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import task_choice

setUpModule, tearDownModule = worker.start, worker.stop

# Of the five clients. The offset has 4 bytes, and so has the slope.
BUDGETS = [0, 3, 4, 7, 8]
LEVELS = [0, 0, 1, 1, 2]


class PersonalBudgetsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / 'budgets.csv'

  def write(self, *lines):
    text = '\n'.join(['client_id,bytes', *lines])
    self.path.write_text(text, encoding='utf-8')

  def create_plan(self, **settings):
    config = config_lib.create(
        **{
            'personal': 'output+regex:kernel',
            'personal_by_budget': str(self.path),
            'clients_per_round': 5,
            'total_rounds': 2,
            'pretrain_rounds': 0,
            'rounds_per_evaluation': 0,
            'learning_rate': 0.1,
            **settings,
        }
    )
    return plan_lib.build(toy_task.create_task('here'), config)

  def test_as_many_first_groups_as_fit(self):
    self.write('ann,9', "'=ben,10", 'cem,29', 'other,0')
    levels = personal_budgets.build(
        str(self.path), ['a', 'b'], [10, 20], ['ann', '=ben', 'cem']
    )
    self.assertEqual(levels.num_bytes, [0, 10, 30])
    self.assertEqual(levels.of, {'ann': 0, '=ben': 1, 'cem': 1, 'other': 0})
    self.assertEqual(
        [levels.in_words(i) for i in range(3)], ['nothing', 'a', 'a+b']
    )

  @parameterized.parameters(
      (['ann,1'], "found none for 'ben'"),
      (['ann,1', 'ben,1kB'], 'in line 3'),
      (['ann,1', 'ben,2', 'ann,3'], 'another one for .ann. in line 4'),
  )
  def test_refuses_files(self, lines, complaint):
    self.write(*lines)
    with self.assertRaisesRegex(errors.DataError, complaint):
      personal_budgets.build(str(self.path), ['a'], [1], ['ann', 'ben'])

  def test_refuses_other_columns_and_no_file(self):
    self.path.write_text('client,size\n', encoding='utf-8')
    with self.assertRaisesRegex(errors.DataError, 'client_id,bytes'):
      personal_budgets.build(str(self.path), ['a'], [1], [])
    with self.assertRaisesRegex(errors.MissingFileError, 'no /nowhere'):
      personal_budgets.build('/nowhere', ['a'], [1], [])

  @parameterized.parameters(
      ({'algorithm': 'fed_recon'}, 'fed_alt or fed_sim'),
      ({'personal': 'auto'}, 'names of splits'),
      ({'aggregator': 'median'}, '`aggregator` mean'),
      ({'compression': 'quantize'}, '`compression` none'),
      ({'attack': 'sign_flip'}, 'no `attack` on updates'),
      ({'secure_aggregation': True}, 'no secure sums'),
      ({'personal_l2': 'auto'}, 'a number'),
      ({'store_parts': 2}, 'no `store_parts`'),
      ({'unseen_clients': 1, 'onboarding': 'mean'}, 'initial or none'),
  )
  def test_refuses_settings(self, settings, complaint):
    with self.assertRaisesRegex(errors.SettingsError, complaint):
      config_lib.create(personal_by_budget='file.csv', **settings)

  def test_refuses_several_runs(self):
    config = config_lib.create(personal_by_budget='file.csv')
    with self.assertRaisesRegex(errors.SettingsError, 'found several'):
      combinations.combinations(
          config, algorithms=['fed_alt'], splits=['output'], seeds=[0, 1]
      )

  def test_a_run_of_clients_with_different_budgets(self):
    self.write(*(f'client_{i},{b}' for i, b in enumerate(BUDGETS)))
    folder = self.folder / 'run'
    plan = self.create_plan()
    table = run.run(plan, str(folder), progress=False)
    before = table.values('shared', 'squared_error')
    after = table.values('personalized', 'squared_error')
    # At level 0, a client's model is the shared one.
    np.testing.assert_array_equal(after[:2], before[:2])
    self.assertTrue((after[2:] != before[2:]).all())
    self.check_report(folder, before, after)
    self.check_exported(folder, plan, after)
    with self.assertRaisesRegex(errors.SettingsError, 'Train another run'):
      onboard.add(str(folder), 'client_1', plan.task)
    # The same again, but with other budgets.
    self.write(*(f'client_{i},0' for i in range(5)))
    with self.assertRaisesRegex(
        errors.SettingsError, 'the file of .*budgets.csv .* has changed since'
    ):
      run.run(self.create_plan(), str(folder), progress=False)

  def test_command_notices_other_budgets(self):
    self.write('ann,9')
    todo = commands.Commands(
        {},
        task_choice.TaskChoice('tests.helpers.toy_task:create_task', 'here'),
        flags.Output(output_dir=str(self.folder / 'run')),
    )
    config = config_lib.create(personal_by_budget=str(self.path))
    settings = {
        **todo.choice.settings({}),
        **config.settings,
        **personal_budgets.settings(str(self.path)),
    }
    with run_folder.claim(
        todo.output.output_dir, settings, overwrite=False
    ) as folder:
      (folder.path / 'personal_store.sqlite').touch()
    self.write('ann,8')
    with self.assertRaisesRegex(errors.SettingsError, 'has changed since'):
      todo.run(config)

  def test_library_and_command_call_them_alike(self):
    self.write(*(f'client_{i},{b}' for i, b in enumerate(BUDGETS)))
    self.assertContainsSubset(
        personal_budgets.settings(str(self.path)), self.create_plan().settings
    )
    self.assertEmpty(personal_budgets.settings(None))

  def check_report(self, folder, before, after):
    report = json.loads((folder / 'report.json').read_text(encoding='utf-8'))
    self.assertEqual(
        [(g['personal'], g['bytes']) for g in report['budgets']],
        [('nothing', 0), ('output', 4), ('output+regex:kernel', 8)],
    )
    task = toy_task.create_task('here')
    sizes = [task.test.num_examples(c) for c in task.test.client_ids]
    for level, group in enumerate(report['budgets']):
      mine = np.array(LEVELS) == level
      for name, values in (('before', before), ('after', after)):
        self.assertAlmostEqual(
            group[name],
            np.average(values[mine], weights=np.array(sizes)[mine]),
            places=6,
        )
    self.assertEqual(
        [g['comparison']['change']['clients'] for g in report['budgets']],
        [2, 2, 1],
    )
    self.assertIn('which of 2 variables it shares', report['leaves_client'])
    # The mean client stores (4 + 4 + 8) / 5 bytes.
    gain = np.average(before - after, weights=sizes)
    self.assertAlmostEqual(
        report['gain_per_kilobyte'], 1000 * gain / 3.2, places=2
    )
    self.assertIn('By budget', (folder / 'report.html').read_text('utf-8'))

  def check_exported(self, folder, plan, after):
    """A client's Keras model predicts what the run evaluated."""
    finished = finished_run.FinishedRun(
        str(folder), parts.build_model_fn(plan.task.model_fn, plan.config)
    )
    for i in (0, 2, 4):
      examples = plan.test.read(f'client_{i}')
      model = finished.model(f'client_{i}').to_keras()
      error = model(examples['x']).numpy() - examples['y']
      self.assertAlmostEqual(np.mean(error**2), after[i], places=4)


if __name__ == '__main__':
  absltest.main()
