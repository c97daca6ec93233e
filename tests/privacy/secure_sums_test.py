# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Secure sums: of bounded numbers, and of nothing else."""

from absl.testing import absltest
import numpy as np
import tensorflow_federated as tff

from tests.helpers import worker
from tff_partial.learning import data_flow
from tff_partial.privacy import secure_sums

setUpModule, tearDownModule = worker.start, worker.stop

TYPE = tff.types.to_type([(np.float32, [2]), np.float32])


class SecureSumsTest(absltest.TestCase):

  def test_sum_of_numbers_within_the_bound(self):
    process = secure_sums.BoundedSecureSumFactory(4.0).create(TYPE)
    value = lambda a, b, c: [np.array([a, b], np.float32), np.float32(c)]
    # 9 is clipped to 4, and numbers are rounded to multiples of 2^-29.
    output = process.next(
        process.initialize(), [value(1.1, -2.3, 0.0), value(9.0, 0.5, -4.0)]
    )
    np.testing.assert_allclose(output.result[0], [5.1, -1.8], atol=1e-6)
    np.testing.assert_allclose(output.result[1], -4.0, atol=1e-6)
    exact = process.next(process.initialize(), [value(1.0, 2.0, -3.0)] * 3)
    np.testing.assert_array_equal(exact.result[0], [3.0, 6.0])
    self.assertEqual(exact.result[1], -9.0)
    empty = process.next(process.initialize(), [])
    np.testing.assert_array_equal(empty.result[0], [0.0, 0.0])

  def test_clients_send_nothing_else(self):
    process = secure_sums.BoundedSecureSumFactory(1.0).create(TYPE)
    found = data_flow.leaves_clients(process.next)
    self.assertTrue(all(x.is_secure for x in found))
    self.assertEqual([str(x.type_spec) for x in found], ['<int64[2],int64>'])


if __name__ == '__main__':
  absltest.main()
