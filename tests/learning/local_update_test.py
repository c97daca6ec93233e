# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""One client's work, compared with numbers computed by hand.

The client has the examples (x, y) = (1, 2) and (2, 3) in one batch. With the
errors e = w x + b - y the gradients are (e1 + 2 e2) / 2 for w and (e1 + e2) / 2
for b. At w = b = 0, e = (-2, -3), and the gradients are -4 and -2.5.
"""

import collections

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import lora
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import phase as phase_lib

XS, YS = [1.0, 2.0], [2.0, 3.0]
SHARED = toy.weights([[0.0]])
PERSONAL = toy.weights([0.0])


def run(algorithm, data=None, *, shared=SHARED, personal=PERSONAL, **kwargs):
  """(w update, final b, output) after one client's work."""
  kwargs.setdefault('client_examples', toy.ALL_AT_ONCE)
  output = local_update.local_update(
      kwargs.pop('model', None) or toy.model_fn()(),
      algorithm.phases,
      local_update.ClientInputs(
          shared,
          personal,
          toy.value(XS, YS) if data is None else data,
          **{
              name: kwargs.pop(name)
              for name in ('round_num', 'initial_personal', 'learning_rates')
              if name in kwargs
          },
      ),
      **kwargs,
  )
  output = tf.nest.map_structure(lambda t: t.numpy(), output)
  return (
      float(output.update[0].squeeze()),
      float(output.personal.trainable[0].squeeze()),
      output,
  )


class PhasesTest(parameterized.TestCase):

  def test_fed_avg_keeps_the_personal_variable(self):
    update, b, _ = run(algorithms.fed_avg(toy.sgd(0.1)))
    self.assertAlmostEqual(update, -0.4, places=6)  # 0 - (0 + 0.1 * 4)
    self.assertEqual(b, 0.0)

  def test_fed_sim_takes_both_gradients_at_the_same_point(self):
    update, b, _ = run(algorithms.fed_sim(toy.sgd(0.1), toy.sgd(0.2)))
    self.assertAlmostEqual(update, -0.4, places=6)
    self.assertAlmostEqual(b, 0.5, places=6)  # 0.2 * 2.5

  def test_fed_alt_takes_the_shared_gradient_at_the_new_personal_variable(self):
    # b becomes 0.5; then e = (-1.5, -2.5) and the gradient of w is -3.25.
    update, b, _ = run(algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2)))
    self.assertAlmostEqual(b, 0.5, places=6)
    self.assertAlmostEqual(update, -0.325, places=6)

  def test_fed_rod_trains_the_shared_variable_without_the_personal_one(self):
    # The gradient of w is -4 without b. With it, e = (-1.5, -2.5), so that the
    # gradient of b is -2.
    update, b, output = run(
        algorithms.fed_rod(toy.sgd(0.1), toy.sgd(0.2)),
        personal=toy.weights([0.5]),
    )
    self.assertAlmostEqual(update, -0.4, places=6)
    self.assertAlmostEqual(b, 0.9, places=6)
    total, _ = output.metrics['squared_error']
    self.assertAlmostEqual(total, 1.5**2 + 2.5**2, places=5)  # With b.

  def test_fed_rod_balances_the_classes_of_the_client(self):
    def classifier():
      x = tf.keras.Input([1])
      head, second = (
          tf.keras.layers.Dense(
              3, use_bias=False, kernel_initializer='zeros', name=name
          )(x)
          for name in ('head', 'second_head')
      )
      entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
      return partial_model.PartialModel(
          tf.keras.Model(x, head + second),
          partition.layers('second_head'),
          loss_fn=lambda y, logits: tf.reduce_mean(entropy(y, logits)),
          metric_fns={'loss': lambda y, z: (entropy(y, z), tf.ones_like(y))},
          input_spec=collections.OrderedDict(
              x=tf.TensorSpec([None, 1], tf.float32),
              y=tf.TensorSpec([None], tf.int32),
          ),
          classifies=True,
      )

    examples = collections.OrderedDict(
        x=np.ones([4, 1], np.float32), y=np.array([0, 0, 0, 1], np.int32)
    )
    form = examples_lib.Tensors(batch_size=2, shuffle=False)
    zeros = toy.weights(np.zeros([1, 3]))
    # One step on two examples of class 0. Of all, 3/4 are of class 0, 1/4 of
    # class 1, and none of class 2; the personal head sees them with 1/3 each.
    output = local_update.local_update(
        classifier(),
        algorithms.fed_rod(
            toy.sgd(1.0), toy.sgd(1.0), steps=algorithms.Steps(max_steps=1)
        ).phases,
        local_update.ClientInputs(
            zeros, zeros, form.value(examples, np.array([0, 0], np.int32))
        ),
        client_examples=form,
    )
    np.testing.assert_allclose(
        output.update[0], [[3 / 4 - 1, 1 / 4, 0]], atol=1e-6
    )
    np.testing.assert_allclose(
        output.personal.trainable[0], [[2 / 3, -1 / 3, -1 / 3]], atol=1e-6
    )
    self.assertAlmostEqual(output.metrics['loss'][0], 2 * np.log(3), places=5)

  @parameterized.parameters(100, 1)
  def test_ffgg_stops_at_the_tolerance_and_sends_one_gradient(self, batch_size):
    # The gradients of b are -2.5, -2 at 0.5, and -1.6 at 0.9, where it stops.
    # There, e = (-1.1, -2.1), and the gradient of w is -2.65.
    update, b, output = run(
        algorithms.ffgg(toy.sgd(0.1), toy.sgd(0.2), tolerance=1.7),
        client_examples=examples_lib.Tensors(batch_size),
    )
    self.assertAlmostEqual(b, 0.9, places=6)
    self.assertAlmostEqual(update, -0.265, places=6)
    # It went over the examples three times for b, and once for w.
    self.assertEqual(output.counts.examples, (3 + 1) * 2)
    self.assertEqual(output.weight, 2.0)

  def test_ffgg_takes_a_bounded_number_of_steps(self):
    _, b, output = run(
        algorithms.ffgg(
            toy.sgd(0.1), toy.sgd(0.2), personal_steps=algorithms.Steps(3)
        )
    )
    self.assertAlmostEqual(b, 0.5 + 0.4 + 0.32, places=6)
    self.assertEqual(output.counts.steps, 3 + 1)

  def test_ffgg_bounds_the_norm_of_the_whole_gradient(self):
    # Clipped to 1, b takes steps of 0.2; the tolerance is for the norm before.
    _, b, _ = run(
        algorithms.ffgg(
            toy.sgd(0.1),
            toy.sgd(0.2),
            tolerance=2.2,
            personal_steps=algorithms.Steps(9, clip_norm=1.0),
        )
    )
    self.assertAlmostEqual(b, 0.4, places=6)  # 2.5, 2.3, and 2.1 is small.

  @parameterized.parameters(
      (0, (0.0, -0.3)), (1, (-0.15, 0.0)), (2, (0.0, -0.3))
  )
  def test_rolora_trains_the_matrices_in_turns(self, round_num, expected):
    # The kernel of one number is 2 A B, where alpha is twice the rank. With
    # A = 1 and B = 0.5, e is (-1, -1), and the gradient of the kernel -1.5:
    # that of A is 2 B and that of B 2 A times as much.
    layer = lora.LoraDense(1, rank=1, alpha=2.0, use_bias=False, name='line')
    keras_model = tf.keras.Sequential([tf.keras.layers.InputLayer([1]), layer])
    model = partial_model.PartialModel(
        keras_model,
        partition.none,
        loss_fn=toy.loss,
        metric_fns={'squared_error': toy.squared_error},
        input_spec=toy.INPUT_SPEC,
        frozen=partition.matches('kernel'),
    )
    paths = [v.path for v in model.variables if v.trainable]
    self.assertEqual(paths, ['line/lora_a', 'line/lora_b'])
    output = local_update.local_update(
        model,
        algorithms.rolora(toy.sgd(0.1)).phases,
        local_update.ClientInputs(
            toy.weights([[1.0]], [[0.5]])._replace(
                non_trainable=[np.zeros([1, 1], np.float32)]
            ),
            toy.weights(),
            toy.value(XS, YS),
            round_num=round_num,
        ),
        client_examples=toy.ALL_AT_ONCE,
    )
    np.testing.assert_allclose(
        np.squeeze(output.update), expected, rtol=1e-5, atol=1e-7
    )

  def test_finetuning_changes_nothing_shared(self):
    update, b, _ = run(algorithms.finetune(toy.sgd(0.2)))
    self.assertEqual(update, 0.0)
    self.assertAlmostEqual(b, 0.5, places=6)

  def test_work_starts_from_the_given_variables(self):
    # At w = 1, b = 1 there is no error, so there is nothing to learn.
    update, b, _ = run(
        algorithms.fed_alt(toy.sgd(), toy.sgd()),
        shared=toy.weights([[1.0]]),
        personal=toy.weights([1.0]),
    )
    self.assertEqual(update, 0.0)
    self.assertEqual(b, 1.0)

  def test_epochs_repeat_the_phase(self):
    # The gradient of b is -2.5, then -2.0 at b = 0.5: 0.5 + 0.4.
    _, b, output = run(
        algorithms.finetune(toy.sgd(0.2), steps=algorithms.Steps(epochs=2))
    )
    self.assertAlmostEqual(b, 0.9, places=6)
    self.assertEqual(output.counts.steps, 2)
    self.assertEqual(output.counts.examples, 4)

  def test_max_steps_bounds_all_epochs_together(self):
    steps = algorithms.Steps(epochs=5, max_steps=1)
    _, b, output = run(algorithms.finetune(toy.sgd(0.2), steps=steps))
    self.assertAlmostEqual(b, 0.5, places=6)
    self.assertEqual(output.counts.steps, 1)

  def test_each_phase_has_its_own_steps(self):
    _, _, output = run(
        algorithms.fed_alt(
            toy.sgd(0.1), toy.sgd(0.1), personal_steps=algorithms.Steps(3)
        )
    )
    self.assertEqual(output.counts.steps, 4)
    self.assertEqual(output.counts.examples, 8)

  def test_last_batch_is_smaller(self):
    output = run(
        algorithms.fed_avg(toy.sgd(0.0 + 1e-9)),
        toy.value([1, 2, 3], [0, 0, 0]),
        client_examples=examples_lib.Tensors(batch_size=2),
    )[2]
    self.assertEqual(output.counts.steps, 2)
    self.assertEqual(output.counts.examples, 3)

  def test_metrics_are_of_the_last_phase(self):
    # At b = 0.5 the errors are -1.5 and -2.5, squared 2.25 and 6.25.
    output = run(algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2)))[2]
    total, weight = output.metrics['squared_error']
    self.assertAlmostEqual(total, 8.5, places=5)
    self.assertEqual(weight, 2.0)

  def test_a_dataset_of_batches_gives_the_same_result(self):
    dataset = tf.data.Dataset.from_tensor_slices(toy.examples(XS, YS)).batch(2)
    algorithm = algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2))
    update, b, output = run(
        algorithm, dataset, client_examples=examples_lib.Sequences()
    )
    self.assertAlmostEqual(b, 0.5, places=6)
    self.assertAlmostEqual(update, -0.325, places=6)
    self.assertEqual(output.weight, 2.0)

  def test_momentum_lasts_for_the_phase(self):
    # With momentum 0.5, the velocity of the second step is 0.5 * 2.5 + 2.0.
    optimizer = tff.learning.optimizers.build_sgdm(0.2, momentum=0.5)
    training = phase_lib.GroupTraining(optimizer)
    _, b, _ = run(
        algorithms.finetune(training, steps=algorithms.Steps(epochs=2))
    )
    self.assertAlmostEqual(b, 0.5 + 0.2 * 3.25, places=6)


class GradientsTest(parameterized.TestCase):

  def test_clipping_bounds_the_norm_of_what_is_trained(self):
    # The norm of both gradients is hypot(4, 2.5).
    clip = algorithms.Steps(clip_norm=1.0)
    update, b, _ = run(algorithms.fed_sim(toy.sgd(), toy.sgd(), steps=clip))
    self.assertAlmostEqual(update, -4 / np.hypot(4, 2.5), places=6)
    self.assertAlmostEqual(b, 2.5 / np.hypot(4, 2.5), places=6)

  def test_clipping_ignores_the_group_that_is_not_trained(self):
    # The norm of each gradient is above 1 and becomes exactly 1.
    clip = algorithms.Steps(clip_norm=1.0)
    update, b, _ = run(algorithms.fed_alt(toy.sgd(), toy.sgd(), steps=clip))
    self.assertAlmostEqual(b, 1.0, places=6)
    self.assertAlmostEqual(update, -1.0, places=6)

  def test_clipping_keeps_small_gradients(self):
    clip = algorithms.Steps(clip_norm=100.0)
    update, _, _ = run(algorithms.fed_avg(toy.sgd(), steps=clip))
    self.assertAlmostEqual(update, -4.0, places=5)

  def test_clipping_adds_up_the_rows_of_an_embedding(self):
    # Both examples have row 0, whose gradients -1 and -1.5 are one of -2.5.
    spec = collections.OrderedDict(
        x=tf.TensorSpec([None], tf.int32), y=tf.TensorSpec([None, 1])
    )
    embedding = tf.keras.Sequential(
        [
            tf.keras.layers.InputLayer([], dtype='int32'),
            tf.keras.layers.Embedding(2, 1, embeddings_initializer='zeros'),
        ]
    )
    model = partial_model.PartialModel(
        embedding,
        partition.none,
        loss_fn=toy.loss,
        metric_fns={'squared_error': toy.squared_error},
        input_spec=spec,
    )
    data = toy.ALL_AT_ONCE.value(
        collections.OrderedDict(
            x=np.array([0, 0], np.int32), y=np.array([[2], [3]], np.float32)
        ),
        np.array([0, 0], np.int32),
    )
    output = local_update.local_update(
        model,
        algorithms.fed_avg(
            toy.sgd(), steps=algorithms.Steps(clip_norm=1.0)
        ).phases,
        local_update.ClientInputs(
            toy.weights([[0.0], [0.0]]),
            toy.weights(),
            data,
        ),
        client_examples=toy.ALL_AT_ONCE,
    )
    np.testing.assert_allclose(output.update[0], [[-1.0], [0.0]], atol=1e-6)

  def test_penalty_pulls_the_personal_variable_to_its_initial_value(self):
    # At b = 1, e = (-1, -2) and the gradient is -1.5. The gradient of the
    # penalty (0.5 / 2)(b - 3)^2 is 0.5 * (1 - 3) = -1. The step is 0.1 * 2.5.
    _, b, _ = run(
        algorithms.finetune(
            toy.sgd(0.1, penalty=0.5, anchor=phase_lib.INITIAL)
        ),
        personal=toy.weights([1.0]),
        initial_personal=toy.weights([3.0]),
    )
    self.assertAlmostEqual(b, 1.25, places=6)

  def test_total_penalty_is_divided_by_the_number_of_examples(self):
    # The gradient at b = 1 is -1.5, so that b = 1.15 before the penalty 1 / 2.
    # Its implicit step at a rate of 0.1 ends at (1.15 + 0.05 * 3) / 1.05.
    _, b, _ = run(
        algorithms.finetune(
            toy.sgd(0.1, penalty_total=1.0, anchor=phase_lib.INITIAL)
        ),
        personal=toy.weights([1.0]),
        initial_personal=toy.weights([3.0]),
    )
    self.assertAlmostEqual(b, 1.3 / 1.05, places=6)

  def test_total_penalty_ends_at_the_minimum_for_any_weight(self):
    # With w = 0 the loss is the mean of (b - 2)^2 / 2 and (b - 3)^2 / 2, whose
    # minimum with lambda is (2.5 + 3 lambda) / (1 + lambda).
    for total in (1.0, 1e5):
      _, b, _ = run(
          algorithms.finetune(
              toy.sgd(0.5, penalty_total=total, anchor=phase_lib.INITIAL),
              steps=algorithms.Steps(epochs=100),
          ),
          initial_personal=toy.weights([3.0]),
      )
      penalty = total / 2
      self.assertAlmostEqual(b, (2.5 + 3 * penalty) / (1 + penalty), places=4)

  def test_two_penalties_are_refused(self):
    with self.assertRaisesRegex(ValueError, '`penalty` or `penalty_total`'):
      toy.sgd(penalty=1.0, penalty_total=1.0)

  def test_proximal_term_pulls_the_shared_variable_to_the_server(self):
    # Step 1: the distance is 0, so w = 0.4. Step 2: e = (-1.6, -2.2), the
    # gradient is -3, and that of the penalty 2 * 0.4, so that
    # w = 0.4 + 0.1 * (3 - 0.8).
    update, _, _ = run(
        algorithms.fed_avg(
            toy.sgd(0.1, penalty=2.0), steps=algorithms.Steps(epochs=2)
        )
    )
    self.assertAlmostEqual(update, -0.62, places=6)

  def test_penalty_without_its_anchor_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'Expected `initial_personal`'):
      run(
          algorithms.finetune(
              toy.sgd(0.1, penalty=0.5, anchor=phase_lib.INITIAL)
          )
      )

  def test_schedule_multiplies_the_learning_rate(self):
    training = toy.sgd(
        0.5, schedule=lambda round_num: 0.2 * tf.cast(round_num, tf.float32)
    )
    update, _, _ = run(algorithms.fed_avg(training), round_num=3)
    self.assertAlmostEqual(update, -0.3 * 4, places=6)
    rates = [phase_lib.LearningRates(shared=0.25)]
    update, _, _ = run(
        algorithms.fed_avg(training), round_num=3, learning_rates=rates
    )
    self.assertAlmostEqual(update, -0.15 * 4, places=6)

  def test_learning_rates_replace_those_of_the_optimizers(self):
    rates = [
        phase_lib.LearningRates(personal=0.3),
        phase_lib.LearningRates(shared=0.1),
    ]
    expected = run(algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.3)))
    found = run(
        algorithms.fed_alt(toy.sgd(7.0), toy.sgd(9.0)), learning_rates=rates
    )
    self.assertEqual(found[:2], expected[:2])

  def test_schedule_needs_a_learning_rate_that_can_be_set(self):
    scheduled = tff.learning.optimizers.schedule_learning_rate(
        tff.learning.optimizers.build_sgdm(0.1), lambda step: 0.1
    )
    self.assertIsNone(phase_lib.GroupTraining(scheduled).learning_rate)
    with self.assertRaisesRegex(ValueError, 'learning rate that can be set'):
      phase_lib.GroupTraining(scheduled, schedule=lambda round_num: 1.0)


class BadClientsTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('nan', float('nan'), 0.1),
      ('infinite', float('inf'), 0.1),
      ('diverging', 3.0, 1e38),
  )
  def test_client_that_is_not_finite_changes_nothing(self, y, learning_rate):
    update, b, output = run(
        algorithms.fed_sim(
            toy.sgd(learning_rate),
            toy.sgd(learning_rate),
            steps=algorithms.Steps(epochs=4),
        ),
        toy.value([1.0, 2.0], [2.0, y]),
        personal=toy.weights([0.25]),
    )
    self.assertEqual(update, 0.0)
    self.assertEqual(b, 0.25)
    self.assertEqual(output.weight, 0.0)
    self.assertEqual(output.counts.non_finite, 1)
    self.assertEqual(output.metrics['squared_error'], (0.0, 0.0))

  def test_client_without_examples_changes_nothing(self):
    update, b, output = run(
        algorithms.fed_alt(toy.sgd(), toy.sgd()),
        toy.value([], []),
        personal=toy.weights([0.25]),
    )
    self.assertEqual((update, b), (0.0, 0.25))
    self.assertEqual(output.weight, 0.0)
    self.assertEqual(output.counts.empty, 1)
    self.assertEqual(output.counts.non_finite, 0)

  def test_uniform_weight_is_one_except_for_bad_clients(self):
    algorithm = algorithms.fed_avg(toy.sgd(0.1))
    weight = lambda data: run(algorithm, data, uniform_weight=True)[2].weight
    self.assertEqual(weight(toy.value(XS, YS)), 1.0)
    self.assertEqual(weight(toy.value([], [])), 0.0)

  @parameterized.named_parameters(
      ('no_group', {}, 'at least one group'),
      ('epochs', dict(shared=toy.sgd(), epochs=0), '`epochs` above 0, found 0'),
      ('clip', dict(shared=toy.sgd(), clip_norm=-1.0), '`clip_norm` above 0'),
      (
          'tolerance',
          dict(personal=toy.sgd(), tolerance=0.1),
          '`tolerance` .* with `full_batch` only, found 0.1',
      ),
      (
          'anchor',
          dict(shared=toy.sgd(penalty=1.0, anchor='initial')),
          "Expected 'received' as `anchor` of the shared",
      ),
  )
  def test_impossible_phase_is_refused(self, kwargs, message):
    with self.assertRaisesRegex(ValueError, message):
      phase_lib.Phase(**kwargs)


class OrderTest(absltest.TestCase):

  def order(self, *, seed=0, phase=0, epochs=1, training=True):
    """The order in which ten examples are seen."""
    form = examples_lib.Tensors(batch_size=3)
    seen = form.reduce(
        toy.value(range(10), range(10), seed=seed),
        tf.compat.v1.placeholder_with_default(tf.zeros([0]), [None])
        if not tf.executing_eagerly()
        else tf.zeros([0]),
        lambda state, batch: tf.concat([state, batch['x'][:, 0]], 0),
        examples_lib.Pass(epochs=epochs, phase=phase, training=training),
    )
    return seen.numpy().astype(int).tolist()

  def test_every_epoch_has_its_own_permutation(self):
    first, second = np.reshape(self.order(epochs=2), [2, 10]).tolist()
    self.assertSequenceEqual(sorted(first), range(10))
    self.assertSequenceEqual(sorted(second), range(10))
    self.assertNotEqual(first, second)

  def test_order_depends_only_on_seed_and_phase(self):
    self.assertEqual(self.order(seed=1), self.order(seed=1))
    self.assertNotEqual(self.order(seed=1), self.order(seed=2))
    self.assertNotEqual(self.order(phase=0), self.order(phase=1))

  def test_evaluation_keeps_the_order(self):
    self.assertSequenceEqual(self.order(training=False), range(10))


class TwoVariablesTest(absltest.TestCase):

  def test_everything_personal(self):
    model = toy.model_fn(partition.everything)()
    output = local_update.local_update(
        model,
        algorithms.finetune(toy.sgd(0.1)).phases,
        local_update.ClientInputs(
            toy.weights(), toy.weights([[0.0]], [0.0]), toy.value(XS, YS)
        ),
        client_examples=toy.ALL_AT_ONCE,
    )
    w, b = (t.numpy().squeeze() for t in output.personal.trainable)
    self.assertAlmostEqual(w, 0.4, places=6)
    self.assertAlmostEqual(b, 0.25, places=6)


if __name__ == '__main__':
  absltest.main()
