# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Batches of examples of similar size."""

import collections
import dataclasses

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.learning import examples as examples_lib

# Far enough apart that a random factor of up to 4/3 keeps their order.
SIZES = np.array([1, 64, 2, 8, 128, 16, 4, 32, 256], np.int32)
BY_SIZE = examples_lib.Tensors(
    batch_size=2, size_fn=lambda examples: examples['x']
)


def batches(form, sizes=SIZES, *, seed=0, **kwargs):
  """The batches of all epochs in order, as tuples of sizes."""
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

  def test_batches_have_similar_sizes_and_random_order(self):
    found = batches(BY_SIZE, epochs=20)
    # After sorting by size the last batch has one example, the largest.
    expected = [{1, 2}, {4, 8}, {16, 32}, {64, 128}, {256}]
    orders = set()
    for epoch in range(20):
      members = [set(b) for b in found[5 * epoch : 5 * epoch + 5]]
      self.assertCountEqual(members, expected)
      orders.add(tuple(map(min, members)))
    self.assertGreater(len(orders), 10)

  def test_neighbors_differ_from_epoch_to_epoch(self):
    found = batches(BY_SIZE, np.arange(100, 110, dtype=np.int32), epochs=20)
    self.assertGreater(len({tuple(sorted(b)) for b in found}), 10)

  def test_depends_only_on_the_seed(self):
    self.assertEqual(batches(BY_SIZE, seed=1), batches(BY_SIZE, seed=1))
    self.assertNotEqual(batches(BY_SIZE, seed=1), batches(BY_SIZE, seed=2))

  def test_evaluation_keeps_the_order(self):
    found = batches(BY_SIZE, training=False)
    self.assertEqual([x for batch in found for x in batch], SIZES.tolist())

  def test_evaluation_has_microbatches(self):
    form = examples_lib.Tensors(batch_size=4, shuffle=False, microbatch_size=3)
    lengths = lambda **kwargs: [len(b) for b in batches(form, **kwargs)]
    self.assertEqual(lengths(training=False), [3, 3, 3])
    self.assertEqual(lengths(), [4, 4, 1])
    form = dataclasses.replace(form, microbatch_size=100)
    self.assertEqual(lengths(training=False), [4, 4, 1])

  def test_max_examples_takes_the_first_ones(self):
    form = dataclasses.replace(BY_SIZE, max_examples=3)
    found = batches(form)
    self.assertCountEqual([set(b) for b in found], [{1, 2}, {64}])

  def test_no_examples(self):
    self.assertEqual(batches(BY_SIZE, np.zeros([0], np.int32)), [])


class CheckTest(absltest.TestCase):

  def test_refuses_features_in_another_order(self):
    numbers = np.zeros([2], np.float32)
    vector = tf.TensorSpec([None], tf.float32)
    spec = collections.OrderedDict(
        x=collections.OrderedDict(user=vector, item=vector), y=vector
    )
    read = lambda *names: collections.OrderedDict(
        x={name: numbers for name in names}, y=numbers
    )
    message = 'found x/item: .* x/user: .*Put the fields into the order'
    tensors = examples_lib.Tensors(batch_size=2)
    tensors.check(read('user', 'item'), spec)
    with self.assertRaisesRegex(errors.SettingsError, message):
      tensors.check(read('item', 'user'), spec)
    sequences = examples_lib.Sequences()
    batches_of = lambda *names: tf.data.Dataset.from_tensor_slices(
        read(*names)
    ).batch(2)
    sequences.check(batches_of('user', 'item'), spec)
    with self.assertRaisesRegex(errors.SettingsError, message):
      sequences.check(batches_of('item', 'user'), spec)

  def test_forms_are_equal_if_they_do_the_same(self):
    self.assertEqual(examples_lib.Sequences(), examples_lib.Sequences())


class TextTest(absltest.TestCase):

  def test_is_utf_8(self):
    seed = np.zeros([2], np.int32)
    for array in (np.array(['dé', 'a']), np.array(['dé', b'a'], object)):
      value = BY_SIZE.value(collections.OrderedDict(x=array), seed)
      self.assertEqual(value['examples']['x'].tolist(), ['dé'.encode(), b'a'])


if __name__ == '__main__':
  absltest.main()
