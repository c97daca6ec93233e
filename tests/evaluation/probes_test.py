# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Probes of the toy model, whose gradients are computed by hand."""

import dataclasses

from absl.testing import absltest
import numpy as np
import tensorflow_federated as tff

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.evaluation import measurements
from tff_partial.evaluation import moments as moments_lib
from tff_partial.evaluation import one_round
from tff_partial.evaluation import probes
from tff_partial.learning import partition
from tff_partial.runtime import sharding as sharding_lib

ONE_AT_A_TIME = dataclasses.replace(toy.ALL_AT_ONCE, batch_size=1)
EXAMPLES = {
    'a': toy.examples([1, 1], [3, 5]),
    'b': toy.examples([2, 2], [1, 1]),
}
POINT = measurements.Point(
    toy.weights([[0]]),
    lambda client_ids: [toy.weights([0]) for _ in client_ids],
    toy.Clients(EXAMPLES),
)


setUpModule, tearDownModule = worker.start, worker.stop


class ProbesTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.gradient = probes.build_gradient_probe(
        toy.model_fn(), client_examples=ONE_AT_A_TIME
    )
    cls.secant = probes.build_secant_probe(
        toy.model_fn(), client_examples=ONE_AT_A_TIME
    )

  def measure(self, **kwargs):
    return measurements.measure(
        self.gradient,
        self.secant,
        POINT,
        ['a', 'b'],
        shared_step=0.2,
        personal_steps=[0.2, 0.1],
        **kwargs,
    )

  def test_toy(self):
    found = self.measure()
    expected = {
        'num_examples': [2, 2],
        'num_batches': [2, 2],
        'shared_squares': [34, 8],
        'personal_squares': [34, 2],
        'shared_norms': [16, 4],
        'personal_norms': [16, 1],
        'shared_distances': [1, 1],
        'shared_curvature': [1, 4],
        'personal_curvature': [1, 1],
        'mixed_curvature': [1, 2],
        'global_coupling': [12, 6],
        'own_coupling': [16, 4],
        'weights': [2, 2],
    }
    for name, values in expected.items():
      np.testing.assert_allclose(
          getattr(found, name), values, rtol=1e-5, err_msg=name
      )

  def test_shards_give_the_same(self):
    whole = self.measure()
    parts = self.measure(sharding=sharding_lib.Sharding(clients_per_shard=1))
    for field in dataclasses.fields(moments_lib.ClientMoments):
      np.testing.assert_array_equal(
          getattr(whole, field.name), getattr(parts, field.name), field.name
      )

  def test_leading_difference_is_that_of_real_rounds(self):
    moments = self.measure()
    for steps, expected in ((1, 9), (2, 17), (3, 24)):
      found = one_round.leading_difference(
          moments,
          rates=one_round.Rates(0.1, 0.1),
          steps=np.array([steps, steps]),
          participation=1.0,
      )
      self.assertAlmostEqual(found.value, 0.01 * expected, places=5)

  def test_curvature_of_the_mean_loss(self):
    # With the kernel personal, H is the mean of x^2: (1 + 4) / 2.
    kernel = partition.matches('/kernel$')
    probe = probes.build_curvature_probe(
        toy.model_fn(kernel), client_examples=ONE_AT_A_TIME
    )
    point = dataclasses.replace(
        POINT,
        shared=toy.weights([0]),
        personal_fn=lambda client_ids: [toy.weights([[0]]) for _ in client_ids],
    )
    directions = [[np.array([[z]], np.float32)] for z in (1, -1)]
    squares, products = measurements.curvature(
        probe, point, ['a', 'b'], directions
    )
    np.testing.assert_allclose(squares, [2.5**2] * 2, rtol=1e-3)
    np.testing.assert_allclose(products, [2.5] * 2, rtol=1e-3)

  def test_clipped_steps(self):
    # The norms of both gradients together are 3 sqrt(2), 5 sqrt(2), and twice
    # sqrt(5).
    for clip_norm, expected in ((2, 1), (3, 0.5), (5, 0.25), (8, 0)):
      probe = probes.build_clipping_probe(
          toy.model_fn(), client_examples=ONE_AT_A_TIME, clip_norm=clip_norm
      )
      self.assertEqual(
          measurements.clipped_share(probe, POINT, ['a', 'b']),
          expected,
          clip_norm,
      )

  def test_only_shared_gradients_are_aggregated(self):
    computation = self.gradient.computation
    result = computation.type_signature.result
    self.assertEqual(
        str(result[1]), '<float32[1,1]>@SERVER', 'The kernel, not the bias.'
    )
    self.assertEqual(str(result[2]), 'float32@SERVER')
    for moment in result[0].member:
      self.assertEqual(moment, tff.TensorType(np.float32))
    # What the secant probe returns stays at the clients.
    secants = self.secant.computation.type_signature.result
    self.assertIs(secants.placement, tff.CLIENTS)


if __name__ == '__main__':
  absltest.main()
