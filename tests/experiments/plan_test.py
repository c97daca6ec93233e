# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A plan builds what a run computes."""

import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tree

from tests.helpers import toy
from tests.helpers import toy_task
from tff_partial.evaluation import evaluation
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import phase as phase_lib
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


def _another_task():
  return dataclasses.replace(toy_task.create_task('points'))


class PlansThatShareTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.task = _another_task()

  def plan(self, **settings):
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
    )

  def alone(self, **settings):
    """A plan that shares with no other."""
    return self.plan(task=_another_task(), **settings)

  def test_seeds_and_rates_share_what_is_compiled(self):
    changes = [
        {},
        {'seed': 1},
        {'seed': 2, 'learning_rate': 0.5},
        {'server_learning_rate': 0.5, 'personal_learning_rate': 0.25},
        {'clients_per_round': 3, 'total_rounds': 7, 'eval_clients': 1},
        {'unseen_clients': 1, 'gate': 0.5, 'rounds_per_evaluation': 0},
    ]
    plans = [self.plan(finetune_epochs=1, **change) for change in changes]
    self.assertEqual([p.config.seed for p in plans], [0, 1, 2, 0, 0, 0])
    for plan in plans:
      self.assertIs(plan.process.next, plans[0].process.next)
      for name in ('evaluation', 'reconstruction', 'finetuning'):
        found, first = (
            p.build_evaluation(
                () if name == 'evaluation' else getattr(p, name).phases
            )
            for p in (plan, plans[0])
        )
        self.assertIs(found.computation, first.computation)
    rates = [
        (p.algorithm.phases[1].shared.learning_rate, rate.personal)
        for p in plans
        for rate in phase_lib.learning_rates(p.finetuning.phases)
    ]
    self.assertEqual(
        rates,
        [
            (p.config.client.learning_rate, np.float32(p.config.personal_rate))
            for p in plans
        ],
    )

  def test_rates_are_used_where_computations_are_shared(self):
    """The same variables and scores as those of a plan that shares nothing."""
    rates = {
        'learning_rate': 0.5,
        'personal_learning_rate': 0.25,
        'server_learning_rate': 0.75,
        'finetune_epochs': 1,
    }
    first = self.plan(finetune_epochs=1)
    shared, alone = self.plan(**rates), self.alone(**rates)
    self.assertIs(shared.process.next, first.process.next)
    self.assertIsNot(alone.process.next, first.process.next)
    with in_process.in_process():
      found, expected, other = map(self.outcome, (shared, alone, first))
    for a, b in zip(found, expected, strict=True):
      np.testing.assert_array_equal(a, b)
    self.assertFalse(all(map(np.array_equal, found, other)))

  def outcome(self, plan):
    """Variables after a round, and scores after fine-tuning."""
    process, clients = plan.process, plan.train_clients.client_ids[:2]
    values = [
        plan.client_examples.value(
            plan.train_clients.read(c), np.array([0, i], np.int32)
        )
        for i, c in enumerate(clients)
    ]
    start = process.initialize_personal()
    state, personal, _ = process.next(
        process.initialize(), [start] * len(clients), values
    )
    table = evaluation.evaluate(
        {
            'finetuned': evaluation.TestedModel(
                plan.build_evaluation(plan.finetuning.phases),
                state.global_model_weights,
                lambda ids: personal,
            )
        },
        evaluation.Population(
            train=plan.train_clients,
            test=plan.test,
            participated=lambda client_id: True,
        ),
        clients,
        progress=False,
    )
    return [
        *tree.flatten((state.global_model_weights, personal)),
        table.totals('finetuned', plan.task.metric.name),
    ]

  def test_seeds_start_from_values_of_their_own(self):
    first = self.plan(seed=0)
    shared, alone = self.plan(seed=1), self.alone(seed=1)
    self.assertIs(shared.process.next, first.process.next)
    with in_process.in_process():
      for found, expected, other in zip(
          *(
              tree.flatten(
                  (
                      plan.process.initialize().global_model_weights,
                      plan.process.initialize_personal(),
                  )
              )
              for plan in (shared, alone, first)
          ),
          strict=True,
      ):
        np.testing.assert_array_equal(found, expected)
        if np.any(expected):  # Not an offset, which starts at zero.
          self.assertFalse(np.array_equal(found, other))

  @parameterized.parameters(
      {'epochs': 2},
      {'personal': 'all', 'algorithm': 'finetune', 'pretrain_rounds': 1},
      {'clip_norm': 1.0},
      {'schedule': 'linear'},
      {'task': _another_task()},
  )
  def test_other_settings_share_nothing(self, **settings):
    first = self.plan()
    plan = self.plan(seed=1, **settings)
    self.assertIsNot(plan.built, first.built)
    self.assertIsNot(plan.model_fn, first.model_fn)

  def test_the_same_task_for_other_people_shares(self):
    people = toy.random_clients(4, seed=1)
    self.task = dataclasses.replace(self.task, choices={'data': 'here'})
    task = self.task.with_clients(train=people, data='elsewhere')
    self.assertEqual(task.train.client_ids, people.client_ids)
    self.assertEqual(task.test.client_ids, self.task.test.client_ids)
    self.assertEqual(task.settings['data'], 'elsewhere')
    self.assertIs(self.plan(task=task).built, self.plan().built)

  def test_a_few_settings_are_kept(self):
    first = self.plan()
    for epochs in range(2, 18):
      self.plan(epochs=epochs)
    self.assertIsNot(self.plan().built, first.built)
    self.assertIs(self.plan(epochs=17).built, self.plan(epochs=17).built)

  def test_rounds_matter_to_a_schedule_that_ends(self):
    linear = functools.partial(self.plan, schedule='linear')
    self.assertIsNot(linear(total_rounds=7).built, linear(total_rounds=8).built)

  def test_fed_apm_averages_over_the_whole_population(self):
    # Two of five clients; what the others sent does not change.
    plan = self.plan(algorithm='fed_apm', learning_rate=0.1)
    with in_process.in_process():
      before = plan.process.initialize()
      after, personal, _ = plan.process.next(
          before,
          [plan.process.initialize_personal()] * 2,
          [
              plan.client_examples.value(
                  plan.train_clients.read(c), np.array([0, 0], np.int32)
              )
              for c in plan.train_clients.client_ids[:2]
          ],
      )
    [w], [new_w] = (s.global_model_weights.trainable for s in (before, after))
    rho = plan.algorithm.phases[1].dual_rho
    # A client's copy and its dual variable.
    sent = [
        copy + dual / rho for copy, dual in (p.non_trainable for p in personal)
    ]
    self.assertGreater(np.abs(sent - w).min(), 0.01)
    np.testing.assert_allclose(
        new_w, (np.sum(sent, axis=0) + 3 * w) / 5, rtol=1e-5
    )

  def test_noise_is_of_one_run(self):
    private = {'noise_multiplier': 1.0, 'dp_clip': 1.0, 'dp_key': 'seed'}
    plans = [self.plan(seed=seed, **private) for seed in (0, 1)]
    self.assertIsNot(plans[0].process.next, plans[1].process.next)


if __name__ == '__main__':
  absltest.main()
