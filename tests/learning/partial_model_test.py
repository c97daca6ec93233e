# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The two groups of variables of a model, and what the model computes."""

import collections
import os
import random
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tff_partial import errors
from tff_partial.learning import outlines
from tff_partial.learning import partial_model
from tff_partial.learning import partition


def two_layers(**kwargs):
  inputs = tf.keras.Input([1])
  x = tf.keras.layers.Dense(3, name='first', **kwargs)(inputs)
  return tf.keras.Model(inputs, tf.keras.layers.Dense(1, name='second')(x))


def build(keras_model, rule, **kwargs):
  return partial_model.PartialModel(
      keras_model,
      rule,
      loss_fn=toy.loss,
      metric_fns={'squared_error': toy.squared_error},
      input_spec=toy.INPUT_SPEC,
      **kwargs,
  )


def paths(model, personal):
  return [v.path for v in model.variables if v.personal == personal]


class SplitTest(parameterized.TestCase):

  @parameterized.parameters(
      ('first/', ['first/kernel', 'first/bias']),
      ('bias', ['first/bias', 'second/bias']),
      ('', ['first/kernel', 'first/bias', 'second/kernel', 'second/bias']),
  )
  def test_groups_are_disjoint_and_cover_the_model(self, pattern, expected):
    keras_model = two_layers()
    model = build(keras_model, partition.matches(pattern))
    self.assertEqual(paths(model, personal=True), expected)
    both = [*model.shared.trainable, *model.personal.trainable]
    self.assertCountEqual(
        [v.ref() for v in both], [v.ref() for v in keras_model.variables]
    )
    self.assertLen(model.personal.trainable, len(expected))

  def test_models_in_models_have_paths_of_names(self):
    layers = tf.keras.layers
    inner = tf.keras.Sequential(
        [layers.InputLayer([2]), layers.ReLU(), layers.Dense(3, name='code')],
        name='inner',
    )
    middle = tf.keras.Sequential(
        [layers.InputLayer([2]), layers.ReLU(), inner], name='middle'
    )
    network = tf.keras.Sequential(
        [layers.InputLayer([2]), middle, layers.Dense(1, name='head')]
    )
    model = partial_model.PartialModel(
        network,
        partition.layers('head'),
        loss_fn=toy.loss,
        metric_fns={'squared_error': toy.squared_error},
        input_spec=toy.INPUT_SPEC,
    )
    self.assertEqual(
        [v.path for v in model.variables],
        [
            'middle/inner/code/kernel',
            'middle/inner/code/bias',
            'head/kernel',
            'head/bias',
        ],
    )

  @parameterized.named_parameters(
      ('attribute', lambda m: {'encoder': m}, 'encoder/code'),
      ('list', lambda m: {'blocks': [m]}, 'blocks/0/code'),
      ('dictionary', lambda m: {'blocks': {'a': m}}, 'blocks/a/code'),
      (
          'dot',
          lambda m: {
              'encoder': tf.keras.Sequential(
                  [tf.keras.layers.InputLayer([1]), m]
              )
          },
          'encoder/net_1.00/code',
      ),
  )
  def test_models_in_subclasses_have_paths(self, attributes, expected):
    layers = tf.keras.layers
    inner = tf.keras.Sequential(
        [layers.InputLayer([1]), layers.Dense(1, name='code')], name='net_1.00'
    )

    class Outer(tf.keras.Model):

      def __init__(self):
        super().__init__()
        for name, value in attributes(inner).items():
          setattr(self, name, value)
        self(tf.zeros([1, 1]))

      def call(self, inputs):
        return inner(inputs)

    model = build(Outer(), partition.none)
    self.assertEqual(
        [v.path for v in model.variables],
        [f'{expected}/kernel', f'{expected}/bias'],
    )

  def test_paths_like_those_of_copies_are_refused(self):
    layers = tf.keras.layers
    block = tf.keras.Sequential([layers.Dense(1, name='head')], name='personal')
    with self.assertRaisesRegex(
        errors.SettingsError, 'copy of head/kernel, found personal/head/kernel'
    ):
      build(
          tf.keras.Sequential(
              [layers.InputLayer([1]), block, layers.Dense(1, name='head')]
          ),
          partition.none,
      )

  def test_classes_of_a_subclass(self):
    class Classifier(tf.keras.Model):

      def __init__(self):
        super().__init__()
        self.head = tf.keras.layers.Dense(5)
        self(tf.zeros([1, 1]))

      def call(self, inputs):
        return self.head(inputs)

    model = build(Classifier(), partition.none, classifies=True)
    self.assertEqual(model.num_classes, 5)

  def test_variables_that_are_not_trainable_have_their_own_list(self):
    model = build(
        tf.keras.Sequential(
            [
                tf.keras.layers.InputLayer([1]),
                tf.keras.layers.BatchNormalization(name='norm'),
                tf.keras.layers.Dense(1, name='line'),
            ]
        ),
        partition.layers('norm'),
    )
    self.assertLen(model.personal.trainable, 2)
    self.assertLen(model.personal.non_trainable, 2)
    self.assertEqual(
        [v.path for v in model.variables if not v.trainable],
        ['norm/moving_mean', 'norm/moving_variance'],
    )

  def test_shared_batch_norm_is_refused_by_name(self):
    keras_model = tf.keras.Sequential(
        [
            tf.keras.layers.InputLayer([1]),
            tf.keras.layers.BatchNormalization(name='norm'),
            tf.keras.layers.Dense(1, name='line'),
        ]
    )
    with self.assertRaisesRegex(
        ValueError, "'top' shares norm/moving_mean, norm/moving_variance"
    ):
      build(keras_model, partition.layers('line'), rule_name='top')

  def test_split_that_matches_nothing_is_refused(self):
    with self.assertRaisesRegex(ValueError, "Split 'top' matches no variable"):
      build(two_layers(), partition.layers('head'), rule_name='top')

  def test_model_that_is_not_built_is_refused(self):
    with self.assertRaisesRegex(errors.SettingsError, 'call it on a batch'):
      build(tf.keras.Sequential([tf.keras.layers.Dense(1)]), partition.none)

  def test_variable_outside_of_a_layer_is_refused(self):
    class Hidden(tf.keras.Model):

      def __init__(self):
        super().__init__()
        self.line = tf.keras.layers.Dense(1)
        # Keras counts it as a variable of the model, but has no path to it.
        self._trainable_weights.append(tf.Variable(1.0, name='hidden'))

      def call(self, inputs):
        return self.line(inputs)

    keras_model = Hidden()
    keras_model.build([None, 1])
    with self.assertRaisesRegex(ValueError, r"found \['hidden:0'\] outside"):
      build(keras_model, partition.none)

  def test_nested_layers_have_unique_paths(self):
    block = lambda name: tf.keras.Sequential(
        [tf.keras.layers.Dense(1, name='dense')], name=name
    )
    model = build(
        tf.keras.Sequential(
            [tf.keras.layers.InputLayer([1]), block('a'), block('b')]
        ),
        partition.layers('b'),
    )
    self.assertLen({v.path for v in model.variables}, 4)
    self.assertEqual(
        [v.personal for v in model.variables], [False, False, True, True]
    )

  def test_describe(self):
    variables = outlines.describe(toy.model_fn())
    self.assertEqual(
        [(v.path, v.shape, v.dtype, v.personal) for v in variables],
        [
            ('line/kernel', (1, 1), 'float32', False),
            ('line/bias', (1,), 'float32', True),
        ],
    )


class ComputationTest(absltest.TestCase):

  def test_assign_outputs_loss_metrics(self):
    model = toy.model_fn()()
    model.assign(toy.weights([[2.0]]), toy.weights([1.0]))
    batch = collections.OrderedDict(
        x=tf.constant([[1.0], [2.0]]), y=tf.constant([[1.0], [5.0]])
    )
    outputs = model.outputs(batch, training=False)
    # 2 x + 1 = 3 and 5; the errors are 2 and 0.
    np.testing.assert_allclose(outputs, [[3], [5]])
    self.assertAlmostEqual(float(model.loss(batch, outputs)), 4 / 2 / 2)
    total, weight = model.metrics(batch, outputs)['squared_error']
    np.testing.assert_allclose(total, [4, 0])
    np.testing.assert_allclose(weight, [1, 1])
    self.assertEqual(model.metric_names, ('squared_error',))

  def test_loss_has_regularization(self):
    model = build(
        tf.keras.Sequential(
            [
                tf.keras.layers.InputLayer([1]),
                tf.keras.layers.Dense(
                    1,
                    kernel_initializer='ones',
                    kernel_regularizer=tf.keras.regularizers.L2(0.25),
                ),
            ]
        ),
        partition.none,
    )
    batch = collections.OrderedDict(x=tf.ones([1, 1]), y=tf.ones([1, 1]))
    # There is no error. The regularization loss is 0.25 times 1 squared.
    outputs = model.outputs(batch, training=True)
    self.assertAlmostEqual(float(model.loss(batch, outputs)), 0.25)


class InitialValuesTest(absltest.TestCase):

  def initial_values(self, seed=None):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      if seed is None:
        with partial_model.without_initial_values():
          model = two_layers(bias_initializer='ones')
      else:
        with partial_model.seeded(seed):
          model = two_layers(bias_initializer='ones')
      session.run([v.initializer for v in model.variables])
      return session.run(list(model.variables))

  def test_depend_only_on_the_seed(self):
    first = self.initial_values(1)
    random.seed(5)
    tf.random.set_seed(5)
    again, other = self.initial_values(1), self.initial_values(2)
    for a, b in zip(first, again):
      np.testing.assert_array_equal(a, b)
    self.assertGreater(np.abs(first[0] - other[0]).max(), 0)
    # Layers of one model have different initial values.
    self.assertGreater(np.abs(first[0] - first[2].T).max(), 0)

  def test_do_not_affect_other_random_numbers(self):
    random.seed(3)
    expected = random.random()
    random.seed(3)
    self.initial_values(1)
    self.assertEqual(random.random(), expected)

  def test_need_a_graph(self):
    with self.assertRaisesRegex(ValueError, 'a graph, found eager'):
      with partial_model.seeded(0):
        pass

  def test_that_no_initializer_gives_are_refused(self):
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'model.h5')
      two_layers().save_weights(path)
      ways = (
          lambda m: m.layers[1].kernel.assign([[1, 2, 3]]),
          lambda m: m.set_weights([np.ones(v.shape) for v in m.variables]),
          lambda m: m.load_weights(path),
      )
      for way in ways:
        with tf.Graph().as_default():
          keras_model = two_layers()
          way(keras_model)
          with self.assertRaisesRegex(
              errors.SettingsError, 'also assigns first/kernel.*Constant'
          ):
            build(keras_model, partition.none)
        # Outside of a graph they are not lost.
        keras_model = two_layers()
        way(keras_model)
        build(keras_model, partition.none)

  def test_are_zero_without_initial_values(self):
    for value in self.initial_values():
      np.testing.assert_array_equal(value, np.zeros_like(value))


class AddsLoss(tf.keras.layers.Layer):
  """Adds 0.1 times the mean square of its inputs to the loss."""

  def call(self, inputs):
    self.add_loss(0.1 * tf.reduce_mean(tf.square(inputs)))
    return inputs


def one_weight(*more_layers, **kwargs):
  return tf.keras.Sequential(
      [
          tf.keras.layers.InputLayer([1]),
          tf.keras.layers.Dense(
              1, kernel_initializer='ones', use_bias=False, **kwargs
          ),
          *more_layers,
      ]
  )


class Gate(tf.keras.layers.Layer):
  """Doubles a batch whose sum is positive."""

  def call(self, inputs):
    if tf.reduce_sum(inputs) > 0:
      return 2 * inputs
    return inputs


class ConditionTest(absltest.TestCase):

  def test_is_converted(self):
    x = np.array([[2.0]], np.float32)

    def outputs(model):
      model.assign(
          model.shared._replace(trainable=[np.ones([1, 1], np.float32)]),
          model.personal,
      )
      return [model.outputs({'x': sign * x}, training=True) for sign in (1, -1)]

    make = lambda: build(one_weight(Gate()), partition.none)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      partial_model.check_batch(make())
      found = partial_model.run(make, outputs)
      session.run(tf.compat.v1.global_variables_initializer())
      np.testing.assert_array_equal(session.run(found), [[[4]], [[-2]]])


class LossOfActivitiesTest(parameterized.TestCase):

  @parameterized.parameters(
      lambda: one_weight(activity_regularizer=tf.keras.regularizers.L2(0.1)),
      lambda: one_weight(AddsLoss()),
  )
  def test_is_that_of_each_call_alone(self, create):
    x = np.array([[2.0], [4.0]], np.float32)
    batch = {'x': x, 'y': np.zeros_like(x)}

    def steps(model):
      # Outputs 2 and 4: (4 + 16) / 2 / 2, and 0.1 (4 + 16) / 2. The gradients
      # are (2 * 2 + 4 * 4) / 2 and 0.1 * 2 (2 * 2 + 4 * 4) / 2.
      model.assign(
          model.shared._replace(trainable=[np.ones([1, 1], np.float32)]),
          model.personal,
      )
      return [model.gradients(batch, ['shared'])[::2] for _ in range(2)]

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      found = partial_model.run(lambda: build(create(), partition.none), steps)
      session.run(tf.compat.v1.global_variables_initializer())
      for loss, ((gradient,),) in session.run(found):
        np.testing.assert_allclose(loss, 5 + 1, rtol=1e-6)
        np.testing.assert_allclose(gradient, [[10 + 2]], rtol=1e-6)


class CheckBatchTest(parameterized.TestCase):

  def check(self, loss=toy.loss, metric=toy.squared_error, model=one_weight):
    with tf.Graph().as_default():
      partial_model.check_batch(
          partial_model.PartialModel(
              model(),
              partition.none,
              loss_fn=loss,
              metric_fns={'error': metric},
              input_spec=toy.INPUT_SPEC,
          )
      )

  def test_takes_what_is_right(self):
    self.check()
    self.check(loss=tf.keras.losses.MeanSquaredError())

  @parameterized.parameters(
      (lambda y, o: tf.square(y - o), r'scalar, found float32\(13, 1\)'),
      (lambda y, o: tf.constant(1), r'scalar, found int32\(\)'),
      (lambda y, o: tf.random.normal([]), 'repeat, found others in'),
  )
  def test_refuses_losses(self, loss, message):
    with self.assertRaisesRegex(errors.SettingsError, message):
      self.check(loss=loss)

  @parameterized.parameters(
      (lambda y, o: (y - o, tf.ones_like(y)), r'float32\(13, 1\) and'),
      (lambda y, o: (tf.reduce_sum(y - o), 1.0), r'float32\(\) and float32'),
      (lambda y, o: tf.reduce_sum(y - o, -1), 'two terms .*found Tensor'),
      (lambda y, o: (tf.ones([3]), tf.ones([3])), r'float32\(3,\)'),
  )
  def test_refuses_metrics(self, metric, message):
    with self.assertRaisesRegex(errors.SettingsError, message):
      self.check(metric=metric)

  @parameterized.parameters(
      (lambda y, o: o['logits'], 'fails: TypeError'),
      (lambda y, o: {}['label'], "fails: KeyError: 'label'"),
      (lambda y, o: o.logits, 'fails: AttributeError: .*logits'),
  )
  def test_refuses_what_fails(self, loss, message):
    with self.assertRaisesRegex(errors.SettingsError, message):
      self.check(loss=loss)

  def test_refuses_models_of_other_inputs(self):
    inputs = tf.keras.layers.InputLayer([2])
    model = tf.keras.Sequential([inputs, tf.keras.layers.Dense(1)])
    with self.assertRaisesRegex(errors.SettingsError, 'fails: .* value 2, but'):
      self.check(model=lambda: tf.keras.models.clone_model(model))


if __name__ == '__main__':
  absltest.main()
