# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The order in which sums are added."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow_federated as tff

from tests.helpers import sharded
from tests.helpers import worker
from tff_partial.runtime import sharding

setUpModule, tearDownModule = worker.start, worker.stop

# Added from left to right, the ones are lost: 2^24 + 1 = 2^24 in float32.
_NUMBERS = np.array([2.0**24, 1.0, 1.0, 1.0, *[1.0] * 17], np.float32)


@tff.tensorflow.computation(np.float32)
def twice(number):
  return number, number


def merge(count):
  def add(numbers):
    total = numbers[0]
    for number in list(numbers)[1:]:
      total = total + number
    return total

  return tff.tensorflow.computation(add, tff.StructType([np.float32] * count))


def by_hand(numbers):
  """Groups of eight, level by level, each from left to right."""
  while len(numbers) > 1:
    groups = [numbers[i : i + 8] for i in range(0, len(numbers), 8)]
    totals = []
    for group in groups:
      total = group[0]
      for number in group[1:]:
        total = np.float32(total + number)
      totals.append(total)
    numbers = totals
  return numbers[0]


def add_up(engine, numbers):
  """Adds numbers; returns what was kept, and the sum of what remained."""
  step = sharding.Step(twice)
  kept = []
  rest = engine.add_up(
      len(numbers),
      lambda i: (step, [numbers[i]]),
      lambda i, part: kept.append((i, part)),
      merge,
  )
  if len(rest) > 1:
    rest = [merge(len(rest))(*rest)]
  return kept, rest[0]


class OrderTest(parameterized.TestCase):

  @parameterized.parameters(1, 8, 17)
  def test_a_tree_over_the_tasks(self, count):
    numbers = _NUMBERS[:count]
    kept, total = add_up(sharding.ThisThread(), numbers)
    self.assertEqual(kept, list(enumerate(numbers)))
    self.assertEqual(total, by_hand(numbers))

  def test_three_levels(self):
    numbers = np.random.default_rng(0).normal(size=70).astype(np.float32)
    _, total = add_up(sharding.ThisThread(), numbers)
    self.assertEqual(total, by_hand(numbers))
    self.assertNotEqual(total, np.add.accumulate(numbers)[-1])

  def test_up_to_eight_are_added_from_left_to_right(self):
    numbers = np.random.default_rng(1).normal(size=8).astype(np.float32)
    _, total = add_up(sharding.ThisThread(), numbers)
    self.assertEqual(total, np.add.accumulate(numbers)[-1])

  def test_adding_early_to_save_memory_changes_nothing(self):
    numbers = np.random.default_rng(2).normal(size=21).astype(np.float32)
    _, expected = add_up(sharding.ThisThread(), numbers)
    _, found = add_up(sharding.ThisThread(max_waiting_bytes=4), numbers)
    self.assertEqual(found, expected)

  def test_shards_of_other_sizes_differ_by_the_order_of_sums(self):
    expected = sharded.train(sharding.ThisThread())
    for size in (None, 1, 7, 100):
      state, personal, steps = sharded.train(
          sharding.ThisThread(), clients_per_shard=size
      )
      self.assertEqual(steps, expected[2])
      self.assertCountEqual(personal, expected[1])
      for found, wanted in zip(state, expected[0]):
        # Adam divides by the size of the gradient, so the sums' last bits stay
        # last bits.
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
