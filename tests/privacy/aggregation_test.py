# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Noise of the right size, from a key; clipping; and one release a round."""

import collections

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import worker
from tff_partial import errors
from tff_partial.privacy import aggregation
from tff_partial.privacy import secret_key
from tff_partial.privacy import secure_sums

setUpModule, tearDownModule = worker.start, worker.stop

SIZE = 400
TYPE = tff.types.to_type([(np.float32, [SIZE]), (np.float32, [SIZE])])


def create(
    *, noise_multiplier=0.0, clip=1.0, expected_clients=20.0, key=0, **kwargs
):
  kwargs.setdefault('initial_clip', 0.1)
  kwargs.setdefault('quantile', 0.5)
  return aggregation.build_private_aggregator(
      noise_multiplier=noise_multiplier,
      clip=clip,
      expected_clients=expected_clients,
      key=secret_key.from_seed(key),
      **kwargs,
  ).create(TYPE)


def record(number, index=0):
  """A record of this norm."""
  first, second = np.zeros([2, SIZE], np.float32)
  first[index] = number
  return [first, second]


def results(process, cohorts):
  """The mean of each round, float [rounds, 2, SIZE], and its measurements."""
  state, means, measurements = process.initialize(), [], []
  for cohort in cohorts:
    output = process.next(state, cohort)
    state = output.state
    means.append(np.array(output.result))
    measurements.append(output.measurements['dp_query_metrics'])
  return np.array(means), measurements


def siphash(key, text):
  """SipHash-2-4 of Aumasson and Bernstein (2012), of 16 bytes and a text."""
  mask = 2**64 - 1
  k0, k1 = (int.from_bytes(key[i : i + 8], 'little') for i in (0, 8))
  v = [
      k0 ^ 0x736F6D6570736575,
      k1 ^ 0x646F72616E646F6D,
      k0 ^ 0x6C7967656E657261,
      k1 ^ 0x7465646279746573,
  ]

  def left(x, bits):
    return (x << bits | x >> (64 - bits)) & mask

  def rounds(number):
    for _ in range(number):
      for a, b, bits in ((0, 1, 13), (2, 3, 16)):
        v[a] = (v[a] + v[b]) & mask
        v[b] = left(v[b], bits) ^ v[a]
      v[0] = left(v[0], 32)
      for a, b, bits in ((0, 3, 21), (2, 1, 17)):
        v[a] = (v[a] + v[b]) & mask
        v[b] = left(v[b], bits) ^ v[a]
      v[2] = left(v[2], 32)

  whole = len(text) // 8
  words = [text[8 * i : 8 * i + 8] for i in range(whole)]
  rest = text[8 * whole :].ljust(7, b'\0') + bytes([len(text) % 256])
  for word in (*words, rest):
    m = int.from_bytes(word, 'little')
    v[3] ^= m
    rounds(2)
    v[0] ^= m
  v[2] ^= 0xFF
  rounds(4)
  return v[0] ^ v[1] ^ v[2] ^ v[3]


class NoiseTest(parameterized.TestCase):

  def test_hash_of_this_test(self):
    # Of the bytes 0 to 14, with the key of the bytes 0 to 15 (appendix A).
    self.assertEqual(
        siphash(bytes(range(16)), bytes(range(15))), 0xA129CA6149BE45E5
    )

  def test_generator_starts_from_189_secret_bits(self):
    # Seeds of 32 bits can be tried one by one.
    means, _ = results(
        create(noise_multiplier=1.0, expected_clients=1.0), [[], [], []]
    )
    key = secret_key.from_seed(0).for_purpose('noise').value[:16]
    for round_num in range(3):
      for tensor in range(2):
        start, *counter = (
            siphash(key, f'{round_num} {tensor} {i}'.encode()) % (2**63 - 1)
            for i in range(3)
        )
        expected = tf.raw_ops.StatelessRandomNormalV2(
            shape=[SIZE],
            key=tf.constant([start], tf.uint64),
            counter=tf.constant(counter, tf.uint64),
            alg=1,  # Philox.
        )
        np.testing.assert_allclose(
            means[round_num, tensor], expected, rtol=1e-6
        )

  def test_has_the_size_of_the_multiplier_also_for_an_empty_cohort(self):
    # 12,000 numbers of standard deviation 1.5 * 0.8 / 20 = 0.06.
    process = create(noise_multiplier=1.5, clip=0.8)
    cohorts = [[], [record(0.0)]] * 8
    means, _ = results(process, cohorts[:15])
    noise = means.ravel() / 0.06
    low, high = stats.chi2.interval(1 - 1e-6, noise.size)
    self.assertBetween(np.sum(np.square(noise)), low, high)
    self.assertGreater(stats.kstest(noise, 'norm').pvalue, 1e-6)
    # Rounds and tensors have noise of their own: 30 rows of 400 numbers, whose
    # correlations have standard deviation 0.05.
    correlations = np.corrcoef(means.reshape([30, SIZE]))
    others = correlations[~np.eye(30, dtype=bool)]
    self.assertLess(np.abs(others).max(), 0.3)

  def test_is_a_function_of_the_key_and_the_round(self):
    cohorts = [[record(0.5)], [], [record(0.0), record(2.0)]]
    run = lambda **kwargs: results(
        create(noise_multiplier=1.0, **kwargs), cohorts
    )[0]
    means = run()
    np.testing.assert_array_equal(means, run())
    other = run(key=1)
    self.assertLess(
        abs(np.corrcoef(means[:, 1].ravel(), other[:, 1].ravel())[0, 1]), 0.2
    )

  def test_a_round_that_is_computed_again_releases_nothing_new(self):
    process = create(noise_multiplier=1.0)
    state = process.next(process.initialize(), [record(0.5)]).state
    first, second = (process.next(state, [record(0.5)]) for _ in range(2))
    np.testing.assert_array_equal(first.result, second.result)

  def test_adaptive_noise_is_that_of_both_releases_together(self):
    # z_sum = (1^-2 - (2 * 2)^-2)^-1/2 for a count of 40 / 20 = 2.
    self.assertAlmostEqual(
        aggregation.sum_noise_multiplier(1.0, 40.0), (1 - 1 / 16) ** -0.5
    )
    process = create(noise_multiplier=1.0, clip=None, expected_clients=40.0)
    means, _ = results(process, [[]])
    expected = (15 / 16) ** -0.5 * 0.1 / 40
    low, high = stats.chi2.interval(1 - 1e-6, means.size)
    self.assertBetween(np.sum(np.square(means / expected)), low, high)

  def test_noise_of_the_count_that_moves_an_adaptive_clip(self):
    # The deviation of a count of 40 clients is 2, and of their share 1 / 20.
    process = create(noise_multiplier=1.0, clip=None, expected_clients=40.0)
    _, measurements = results(process, [[]] * 60)
    clips = np.array([0.1, *(m['clip'] for m in measurements)])
    noise = np.diff(np.log(clips)) / 0.2 * 20
    low, high = stats.chi2.interval(1 - 1e-6, noise.size)
    self.assertBetween(np.sum(np.square(noise)), low, high)

  def test_too_few_clients_for_an_adaptive_clip(self):
    with self.assertRaisesRegex(
        errors.SettingsError,
        'Expected at least 31 `clients_per_round` for adaptive clipping with'
        ' noise multiplier 3, found 30. Give `dp_clip`, or take more.',
    ):
      create(noise_multiplier=3.0, clip=None, expected_clients=30.0)
    create(noise_multiplier=3.0, clip=None, expected_clients=31.0)


class TreeTest(absltest.TestCase):

  def test_sums_of_rounds_have_the_noise_of_their_nodes(self):
    process = create(
        noise_multiplier=1.5, clip=0.8, expected_clients=1.0, tree=True
    )
    means, _ = results(process, [[], [record(0.5)], [], [], [], [], [], []])
    sums = np.cumsum(means, axis=0, dtype=np.float64) / 1.2
    sums[1:, 0, 0] -= 0.5 / 1.2
    # After 4 rounds there is one node, after 7 there are three, of 1, 2 and 4
    # rounds, and so on: 800 numbers each.
    low, high = stats.chi2.interval(1 - 1e-6, 2 * SIZE)
    for num_rounds, num_nodes in enumerate([1, 1, 2, 1, 2, 2, 3, 1], 1):
      squares = np.sum(np.square(sums[num_rounds - 1])) / num_nodes
      self.assertBetween(squares, low, high)
    # Sums that have no node in common are independent, and others are not.
    flat = sums.reshape([8, -1])
    correlation = np.corrcoef(flat)
    self.assertLess(abs(correlation[0, 1]), 0.2)
    self.assertLess(abs(correlation[3, 7]), 0.2)
    self.assertAlmostEqual(correlation[3, 4], 0.5**0.5, delta=0.1)
    self.assertAlmostEqual(correlation[5, 6], (2 / 3) ** 0.5, delta=0.1)

  def test_takes_a_fixed_clip(self):
    with self.assertRaisesRegex(errors.SettingsError, 'fixed `clip` with'):
      create(noise_multiplier=1.0, clip=None, tree=True)


class ClipTest(absltest.TestCase):

  def test_mean_of_clipped_records_over_the_expected_number(self):
    means, _ = results(
        create(clip=1.0, expected_clients=4.0),
        [[record(0.5), record(8.0, 1), [np.full(SIZE, 1.0, np.float32)] * 2]],
    )
    together = (1 - 1e-5) / np.sqrt(2 * SIZE)
    expected = np.full([2, SIZE], together)
    expected[0, 0] += 0.5
    expected[0, 1] += 1 - 1e-5
    np.testing.assert_allclose(means[0], expected / 4, rtol=1e-5)

  def test_one_client_moves_the_sum_by_no_more_than_the_clip(self):
    rng = np.random.default_rng(0)
    others = [list(rng.normal(size=[2, SIZE]).astype(np.float32))] * 3
    process = create(clip=0.7, expected_clients=1.0)
    for scale in (1e-3, 1.0, 1e20):
      one = list((scale * rng.normal(size=[2, SIZE])).astype(np.float32))
      means, _ = results(process, [others])
      more, _ = results(process, [[*others, one]])
      moved = np.linalg.norm(more.astype(np.float64) - means)
      self.assertLess(moved, 0.7 + 1e-5)
      if scale == 1:
        self.assertGreater(moved, 0.7 - 1e-4)

  def test_adaptive_clip_follows_the_quantile(self):
    # Two of three are within 0.1: share 2.0 / 3 = 1/2 + (2 - 1) / 2 / 3.
    cohort = [record(0.05), record(0.05), record(3.0)]
    process = create(clip=None, expected_clients=3.0)
    _, measurements = results(process, [cohort, [], cohort])
    first = 0.1 * np.exp(-0.2 * (2 / 3 - 0.5))
    expected = [first, first, first * np.exp(-0.2 * (2 / 3 - 0.5))]
    np.testing.assert_allclose(
        [m['clip'] for m in measurements], expected, rtol=1e-5
    )

  def test_one_client_moves_the_count_by_half(self):
    process = create(clip=None, expected_clients=4.0)
    for norm, count in ((0.05, 0.5), (3.0, -0.5)):
      _, [measured] = results(process, [[record(norm)]])
      expected = 0.1 * np.exp(-0.2 * count / 4)
      np.testing.assert_allclose(measured['clip'], expected, rtol=1e-6)

  def test_norm_after_rounding_to_integers_is_no_more_than_the_clip(self):
    process = create(
        clip=0.7,
        expected_clients=1.0,
        sum_factory=secure_sums.BoundedSecureSumFactory(0.7),
    )
    rng = np.random.default_rng(0)
    for _ in range(3):
      one = list(rng.normal(size=[2, SIZE]).astype(np.float32))
      means, _ = results(process, [[one]])
      norm = np.linalg.norm(means.astype(np.float64))
      self.assertBetween(norm, 0.7 - 1e-4, 0.7)

  def test_without_noise_a_fixed_clip_is_the_mean(self):
    records = [record(0.25), record(0.5), record(0.125)]
    means, measurements = results(
        create(clip=1.0, expected_clients=4.0), [records]
    )
    self.assertEqual(means[0, 0, 0], 0.875 / 4)
    self.assertEqual(measurements, [collections.OrderedDict()])

  def test_state_has_no_key(self):
    state = create(noise_multiplier=1.0).initialize()
    leaves = [np.asarray(x) for x in tf.nest.flatten(state)]
    key = secret_key.from_seed(0).for_purpose('noise').value
    for leaf in leaves:
      self.assertNotIn(key[:4], leaf.tobytes())
      self.assertEqual(leaf.ndim, 0)


if __name__ == '__main__':
  absltest.main()
