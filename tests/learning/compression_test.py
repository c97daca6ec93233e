# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Quantized updates: unbiased, repeatable, and with the bytes of a coder."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import worker
from tff_partial.learning import compression
from tff_partial.privacy import aggregation
from tff_partial.privacy import secret_key

setUpModule, tearDownModule = worker.start, worker.stop

TYPE = tff.types.to_type([(np.float32, [50]), (np.float32, [2, 3])])


def update(seed=0):
  rng = np.random.default_rng(seed)
  return [
      rng.normal(size=50).astype(np.float32),
      rng.normal(size=[2, 3]).astype(np.float32),
  ]


def gamma_code(level):
  """Elias's gamma code of an integer, as a string of bits."""
  number = -2 * level if level < 0 else 2 * level + 1
  binary = f'{number:b}'
  return '0' * (len(binary) - 1) + binary


def quantize(value, round_num, bits):
  decoded, num_bytes = compression.quantize(
      [tf.constant(v) for v in value], tf.constant(round_num), bits=bits
  )
  return [d.numpy() for d in decoded], num_bytes.numpy()


class QuantizeTest(parameterized.TestCase):

  @parameterized.parameters(2, 4, 8)
  def test_levels_and_bytes_of_a_coder(self, bits):
    most = 2 ** (bits - 1) - 1
    decoded, num_bytes = quantize(update(), 3, bits)
    total = 0
    for tensor, found in zip(update(), decoded):
      step = np.abs(tensor).max() / most
      levels = found / step
      np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
      self.assertLess(np.abs(found - tensor).max(), step * 1.0001)
      code = ''.join(gamma_code(int(n)) for n in np.round(levels).ravel())
      total += 33 + min(len(code), bits * tensor.size)
    self.assertEqual(num_bytes, -(-total // 8))
    self.assertLessEqual(num_bytes, compression.most_bytes([50, 6], bits=bits))

  def test_zeros_have_a_bit_each(self):
    decoded, num_bytes = quantize([np.zeros(800, np.float32)], 0, 8)
    np.testing.assert_array_equal(decoded[0], np.zeros(800))
    self.assertEqual(num_bytes, (33 + 800 + 7) // 8)

  def test_mean_over_rounds_is_the_update(self):
    rounds = 400
    mean = np.mean([quantize(update(), r, 2)[0][0] for r in range(rounds)], 0)
    step = np.abs(update()[0]).max()
    # The standard deviation of a number is half a step at most.
    self.assertLess(
        np.abs(mean - update()[0]).max(), 5 * step / 2 / rounds**0.5
    )


class AggregationTest(absltest.TestCase):

  def test_bytes_of_all_clients_and_the_same_bits_again(self):
    process = compression.quantizing(
        tff.aggregators.MeanFactory(), bits=4
    ).create(TYPE, tff.TensorType(np.float32))
    state = process.initialize()
    arguments = [update(0), update(1)], [1.0, 3.0]
    first = process.next(state, *arguments)
    again = process.next(state, *arguments)
    quantized = [quantize(update(seed), 0, 4) for seed in (0, 1)]
    self.assertEqual(
        first.measurements['bytes_up'], sum(size for _, size in quantized)
    )
    mean = (quantized[0][0][0] + 3 * quantized[1][0][0]) / 4
    np.testing.assert_allclose(first.result[0], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(first.result[0], again.result[0])
    later = process.next(first.state, *arguments)
    self.assertNotEqual(later.result[0].tobytes(), first.result[0].tobytes())

  def test_differential_privacy_clips_what_is_quantized(self):
    private = aggregation.build_private_aggregator(
        noise_multiplier=0.0,
        expected_clients=1,
        clip=0.5,
        key=secret_key.from_seed(0),
    )
    process = compression.quantizing(private, bits=2, measure=False).create(
        TYPE, tff.TensorType(np.float32)
    )
    output = process.next(process.initialize(), [update()], [1.0])
    norm = np.sqrt(sum(np.sum(np.square(v)) for v in output.result))
    self.assertBetween(norm, 0.4999, 0.5)
    self.assertNotIn('bytes_up', output.measurements)

  def test_float16_on_the_way_down(self):
    values = [
        np.array([1 / 3, 1e6, -2.0], np.float32),
        np.array([2**20 + 1], np.int32),
    ]
    weights_type = tff.types.to_type([(np.float32, [3]), (np.int32, [1])])
    process = compression.build_float16_broadcast(weights_type)

    @tff.federated_computation(
        process.next.type_signature.parameter[0],
        process.next.type_signature.parameter[1],
        tff.FederatedType(np.int32, tff.CLIENTS),
    )
    def received(state, weights, clients):
      return tff.federated_map(
          tff.tensorflow.computation(lambda w, c: w, weights_type, np.int32),
          (process.next(state, weights).result, clients),
      )

    [found] = received(process.initialize(), values, [0])
    np.testing.assert_array_equal(
        found[0], np.array([np.float16(1 / 3), 65504, -2], np.float32)
    )
    self.assertEqual(found[1], [2**20 + 1])


if __name__ == '__main__':
  absltest.main()
