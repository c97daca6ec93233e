# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which examples are held out, and how many."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.helpers import toy
from tff_partial.learning import hold_out

SIZES = {'a': 10, 'b': 5, 'c': 2, 'd': 1, 'e': 0}
CLIENTS = toy.Clients(
    {c: toy.examples(range(n), range(n)) for c, n in SIZES.items()}
)


def view(share=0.2, seed=0, **kwargs):
  return hold_out.HoldOutView(
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
    halves = hold_out.HoldOutView(
        twins, toy.ALL_AT_ONCE.take, share=0.5, seed=0, held_out=True
    )
    self.assertNotEqual(numbers(halves, 'x'), numbers(halves, 'y'))


if __name__ == '__main__':
  absltest.main()
