# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Constants that are part of the computation of a round."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tests.helpers import worker
from tff_partial import errors
from tff_partial.learning import algorithms
from tff_partial.learning import constants
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import process

setUpModule, tearDownModule = worker.start, worker.stop


def model_fn():
  """The toy model after a frozen layer, which is the identity at first."""
  scale = tf.keras.layers.Dense(
      1, kernel_initializer='ones', name='scale', trainable=False
  )
  return partial_model.PartialModel(
      tf.keras.Sequential(
          [tf.keras.layers.InputLayer([1]), scale, *toy.keras_model().layers]
      ),
      partition.none,
      loss_fn=toy.loss,
      metric_fns={'squared_error': toy.squared_error},
      input_spec=toy.INPUT_SPEC,
  )


def weights(kernel, *trainable):
  """Shared variables with this kernel of the frozen layer, and bias 0.5."""
  return toy.weights(*trainable)._replace(
      non_trainable=[np.full([1, 1], kernel, np.float32), np.float32([0.5])]
  )


def build(make_model, algorithm=None):
  return process.build_partial_process(
      make_model,
      algorithm or algorithms.fed_avg(toy.sgd(0.1)),
      client_examples=toy.ALL_AT_ONCE,
      server_optimizer=tff.learning.optimizers.build_sgdm(1.0),
  )


class ConstantsTest(parameterized.TestCase):

  def test_are_not_in_the_state(self):
    fixed = constants.with_constants(model_fn, weights(2).non_trainable)
    state, *_ = build(fixed).next.type_signature.parameter
    self.assertEqual(
        state.member.global_model_weights.compact_representation(),
        '<trainable=<float32[1,1],float32[1]>,non_trainable=<>>',
    )
    self.assertIs(constants.with_constants(model_fn, []), model_fn)
    few = constants.with_constants(model_fn, weights(2).non_trainable[:1])
    with self.assertRaisesRegex(errors.SettingsError, 'of the 2 .*, found 1'):
      few()

  @parameterized.parameters(
      (algorithms.fed_avg(toy.sgd(0.1)),),
      (algorithms.ditto(toy.sgd(0.1), toy.sgd(0.1), penalty=0.1),),
      (algorithms.apfl(toy.sgd(0.1), toy.sgd(0.1)),),
      (algorithms.fed_apm(toy.sgd(0.1), toy.sgd(0.1), rho=0.2),),
  )
  def test_round_has_the_same_bits_as_with_a_broadcast(self, algorithm):
    shared = weights(2, [[0.25]], [1])
    results = []
    for make in (
        model_fn,
        constants.with_constants(model_fn, shared.non_trainable),
    ):
      rounds = build(make, algorithm)
      personal = rounds.initialize_personal()
      state = rounds.start_from(rounds.initialize(), shared, personal)
      clients = [toy.value([1, 2], [3, 4]), toy.value([5], [6])]
      results.append(rounds.next(state, [personal] * 2, clients))
    (before, *expected), (after, *found) = results
    tf.nest.map_structure(np.testing.assert_array_equal, expected, found)
    trained = lambda state: state.global_model_weights.trainable
    tf.nest.map_structure(
        np.testing.assert_array_equal, trained(before), trained(after)
    )
    self.assertNotEqual(trained(after)[0], [[0.25]])

  def test_values_by_hand(self):
    """Of one client with x = 1 and y = 3: h = 2 x + 0.5, e = h w + b - y."""
    shared = weights(2, [[0]], [0])
    rounds = build(constants.with_constants(model_fn, shared.non_trainable))
    personal = rounds.initialize_personal()
    state = rounds.start_from(rounds.initialize(), shared, personal)
    state, _, _ = rounds.next(state, [personal], [toy.value([1], [3])])
    kernel, bias = state.global_model_weights.trainable
    np.testing.assert_allclose(kernel, [[0.1 * 3 * 2.5]], rtol=1e-6)
    np.testing.assert_allclose(bias, [0.3], rtol=1e-6)

  def test_start_from_other_constants_is_refused(self):
    fixed = constants.with_constants(model_fn, weights(2).non_trainable)
    rounds = build(fixed)
    state = rounds.initialize()
    personal = rounds.initialize_personal()
    with self.assertRaisesRegex(errors.SettingsError, 'found other values'):
      rounds.start_from(state, weights(3, [[0]], [0]), personal)
    same = rounds.start_from(
        state, state.global_model_weights, personal
    ).global_model_weights
    self.assertIsInstance(same, tff.learning.models.ModelWeights)
    self.assertEmpty(same.non_trainable)


if __name__ == '__main__':
  absltest.main()
