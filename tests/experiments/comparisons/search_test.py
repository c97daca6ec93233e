# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a search tries for which algorithm, and what it refuses."""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized

from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import search as search_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting

_RATES = {'learning_rate': (0.1, 1.0), 'personal_learning_rate': (0.01, 0.3)}


def search(algorithms, lists, splits=('output',), **settings):
  config = config_lib.create(**{'algorithm': 'fed_avg', **settings})
  return search_lib.Search(
      config=config,
      lists=lists,
      schemes=combinations.schemes(algorithms, splits),
      validation=0.2,
      tune_seeds=[0],
      seeds=[0, 1],
  )


class SearchTest(parameterized.TestCase):

  @parameterized.parameters(
      ('fed_avg', ['learning_rate']),
      ('fed_alt', ['learning_rate', 'personal_learning_rate']),
      ('fed_per', ['learning_rate', 'personal_learning_rate']),
      # They have the rate of personal variables alone.
      ('finetune', ['personal_learning_rate']),
      ('pfedme', ['personal_learning_rate']),
  )
  def test_what_makes_no_difference_is_tried_once(self, algorithm, names):
    [grid] = search([algorithm], _RATES).grids()
    self.assertEqual(list(grid.lists), names)
    self.assertLen(grid.points, 2 ** len(names))
    self.assertLen({str(p.values) for p in grid.points}, len(grid.points))

  @parameterized.parameters(
      ('fed_avg', []),
      ('knn_per', []),
      ('apfl', ['personal_l2_total']),
      ('fed_sim', ['personal_l2_total']),
      ('fed_alt', ['personal_l2_total', 'personal_epochs']),
      ('fed_apm', ['personal_l2_total', 'personal_epochs', 'rho']),
      ('ffgg', ['personal_l2_total', 'personal_epochs', 'tolerance']),
      ('finetune', ['personal_l2_total']),
  )
  def test_settings_of_other_algorithms(self, algorithm, names):
    settings = ('personal_l2_total', 'personal_epochs', 'rho', 'tolerance')
    lists = {name: (0.0, 1.0) for name in settings}
    lists.update(personal_epochs=(1, 2), rho=(0.1, 1.0))
    requires = {'client_weighting': 'uniform'} if algorithm == 'fed_apm' else {}
    found = search([algorithm], lists, pretrain_rounds=1, **requires)
    [grid] = found.grids()
    self.assertEqual(list(grid.lists), names)
    self.assertIsNone(found.pretraining_grid())

  def test_steps_of_both_phases(self):
    lists = {'personal_epochs': (1, 2)}
    grids = search(['fed_sim', 'fed_alt'], lists).grids()
    self.assertEqual([len(g.points) for g in grids], [1, 2, 2])

  def test_learning_rate_is_the_default_of_the_personal_one(self):
    lists = {'learning_rate': (0.1, 1.0)}
    [grid] = search(['finetune'], lists).grids()
    self.assertEqual([p.config.personal_rate for p in grid.points], [0.1, 1.0])
    [grid] = search(['finetune'], lists, personal_learning_rate=0.2).grids()
    self.assertLen(grid.points, 1)

  def test_same_lists_for_every_algorithm_and_split(self):
    grids = search(
        ['fed_avg', 'fed_sim', 'fed_alt'], _RATES, ['input', 'output']
    ).grids()
    self.assertEqual(
        {g.name: len(g.points) for g in grids},
        {
            'fed_avg, none': 2,  # Once, whatever the split.
            'fed_sim, input': 4,
            'fed_sim with equal steps, input': 4,
            'fed_sim, output': 4,
            'fed_sim with equal steps, output': 4,
            'fed_alt, input': 4,
            'fed_alt, output': 4,
        },
    )
    for grid in grids:
      for point in grid.points:
        self.assertEqual(point.config.evaluation.validation, 0.2)
        flat = setting.flatten(point.config)
        self.assertEqual({n: flat[n] for n in point.values}, point.values)

  def test_settings_that_exclude_each_other_are_not_run(self):
    # Ditto's lambda 1 times the rate must be below 2.
    rates = {'personal_learning_rate': (0.1, 3.0)}
    [grid] = search(['ditto'], rates).grids()
    self.assertEqual([p.config is None for p in grid.points], [False, True])
    self.assertIn('diverge', grid.points[1].refusal)
    with self.assertRaisesRegex(ValueError, 'below 2'):
      search(['ditto'], {'personal_learning_rate': (3.0, 4.0)}).grids()

  def test_pretraining_is_chosen_from_what_it_depends_on(self):
    lists = {**_RATES, 'total_rounds': (2, 3)}
    found = search(['fed_alt'], lists, pretrain_rounds=7)
    grid = found.pretraining_grid()
    self.assertEqual(grid.lists, {'learning_rate': (0.1, 1.0)})
    for point, rate in zip(grid.points, (0.1, 1.0)):
      self.assertEqual(point.config.algorithm, methods.PRETRAINING)
      self.assertEqual(point.config.total_rounds, 7)
      self.assertEqual(point.config.client.learning_rate, rate)
      self.assertEqual(point.config.evaluation.validation, 0.2)
    for settings in ({'pretrain_rounds': 0}, {'init_from': 'x'}):
      self.assertIsNone(
          search(['fed_alt'], lists, **settings).pretraining_grid()
      )
    personal = {'personal_learning_rate': (0.1, 1.0)}
    self.assertIsNone(search(['fed_alt'], personal).pretraining_grid())

  def test_chosen_runs_hold_nothing_out_and_have_the_gate(self):
    found = search(['fed_alt'], _RATES, gate=0.1)
    [grid] = found.grids()
    self.assertEqual(grid.points[0].config.evaluation.gate, 0)
    config = found.chosen_config(grid.scheme, grid.points[1].values, 5)
    self.assertEqual(
        (config.evaluation.validation, config.evaluation.gate), (0, 0.1)
    )
    self.assertEqual((config.seed, config.personal_rate), (5, 0.3))
    self.assertEqual(config.evaluation.rounds_per_evaluation, 0)

  @parameterized.parameters(
      ({}, 'at least one setting with `tune`'),
      ({'eval_clients': (1, 2)}, 'one value of `eval_clients`, found 2'),
      ({'seed': (1, 2)}, 'one value of `seed`'),
      ({'epochs': (1, 2, 1)}, 'different values of `epochs`'),
  )
  def test_refuses_lists(self, lists, message):
    with self.assertRaisesRegex(ValueError, message):
      search(['fed_alt'], lists)

  def test_refuses_seeds_below_0(self):
    for name in ('seeds', 'tune_seeds'):
      with self.assertRaisesRegex(ValueError, f'`{name}` of at least 0'):
        dataclasses.replace(search(['fed_alt'], _RATES), **{name: [0, -1]})

  def test_refuses_unknown_names(self):
    with self.assertRaisesRegex(ValueError, "found 'fed_up'"):
      search(['fed_up'], _RATES).grids()


if __name__ == '__main__':
  absltest.main()
