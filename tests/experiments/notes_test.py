# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is said of a run, before it and in its report."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.helpers import toy_task
from tff_partial.evaluation import client_table
from tff_partial.experiments import description
from tff_partial.experiments import notes as notes_lib
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments.settings import config as config_lib

_START = {'pretrain_rounds': 2}
_NO_START = {'pretrain_rounds': 0}
_PRIVATE = dict(noise_multiplier=3.0, dp_clip=1.0, client_sampling='cyclic')


def build(**settings):
  task = toy_task.create_task('points')
  return plan_lib.build(
      task, config_lib.create(clients_per_round=2, **settings)
  )


def notes(**settings):
  """The notes of a run whose metrics were lost, as one text."""
  table = client_table.ClientTable(
      client_ids=('a',),
      train_examples=np.ones(1, int),
      test_examples=np.ones(1, int),
      participated=np.ones(1, bool),
      scores={},
  )
  plan = build(total_rounds=1, **settings)
  found = notes_lib.notes(
      plan, None, table, None, rounds=[], pretraining_rounds=[]
  )
  return ' '.join(found)


class NotesTest(parameterized.TestCase):

  @parameterized.parameters(
      ('fed_alt', _START, True),
      ('finetune', _START, False),
      ('local', _START, False),
      ('fed_alt', _START | _PRIVATE, False),
      ('fed_avg', {}, False),
  )
  def test_advises_a_control_where_there_may_be_one(
      self, algorithm, settings, expected
  ):
    said = notes(algorithm=algorithm, **settings)
    self.assertEqual('--control' in said, expected)

  @parameterized.parameters(
      ('fed_alt', True), ('fed_avg', False), ('fed_recon', True)
  )
  def test_advises_a_start_where_it_is_the_baseline(self, algorithm, expected):
    said = notes(algorithm=algorithm, **_NO_START)
    self.assertEqual('use --pretrain_rounds' in said, expected)

  def test_names_some_of_many_new_variables(self):
    [six] = notes_lib.notes_on_new_variables([*'abcdef'])
    self.assertEndsWith(six, 'does not have a, b, c, d, e, f.')
    [seven] = notes_lib.notes_on_new_variables([*'abcdefg'])
    self.assertEndsWith(seven, 'does not have a, b, c, d, e, f and 1 more.')

  def test_nobody_is_fine_tuned_where_all_have_the_same_model(self):
    said = notes(algorithm='fed_avg', finetune_epochs=5)
    self.assertNotIn('fine-tuned', said)


class DescriptionTest(parameterized.TestCase):

  @parameterized.parameters(
      (
          'finetune',
          _START,
          '2 rounds of fed_avg, then 5 epochs at every client',
      ),
      ('finetune', _NO_START, 'finetune: 5 epochs at every client'),
      ('fed_alt', _START, '2 rounds of fed_avg, then 100 rounds of 2 clients'),
  )
  def test_what_is_going_to_be_done(self, algorithm, settings, expected):
    plan = build(algorithm=algorithm, **settings)
    self.assertIn(expected, description.describe(plan, 'out'))


if __name__ == '__main__':
  absltest.main()
