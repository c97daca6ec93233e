# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which examples make a batch."""

import collections
import dataclasses

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tff_partial.learning import examples as examples_lib

# Far enough apart that a random factor of up to 4/3 keeps their order.
SIZES = np.array([1, 64, 2, 8, 128, 16, 4, 32, 256], np.int32)
ALIKE = examples_lib.Tensors(
    batch_size=2, size_fn=lambda examples: examples['x']
)


def batches(form, sizes=SIZES, *, seed=0, **kwargs):
  """The batches of an epoch after another, as tuples of sizes."""
  value = form.value(
      collections.OrderedDict(x=tf.constant(sizes)),
      tf.constant([seed, 0], tf.int32),
  )
  seen = []
  form.reduce(
      value,
      0,
      lambda n, batch: seen.append(batch['x'].numpy()) or n,
      examples_lib.Pass(**kwargs),
  )
  return [tuple(batch) for batch in seen]


class SizeTest(absltest.TestCase):

  def test_batches_of_like_size_in_random_order(self):
    found = batches(ALIKE, epochs=20)
    # The largest is alone, in the last batch of those sorted by size.
    alike = [{1, 2}, {4, 8}, {16, 32}, {64, 128}, {256}]
    orders = set()
    for epoch in range(20):
      members = [set(b) for b in found[5 * epoch : 5 * epoch + 5]]
      self.assertCountEqual(members, alike)
      orders.add(tuple(map(min, members)))
    self.assertGreater(len(orders), 10)

  def test_neighbours_differ_from_epoch_to_epoch(self):
    found = batches(ALIKE, np.arange(100, 110, dtype=np.int32), epochs=20)
    self.assertGreater(len({tuple(sorted(b)) for b in found}), 10)

  def test_depends_on_the_seed_alone(self):
    self.assertEqual(batches(ALIKE, seed=1), batches(ALIKE, seed=1))
    self.assertNotEqual(batches(ALIKE, seed=1), batches(ALIKE, seed=2))

  def test_tests_see_the_order_given(self):
    found = batches(ALIKE, training=False)
    self.assertEqual([x for batch in found for x in batch], SIZES.tolist())

  def test_only_the_first_examples(self):
    form = dataclasses.replace(ALIKE, max_examples=3)
    found = batches(form)
    self.assertCountEqual([set(b) for b in found], [{1, 2}, {64}])

  def test_nothing_to_batch(self):
    self.assertEqual(batches(ALIKE, np.zeros([0], np.int32)), [])


if __name__ == '__main__':
  absltest.main()
