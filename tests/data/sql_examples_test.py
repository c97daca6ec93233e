# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Examples read in the graph, compared with those read in Python."""

import collections
import contextlib
import os
import sqlite3
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import worker
from tff_partial.data import sql_clients
from tff_partial.data import sql_examples
from tff_partial.data import sql_writer
from tff_partial.learning import examples as examples_lib

setUpModule, tearDownModule = worker.start, worker.stop

FEATURES = collections.OrderedDict(
    pixels=tf.TensorSpec([2, 3], tf.uint8), label=tf.TensorSpec([], tf.int32)
)
PEOPLE = {'ann': 5, "o'hara": 3, 'nobody': 0, 'Frédéric 学': 2}
SEED = np.array([1, 2], np.int32)


class SqlExamplesTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    path = os.path.join(folder.name, 'données', 'train.sqlite')
    rng = np.random.default_rng(0)
    with sql_writer.SqlWriter(path, FEATURES) as writer:
      for name, count in PEOPLE.items():
        writer.write(
            name,
            {
                'pixels': rng.integers(0, 256, [count, 2, 3], np.uint8),
                'label': rng.permutation(count),
            },
        )
    self.clients = sql_clients.SqlClients(path)
    self.located = sql_examples.ClientLocations(self.clients)
    self.tensors = examples_lib.Tensors(batch_size=2)
    self.form = sql_examples.SqlExamples(FEATURES, self.tensors)

  def test_reads_integers_in_order(self):
    for name in PEOPLE:
      np.testing.assert_array_equal(
          sql_examples.read_integers(self.located.read(name), name='label'),
          self.clients.read(name)['label'],
      )
    some = self.form.take(self.located.read('ann'), np.array([1, 3]))
    np.testing.assert_array_equal(
        sql_examples.read_integers(some, name='label'),
        self.clients.read('ann')['label'][[1, 3]],
    )

  def test_damaged_examples(self):
    with contextlib.closing(sqlite3.connect(self.clients.path)) as connection:
      with connection:
        connection.execute(
            'UPDATE examples SET serialized_example_proto = (SELECT'
            ' serialized_example_proto FROM examples WHERE rowid = 2)'
            ' WHERE rowid = 1'
        )
    self.located.read("o'hara")
    with self.assertRaisesRegex(ValueError, "examples of client 'ann'. The fi"):
      self.located.read('ann')

  def labels(self, form, examples, **kwargs):
    """The labels of each step, in order."""
    nothing = tf.compat.v1.placeholder_with_default(
        tf.zeros([0], tf.int32), [None]
    )
    return form.reduce(
        examples,
        nothing,
        lambda seen, batch: tf.concat([seen, batch['label']], 0),
        examples_lib.Pass(**kwargs),
    )

  def test_reads_what_python_reads(self):
    for name in PEOPLE:
      expected = self.clients.read(name)
      value = self.form.value(self.located.read(name), SEED)
      found = tf.function(self.form._read)(value['examples'])
      self.assertEqual(list(found), ['pixels', 'label'])
      for feature in FEATURES:
        np.testing.assert_array_equal(found[feature], expected[feature])
        self.assertEqual(found[feature].dtype, FEATURES[feature].dtype)

  def test_batches_like_tensors(self):
    run = lambda form, value: tf.function(
        lambda value: self.labels(form, value, epochs=2, max_steps=5)
    )(value)
    found = run(self.form, self.form.value(self.located.read('ann'), SEED))
    tensors = self.tensors.value(self.clients.read('ann'), SEED)
    np.testing.assert_array_equal(found, run(self.tensors, tensors))
    # 2 epochs of 5 examples, in 5 of 6 steps of 2, 2 and 1.
    self.assertLen(found, 9)

  def test_has_microbatches(self):
    form = self.form.in_microbatches(3)
    self.assertEqual(
        (self.form.microbatch_size, form.microbatch_size), (None, 3)
    )
    self.assertEqual(form.tensors, self.tensors.in_microbatches(3))

  def test_counts_examples_without_reading_them(self):
    first_four = sql_examples.SqlExamples(
        FEATURES, examples_lib.Tensors(batch_size=2, max_examples=4)
    )
    for name, number in PEOPLE.items():
      value = self.form.value(self.located.read(name), SEED)
      self.assertEqual(self.form.count(value), number)
      self.assertEqual(first_four.count(value), min(number, 4))

  def test_reads_in_the_worker(self):
    client_type = self.form.type(None)

    @tff.tensorflow.computation(client_type)
    def labels(value):
      return self.labels(self.form, value, training=False)

    @tff.federated_computation(tff.FederatedType(client_type, tff.CLIENTS))
    def all_labels(values):
      return tff.federated_map(labels, values)

    found = all_labels(
        [self.form.value(self.located.read(name), SEED) for name in PEOPLE]
    )
    for name, values in zip(PEOPLE, found):
      np.testing.assert_array_equal(values, self.clients.read(name)['label'])

  def test_takes_examples_by_position(self):
    for name, positions in (
        ('ann', [0, 3]),
        ("o'hara", [2]),
        ("o'hara", []),
        ('nobody', []),
    ):
      some = self.form.take(self.located.read(name), np.array(positions, int))
      self.form.check(some, None)
      self.assertEqual(some['num_examples'], len(positions))
      found = tf.function(self.form._read)(some)
      expected = self.tensors.take(
          self.clients.read(name), np.array(positions, int)
      )
      for feature in FEATURES:
        np.testing.assert_array_equal(found[feature], expected[feature])

  def test_knows_the_clients(self):
    self.assertEqual(list(self.located.client_ids), list(PEOPLE))
    self.assertEqual(self.located.num_examples("o'hara"), 3)
    with self.assertRaisesRegex(ValueError, "Expected one of the 4 .* 'eve'"):
      self.located.read('eve')

  def test_refuses_examples_instead_of_locations(self):
    self.form.check(self.located.read('ann'), None)
    with self.assertRaisesRegex(ValueError, "found .'pixels', 'label'."):
      self.form.check(self.clients.read('ann'), None)


if __name__ == '__main__':
  absltest.main()
