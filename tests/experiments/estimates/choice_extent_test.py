# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much of a run `--personal=auto` takes, by hand.

Twelve clients have ten examples each, of which two are held out: 3 batches of
at most 4 in training, and 2 in the choice.
"""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.helpers import toy
from tests.helpers import toy_task
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments.estimates import choice_extent
from tff_partial.experiments.estimates import held_out_sample
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import phase as phase_lib

# Of a client: 2 to measure gradients, and 5 epochs for each candidate.
EACH = 2 + 3 * (5 * 2)


def extent(*, pretraining_rounds=(), **settings):
  """The extent of a choice among three candidates."""
  x = np.ones(10)
  people = toy.Clients({f'client_{i}': toy.examples(x, x) for i in range(12)})
  plan = plan_lib.build(
      dataclasses.replace(
          toy_task.create_task('here', with_loss=True),
          train=people,
          test=people,
      ),
      config_lib.create(
          clients_per_round=3, pretrain_rounds=0, learning_rate=0.1, **settings
      ),
  )
  sample = held_out_sample.draw(
      plan,
      plan.model_fn,
      name='personal',
      most_clients=20,
      least_held_out=1,
      least_examples=3,
      advice='',
  )
  return choice_extent.limit(
      plan, sample, candidates=3, pretraining_rounds=pretraining_rounds
  )


class ChoiceExtentTest(parameterized.TestCase):

  @parameterized.parameters(
      # Three clients take 3 + 2 * 3 gradients in each round.
      (100, 12, 2700),
      (53, 11, 1431),
      (1, 10, 27),
  )
  def test_clients(self, rounds, clients, taken_by_run):
    found = extent(total_rounds=rounds, personal_epochs=2)
    self.assertEqual((found.clients, found.drawn), (clients, 12))
    taken = clients * EACH
    self.assertAlmostEqual(found.share, taken / (taken + taken_by_run))
    self.assertIsNone(found.seconds)

  def test_pretraining_counts(self):
    rows = [{'counts/steps': 1000.0, 'seconds': 60.0}] * 2
    found = extent(total_rounds=1, personal_epochs=2, pretraining_rounds=rows)
    self.assertEqual(found.clients, 12)
    self.assertAlmostEqual(found.share, 12 * EACH / (12 * EACH + 2000 + 27))
    self.assertAlmostEqual(found.seconds, 12 * EACH * 0.06)

  @parameterized.parameters('sensitivity', 'moved')
  def test_scores_that_train(self, score):
    found = extent(total_rounds=1, personal_epochs=2, auto_score=score)
    each = EACH + 2 + 2  # An epoch, and gradients after it.
    self.assertAlmostEqual(found.share, 10 * each / (10 * each + 27))

  def test_everybody_who_is_evaluated_is_fine_tuned(self):
    found = extent(algorithm='finetune', finetune_epochs=20)
    each = 2 + 3 * (20 * 2)
    self.assertEqual(found.clients, 10)
    self.assertAlmostEqual(found.share, 10 * each / (10 * each + 12 * 20 * 3))

  def test_gradients_of_phases(self):
    phases = [
        phase_lib.Phase(personal=toy.sgd(), epochs=5, max_steps=6),
        phase_lib.Phase(personal=toy.sgd(), inner_steps=2),
        # Each of two steps is on all batches.
        phase_lib.Phase(
            shared=toy.sgd(), epochs=5, max_steps=2, full_batch=True
        ),
    ]
    # Clients with 1 and 3 batches.
    self.assertEqual(
        choice_extent.gradients(phases, np.array([4, 9]), 4),
        ((5 + 2 + 2) + (6 + 2 * 3 + 2 * 3)) / 2,
    )

  @parameterized.parameters(
      (
          choice_extent.Extent(20, 20, 0.123, None),
          "up to 12.3% of the run's gradients, at 20 clients.",
      ),
      (
          choice_extent.Extent(12, 20, 0.19, 7.4),
          '12 clients, and about 7 seconds. All 20 that were drawn would take'
          ' more than 20%.',
      ),
      (
          choice_extent.Extent(10, 20, 0.3, None),
          '10 clients. This is more than 20%: fewer clients would say too'
          ' little.',
      ),
  )
  def test_in_words(self, found, said):
    self.assertEndsWith(found.in_words(), said)


if __name__ == '__main__':
  absltest.main()
