# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Median and trimmed mean against NumPy, SciPy, and malicious clients."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats
import tensorflow_federated as tff

from tests.helpers import worker
from tff_partial.learning import robust

setUpModule, tearDownModule = worker.start, worker.stop

TYPE = tff.types.to_type([(np.float32, [4]), (np.float32, [2, 1])])


def updates(num_clients):
  rng = np.random.default_rng(0)
  return [
      [
          rng.normal(size=4).astype(np.float32),
          rng.normal(size=[2, 1]).astype(np.float32),
      ]
      for _ in range(num_clients)
  ]


def aggregate(factory, values, weights=None):
  process = factory.create(TYPE, tff.TensorType(np.float32))
  output = process.next(
      process.initialize(), values, weights or [1.0] * len(values)
  )
  return [np.asarray(v) for v in output.result]


def stacked(values):
  return [np.stack(part) for part in zip(*values)]


class TrimmedMeanTest(parameterized.TestCase):

  @parameterized.parameters(1, 4, 5)
  def test_median(self, num_clients):
    values = updates(num_clients)
    found = aggregate(robust.TrimmedMeanFactory(None), values)
    for f, v in zip(found, stacked(values)):
      np.testing.assert_allclose(f, np.median(v, axis=0), rtol=1e-6)

  def test_trimmed_mean(self):
    values = updates(9)  # Of which one is left out at either end.
    found = aggregate(robust.TrimmedMeanFactory(0.2), values)
    for f, v in zip(found, stacked(values)):
      np.testing.assert_allclose(f, stats.trim_mean(v, 0.2), rtol=1e-5)

  def test_clients_of_weight_0_do_not_count(self):
    values = updates(5)
    found = aggregate(
        robust.TrimmedMeanFactory(None), values, [2.0, 0.0, 1.0, 0.0, 5.0]
    )
    for f, v in zip(found, stacked(values[::2])):
      np.testing.assert_allclose(f, np.median(v, axis=0), rtol=1e-6)

  @parameterized.parameters(None, 0.25)
  def test_without_clients_it_is_not_a_number(self, trim):
    for f in aggregate(robust.TrimmedMeanFactory(trim), []):
      self.assertTrue(np.isnan(f).all())

  @parameterized.parameters(None, 0.2)
  def test_stays_among_honest_clients(self, trim):
    honest = updates(8)
    attackers = [[-100 * v for v in update] for update in updates(2)]
    found = aggregate(robust.TrimmedMeanFactory(trim), [*honest, *attackers])
    mean = aggregate(tff.aggregators.MeanFactory(), [*honest, *attackers])
    for f, m, v in zip(found, mean, stacked(honest)):
      self.assertTrue(np.all((v.min(0) <= f) & (f <= v.max(0))))
      self.assertFalse(np.all((v.min(0) <= m) & (m <= v.max(0))))


class SignFlippingTest(absltest.TestCase):

  def test_a_share_of_the_clients_sends_the_opposite(self):
    values = updates(300)
    factory = robust.sign_flipping(tff.aggregators.MeanFactory(), 0.1)
    process = factory.create(TYPE, tff.TensorType(np.float32))
    one = process.initialize()
    flipped = 0
    for value in values[:60]:
      output = process.next(one, [value], [1.0])
      ratio = output.result[0] / value[0]
      np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
      self.assertAlmostEqual(min(abs(ratio[0] - 1), abs(ratio[0] + 10)), 0, 4)
      flipped += ratio[0] < 0
    # 6 +- 4 standard deviations of 2.3.
    self.assertBetween(flipped, 1, 15)
    again = process.next(one, values, [1.0] * 300)
    first = process.next(one, values, [1.0] * 300)
    np.testing.assert_array_equal(first.result[0], again.result[0])


if __name__ == '__main__':
  absltest.main()
