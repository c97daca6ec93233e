# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A round: its types, its numbers, and TFF's own algorithms."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tests.helpers import worker
from tff_partial import errors
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process
from tff_partial.learning import schedules
from tff_partial.privacy import aggregation
from tff_partial.privacy import secret_key

setUpModule, tearDownModule = worker.start, worker.stop

FED_ALT = algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2))
ADAGRAD = phase_lib.GroupTraining(tff.learning.optimizers.build_adagrad(0.1))
MOMENTUM = phase_lib.GroupTraining(
    tff.learning.optimizers.build_sgdm(0.2, momentum=0.9)
)


class OwnSgd(type(tff.learning.optimizers.build_sgdm(1.0))):
  """Another optimizer, whose state is the same."""


@functools.cache  # Building one takes seconds.
def build(algorithm=FED_ALT, rule=toy.B_IS_PERSONAL, **kwargs):
  kwargs.setdefault('client_examples', toy.ALL_AT_ONCE)
  return process.build_partial_process(toy.model_fn(rule), algorithm, **kwargs)


def w_of(state):
  return float(np.squeeze(state.global_model_weights.trainable[0]))


def b_of(personal):
  return [float(np.squeeze(p.trainable[0])) for p in personal]


class TypesTest(absltest.TestCase):

  def test_personal_variables_are_client_placed_in_and_out(self):
    next_type = build().next.type_signature
    parameter = next_type.parameter
    self.assertEqual(
        str(parameter.personal),
        '{<trainable=<float32[1]>,non_trainable=<>>}@CLIENTS',
    )
    self.assertEqual(str(next_type.result[1]), str(parameter.personal))

  def test_the_state_has_nothing_personal(self):
    state_type = build().initialize.type_signature.result
    self.assertIs(state_type.placement, tff.SERVER)
    self.assertNotIn('float32[1]', str(state_type).replace('[1,1]', ''))

  def test_only_the_shared_type_reaches_the_aggregator(self):
    seen = []

    class Spy(tff.aggregators.WeightedAggregationFactory):

      def create(self, value_type, weight_type):
        seen.append((str(value_type), str(weight_type)))
        return tff.aggregators.MeanFactory().create(value_type, weight_type)

    build(model_aggregator=Spy())
    self.assertEqual(seen, [('<float32[1,1]>', 'float32')])


class RoundTest(parameterized.TestCase):

  def test_fed_alt_by_hand(self):
    """Two clients of one example each, x = 1, y = 2 and y = 4.

    b: 0 + 0.2 * 2 = 0.4 and 0.2 * 4 = 0.8. Then w: 0.1 * 1.6 = 0.16 and
    0.1 * 3.2 = 0.32; their mean is 0.24.
    """
    p = build()
    personal = [p.initialize_personal()] * 2
    state, personal, metrics = p.next(
        p.initialize(), personal, [toy.value([1], [2]), toy.value([1], [4])]
    )
    self.assertAlmostEqual(w_of(state), 0.24, places=6)
    np.testing.assert_allclose(b_of(personal), [0.4, 0.8], rtol=1e-6)
    self.assertEqual(metrics['counts'].steps, 4)
    self.assertEqual(state.client_work.round_num, 1)
    # Squared errors at the shared step: 1.6 and 3.2.
    self.assertAlmostEqual(
        metrics['train']['squared_error'], (2.56 + 10.24) / 2, places=5
    )

  @parameterized.named_parameters(
      ('by_examples', tff.learning.ClientWeighting.NUM_EXAMPLES, 0.35),
      ('uniform', tff.learning.ClientWeighting.UNIFORM, 0.3),
  )
  def test_client_weighting(self, weighting, expected):
    # One example with y = 2: w = 0.2. Three with y = 4: w = 0.4.
    p = build(
        algorithms.fed_avg(toy.sgd(0.1)),
        partition.none,
        client_weighting=weighting,
    )
    # b is shared here too; w is the first variable.
    state, _, _ = p.next(
        p.initialize(),
        [p.initialize_personal()] * 2,
        [toy.value([1], [2]), toy.value([1, 1, 1], [4, 4, 4])],
    )
    self.assertAlmostEqual(w_of(state), expected, places=6)

  def test_exact_metrics_next_to_private_updates(self):
    private = aggregation.build_private_aggregator(
        noise_multiplier=1.0,
        expected_clients=2.0,
        clip=1.0,
        key=secret_key.from_seed(0),
    )
    with self.assertLogs('absl', 'WARNING') as logs:
      build(model_aggregator=private)
    self.assertIn('Give `metrics=False`', logs.output[0])
    with self.assertNoLogs('absl', 'WARNING'):
      build(model_aggregator=private, metrics=False)

  def test_arguments_of_other_types_are_refused(self):
    keras_sgd = tf.keras.optimizers.SGD(0.1)
    tffs_sgd = tff.learning.optimizers.build_sgdm(0.1)
    for message, make in (
        (
            'Optimizer as `optimizer`, .*build_sgdm',
            lambda: phase_lib.GroupTraining(keras_sgd),
        ),
        (
            'Optimizer as `server_optimizer`, .*build_sgdm',
            lambda: build(server_optimizer=keras_sgd),
        ),
        (
            'a GroupTraining as `shared`, .*Give the optimizer to',
            lambda: algorithms.fed_sim(tffs_sgd, toy.sgd(0.1)),
        ),
        (
            'a function that makes a `PartialModel` as `model_fn`',
            lambda: process.build_partial_process(
                toy.model_fn()(),
                algorithms.fed_avg(toy.sgd(0.1)),
                client_examples=toy.ALL_AT_ONCE,
            ),
        ),
        ("path as `rule`, .*found 'bias'", lambda: toy.model_fn('bias')()),
        (
            'matches a variable of line/kernel, line/bias, found one that',
            lambda: toy.model_fn(partition.matches('bais'))(),
        ),
    ):
      with self.subTest(message):
        with self.assertRaisesRegex(errors.SettingsError, message):
          make()

  def test_other_weighting_is_refused(self):
    with self.assertRaisesRegex(
        errors.SettingsError, "a tff.learning.ClientWeighting .* 'uniform'"
    ):
      build(client_weighting='uniform')

  def test_step_for_the_whole_population_is_required(self):
    fed_apm = algorithms.fed_apm(toy.sgd(0.1), toy.sgd(0.1), rho=0.5)
    with self.assertRaisesRegex(
        errors.SettingsError, "`server_optimizer` with the algorithm 'fed_apm'"
    ):
      build(fed_apm)

  def test_order_of_clients_is_preserved(self):
    p = build()
    ys = [5.0, -1.0, 3.0, 0.0, 2.0, -7.0, 1.0]
    _, personal, _ = p.next(
        p.initialize(),
        [p.initialize_personal()] * len(ys),
        [toy.value([1], [y]) for y in ys],
    )
    np.testing.assert_allclose(b_of(personal), [0.2 * y for y in ys], rtol=1e-6)

  def test_clients_start_from_their_own_personal_variables(self):
    p = build()
    start = [toy.weights([b]) for b in (1.0, 2.0)]
    # The errors b - y are 0, so there is nothing to learn.
    state, personal, _ = p.next(
        p.initialize(), start, [toy.value([1], [1]), toy.value([1], [2])]
    )
    self.assertEqual(b_of(personal), [1.0, 2.0])
    self.assertEqual(w_of(state), 0.0)

  def test_bad_and_empty_clients_do_not_affect_the_others(self):
    p = build()
    good = toy.value([1], [2])
    default = p.initialize_personal()
    alone, _, _ = p.next(p.initialize(), [default], [good])
    state, personal, metrics = p.next(
        p.initialize(),
        [default] * 3,
        [toy.value([1], [np.nan]), good, toy.value([], [])],
    )
    self.assertEqual(w_of(state), w_of(alone))
    np.testing.assert_allclose(b_of(personal), [0, 0.4, 0], rtol=1e-6)
    self.assertEqual(metrics['counts'].non_finite, 1)
    self.assertEqual(metrics['counts'].empty, 1)

  def test_round_without_a_good_client_keeps_the_shared_variables(self):
    p = build(
        server_optimizer=tff.learning.optimizers.build_adam(0.1),
    )
    default = p.initialize_personal()
    state, _, _ = p.next(p.initialize(), [default], [toy.value([1], [2])])
    after, _, _ = p.next(state, [default], [toy.value([1], [np.nan])])
    self.assertEqual(w_of(after), w_of(state))
    self.assertNotEqual(w_of(after), 0.0)

  @parameterized.named_parameters(
      ('robust', lambda: tff.learning.robust_aggregator()),
      ('unweighted_mean', tff.aggregators.UnweightedMeanFactory),
      ('dp', lambda: tff.learning.dp_aggregator(1e-3, 2)),
  )
  def test_other_aggregators(self, factory):
    self.check_aggregator(factory())

  def test_secure_aggregator(self):
    self.check_aggregator(tff.learning.secure_aggregator())

  def check_aggregator(self, aggregator):
    p = build(model_aggregator=aggregator)
    state, personal, _ = p.next(
        p.initialize(),
        [p.initialize_personal()] * 2,
        [toy.value([1], [2]), toy.value([1], [2])],
    )
    # The update of both clients is -0.16. Secure sums and noise are close to
    # it; DP clips to a norm of 0.1 in its first round.
    self.assertBetween(w_of(state), 0.05, 0.2)
    np.testing.assert_allclose(b_of(personal), [0.4, 0.4], rtol=1e-6)

  def test_metrics_and_counts_can_be_clipped(self):
    clipped = tff.aggregators.clipping_factory(
        1.0, tff.aggregators.SumFactory()
    )
    p = build(metrics_aggregation_factory=clipped)
    _, _, metrics = p.next(
        p.initialize(),
        [p.initialize_personal()] * 2,
        [toy.value([1], [2]), toy.value([], [])],
    )
    # The first has error 1.6, in one example, in 2 steps of 1 example each; the
    # second has one count alone, which is within the bound.
    norm = np.sqrt(2.56**2 + 1 + 2**2 + 2**2)
    self.assertAlmostEqual(metrics['counts'].steps, 2 / norm, places=6)
    self.assertAlmostEqual(metrics['counts'].empty, 1.0, places=6)
    self.assertAlmostEqual(metrics['train']['squared_error'], 2.56, places=5)
    self.assertEqual(metrics['metrics_aggregator']['clipped_count'], 1)

  def test_metrics_aggregator_keeps_its_state_next_to_the_other(self):
    adaptive = tff.aggregators.clipping_factory(
        tff.aggregators.PrivateQuantileEstimationProcess.no_noise(
            1.0, 0.5, 0.2
        ),
        tff.aggregators.SumFactory(),
    )
    p = build(
        metrics_aggregation_factory=adaptive,
        model_aggregator=tff.learning.robust_aggregator(zeroing=False),
    )
    alone = build(
        model_aggregator=tff.learning.robust_aggregator(zeroing=False)
    )
    arguments = [p.initialize_personal()], [toy.value([1], [2])]
    state, _, metrics = p.next(p.initialize(), *arguments)
    expected, _, _ = alone.next(alone.initialize(), *arguments)
    tf.nest.map_structure(
        np.testing.assert_array_equal,
        state.aggregator['update'],
        expected.aggregator,
    )
    state, _, after = p.next(state, *arguments)
    self.assertGreater(
        after['metrics_aggregator']['clipping_norm'],
        metrics['metrics_aggregator']['clipping_norm'],
    )

  def test_without_metrics(self):
    p, usual = build(metrics=False), build()
    arguments = [p.initialize_personal()] * 2, [
        toy.value([1], [2]),
        toy.value([1], [4]),
    ]
    state, personal, metrics = p.next(p.initialize(), *arguments)
    expected = usual.next(usual.initialize(), *arguments)
    self.assertEqual(w_of(state), w_of(expected[0]))
    self.assertEqual(b_of(personal), b_of(expected[1]))
    self.assertEqual(list(metrics), ['distributor', 'aggregator', 'finalizer'])

  def test_aggregator_of_metrics_that_are_not_there(self):
    with self.assertRaisesRegex(
        errors.SettingsError,
        'Expected `metrics` with a `metrics_aggregation_factory`',
    ):
      build(
          metrics=False,
          metrics_aggregation_factory=tff.aggregators.SumFactory(),
      )

  def test_initial_anchor_is_sent_and_kept(self):
    anchored = toy.sgd(0.1, penalty=1.0, anchor=phase_lib.INITIAL)
    p = build(algorithms.fed_alt(toy.sgd(0.1), anchored))
    state = p.start_from(
        p.initialize(), toy.weights([[0.0]]), toy.weights([3.0])
    )
    # At b = 1 with y = 1 there is no error. The penalty's gradient is 1 - 3.
    state, personal, _ = p.next(
        state, [toy.weights([1.0])], [toy.value([0], [1])]
    )
    np.testing.assert_allclose(b_of(personal), [1.2], rtol=1e-6)
    self.assertEqual(state.client_work.initial_personal.trainable[0], [3.0])

  def test_everything_personal_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'at least one shared variable'):
      build(rule=partition.everything)

  def test_initial_values_depend_only_on_the_seed(self):
    def build_with(seed):
      model = lambda: tf.keras.Sequential(
          [
              tf.keras.layers.InputLayer([1]),
              tf.keras.layers.Dense(3, name='wide'),
              tf.keras.layers.Dense(1, name='line'),
          ]
      )
      fn = lambda: partial_model.PartialModel(
          model(),
          partition.layers('line'),
          loss_fn=toy.loss,
          metric_fns={'squared_error': toy.squared_error},
          input_spec=toy.INPUT_SPEC,
      )
      return process.build_partial_process(
          fn, FED_ALT, client_examples=toy.ALL_AT_ONCE, seed=seed
      )

    def values(seed, built_with=None):
      p = build_with(seed if built_with is None else built_with)
      p = p.starting_with(seed=seed)
      weights = p.initialize().global_model_weights.trainable
      return np.concatenate(
          [np.ravel(w) for w in [*weights, *p.initialize_personal().trainable]]
      )

    np.testing.assert_array_equal(values(1), values(1))
    self.assertTrue(np.any(values(1) != values(2)))
    np.testing.assert_array_equal(values(2, built_with=1), values(2))

  def test_learning_rates_are_part_of_the_state(self):
    """The same bits as those of a round that is built with these rates."""
    adam = tff.learning.optimizers.build_adam
    anchored = lambda shared, personal: algorithms.fed_alt(
        toy.sgd(shared, schedule=schedules.Linear(total_rounds=9)),
        toy.sgd(personal, penalty_total=0.5, anchor=phase_lib.INITIAL),
    )
    first = build(anchored(0.1, 0.2), server_optimizer=adam(0.5))
    rates = {
        'algorithm': anchored(0.7, 0.03),
        'server_optimizer': adam(0.01),
    }
    expected = build(rates['algorithm'], server_optimizer=adam(0.01))
    found = first.starting_with(**rates)
    self.assertIs(found.next, first.next)
    self.assertIs(found.algorithm, rates['algorithm'])

    def after_two_rounds(p):
      state, personal = p.initialize(), [p.initialize_personal()] * 2
      for _ in range(2):
        state, personal, _ = p.next(
            state, personal, [toy.value([1], [2]), toy.value([1, 2], [4, 5])]
        )
      return [w_of(state), *b_of(personal)]

    self.assertEqual(after_two_rounds(found), after_two_rounds(expected))
    self.assertNotEqual(after_two_rounds(found), after_two_rounds(first))

  @parameterized.named_parameters(
      ('phases', {'algorithm': algorithms.fed_avg(toy.sgd(0.1))}),
      (
          'penalty',
          {
              'algorithm': algorithms.fed_alt(
                  toy.sgd(0.1), toy.sgd(0.2, penalty=1.0)
              )
          },
      ),
      (
          'optimizer',
          {'algorithm': algorithms.fed_alt(ADAGRAD, toy.sgd(0.2))},
      ),
      (
          'momentum',
          {'algorithm': algorithms.fed_alt(toy.sgd(0.1), MOMENTUM)},
      ),
      (
          'server_optimizer',
          {'server_optimizer': tff.learning.optimizers.build_adam(0.1)},
      ),
      ('server_optimizer_with_that_state', {'server_optimizer': OwnSgd(1.0)}),
  )
  def test_other_computations_are_refused(self, changes):
    with self.assertRaisesRegex(errors.SettingsError, 'in their learning rate'):
      build().starting_with(**changes)


def _datasets():
  data = toy.random_clients(5)
  return [
      tf.data.Dataset.from_tensor_slices(data.read(c)).batch(4)
      for c in data.client_ids
  ]


class OracleTest(absltest.TestCase):
  """The results have the same bits as those of TFF's own algorithms."""

  def test_without_personal_variables_is_fed_avg(self):
    ours = build(
        algorithms.fed_avg(toy.sgd(0.1)),
        partition.none,
        client_examples=examples_lib.Sequences(),
        server_optimizer=tff.learning.optimizers.build_sgdm(0.5, 0.9),
    )
    theirs = tff.learning.algorithms.build_weighted_fed_avg(
        lambda: tff.learning.models.from_keras_model(
            toy.keras_model(),
            loss=_HalfMeanSquaredError(),
            input_spec=toy.INPUT_SPEC,
        ),
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.1),
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(0.5, 0.9),
        model_aggregator=tff.aggregators.MeanFactory(),
    )
    state, expected = ours.initialize(), theirs.initialize()
    personal = [ours.initialize_personal()] * 5
    for _ in range(4):
      state, personal, _ = ours.next(state, personal, _datasets())
      expected = theirs.next(expected, _datasets()).state
    np.testing.assert_array_equal(
        np.concatenate(
            [np.ravel(w) for w in state.global_model_weights.trainable]
        ),
        np.concatenate(
            [np.ravel(w) for w in expected.global_model_weights.trainable]
        ),
    )
    self.assertNotEqual(w_of(state), 0.0)

  def test_initial_personal_variables_each_round_is_fed_recon(self):
    ours = build(
        algorithms.fed_recon(
            toy.sgd(0.1), toy.sgd(0.2), personal_steps=algorithms.Steps(2)
        ),
        client_examples=examples_lib.Sequences(),
    )

    reconstruction = tff.learning.models.ReconstructionModel

    def reconstruction_model():
      keras_model = toy.keras_model()
      line = keras_model.get_layer('line')
      return reconstruction.from_keras_model_and_variables(
          keras_model,
          global_trainable_variables=[line.kernel],
          global_non_trainable_variables=[],
          local_trainable_variables=[line.bias],
          local_non_trainable_variables=[],
          input_spec=toy.INPUT_SPEC,
      )

    theirs = tff.learning.algorithms.build_fed_recon(
        reconstruction_model,
        loss_fn=_HalfMeanSquaredError,
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.1),
        reconstruction_optimizer_fn=tff.learning.optimizers.build_sgdm(0.2),
        dataset_split_fn=reconstruction.build_dataset_split_fn(recon_epochs=2),
        model_aggregator_factory=tff.aggregators.MeanFactory(),
    )
    state, expected = ours.initialize(), theirs.initialize()
    for _ in range(4):
      fresh = [ours.initialize_personal()] * 5
      state, _, _ = ours.next(state, fresh, _datasets())
      expected = theirs.next(expected, _datasets()).state
    self.assertEqual(w_of(state), w_of(expected))
    self.assertNotEqual(w_of(state), 0.0)


class _HalfMeanSquaredError(tf.keras.losses.Loss):

  def call(self, y_true, y_pred):
    return tf.reduce_mean(tf.square(y_pred - y_true), -1) / 2


if __name__ == '__main__':
  absltest.main()
