# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dropout in adapters: what it does, and that it is reproducible."""

import collections
import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tff_partial.learning import adapters
from tff_partial.learning import algorithms
from tff_partial.learning import dropout
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import partial_model
from tff_partial.learning import partition

SEED = tf.constant([3, 4])
X = np.random.default_rng(0).normal(size=[6, 8]).astype(np.float32)
Y = X[:, :1]


class ApplyTest(parameterized.TestCase):

  def test_nothing_is_dropped_outside_of_a_scope(self):
    features = tf.constant(X)
    self.assertIs(dropout.apply(features), features)
    with dropout.scope(0.5, SEED):
      pass
    self.assertIs(dropout.apply(features), features)

  def test_drops_a_fraction_and_scales_the_others(self):
    with dropout.scope(0.25, SEED):
      found = dropout.apply(tf.ones([10_000])).numpy()
    self.assertAlmostEqual((found == 0).mean(), 0.25, delta=0.02)
    np.testing.assert_allclose(found[found != 0], 4 / 3, rtol=1e-6)

  def test_depends_on_seed_and_position(self):
    def twice(seed):
      with dropout.scope(0.5, seed):
        return [dropout.apply(tf.ones([50])).numpy().tolist() for _ in '12']

    first, second = twice(SEED)
    self.assertEqual(twice(SEED), [first, second])
    self.assertNotEqual(first, second)
    self.assertNotEqual(twice(SEED + 1)[0], first)


def model_fn():
  """An adapter, and a dense layer on its outputs."""
  inputs = tf.keras.Input([8])
  adapter = adapters.BottleneckAdapter(4, name='adapter')
  outputs = tf.keras.layers.Dense(1, name='head')(adapter(inputs))
  return partial_model.PartialModel(
      tf.keras.Model(inputs, outputs),
      partition.matches('adapter'),
      loss_fn=toy.loss,
      metric_fns={'squared_error': toy.squared_error},
      input_spec=collections.OrderedDict(
          x=tf.TensorSpec([None, 8], tf.float32),
          y=tf.TensorSpec([None, 1], tf.float32),
      ),
  )


def values(variables):
  rng = np.random.default_rng(1)
  return tf.nest.map_structure(
      lambda v: rng.normal(0, 0.5, v.shape).astype(np.float32), variables
  )


def train(rate, seed=0, create=algorithms.fed_alt, epochs=2):
  """All variables after a client's work, as one vector."""
  model = model_fn()
  steps = algorithms.Steps(epochs=epochs, adapter_dropout=rate)
  form = examples_lib.Tensors(batch_size=3)
  output = local_update.local_update(
      model,
      create(toy.sgd(0.1), toy.sgd(0.1), steps=steps).phases,
      local_update.ClientInputs(
          values(model.shared),
          values(model.personal),
          form.value(
              collections.OrderedDict(x=X, y=Y), np.array([seed, 0], np.int32)
          ),
      ),
      client_examples=form,
  )
  parts = [*output.update, *output.personal.trainable]
  return np.concatenate([np.ravel(part) for part in parts])


class TrainingTest(parameterized.TestCase):

  def test_one_step_by_hand(self):
    model = model_fn()
    model.assign(values(model.shared), values(model.personal))
    batch = collections.OrderedDict(x=X, y=Y)
    paths = [v.path for v in model.variables]
    by_path = dict(zip(paths, [*model.to_keras().variables]))
    form = examples_lib.Tensors(batch_size=6)
    seed = form.step_seed(form.value(batch, SEED), 0, tf.constant(0, tf.int64))
    with dropout.scope(0.5, seed):
      kept = dropout.apply(tf.ones([6, 8])).numpy()
    with dropout.scope(0.5, seed):
      found = model.outputs(batch, training=True)
    down = np.maximum(
        X @ by_path['adapter/down/kernel'] + by_path['adapter/down/bias'], 0
    )
    up = down @ by_path['adapter/up/kernel'] + by_path['adapter/up/bias']
    np.testing.assert_allclose(
        found,
        (X + kept * up) @ by_path['head/kernel'] + by_path['head/bias'],
        rtol=1e-5,
        atol=1e-6,
    )

  @parameterized.parameters(algorithms.fed_alt, algorithms.fed_sim)
  def test_repeats_for_the_same_seed_only(self, create):
    first = train(0.5, create=create)
    np.testing.assert_array_equal(train(0.5, create=create), first)
    self.assertGreater(
        np.abs(train(0.5, seed=1, create=create) - first).max(), 0
    )
    self.assertGreater(np.abs(train(0.0, create=create) - first).max(), 0)

  def test_each_step_and_phase_has_another_seed(self):
    form = examples_lib.Tensors(batch_size=3)
    value = form.value(collections.OrderedDict(x=X), SEED)
    seeds = {
        tuple(form.step_seed(value, phase, step).numpy())
        for phase in range(3)
        for step in range(4)
    }
    self.assertLen(seeds, 12)

  def test_bad_rates_and_datasets_are_refused(self):
    phase = algorithms.fed_avg(toy.sgd()).phases[0]
    with self.assertRaisesRegex(ValueError, 'below 1, found 1.0'):
      dataclasses.replace(phase, adapter_dropout=1.0)
    with self.assertRaisesRegex(ValueError, 'a seed for dropout'):
      examples_lib.Sequences().step_seed(None, 0, 0)


if __name__ == '__main__':
  absltest.main()
