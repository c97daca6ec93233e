# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The gate: which examples are held out, and who takes which model."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.helpers import toy
from tff_partial.evaluation import client_table
from tff_partial.evaluation import gate
from tff_partial.evaluation import intervals
from tff_partial.evaluation import metric as metric_lib

SIZES = {'a': 10, 'b': 5, 'c': 2, 'd': 1, 'e': 0}
CLIENTS = toy.Clients(
    {c: toy.examples(range(n), range(n)) for c, n in SIZES.items()}
)


def view(share=0.2, seed=0, **kwargs):
  return gate.HoldOutView(
      CLIENTS, toy.ALL_AT_ONCE.take, share=share, seed=seed, **kwargs
  )


def numbers(clients, client_id):
  examples = clients.read(client_id)
  np.testing.assert_array_equal(examples['x'], examples['y'])
  return [int(x) for x in examples['x'][:, 0]]


class HoldOutViewTest(parameterized.TestCase):

  @parameterized.parameters(
      (0.2, [2, 1, 1, 0, 0]), (0.9, [9, 4, 1, 0, 0]), (0.01, [1, 1, 1, 0, 0])
  )
  def test_number_of_examples_held_out(self, share, held_out):
    out, rest = view(share, held_out=True), view(share, held_out=False)
    self.assertEqual([out.num_examples(c) for c in SIZES], held_out)
    for client_id, size in SIZES.items():
      self.assertLen(numbers(out, client_id), out.num_examples(client_id))
      # Each example is on one side, in its original order.
      both = numbers(rest, client_id) + numbers(out, client_id)
      self.assertCountEqual(both, range(size))
      self.assertEqual(
          numbers(rest, client_id), sorted(numbers(rest, client_id))
      )
      self.assertEqual(
          rest.num_examples(client_id), size - out.num_examples(client_id)
      )

  def test_which_depends_on_seed_and_client(self):
    draw = lambda seed: numbers(view(0.5, seed, held_out=True), 'a')
    self.assertEqual(draw(0), draw(0))
    self.assertNotEqual(draw(0), draw(1))
    twins = toy.Clients({c: toy.examples(range(20), range(20)) for c in 'xy'})
    halves = gate.HoldOutView(
        twins, toy.ALL_AT_ONCE.take, share=0.5, seed=0, held_out=True
    )
    self.assertNotEqual(numbers(halves, 'x'), numbers(halves, 'y'))


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


if __name__ == '__main__':
  absltest.main()
