# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The parts of algorithms that settings ask for."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow_federated as tff

from tff_partial.experiments import parts
from tff_partial.experiments.settings import config as config_lib
from tff_partial.runtime import in_process

_FLIPS = {'attack': 'sign_flip', 'attackers': 1.0}  # All send -10 times theirs.


class AggregatorTest(parameterized.TestCase):

  @parameterized.parameters(
      ({}, (1 + 2 + 3 + 10 + 6 * 100) / 10),
      ({'aggregator': 'median'}, 3),
      ({'aggregator': 'trimmed_mean', 'trim': 0.2}, (2 + 3 + 10) / 3),
      ({'aggregator': 'trimmed_mean', 'trim': 0.4}, 3),
      (_FLIPS, -616),
      ({'aggregator': 'median', **_FLIPS}, -30),
      ({'aggregator': 'median', **_FLIPS, 'attackers': 0.0}, 3),
  )
  def test_by_hand(self, settings, expected):
    aggregator = parts.build_aggregator(config_lib.create(**settings))
    number = tff.TensorType(np.float32)
    # Updates of models are structures.
    process = aggregator.create(tff.types.to_type([number]), number)
    with in_process.in_process():
      output = process.next(
          process.initialize(),
          [[np.float32(v)] for v in (10, 1, 100, 3, 2)],
          [1.0, 1.0, 6.0, 1.0, 1.0],
      )
    np.testing.assert_allclose(output.result[0], expected, rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
