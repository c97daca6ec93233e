# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of next-word prediction."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tasks.stackoverflow import task as stackoverflow
from tasks.stackoverflow import vocabulary
from tests.helpers import stackoverflow_data
from tests.helpers import worker
from tff_partial.evaluation import mean_probe
from tff_partial.evaluation import measurements
from tff_partial.learning import algorithms
from tff_partial.learning import client_work
from tff_partial.learning import local_update
from tff_partial.learning import mean_regularizer
from tff_partial.learning import outlines
from tff_partial.learning import phase as phase_lib
from tff_partial.runtime import sharding

setUpModule, tearDownModule = worker.start, worker.stop


class SizesTest(parameterized.TestCase):

  @parameterized.parameters(
      ('none', 5_731_092, 0),
      ('input', 5_731_092, 788_736),
      ('output', 5_731_092, 788_736),
      # The layer norms have 4 blocks * 2 norms * 2 * 256 = 4,096.
      ('adapter', 5_731_092 + 67_712, 71_808),
      ('adapter64', 5_731_092 + 264_704, 268_800),
      ('adapter64+norm', 5_731_092 + 264_704, 268_800),
      ('norm', 5_731_092, 4_096),
  )
  def test_mini_has_the_size_of_the_paper(self, split, total, personal):
    words = vocabulary.Vocabulary(tuple(f'w{i}' for i in range(10_000)))
    self.assertEqual(words.size, 10_004)
    variables = outlines.describe(
        stackoverflow.create_model_fn(stackoverflow.SIZES['mini'], words, split)
    )
    self.assertEqual(sum(v.size for v in variables), total)
    self.assertEqual(sum(v.size for v in variables if v.personal), personal)


class TransformerTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    tf.random.set_seed(0)
    self.model = stackoverflow.create_transformer(
        stackoverflow.SIZES['tiny'], stackoverflow_data.ABC.size
    )

  def test_longer_sentences_in_the_batch_change_nothing(self):
    batch = self.model(np.array([[5, 1, 2, 3], [5, 3, 0, 0]]))
    self.assertEqual(batch.shape, (6, 7))
    for sentence, rows in (([5, 1, 2, 3], batch[:4]), ([5, 3], batch[4:])):
      np.testing.assert_allclose(
          self.model(np.array([sentence])), rows, rtol=1e-4, atol=1e-5
      )

  def test_later_words_are_not_read(self):
    np.testing.assert_array_equal(
        self.model(np.array([[5, 1, 2, 3]]))[:3],
        self.model(np.array([[5, 1, 2, 1]]))[:3],
    )

  def test_fresh_adapters_change_nothing(self):
    adapted = stackoverflow.create_transformer(
        stackoverflow.SIZES['tiny'],
        stackoverflow_data.ABC.size,
        adapter_width=16,
    )
    paths = adapted.get_weight_paths()
    for path, variable in self.model.get_weight_paths().items():
      paths[path].assign(variable)
    x = np.array([[5, 1, 2, 3], [5, 3, 0, 0]])
    np.testing.assert_array_equal(adapted(x), self.model(x))


class MetricsTest(absltest.TestCase):

  # The tokens that count: a, other, end; b. The words: a; b.
  Y = np.array([[1, 4, 6], [2, 0, 0]])

  def metrics(self, logits):
    return {
        name: [np.asarray(term, float).tolist() for term in fn(self.Y, logits)]
        for name, fn in stackoverflow.metric_fns(stackoverflow_data.ABC).items()
    }

  def test_by_hand(self):
    logits = np.zeros([4, 7], np.float32)
    logits[0, 1] = 1  # Nothing is likelier than a.
    logits[3] = [5, 4, 2, 3, 1, 0, 0]  # Three are likelier than b.
    found = self.metrics(logits)
    self.assertEqual(found['accuracy'], [[1, 0], [1, 1]])
    self.assertEqual(found['top3'], [[1, 0], [1, 1]])
    self.assertEqual(found['top5'], [[1, 1], [1, 1]])
    # -log of the softmax of what is right.
    a = np.log(np.e + 6) - 1
    b = np.log(np.exp([5, 4, 2, 3, 1, 0, 0]).sum()) - 2
    np.testing.assert_allclose(found['log_perplexity'][0], [a, b], rtol=1e-5)
    self.assertEqual(found['log_perplexity'][1], [1, 1])
    # Other words and the end count too, at log 7 each; padding does not.
    np.testing.assert_allclose(
        found['loss'][0], [a + 2 * np.log(7), b], rtol=1e-5
    )
    self.assertEqual(found['loss'][1], [3, 1])

  def test_ties_and_nan_are_not_right(self):
    for value in (0, np.nan):
      found = self.metrics(np.full([4, 7], value, np.float32))
      for name in ('accuracy', 'top3', 'top5'):
        self.assertEqual(found[name], [[0, 0], [1, 1]], msg=f'{name} {value}')


class TaskTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def test_inputs_and_the_tokens_that_follow(self):
    stackoverflow_data.write_folder(self.folder, ann=['a x', 'c'])
    task = stackoverflow.create_task(self.folder)
    tokens = task.train.read('ann')['tokens']
    self.assertEqual(tokens.shape, (2, 21))
    batch = task.client_examples.prepare_train({'tokens': tokens}, None)
    np.testing.assert_array_equal(batch['x'], [[5, 1, 4], [5, 3, 0]])
    np.testing.assert_array_equal(batch['y'], [[1, 4, 6], [3, 6, 0]])
    self.assertIn(stackoverflow_data.ABC.digest, task.data)
    self.assertEqual(task.texts, {'vocabulary.txt': 'a\nb\nc\n'})
    self.assertFalse(task.demonstration)

  def test_training_lowers_the_loss(self):
    stackoverflow_data.write_folder(
        self.folder, ann=stackoverflow_data.SENTENCES
    )
    task = stackoverflow.create_task(self.folder, batch_size=3)
    model = task.model_fn('output')()
    sgd = phase_lib.GroupTraining(tff.learning.optimizers.build_sgdm(0.1))
    value = task.client_examples.value(
        task.train.read('ann'), np.array([0, 0], np.int32)
    )

    @tf.function(autograph=False)
    def train(epochs):
      phases = algorithms.fed_sim(
          sgd, sgd, steps=algorithms.Steps(epochs=epochs, clip_norm=0.25)
      ).phases
      read = lambda weights: tf.nest.map_structure(tf.identity, weights)
      return local_update.local_update(
          model,
          phases,
          local_update.ClientInputs(
              read(model.shared), read(model.personal), value
          ),
          client_examples=task.client_examples,
      ).metrics['loss']

    before, weight = train(1)
    # 8 + 4 + 6 words and three ends; at first all of 7 are about as likely.
    self.assertEqual(weight, 21)
    self.assertAlmostEqual(float(before) / 21, np.log(7), delta=0.5)
    train(40)
    self.assertLess(train(1)[0], before - 21 * 0.5)

  def test_mean_regularization_is_over_words(self):
    stackoverflow_data.write_folder(
        self.folder, ann=stackoverflow_data.SENTENCES, bob=['c a']
    )
    task = stackoverflow.create_task(self.folder, mean_regularization=3.0)
    self.assertFalse(
        mean_regularizer.is_in(outlines.describe(task.model_fn('output')))
    )
    model_fn = task.model_fn('bias')
    shared, personal = client_work.build_initial_weights(model_fn, seed=0)()
    common = measurements.common_mean(
        mean_probe.build(model_fn, client_examples=task.client_examples),
        measurements.Point(
            shared=shared,
            personal_fn=lambda client_ids: [personal] * len(client_ids),
            examples=task.train,
            seed=0,
        ),
        sharding=sharding.Sharding(),
    )
    model = model_fn()
    model.assign(shared, personal)
    network = model.to_keras()
    layer = network.get_layer(mean_regularizer.NAME)
    represent = tf.keras.Model(network.inputs, layer.input)
    # Ann has 8 + 4 + 6 words, Bob 2, and each sentence a start.
    batches = [
        task.client_examples.prepare_train(task.train.read(c), None)
        for c in ('ann', 'bob')
    ]
    found = [represent(batch['x']).numpy() for batch in batches]
    self.assertEqual([len(words) for words in found], [21, 3])
    np.testing.assert_allclose(
        common, np.concatenate(found).mean(axis=0), rtol=1e-4, atol=1e-6
    )
    layer.mean.assign(common)
    losses = [
        model.loss(batches[1], model.outputs(batches[1], training=training))
        for training in (False, True)
    ]
    distance = found[1].mean(axis=0) - common
    np.testing.assert_allclose(
        losses[1] - losses[0], 3 * np.mean(distance**2) / 2, rtol=1e-3
    )

  def test_bad_input(self):
    with self.assertRaisesRegex(ValueError, '`mean_regularization` of at'):
      stackoverflow.create_model_fn(
          stackoverflow.SIZES['tiny'],
          stackoverflow_data.ABC,
          'bias',
          mean_regularization=-1.0,
      )
    with self.assertRaisesRegex(ValueError, r"`model` of \['mini', 'tiny'\]"):
      stackoverflow.create_task(self.folder, model='large')
    with self.assertRaisesRegex(OSError, 'client data in .*train.sqlite'):
      stackoverflow.create_task(self.folder)
    stackoverflow_data.write_folder(self.folder, ann=['a', b'\xff'])
    with self.assertRaisesRegex(
        ValueError, "'ann': Expected UTF-8 text in sen"
    ):
      stackoverflow.create_task(self.folder)
    os.remove(os.path.join(self.folder, 'vocabulary.txt'))
    with self.assertRaisesRegex(OSError, 'Expected a vocabulary in'):
      stackoverflow.create_task(self.folder)


if __name__ == '__main__':
  absltest.main()
