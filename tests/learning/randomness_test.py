# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Randomness in models: what it does, and that it is reproducible."""

import collections
import dataclasses
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import worker
from tff_partial import errors
from tff_partial.learning import adapters
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import process
from tff_partial.learning import randomness
from tff_partial.training import personal_store
from tff_partial.training import sampler
from tff_partial.training import training

setUpModule, tearDownModule = worker.start, worker.stop

SEED = tf.constant([3, 4])
X = np.random.default_rng(0).normal(size=[6, 8]).astype(np.float32)
Y = X[:, :1]


class ApplyTest(parameterized.TestCase):

  def test_nothing_is_dropped_outside_of_a_scope(self):
    features = tf.constant(X)
    self.assertIs(randomness.drop_some(features), features)
    with randomness.scope(lambda: SEED, adapter_dropout=0.5):
      pass
    self.assertIs(randomness.drop_some(features), features)

  def test_drops_a_fraction_and_scales_the_others(self):
    with randomness.scope(lambda: SEED, adapter_dropout=0.25):
      found = randomness.drop_some(tf.ones([10_000])).numpy()
    self.assertAlmostEqual((found == 0).mean(), 0.25, delta=0.02)
    np.testing.assert_allclose(found[found != 0], 4 / 3, rtol=1e-6)

  def test_depends_on_seed_and_position(self):
    def twice(seed):
      with randomness.scope(lambda: seed, adapter_dropout=0.5):
        return [
            randomness.drop_some(tf.ones([50])).numpy().tolist() for _ in '12'
        ]

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
    with randomness.scope(lambda: seed, adapter_dropout=0.5):
      kept = randomness.drop_some(tf.ones([6, 8])).numpy()
    with randomness.scope(lambda: seed, adapter_dropout=0.5):
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


class OwnNoise(tf.keras.layers.Layer):
  """Noise of a layer of one's own, from a seed that repeats."""

  def call(self, inputs, training=None):
    if not training:
      return inputs
    return inputs + tf.random.stateless_normal(
        tf.shape(inputs), seed=randomness.next_seed()
    )


def stateful_noise():
  return tf.keras.layers.Lambda(
      lambda x: x + tf.random.normal(tf.shape(x)), name='my_noise'
  )


def recurrent():
  return tf.keras.layers.SimpleRNN(
      4, dropout=0.5, recurrent_dropout=0.5, name='recurrent'
  )


RANDOM_LAYERS = {
    'dropout': [lambda: tf.keras.layers.Dropout(0.5)],
    'gaussian_noise': [lambda: tf.keras.layers.GaussianNoise(0.5)],
    'alpha_dropout': [lambda: tf.keras.layers.AlphaDropout(0.5)],
    'flip': [
        lambda: tf.keras.layers.Reshape([2, 2, 2]),
        tf.keras.layers.RandomFlip,
        lambda: tf.keras.layers.RandomRotation(0.2),
        tf.keras.layers.Flatten,
    ],
    'recurrent': [lambda: tf.keras.layers.Reshape([2, 4]), recurrent],
    'own': [OwnNoise],
}

HEAD = partition.layers('head')


def random_model_fn(*create_layers, rule=HEAD):
  """Layers, and a dense layer whose initial values are random."""

  def make():
    return partial_model.PartialModel(
        tf.keras.Sequential(
            [
                tf.keras.layers.InputLayer([8]),
                tf.keras.layers.Dense(8, name='body'),
                *(create() for create in create_layers),
                tf.keras.layers.Dense(
                    1,
                    kernel_initializer=lambda shape, dtype: tf.random.normal(
                        shape, dtype=dtype
                    ),
                    name='head',
                ),
            ]
        ),
        rule,
        loss_fn=toy.loss,
        metric_fns={'squared_error': toy.squared_error},
        input_spec=collections.OrderedDict(
            x=tf.TensorSpec([None, 8], tf.float32),
            y=tf.TensorSpec([None, 1], tf.float32),
        ),
    )

  return make


def build_process(model_fn, *, create=algorithms.fed_sim):
  return process.build_partial_process(
      model_fn,
      create(toy.sgd(0.001), toy.sgd(0.001)),
      client_examples=examples_lib.Tensors(batch_size=3),
  )


CLIENTS = toy.Clients(
    {c: collections.OrderedDict(x=X + i, y=Y) for i, c in enumerate('abc')}
)


def train_rounds(rounds, total_rounds, *, folder=None, seed=0):
  """All variables after some rounds."""
  with personal_store.PersonalStore(
      rounds.initialize_personal(), folder
  ) as store:
    state = training.train(
        rounds,
        sampler.UniformSampler(CLIENTS, clients_per_round=2, seed=seed),
        store,
        training.Settings(total_rounds),
        progress=False,
    )
    values = [state.global_model_weights, [store.read([c]) for c in store]]
  return b''.join(v.tobytes() for v in tf.nest.flatten(values))


class RandomLayersTest(parameterized.TestCase):

  @parameterized.parameters(*RANDOM_LAYERS)
  def test_a_step_is_a_function_of_its_seed(self, name):
    with tf.Graph().as_default():
      model = random_model_fn(*RANDOM_LAYERS[name])()

      def outputs(seed, training=True):
        with randomness.scope(lambda: seed, layers=model.random_layers):
          return model.outputs({'x': X}, training=training)

      graphs = [outputs([1, 2]), outputs([1, 2]), outputs([3, 4])]
      graphs += [outputs([1, 2], training=False)] * 2
      with tf.compat.v1.Session() as session:
        session.run(tf.compat.v1.global_variables_initializer())
        first, repeated, other, tested, again = session.run(graphs)
        np.testing.assert_array_equal(session.run(graphs[0]), first)
    np.testing.assert_array_equal(first, repeated)
    np.testing.assert_array_equal(tested, again)
    self.assertGreater(np.abs(first - other).max(), 0)
    self.assertGreater(np.abs(first - tested).max(), 0)

  def test_dropout_drops_in_training_alone(self):
    layer = tf.keras.layers.Dropout(0.25)
    model = tf.keras.Sequential([layer])
    own = layer._random_generator
    ones = tf.ones([100, 100])
    with randomness.scope(lambda: SEED, layers=[layer]):
      found = model(ones, training=True).numpy()
      np.testing.assert_array_equal(model(ones, training=False), ones)
    self.assertAlmostEqual((found == 0).mean(), 0.25, delta=0.02)
    np.testing.assert_allclose(found[found != 0], 4 / 3, rtol=1e-6)
    self.assertIs(layer._random_generator, own)

  def test_runs_repeat_and_go_on_with_the_same_bits(self):
    layers = [*RANDOM_LAYERS['dropout'], *RANDOM_LAYERS['flip']]
    rounds = build_process(random_model_fn(*layers))
    whole = train_rounds(rounds, 3)
    self.assertEqual(train_rounds(rounds, 3), whole)
    with tempfile.TemporaryDirectory() as folder:
      train_rounds(rounds, 1, folder=folder)
      self.assertEqual(train_rounds(rounds, 3, folder=folder), whole)
    again = build_process(random_model_fn(*layers))
    self.assertEqual(train_rounds(again, 3), whole)
    self.assertNotEqual(train_rounds(rounds, 3, seed=1), whole)

  def test_copies_of_a_model_repeat_too(self):
    model_fn = random_model_fn(*RANDOM_LAYERS['dropout'], rule=partition.none)
    rounds = build_process(model_fn, create=algorithms.apfl)
    self.assertEqual(train_rounds(rounds, 1), train_rounds(rounds, 1))

  def test_initial_values_are_a_function_of_the_seed(self):
    def heads(seed):
      rounds = process.build_partial_process(
          random_model_fn(),
          algorithms.fed_sim(toy.sgd(), toy.sgd()),
          client_examples=examples_lib.Tensors(3),
          seed=seed,
      )
      return [rounds.initialize_personal().trainable[0] for _ in '12']

    first, repeated = heads(0)
    np.testing.assert_array_equal(first, repeated)
    np.testing.assert_array_equal(first, heads(0)[0])
    self.assertGreater(np.abs(first - heads(1)[0]).min(), 0)
    self.assertGreater(first.std(), 0.3)

  def test_other_random_numbers_are_refused_by_name(self):
    with self.assertRaisesRegex(
        errors.SettingsError, 'repeat, found others in .*my_noise.*next_seed'
    ):
      build_process(random_model_fn(stateful_noise))

  @parameterized.parameters('dropout', 'own')
  def test_datasets_have_no_seed(self, name):
    with self.assertRaisesRegex(errors.SettingsError, 'other random layers'):
      process.build_partial_process(
          random_model_fn(*RANDOM_LAYERS[name]),
          algorithms.fed_sim(toy.sgd(), toy.sgd()),
          client_examples=examples_lib.Sequences(),
      )


if __name__ == '__main__':
  absltest.main()
