# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The gate: who takes which model, and what that is worth."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tff_partial.evaluation import client_table
from tff_partial.evaluation import gate
from tff_partial.evaluation import intervals
from tff_partial.evaluation import metric as metric_lib


def table(**models):
  """A table of examples with weight 1, from totals by model and client."""
  sizes = np.array([len(c) for c in next(iter(models.values()))])
  scores = {}
  for name, clients in models.items():
    total = np.array([x for client in clients for x in client], float)
    scores[name] = {'accuracy': client_table.Scores(total, np.ones_like(total))}
  return client_table.ClientTable(
      client_ids=('up', 'down', 'same', 'broken')[: len(sizes)],
      train_examples=sizes,
      test_examples=sizes,
      participated=np.ones(len(sizes), bool),
      scores=scores,
  )


class GateTest(parameterized.TestCase):

  HELD_OUT = table(
      shared=[[0, 1], [1, 1], [1, 0], [1, 0]],
      personalized=[[1, 1], [1, 0], [0, 1], [np.nan, 1]],
  )

  @parameterized.parameters((True, {'up'}), (False, {'down'}))
  def test_only_what_is_strictly_better_passes(self, higher, expected):
    found = gate.helped(
        self.HELD_OUT,
        metric_lib.Metric('accuracy', higher_is_better=higher),
        baseline='shared',
        candidate='personalized',
    )
    self.assertEqual(found, expected)

  def test_test_scores_follow_the_decision(self):
    tested = table(shared=[[0], [1, 1], [0]], personalized=[[1], [0, 1], [1]])
    gated = gate.add(
        tested,
        frozenset({'up'}),
        baseline='shared',
        candidate='personalized',
    )
    # 'same' would gain from the candidate, but the gate cannot know that.
    np.testing.assert_array_equal(
        gated.scores[gate.GATED]['accuracy'].total, [1, 1, 1, 0]
    )
    np.testing.assert_array_equal(
        gated.values('personalized', 'accuracy'), [1, 0.5, 1]
    )

  def test_worth_by_hand(self):
    # The candidate helps one client and hurts two. The gate lets the first and
    # the second take it, of four.
    before, after = [[0], [1], [1], [0]], [[1], [0], [0], [0]]
    takes = frozenset({'up', 'down'})
    names = dict(baseline='shared', candidate='personalized')
    gated = gate.add(table(shared=before, personalized=after), takes, **names)
    metric = metric_lib.Metric('accuracy', higher_is_better=True)
    found = gate.worth(gated, metric, takes, **names)
    self.assertEqual(found['hurt'], 1 / 4)
    self.assertEqual(found['hurt_without_gate'], 2 / 4)
    # Two of four clients take it, and two of four would be hurt: 0, 1 or 2 of
    # them with probabilities 1/6, 4/6 and 1/6.
    self.assertAlmostEqual(found['hurt_by_coin'], 1 / 4)
    self.assertEqual((found['coin_low'], found['coin_high']), (0, 1 / 2))
    # Only the third client differs from no gate, by 1.
    self.assertEqual(found['mean'], 1 / 4)
    low, high = intervals.over_clients(np.array([0.0, 0, 1, 0]), np.ones(4))
    self.assertEqual((found['mean_low'], found['mean_high']), (low, high))
    # Values 1, 0, 1, 0 instead of 1, 0, 0, 0: both have lower decile 0.
    self.assertEqual(found['decile'], 0)
    self.assertLessEqual(found['decile_low'], found['decile_high'])

  @parameterized.parameters(
      # Values of which 1 is best, 0, 1, 1, 1 instead of 0, 1, 0, 1: a lower
      # decile of 0.3 instead of 0.
      (True, 1, [0, 1, 0, 1], 0.3),
      # Values of which 0 is best, 1, 0, 0, 0 instead of 1, 0, 1, 0: an upper
      # decile of 0.7 instead of 1.
      (False, 0, [1, 0, 1, 0], -0.3),
  )
  def test_decile_by_hand(self, higher, before, after, expected):
    takes = frozenset({'up'})
    names = dict(baseline='shared', candidate='personalized')
    tested = table(shared=[[before]] * 4, personalized=[[v] for v in after])
    found = gate.worth(
        gate.add(tested, takes, **names),
        metric_lib.Metric('accuracy', higher_is_better=higher),
        takes,
        **names,
    )
    self.assertAlmostEqual(found['decile'], expected)
    # The third client alone gains, and is in most of the samples.
    low, high = sorted([0, expected / abs(expected)])
    self.assertBetween(found['decile_low'], low, expected)
    self.assertBetween(found['decile_high'], expected, high)
    self.assertLess(found['decile_low'], found['decile_high'])


if __name__ == '__main__':
  absltest.main()
