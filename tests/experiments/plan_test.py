# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A plan builds what a run computes."""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tree

from tests.helpers import toy_task
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.runtime import in_process


class PlanTest(absltest.TestCase):

  def test_models_are_created_for_computations_and_once_to_look_at(self):
    original = toy_task.create_task('points')
    made = []

    def model_fn(split):
      original_fn = original.model_fn(split)
      return lambda: made.append(split) or original_fn()

    task = dataclasses.replace(original, model_fn=model_fn)
    made.clear()
    plan = plan_lib.build(
        task,
        config_lib.create(
            algorithm='fed_alt',
            personal='output',
            pretrain_rounds=0,
            clients_per_round=2,
        ),
    )
    self.assertEqual(made, ['output'])
    # In the work of clients, and in the server's initial state.
    self.assertIsNotNone(plan.process)
    self.assertLen(made, 3)
    self.assertIsNotNone(plan.build_evaluation())
    self.assertLen(made, 4)
    self.assertIsNotNone(plan.process.initialize_personal)
    self.assertIsNotNone(plan.process.initialize_personal)
    self.assertLen(made, 5)


class PlansOfSeedsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.task = toy_task.create_task('points')

  def plan(self, **settings):
    earlier = settings.pop('earlier', None)
    return plan_lib.build(
        settings.pop('task', self.task),
        config_lib.create(
            **{
                'algorithm': 'fed_alt',
                'personal': 'output',
                'pretrain_rounds': 0,
                'clients_per_round': 2,
                **settings,
            }
        ),
        earlier=earlier,
    )

  def test_seeds_share_what_is_compiled(self):
    plans = [self.plan(seed=0, finetune_epochs=1)]
    for seed in (1, 2):
      plans.append(self.plan(seed=seed, finetune_epochs=1, earlier=plans[-1]))
    self.assertEqual([p.config.seed for p in plans], [0, 1, 2])
    for plan in plans:
      self.assertIs(plan.process.next, plans[0].process.next)
      self.assertIs(plan.build_evaluation(), plans[0].build_evaluation())
      for phases in (plan.reconstruction.phases, plan.finetuning.phases):
        self.assertIs(
            plan.build_evaluation(phases), plans[0].build_evaluation(phases)
        )

  def test_seeds_start_from_values_of_their_own(self):
    shared = self.plan(seed=1, earlier=self.plan(seed=0))
    alone = self.plan(seed=1)
    with in_process.in_process():
      for found, expected, other in zip(
          *(
              tree.flatten(
                  (
                      plan.process.initialize().global_model_weights,
                      plan.process.initialize_personal(),
                  )
              )
              for plan in (shared, alone, self.plan(seed=0))
          ),
          strict=True,
      ):
        np.testing.assert_array_equal(found, expected)
        if np.any(expected):  # Not an offset, which starts at zero.
          self.assertFalse(np.array_equal(found, other))

  @parameterized.parameters(
      {'learning_rate': 0.5},
      {'personal': 'all', 'algorithm': 'finetune', 'pretrain_rounds': 1},
      {'clients_per_round': 3},
      {'task': toy_task.create_task('points')},
  )
  def test_other_settings_share_nothing(self, **settings):
    earlier = self.plan()
    plan = self.plan(seed=1, earlier=earlier, **settings)
    self.assertIsNot(plan.built, earlier.built)
    self.assertIsNot(plan.model_fn, earlier.model_fn)

  def test_noise_is_of_one_run(self):
    private = {'noise_multiplier': 1.0, 'dp_clip': 1.0, 'dp_key': 'seed'}
    plans = [self.plan(seed=0, **private)]
    plans.append(self.plan(seed=1, earlier=plans[0], **private))
    self.assertIsNot(plans[0].process.next, plans[1].process.next)


if __name__ == '__main__':
  absltest.main()
