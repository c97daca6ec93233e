# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Adam with epsilon after bias correction, compared with NumPy."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.learning import algorithms
from tff_partial.learning import corrected_adam
from tff_partial.learning import partition
from tff_partial.learning import process

setUpModule, tearDownModule = worker.start, worker.stop


def numpy_adam(weights, gradients, *, learning_rate, epsilon):
  """Weights after each step of Kingma and Ba's Algorithm 1, in float64."""
  first, second, path = 0.0, 0.0, []
  for t, gradient in enumerate(gradients, 1):
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient**2
    mean, variance = first / (1 - 0.9**t), second / (1 - 0.999**t)
    weights = weights - learning_rate * mean / (np.sqrt(variance) + epsilon)
    path.append(weights)
  return np.array(path)


def steps(optimizer, weights, gradients):
  """The same with an optimizer of TFF."""
  state = optimizer.initialize(tf.TensorSpec(weights.shape, tf.float32))
  weights, path = tf.constant(weights, tf.float32), []
  for gradient in gradients:
    state, weights = optimizer.next(
        state, weights, tf.constant(gradient, tf.float32)
    )
    path.append(weights.numpy())
  return np.array(path)


class CorrectedAdamTest(parameterized.TestCase):

  @parameterized.product(size=(1e-7, 1e-8, 1.0), epsilon=(1e-8, 1e-3))
  def test_is_the_adam_of_its_paper(self, size, epsilon):
    gradients = size * np.random.default_rng(0).normal(1, 1, [12, 5])
    found = steps(
        corrected_adam.CorrectedAdam(1.0, epsilon=epsilon),
        np.zeros(5),
        gradients,
    )
    expected = numpy_adam(
        np.zeros(5), gradients, learning_rate=1.0, epsilon=epsilon
    )
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)

  def test_tffs_adam_moves_less_far_with_small_gradients(self):
    # What is expected at t = 1: g / (g + 1e-8), and with TFF's epsilon
    # g / (g + 1e-7 / sqrt(0.001)).
    gradients = np.full([12, 1], 1e-7)
    start = np.zeros(1)
    ours = steps(corrected_adam.CorrectedAdam(1.0), start, gradients)
    tffs = steps(tff.learning.optimizers.build_adam(1.0), start, gradients)
    np.testing.assert_allclose(ours[0], [-1 / 1.1], rtol=1e-4)
    np.testing.assert_allclose(tffs[0], [-1 / (1 + 1000**0.5)], rtol=1e-3)
    self.assertLess(abs(tffs[11, 0]), 0.2 * abs(ours[11, 0]))

  def test_no_gradient_moves_nothing(self):
    found = steps(
        corrected_adam.CorrectedAdam(1.0), np.ones(2), np.zeros([3, 2])
    )
    np.testing.assert_array_equal(found, np.ones([3, 2]))

  def test_keeps_its_hyperparameters(self):
    optimizer = corrected_adam.CorrectedAdam(0.5)
    spec = tf.TensorSpec([], tf.float32)
    state = optimizer.initialize(spec)
    before = optimizer.get_hparams(state)
    state, _ = optimizer.next(state, tf.constant(1.0), tf.constant(1e-7))
    tf.nest.map_structure(
        np.testing.assert_allclose, optimizer.get_hparams(state), before
    )
    self.assertEqual(state['step'], 1)
    tf.nest.map_structure(
        np.testing.assert_allclose,
        optimizer.get_hparams(optimizer.set_hparams(state, before)),
        before,
    )

  def test_at_the_server(self):
    # Two examples and a client rate of 1e-7: the update is 1e-7 * gradient.
    rate = 1e-7
    p = process.build_partial_process(
        toy.model_fn(partition.none),
        algorithms.fed_avg(toy.sgd(rate)),
        client_examples=toy.ALL_AT_ONCE,
        server_optimizer=corrected_adam.CorrectedAdam(1e-3),
    )
    xs, ys = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    state = p.initialize()
    w, gradients = np.zeros(2), []
    for _ in range(3):
      error = w[0] * xs + w[1] - ys
      gradients.append(rate * np.array([np.mean(error * xs), np.mean(error)]))
      w = numpy_adam(np.zeros(2), gradients, learning_rate=1e-3, epsilon=1e-8)[
          -1
      ]
      state, _, _ = p.next(
          state, [p.initialize_personal()], [toy.value(xs, ys)]
      )
      found = [
          float(np.squeeze(v)) for v in state.global_model_weights.trainable
      ]
      np.testing.assert_allclose(found, w, rtol=2e-3)


if __name__ == '__main__':
  absltest.main()
