# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gaussian noise on the sum of clipped updates, drawn from a key.

TFF's own Gaussian noise comes from a generator without a seed: a round that is
computed again after a crash has other noise, which is a second release of the
same sum. Here noise is a function of the key, the round and the tensor.

The queries are used in `tff.aggregators.DifferentiallyPrivateFactory`. Its mean
divides by the expected number of clients, because the real one is private.
"""

from collections.abc import Sequence
import math
from typing import Any, NamedTuple, Optional

import dp_accounting
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from tff_partial import errors
from tff_partial.privacy import secret_key

# A clipped update may be longer than the clip by rounding; never by this much.
_ROUNDING = 1e-5
_CLIP_LEARNING_RATE = 0.2  # Those of Andrew et al. 2021, and of TFF.
_CLIENTS_PER_COUNT_STDDEV = 20
_NUM_HASHES = 2**63 - 1  # The most that TensorFlow's hash function takes.


class ClipState(NamedTuple):
  """The server's state.

  Attributes:
    clip: Bound of the l2 norm of an update, all tensors together, float32.
    round_num: Number of completed rounds, int32.
  """

  clip: Any
  round_num: Any


class KeyedGaussianSumQuery(tfp.SumAggregationDPQuery):
  """A sum of clipped records with Gaussian noise from a key."""

  def __init__(
      self,
      *,
      clip: float,
      noise_multiplier: float,
      key: secret_key.SecretKey,
  ):
    """Creates the query.

    Args:
      clip: Bound of the l2 norm of a record.
      noise_multiplier: Standard deviation of the noise over the clip.
      key: Determines the noise.
    """
    self._clip = clip
    self._noise_multiplier = noise_multiplier
    self._hash_key = _hash_key(key)

  def initial_global_state(self):
    return ClipState(tf.constant(self._clip, tf.float32), tf.constant(0))

  def derive_sample_params(self, global_state):
    return global_state.clip

  def preprocess_record(self, params, record):
    clipped, _ = _clip(record, params)
    return clipped

  def get_noised_result(self, sample_state, global_state):
    noised = _add_noise(
        sample_state,
        self._noise_multiplier * global_state.clip,
        self._hash_key,
        global_state.round_num,
    )
    new_state = global_state._replace(round_num=global_state.round_num + 1)
    return noised, new_state, _event(self._noise_multiplier)


class KeyedAdaptiveClipSumQuery(tfp.SumAggregationDPQuery):
  """A noisy sum of records, with a clip that follows a quantile of norms [1].

  Clients also send whether their update was within the clip. The noisy share of
  those that were moves the clip: `clip * exp(-0.2 (share - quantile))`.

  [1] Andrew et al. Differentially Private Learning with Adaptive Clipping.
  NeurIPS 2021. https://arxiv.org/abs/1905.03871
  """

  def __init__(
      self,
      *,
      initial_clip: float,
      quantile: float,
      expected_clients: float,
      noise_multiplier: float,
      key: secret_key.SecretKey,
  ):
    """Creates the query.

    Args:
      initial_clip: The clip of the first round.
      quantile: The share of clients whose updates are to be within the clip.
      expected_clients: Expected number of clients in a round.
      noise_multiplier: What the noise of the sum and that of the share amount
        to together, as a multiplier.
      key: Determines the noise.
    """
    self._initial_clip = initial_clip
    self._quantile = quantile
    self._expected_clients = expected_clients
    self._noise_multiplier = noise_multiplier
    self._sum_multiplier = sum_noise_multiplier(
        noise_multiplier, expected_clients
    )
    self._hash_key = _hash_key(key)

  def initial_global_state(self):
    return ClipState(
        tf.constant(self._initial_clip, tf.float32), tf.constant(0)
    )

  def derive_sample_params(self, global_state):
    return global_state.clip

  def initial_sample_state(self, template=None):
    return super().initial_sample_state((template, tf.constant(0.0)))

  def preprocess_record(self, params, record):
    clipped, norm = _clip(record, params)
    # Half a client more or less: the smallest bound of one client's effect.
    return clipped, tf.where(norm <= params, 0.5, -0.5)

  def get_noised_result(self, sample_state, global_state):
    total, excess = sample_state
    clip, round_num = global_state
    noised = _add_noise(
        total, self._sum_multiplier * clip, self._hash_key, round_num
    )
    stddev = self._expected_clients / _CLIENTS_PER_COUNT_STDDEV
    num_tensors = len(tf.nest.flatten(total))
    if self._noise_multiplier:
      excess += stddev * _normal(
          excess.shape,
          self._hash_key,
          round_num,
          num_tensors,
      )
    share = excess / self._expected_clients + 0.5
    new_clip = clip * tf.exp(-_CLIP_LEARNING_RATE * (share - self._quantile))
    return (
        noised,
        ClipState(new_clip, round_num + 1),
        _event(self._noise_multiplier),
    )

  def derive_metrics(self, global_state):
    return {'clip': global_state.clip}


class KeyedTreeSumQuery(KeyedGaussianSumQuery):
  """A sum of clipped records whose noise over the rounds is that of a tree [1].

  There is noise on each node of a binary tree over the rounds, and the sum of
  the first t rounds has that of the nodes that these rounds consist of: no more
  than log2(t) + 1. A round's own sum has the difference to the round before.
  Nothing is kept between rounds, as the key makes the noise of every node
  again. The noise multiplier is that of a node.

  [1] Kairouz et al. Practical and Private (Deep) Learning without Sampling or
  Shuffling. ICML 2021. https://arxiv.org/abs/2103.00039
  """

  def get_noised_result(self, sample_state, global_state):
    num_rounds = global_state.round_num + 1  # With this one.

    def changed(level, unused_noise):
      # The nodes that end with this round, or that it merges into another.
      return tf.equal(num_rounds % tf.bitwise.left_shift(1, level), 0)

    def change(level, noise):
      ends_here = tf.equal(tf.bitwise.right_shift(num_rounds, level) % 2, 1)
      end = tf.where(ends_here, num_rounds, num_rounds - 1)
      node = tf.bitwise.right_shift(end, level) - 1
      sign = tf.where(ends_here, 1.0, -1.0)
      return level + 1, [
          total
          + sign
          * _normal(
              total.shape,
              self._hash_key,
              level,
              node,
              i,
          )
          for i, total in enumerate(noise)
      ]

    flat = tf.nest.flatten(sample_state)
    _, noise = tf.while_loop(
        changed, change, (tf.constant(0), [tf.zeros_like(t) for t in flat])
    )
    stddev = self._noise_multiplier * self._clip
    noised = [t + stddev * n for t, n in zip(flat, noise)]
    return (
        tf.nest.pack_sequence_as(sample_state, noised),
        global_state._replace(round_num=num_rounds),
        dp_accounting.UnsupportedDpEvent(),  # As of TFP's trees.
    )


def sum_noise_multiplier(
    noise_multiplier: float, expected_clients: float
) -> float:
  """The noise on the sum if the share takes its part of the budget [1, Thm. 1].

  Args:
    noise_multiplier: What both amount to together.
    expected_clients: Expected number of clients in a round; a twentieth of it
      is the standard deviation of the noise on the count, as in TFF.

  Raises:
    errors.SettingsError: If the noise on the count alone would be too little.
  """
  if not noise_multiplier:
    return 0.0
  stddev = expected_clients / _CLIENTS_PER_COUNT_STDDEV
  left = noise_multiplier**-2 - (2 * stddev) ** -2
  if left <= 0:
    least = math.floor(_CLIENTS_PER_COUNT_STDDEV / 2 * noise_multiplier) + 1
    raise errors.SettingsError(
        f'Expected at least {least} `clients_per_round` for adaptive clipping'
        f' with noise multiplier {noise_multiplier:.4g}, found'
        f' {expected_clients:g}. Give `dp_clip`, or take more.'
    )
  return left**-0.5


def build_private_aggregator(
    *,
    noise_multiplier: float,
    expected_clients: float,
    clip: Optional[float],
    key: secret_key.SecretKey,
    initial_clip: float = 0.1,
    quantile: float = 0.5,
    tree: bool = False,
    sum_factory: Optional[tff.aggregators.UnweightedAggregationFactory] = None,
) -> tff.aggregators.UnweightedAggregationFactory:
  """Builds the mean of clipped updates with noise.

  Args:
    noise_multiplier: Standard deviation of the noise on the sum over the clip;
      with an adaptive clip that of all noise together.
    expected_clients: Expected number of clients in a round, which sums are
      divided by.
    clip: Bound of the l2 norm of an update; `None` for an adaptive one.
    key: Determines the noise.
    initial_clip: Where an adaptive clip starts.
    quantile: The share of updates that an adaptive clip leaves as they are.
    tree: Whether the noise is that of a tree over the rounds, which takes a
      fixed clip.
    sum_factory: Sums what clients send; by default in the clear.

  Returns:
    An aggregator for `build_partial_process`, which ignores the weights of
    clients. Give `metrics=False`, too: exact metrics are not private.

  Raises:
    errors.SettingsError: If there are too few clients for an adaptive clip, or
      if a tree is to have one.
  """
  query: tfp.SumAggregationDPQuery
  if tree:
    if clip is None:
      raise errors.SettingsError(
          'Expected a fixed `clip` with `tree`, found none. Give one.'
      )
    query = KeyedTreeSumQuery(
        clip=clip, noise_multiplier=noise_multiplier, key=key
    )
  elif clip is not None:
    query = KeyedGaussianSumQuery(
        clip=clip, noise_multiplier=noise_multiplier, key=key
    )
  else:
    query = KeyedAdaptiveClipSumQuery(
        initial_clip=initial_clip,
        quantile=quantile,
        expected_clients=expected_clients,
        noise_multiplier=noise_multiplier,
        key=key,
    )
  return tff.aggregators.DifferentiallyPrivateFactory(
      tfp.NormalizedQuery(query, float(expected_clients)),
      record_aggregation_factory=sum_factory,
  )


def _clip(record: Any, clip: tf.Tensor) -> tuple[Any, tf.Tensor]:
  """Returns the record, scaled down to the clip, and its norm before.

  A record whose norm is too large for float32 becomes zeros: not a number would
  remain not a number, and show in the sum that this client took part.
  """
  flat = tf.nest.flatten(record)
  norm = tf.linalg.global_norm(flat)
  clipped, _ = tf.clip_by_global_norm(flat, clip * (1 - _ROUNDING), norm)
  clipped = [
      tf.where(tf.math.is_finite(norm), c, tf.zeros_like(c)) for c in clipped
  ]
  return tf.nest.pack_sequence_as(record, clipped), norm


def _add_noise(
    total: Any, stddev: Any, hash_key: Sequence[int], round_num: tf.Tensor
) -> Any:
  noised = [
      tensor + stddev * _normal(tensor.shape, hash_key, round_num, i)
      for i, tensor in enumerate(tf.nest.flatten(total))
  ]
  return tf.nest.pack_sequence_as(total, noised)


def _normal(
    shape: Sequence[int], hash_key: Sequence[int], *numbers: Any
) -> tf.Tensor:
  """Standard normal numbers that depend on nothing but the arguments.

  Seeds of TensorFlow's functions have 32 or 64 bits, and somebody who sees the
  noised sums could try the former one by one. So a keyed hash of `numbers`,
  SipHash-2-4, makes both the key and the counter of the generator, Philox: 189
  bits.

  Args:
    shape: The shape of the result.
    hash_key: Two integers of 64 bits.
    *numbers: Integers. Results for other ones are independent.
  """
  text = [tf.strings.as_string(number) for number in numbers]
  key, *counter = (
      tf.cast(
          tf.strings.to_hash_bucket_strong(
              tf.strings.join([*text, str(i)], ' '), _NUM_HASHES, hash_key
          ),
          tf.uint64,
      )
      for i in range(3)
  )
  return tf.raw_ops.StatelessRandomNormalV2(
      shape=shape,
      key=tf.expand_dims(key, 0),
      counter=tf.stack(counter),
      alg=tf.random.Algorithm.PHILOX.value,
  )


def _hash_key(key: secret_key.SecretKey) -> list[int]:
  digest = key.for_purpose('noise').value
  return np.frombuffer(digest[:16], np.int64).tolist()


def _event(noise_multiplier: float) -> dp_accounting.DpEvent:
  return dp_accounting.GaussianDpEvent(noise_multiplier)
