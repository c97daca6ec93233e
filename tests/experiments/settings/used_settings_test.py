# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0

from absl.testing import absltest
from absl.testing import parameterized

import tasks
from tests.helpers import paths
from tests.helpers import toy_task
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import task_choice
from tff_partial.experiments.settings import used_settings
from tff_partial.reporting import formatting

# BUILD: deps = ["//tests/helpers:toy_task"]
_TOY = f'{paths.ROOT}/tests/helpers/toy_task.py:create_task'


class UsedSettingsTest(parameterized.TestCase):

  @parameterized.parameters(
      (
          {'algorithm': 'fed_alt', 'epochs': 3, 'learning_rate': 0.5},
          {
              'personal': 'output',
              'pretrain_rounds': 200,
              'finetune_epochs': 0,
              'personal_epochs': 3,
              'personal_learning_rate': 0.5,
              'personal_l2': 0.0,
              'server_epsilon': None,
              'onboarding': 'none',
              'batch_size': 4,
          },
      ),
      (
          {'algorithm': 'pfedme', 'personal_learning_rate': 0.01},
          {
              'personal_l2': 15.0,
              'pull': 0.075,  # 0.005 * 15.
              'inner_steps': 5,
              'personal': 'none',
          },
      ),
      (
          {'server_optimizer': 'corrected_adam', 'unseen_clients': 2},
          {'server_epsilon': 1e-8, 'onboarding': 'initial,mean'},
      ),
      ({'server_optimizer': 'yogi'}, {'server_epsilon': 1e-3}),
      ({'init_from': 'x'}, {'init_from': 'x', 'pretrain_rounds': 0}),
  )
  def test_defaults_are_replaced(self, given, expected):
    config = config_lib.create(**given)
    found = used_settings.used_settings(toy_task.create_task('toy'), config)
    self.assertDictContainsSubset(expected, found)

  def test_settings_of_other_algorithms_are_left_out(self):
    task = toy_task.create_task('toy')
    found = used_settings.used_settings(task, config_lib.create())
    for name in ('inner_steps', 'pull', 'alternating_steps'):
      self.assertNotIn(name, found)

  def test_arguments_of_a_task(self):
    choice = task_choice.TaskChoice(
        task=_TOY, data='toy', task_arg=('num_clients=7',)
    )
    task = task_lib.create(choice, registered=tasks.TASKS)
    found = used_settings.used_settings(task, config_lib.create())
    self.assertEqual(found['batch_size'], 4)
    self.assertEqual(found['num_clients'], 7)
    self.assertEqual(found['greeting'], '')
    # What a run is compared with when it goes on is what was given.
    self.assertIsNone(task.settings['batch_size'])

  @parameterized.parameters(
      (None, 'none'), (True, 'yes'), (False, 'no'), (0.5, '0.5'), ((), 'none')
  )
  def test_values_in_words(self, value, text):
    self.assertEqual(formatting.setting(value), text)


if __name__ == '__main__':
  absltest.main()
