# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A plan builds what a run computes."""

import dataclasses

from absl.testing import absltest

from tests.helpers import toy_task
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments.settings import config as config_lib


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


if __name__ == '__main__':
  absltest.main()
