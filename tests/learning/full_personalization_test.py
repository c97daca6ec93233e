# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ditto, pFedMe and APFL, compared with numbers computed by hand.

The client of `local_update_test`: (x, y) = (1, 2) and (2, 3) in one batch, with
gradients (e1 + 2 e2) / 2 for w and (e1 + e2) / 2 for b. At w = b = 0 they are
-4 and -2.5. Here u = (w, b) is shared, and v is a personal copy of both.
"""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.evaluation import evaluation
from tff_partial.learning import algorithms
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import copied_model
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import outlines
from tff_partial.learning import partition
from tff_partial.learning import process
from tff_partial.learning import weights

setUpModule, tearDownModule = worker.start, worker.stop

XS, YS = [1.0, 2.0], [2.0, 3.0]
PLAIN = toy.model_fn(partition.none)


def copied():
  return copied_model.CopiedModel(PLAIN)


def mixed():
  return copied_model.MixedModel(PLAIN)


def run(algorithm, *, u=(0.0, 0.0), v=(0.0, 0.0), mixture=None):
  """(new u, new v, new mixture weight) after one client's work."""
  values = lambda w, b: [[[w]], [b]]
  output = local_update.local_update(
      copied() if mixture is None else mixed(),
      algorithm.phases,
      local_update.ClientInputs(
          toy.weights(*values(*u)),
          toy.weights(*values(*v), *([] if mixture is None else [mixture])),
          toy.value(XS, YS),
      ),
      client_examples=toy.ALL_AT_ONCE,
  )
  number = lambda t: float(np.squeeze(t.numpy()))
  after = [before - number(d) for before, d in zip(u, output.update)]
  personal = [number(t) for t in output.personal.trainable]
  return after, personal[:2], personal[2:]


class DittoTest(absltest.TestCase):

  def ditto(self, penalty, rate=0.1):
    return algorithms.ditto(toy.sgd(rate), toy.sgd(rate), penalty=penalty)

  def test_by_hand(self):
    # At v = (1, 0): e = (-1, -1), gradients -1.5 and -1; the penalty's are
    # 0.5 * (1 - 0) and 0. u is trained as in FedAvg.
    u, v, _ = run(self.ditto(0.5), v=(1.0, 0.0))
    np.testing.assert_allclose(u, [0.4, 0.25], rtol=1e-6)
    np.testing.assert_allclose(v, [1.1, 0.1], rtol=1e-6)

  def test_without_penalty_each_client_trains_alone(self):
    _, v, _ = run(self.ditto(0.0), v=(1.0, 0.0))
    alone = local_update.local_update(
        toy.model_fn(partition.everything)(),
        algorithms.finetune(toy.sgd(0.1)).phases,
        local_update.ClientInputs(
            toy.weights(), toy.weights([[1.0]], [0.0]), toy.value(XS, YS)
        ),
        client_examples=toy.ALL_AT_ONCE,
    ).personal.trainable
    np.testing.assert_array_equal(v, [float(np.squeeze(t)) for t in alone])

  def test_large_penalty_stays_at_the_received_shared_model(self):
    # With rate * penalty = 1, v becomes u - 1e-4 * gradient.
    _, v, _ = run(self.ditto(1e4, rate=1e-4), u=(0.5, 0.5), v=(9.0, -9.0))
    np.testing.assert_allclose(v, [0.5, 0.5], atol=0.01)

  def test_shared_model_is_that_of_fed_avg(self):
    p = process.build_partial_process(
        PLAIN, self.ditto(0.5), client_examples=toy.ALL_AT_ONCE
    )
    fed_avg = process.build_partial_process(
        PLAIN, algorithms.fed_avg(toy.sgd(0.1)), client_examples=toy.ALL_AT_ONCE
    )
    data = [toy.value([1], [2]), toy.value(XS, YS)]
    state, personal, _ = p.next(
        p.initialize(), [p.initialize_personal()] * 2, data
    )
    expected, _, _ = fed_avg.next(
        fed_avg.initialize(), [fed_avg.initialize_personal()] * 2, data
    )
    tf.nest.map_structure(
        np.testing.assert_array_equal,
        state.global_model_weights,
        expected.global_model_weights,
    )
    self.assertNotEqual(
        personal[0].trainable[0].item(), personal[1].trainable[0].item()
    )


class PFedMeTest(absltest.TestCase):

  def pfedme(self, **kwargs):
    kwargs = {'penalty': 2.0, 'pull': 0.5, **kwargs}
    return algorithms.pfedme(toy.sgd(0.1), **kwargs)

  def test_one_round_by_hand(self):
    # v becomes (0.4, 0.25), and u moves half of the way.
    u, v, _ = run(self.pfedme(inner_steps=1))
    np.testing.assert_allclose(v, [0.4, 0.25], rtol=1e-6)
    np.testing.assert_allclose(u, [0.2, 0.125], rtol=1e-6)

  def test_proximal_term_has_a_gradient(self):
    # Second step at v = (0.4, 0.25): e = (-1.35, -1.95), the gradients are
    # -2.625 and -1.65, and those of the penalty 2 * 0.4 and 2 * 0.25.
    _, v, _ = run(self.pfedme(inner_steps=2))
    np.testing.assert_allclose(v, [0.4 + 0.1825, 0.25 + 0.115], rtol=1e-5)

  def test_inner_steps_see_one_batch(self):
    # Two batches of one example. With (x, y) = (1, 2), e = -2 at first and -1.6
    # then, where the penalty's gradient is 2 * 0.2; with (3, 0), nothing moves.
    form = examples_lib.Tensors(batch_size=1)
    examples = toy.examples([1.0, 3.0], [2.0, 0.0])
    algorithm = self.pfedme(inner_steps=2, steps=algorithms.Steps(max_steps=1))
    output = local_update.local_update(
        copied(),
        algorithm.phases,
        local_update.ClientInputs(
            toy.weights([[0.0]], [0.0]),
            toy.weights([[0.0]], [0.0]),
            form.value(examples, np.array([0, 0], np.int32)),
        ),
        client_examples=form,
    )
    v = [round(float(np.squeeze(t)), 5) for t in output.personal.trainable]
    self.assertIn(v, ([0.32, 0.32], [0.0, 0.0]))
    self.assertEqual(output.counts.steps, 2)

  def test_next_local_round_is_anchored_at_the_new_shared_model(self):
    # u = (0.2, 0.125), v = (0.4, 0.25): the penalty's gradients are halved.
    twice = algorithms.Steps(epochs=2)
    u, v, _ = run(self.pfedme(inner_steps=1, steps=twice))
    v_expected = [0.4 + 0.2625 - 0.04, 0.25 + 0.165 - 0.025]
    np.testing.assert_allclose(v, v_expected, rtol=1e-5)
    np.testing.assert_allclose(
        u, [(0.2 + v_expected[0]) / 2, (0.125 + v_expected[1]) / 2], rtol=1e-5
    )

  def test_fixed_point(self):
    # At w = b = 1 there is no error, so nothing moves.
    u, v, _ = run(self.pfedme(), u=(1.0, 1.0), v=(1.0, 1.0))
    np.testing.assert_array_equal(u, [1.0, 1.0])
    np.testing.assert_array_equal(v, [1.0, 1.0])

  def test_without_pull_the_shared_model_stays(self):
    algorithm = self.pfedme(pull=0.0)
    self.assertFalse(algorithm.trains_shared)
    self.assertEqual(run(algorithm)[0], [0.0, 0.0])


class ApflTest(absltest.TestCase):

  APFL = algorithms.apfl(toy.sgd(0.1), toy.sgd(0.1))

  def test_by_hand(self):
    # The mixture of (0, 0) and (1, 1) is (0.5, 0.5): e = (-1, -1.5), and the
    # gradients are -2 and -1.25, that of the weight -2 * 1 - 1.25 * 1. With the
    # new weight, 0.825, e = (-0.35, -0.525), and the gradients of v are 0.825
    # of -0.7 and -0.4375.
    u, v, mixture = run(self.APFL, v=(1.0, 1.0), mixture=0.5)
    np.testing.assert_allclose(u, [0.4, 0.25], rtol=1e-6)
    np.testing.assert_allclose(v, [1.05775, 1.03609375], rtol=1e-6)
    np.testing.assert_allclose(mixture, [0.825], rtol=1e-6)

  def test_the_first_step_alone_trains_the_weight(self):
    steps = algorithms.Steps(epochs=3)
    apfl = algorithms.apfl(toy.sgd(0.05), toy.sgd(0.1), steps=steps)
    x, y = np.array(XS), np.array(YS)

    def gradient(w):
      e = w[0] * x + w[1] - y
      return np.array([np.mean(e * x), np.mean(e)])

    u, v, weight = np.zeros(2), np.array([2.0, 0.0]), 0.5
    weight -= 0.1 * np.sum((v - u) * gradient(weight * v + (1 - weight) * u))
    for _ in range(3):
      mixed_gradient = gradient(weight * v + (1 - weight) * u)
      u = u - 0.05 * gradient(u)
      v = v - 0.1 * weight * mixed_gradient
    found_u, found_v, mixture = run(apfl, v=(2.0, 0.0), mixture=0.5)
    np.testing.assert_allclose(mixture, [weight], rtol=1e-6)
    np.testing.assert_allclose(found_v, v, rtol=1e-5)
    np.testing.assert_allclose(found_u, u, rtol=1e-5)

  def test_weight_is_projected_after_each_update(self):
    # As by hand above, but the personal rate is 1 and the weight would become
    # 0.5 + 3.25. From 1, it becomes smaller as soon as the gradient says so.
    apfl = algorithms.apfl(toy.sgd(0.1), toy.sgd(1.0))
    _, _, mixture = run(apfl, v=(1.0, 1.0), mixture=0.5)
    self.assertEqual(mixture, [1.0])
    # The mixture is (-1, -1): e = (-3, -4.5), and <g, v - u> is 9.75.
    _, _, mixture = run(apfl, v=(-1.0, -1.0), mixture=1.0)
    self.assertEqual(mixture, [0.0])

  def test_weight_0_is_fed_avg(self):
    # The weight, whose gradient is 4 * 5 + 2.5 * 5, stays.
    u, v, mixture = run(self.APFL, v=(-5.0, -5.0), mixture=0.0)
    np.testing.assert_allclose(u, [0.4, 0.25], rtol=1e-6)
    self.assertEqual(v, [-5.0, -5.0])
    self.assertEqual(mixture, [0.0])

  def test_predicts_with_the_mixture(self):
    model = mixed()
    model.assign(toy.weights([[0.0]], [0.0]), toy.weights([[2.0]], [4.0], 0.25))
    batch = toy.examples([1.0], [0.0])
    outputs = model.outputs(batch, training=False)
    np.testing.assert_allclose(outputs, [[1.5]])  # 0.5 x + 1


class ModelTest(parameterized.TestCase):

  @parameterized.named_parameters(('copied', copied), ('mixed', mixed))
  def test_both_models_have_the_same_initial_values(self, model_fn):
    shared, personal = client_work_lib.build_initial_weights(model_fn, seed=3)()
    for u, v in zip(shared.trainable, personal.trainable):
      np.testing.assert_array_equal(u, v)

  def test_pretrained_weights_initialize_both(self):
    variables = outlines.describe(mixed)
    shared, personal = client_work_lib.build_initial_weights(mixed, seed=0)()
    filled = weights.fill(
        {
            'line/kernel': np.array([[7.0]], np.float32),
            'line/bias': np.array([8.0], np.float32),
        },
        variables,
        shared,
        personal,
    )
    for group in (filled.shared, filled.personal):
      np.testing.assert_array_equal(group.trainable[0], [[7.0]])
      np.testing.assert_array_equal(group.trainable[1], [8.0])
    self.assertEqual(filled.missing, [copied_model.MIXTURE])
    self.assertEmpty(filled.unused)

  @parameterized.named_parameters(('copied', copied), ('mixed', mixed))
  def test_evaluation_uses_the_personal_model(self, model_fn):
    shared, personal = client_work_lib.build_initial_weights(model_fn, seed=0)()
    v = [np.array([[1.0]], np.float32), np.array([1.0], np.float32)]
    personal = personal._replace(
        trainable=v + [np.float32(1.0)] * (len(personal.trainable) - 2)
    )
    test = toy.Clients({'a': toy.examples(XS, YS)})
    table = evaluation.evaluate(
        {
            'personalized': evaluation.TestedModel(
                evaluation.build_evaluation(
                    model_fn, client_examples=toy.ALL_AT_ONCE
                ),
                shared,
                lambda ids: [personal] * len(ids),
            )
        },
        evaluation.Population(
            train=test, test=test, participated=lambda client_id: True
        ),
        ['a'],
        progress=False,
    )
    self.assertEqual(table.values('personalized', 'squared_error'), [0.0])

  def test_model_with_a_split_cannot_be_copied(self):
    with self.assertRaisesRegex(
        ValueError,
        'variables are all shared, .* found personal variables: line/bias',
    ):
      copied_model.CopiedModel(toy.model_fn())


if __name__ == '__main__':
  absltest.main()
