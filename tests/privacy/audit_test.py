# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""An attack on the noise gains no more than the reported epsilon allows.

Somebody who knows all but whether one client exists looks at the sum of a round
and guesses. How often this is right gives a lower bound of epsilon.
"""

import math

from absl.testing import absltest
import numpy as np
from scipy import stats
import tensorflow as tf

from tff_partial.privacy import accounting
from tff_partial.privacy import aggregation
from tff_partial.privacy import secret_key
from tff_partial.training import sampler

_ROUNDS = 1500  # As many runs of one round: each has noise of its own.
_DELTA = 0.01


class _Population:
  client_ids = ('canary', 'other')


def _sums(noise_multiplier, *, has_canary):
  """The sums of rounds in which each client is with probability 1/2."""
  key = secret_key.from_seed(int(has_canary))
  poisson = sampler.PoissonSampler(_Population, 1, key)
  query = aggregation.KeyedGaussianSumQuery(
      clip=1.0, noise_multiplier=noise_multiplier, key=key
  )

  @tf.function
  def noised_sum(state, update):
    params = query.derive_sample_params(state)
    total = query.preprocess_record(params, [update])
    [result], new_state, _ = query.get_noised_result(total, state)
    return result, new_state

  state, sums = query.initial_global_state(), []
  for round_num in range(_ROUNDS):
    present = has_canary and 'canary' in poisson.cohort(round_num)
    result, state = noised_sum(state, tf.constant([5.0 if present else 0.0]))
    sums.append(result.numpy().item())
  return np.array(sums)


def _least_epsilon(present, absent, threshold):
  """A bound that is wrong with a probability of at most one in a thousand."""
  low = stats.beta.ppf(
      5e-4, (present > threshold).sum(), (present <= threshold).sum() + 1
  )
  high = stats.beta.ppf(
      1 - 5e-4, (absent > threshold).sum() + 1, (absent <= threshold).sum()
  )
  return math.log((low - _DELTA) / high)


class AuditTest(absltest.TestCase):

  def test_attack_stays_below_epsilon_and_finds_noise_that_is_too_small(self):
    reported = accounting.guarantee(
        [accounting.Mechanism(1.0, 'poisson', 2, 1, 1)], _DELTA
    ).epsilon
    for noise, is_honest in ((1.0, True), (0.5, False)):
      present, absent = (
          _sums(noise, has_canary=has_canary) for has_canary in (True, False)
      )
      found = _least_epsilon(present, absent, threshold=1.2)
      self.assertEqual(found <= reported, is_honest, msg=(found, reported))
      self.assertGreater(found, 0)


if __name__ == '__main__':
  absltest.main()
