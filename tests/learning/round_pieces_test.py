# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A round in pieces gives the same result as the round as a whole."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.learning import algorithms
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process
from tff_partial.privacy import aggregation
from tff_partial.privacy import secret_key
from tff_partial.privacy import secure_sums

setUpModule, tearDownModule = worker.start, worker.stop

CLIENTS = toy.random_clients(7)
# An aggregator with state.
ADAPTIVELY_CLIPPED_SUM = tff.aggregators.clipping_factory(
    tff.aggregators.PrivateQuantileEstimationProcess.no_noise(1.0, 0.5, 0.2),
    tff.aggregators.SumFactory(),
)
# Relative error of sums of a few float32 numbers in another order.
SUM_ERROR = 8 * np.finfo(np.float32).eps


@functools.cache  # Building one takes seconds.
def build(**kwargs):
  return process.build_partial_process(
      toy.model_fn(),
      algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2)),
      client_examples=toy.ALL_AT_ONCE,
      server_optimizer=tff.learning.optimizers.build_adam(0.1),
      **kwargs,
  )


def examples():
  return [
      toy.ALL_AT_ONCE.value(CLIENTS.read(c), np.array([0, 0], np.int32))
      for c in CLIENTS.client_ids
  ]


def flat(value):
  return [np.asarray(leaf) for leaf in tf.nest.flatten(value)]


def bits(value):
  return [leaf.tobytes() for leaf in flat(value)]


def in_pieces(p, state, personal, sizes, most_waiting=1):
  """Computes the round in shards of these sizes."""
  trained, waiting, start = [], [], 0
  for size in sizes:
    part = slice(start, start + size)
    values, sums = p.pieces.partial_round(
        p.pieces.for_clients(state), personal[part], examples()[part]
    )
    trained.extend(values)
    waiting.append(sums)
    if len(waiting) > most_waiting:
      waiting = [p.pieces.merge(len(waiting))(*waiting)]
    start += size
  state, metrics = p.pieces.finalize(state, waiting)
  return state, trained, metrics


class RoundPiecesTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('mean', {}),
      ('robust', {'model_aggregator': tff.learning.robust_aggregator()}),
      (
          'unweighted',
          {'model_aggregator': tff.aggregators.UnweightedMeanFactory()},
      ),
      (
          'clipped_metrics',
          {'metrics_aggregation_factory': ADAPTIVELY_CLIPPED_SUM},
      ),
  )
  def test_same_as_the_whole_round(self, settings):
    p = build(**settings)
    personal = [toy.weights([float(i)]) for i in range(7)]
    before, _, _ = p.next(p.initialize(), personal, examples())
    expected = p.next(before, personal, examples())
    whole = in_pieces(p, before, personal, [7])
    self.assertEqual(bits(whole), bits(expected))
    for sizes in ([3, 4], [1, 1, 5], [1] * 7):
      state, trained, metrics = in_pieces(p, before, personal, sizes)
      self.assertEqual(bits(trained), bits(expected[1]))
      if (
          'metrics_aggregation_factory' not in settings
      ):  # Else they are clipped.
        # Each client trained once.
        self.assertEqual(metrics['counts'], expected[2]['counts'])
      for found, wanted in zip(
          flat([state, metrics]), flat([expected[0], expected[2]])
      ):
        np.testing.assert_allclose(found, wanted, rtol=SUM_ERROR)

  def test_result_does_not_depend_on_when_sums_are_merged(self):
    p = build()
    personal = [toy.weights([float(i)]) for i in range(7)]
    state = p.initialize()
    expected = in_pieces(p, state, personal, [2, 1, 1, 2, 1])
    for most_waiting in (2, 3, 5):
      found = in_pieces(p, state, personal, [2, 1, 1, 2, 1], most_waiting)
      self.assertEqual(bits(found), bits(expected))

  def test_sums_have_no_personal_variables(self):
    _, sums = build().pieces.partial_round.type_signature.result
    self.assertIs(sums.placement, tff.SERVER)
    # The personal variable is float32[1], and the shared one float32[1,1].
    self.assertNotIn('float32[1]', str(sums))
    self.assertIn('float32[1,1]', str(sums))

  def test_uses_the_distributor_and_the_anchor_of_the_state(self):
    anchored = toy.sgd(0.1, penalty=1.0, anchor=phase_lib.INITIAL)
    p = process.build_partial_process(
        toy.model_fn(),
        algorithms.fed_alt(toy.sgd(0.1), anchored),
        client_examples=toy.ALL_AT_ONCE,
        model_distributor=_fading_distributor(),
    )
    state = p.start_from(
        p.initialize(), toy.weights([[2.0]]), toy.weights([3.0])
    )
    personal = [p.initialize_personal()] * 7
    for _ in range(2):
      expected = p.next(state, personal, examples())
      found = in_pieces(p, state, personal, [7])
      self.assertEqual(bits(found), bits(expected))
      state, personal, _ = expected
    self.assertEqual(state.distributor, 2)

  @parameterized.named_parameters(
      ('noise', None, SUM_ERROR),
      # Sums of integers do not depend on their order.
      ('noise_in_secure_sums', secure_sums.BoundedSecureSumFactory(0.5), 0.0),
  )
  def test_differential_privacy(self, sum_factory, error):
    private = aggregation.build_private_aggregator(
        noise_multiplier=1.0,
        expected_clients=7,
        clip=0.5,
        key=secret_key.from_seed(0),
        sum_factory=sum_factory,
    )
    p = build(model_aggregator=private, metrics=False)
    personal = [toy.weights([float(i)]) for i in range(7)]
    before, _, _ = p.next(p.initialize(), personal, examples())
    expected, _, _ = p.next(before, personal, examples())
    for sizes in ([7], [3, 4], [1] * 7):
      state, _, _ = in_pieces(p, before, personal, sizes)
      for found, wanted in zip(flat(state), flat(expected)):
        if wanted.dtype.kind in 'fi':  # There are strings in TFF's state.
          np.testing.assert_allclose(found, wanted, rtol=error)

  def test_momentum_of_the_server_has_the_noise_of_a_round_once(self):
    private = aggregation.build_private_aggregator(
        noise_multiplier=1.0,
        expected_clients=7,
        clip=0.5,
        key=secret_key.from_seed(0),
    )
    p = process.build_partial_process(
        toy.model_fn(),
        algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2)),
        client_examples=toy.ALL_AT_ONCE,
        server_optimizer=tff.learning.optimizers.build_sgdm(0.5, momentum=0.9),
        model_aggregator=private,
        metrics=False,
    )
    personal = [toy.weights([float(i)]) for i in range(7)]
    whole = lambda state: p.next(state, personal, examples())[0]
    divided = lambda state: in_pieces(p, state, personal, [3, 4])[0]
    for step in (whole, divided):
      state = p.initialize()
      for _ in range(2):
        before, state = state, step(state)
        [moved] = np.subtract(
            before.global_model_weights.trainable,
            state.global_model_weights.trainable,
        )
        [velocity] = state.finalizer['accumulator']
        self.assertGreater(np.abs(velocity).item(), 1e-3)
        np.testing.assert_allclose(moved, 0.5 * velocity, rtol=1e-5)

  def test_secure_sums_of_the_update_and_its_weight(self):
    secure = secure_sums.BoundedSecureSumFactory(64.0)
    mean = tff.aggregators.MeanFactory(secure, secure)
    p, usual = build(model_aggregator=mean, metrics=False), build(metrics=False)
    personal = [toy.weights([float(i)]) for i in range(7)]
    before = p.initialize()
    expected, _, _ = p.next(before, personal, examples())
    state, _, _ = in_pieces(p, before, personal, [3, 4])
    self.assertEqual(bits(state), bits(expected))
    plain, _, _ = usual.next(before, personal, examples())
    for found, wanted in zip(flat(state.finalizer), flat(plain.finalizer)):
      np.testing.assert_allclose(found, wanted, rtol=1e-5)

  def test_aggregator_that_cannot_be_divided(self):
    p = build(model_aggregator=_SumAfterASum())
    with self.assertRaisesRegex(
        ValueError, 'Expected an `aggregator` whose sums'
    ):
      _ = p.pieces


class _SumAfterASum(tff.aggregators.UnweightedAggregationFactory):
  """Sends the sum back to clients, and sums again."""

  def create(self, value_type):
    initialize = tff.federated_computation(
        lambda: tff.federated_value((), tff.SERVER)
    )

    @tff.federated_computation(
        initialize.type_signature.result,
        tff.FederatedType(value_type, tff.CLIENTS),
    )
    def next_fn(state, value):
      total = tff.federated_broadcast(tff.federated_sum(value))
      return tff.templates.MeasuredProcessOutput(
          state,
          tff.federated_sum(total),
          tff.federated_value((), tff.SERVER),
      )

    return tff.templates.AggregationProcess(initialize, next_fn)


def _fading_distributor():
  """Divides the variables by the number of the round, from 1."""
  shared_type = client_work_lib.model_types(
      toy.model_fn(), toy.ALL_AT_ONCE
  ).shared

  @tff.federated_computation
  def initialize():
    return tff.federated_value(0, tff.SERVER)

  @tff.tensorflow.computation(np.int32, shared_type)
  def fade(count, value):
    return tf.nest.map_structure(
        lambda v: v / tf.cast(count + 1, tf.float32), value
    )

  add_one = tff.tensorflow.computation(lambda n: n + 1, np.int32)

  @tff.federated_computation(
      initialize.type_signature.result,
      tff.FederatedType(shared_type, tff.SERVER),
  )
  def next_fn(count, value):
    return tff.templates.MeasuredProcessOutput(
        state=tff.federated_map(add_one, count),
        result=tff.federated_broadcast(tff.federated_map(fade, (count, value))),
        measurements=count,
    )

  return tff.learning.templates.DistributionProcess(initialize, next_fn)


if __name__ == '__main__':
  absltest.main()
