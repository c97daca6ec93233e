# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps in microbatches are those of whole batches.

The client has the examples (1, 2), (2, 3) and (3, 0) of `y = w x + b`. At
w = b = 0 the errors are (-2, -3, 0), so that the gradient of w is
(-2 - 6 + 0) / 3 and that of b (-2 - 3 + 0) / 3. Those of the first two examples
and of the last one are (-4, -2.5) and (0, 0), whose plain mean is another one.
"""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import process as process_lib

setUpModule, tearDownModule = worker.start, worker.stop

XS, YS = [1.0, 2.0, 3.0], [2.0, 3.0, 0.0]
FED_SIM = algorithms.fed_sim(toy.sgd(0.1), toy.sgd(0.2))


def create_model(network=None, rule=toy.B_IS_PERSONAL, **kwargs):
  return partial_model.PartialModel(
      network or toy.keras_model(),
      rule,
      **{
          'loss_fn': toy.loss,
          'metric_fns': {'squared_error': toy.squared_error},
          'input_spec': toy.INPUT_SPEC,
          **kwargs,
      },
  )


def run(algorithm, form, xs=XS, ys=YS, *, model=None):
  """The result of one client's work, from the model's initial values."""
  model = model or algorithm.wrap(toy.model_fn())()
  output = local_update.local_update(
      model,
      algorithm.phases,
      local_update.ClientInputs(
          model.initial('shared'),
          model.initial('personal'),
          toy.value(xs, ys),
      ),
      client_examples=form,
  )
  return tf.nest.map_structure(lambda t: t.numpy(), output)


class GradientsTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 3, 5)
  def test_are_those_of_the_batch(self, size):
    form = examples_lib.Tensors(100, shuffle=False, microbatch_size=size)
    output = run(FED_SIM, form)
    self.assertAlmostEqual(output.update[0].item(), -0.8 / 3, places=6)
    b = output.personal.trainable[0].item()
    self.assertAlmostEqual(b, 0.2 * 5 / 3, places=6)
    self.assertEqual(output.counts, (1, 3, 0, 0))  # One step, three examples.
    self.assertEqual(output.weight, 3.0)
    self.assertEqual(output.metrics['squared_error'], (4.0 + 9.0, 3.0))

  def test_are_clipped_as_a_whole(self):
    form = examples_lib.Tensors(100, shuffle=False, microbatch_size=2)
    steps = algorithms.Steps(clip_norm=1.0)
    output = run(algorithms.fed_sim(toy.sgd(), toy.sgd(), steps=steps), form)
    norm = np.hypot(8, 5)
    self.assertAlmostEqual(output.update[0].item(), -8 / norm, places=6)
    b = output.personal.trainable[0].item()
    self.assertAlmostEqual(b, 5 / norm, places=6)

  def test_have_the_weights_of_the_loss(self):
    # The loss is the mean of (w x + b - 1)^2 / 2 with weights y, so that the
    # gradient of w is -(1 * 1 + 3 * 2) / 4. The last example has no weight, and
    # its microbatch, for itself, a loss of 0 / 0.
    def terms(y, z):
      return y[:, 0] * tf.square(z[:, 0] - 1) / 2, y[:, 0]

    def loss(y, z):
      total, weight = terms(y, z)
      return tf.reduce_sum(total) / tf.reduce_sum(weight)

    model = create_model(loss_fn=loss, metric_fns={'loss': terms})
    form = examples_lib.Tensors(100, shuffle=False, microbatch_size=1)
    output = run(FED_SIM, form, [1, 2, 5], [1, 3, 0], model=model)
    self.assertAlmostEqual(output.update[0].item(), -0.175, places=6)
    self.assertEqual(output.counts.non_finite, 0)

  def test_no_more_examples_are_computed_at_a_time(self):
    sizes = []

    def loss(y, z):
      sizes.append(len(y))
      return toy.loss(y, z)

    form = examples_lib.Tensors(4, shuffle=False, microbatch_size=3)
    run(FED_SIM, form, range(6), range(6), model=create_model(loss_fn=loss))
    self.assertEqual(sizes, [3, 1, 2])

  @parameterized.named_parameters(
      ('alternating', algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.1))),
      ('alone', algorithms.fed_rod(toy.sgd(0.1), toy.sgd(0.1))),
      ('all_examples', algorithms.ffgg(toy.sgd(0.1), toy.sgd(0.1))),
      ('dual', algorithms.fed_apm(toy.sgd(0.1), toy.sgd(0.1), rho=0.5)),
  )
  def test_of_other_steps(self, algorithm):
    self.check(algorithm, toy.model_fn())

  @parameterized.named_parameters(
      ('penalized', algorithms.ditto(toy.sgd(0.1), toy.sgd(0.1), penalty=1.0)),
      ('mixed', algorithms.apfl(toy.sgd(0.1), toy.sgd(0.1))),
  )
  def test_of_copies(self, algorithm):
    self.check(algorithm, toy.model_fn(partition.none))

  def check(self, algorithm, model_fn):
    """Compares two steps, the last with a smaller batch, with whole ones."""
    form = examples_lib.Tensors(3)
    results = [
        run(
            algorithm, f, *np.random.default_rng(0).normal(size=[2, 5]), model=m
        )
        for f, m in (
            (form, algorithm.wrap(model_fn)()),
            (
                dataclasses.replace(form, microbatch_size=2),
                algorithm.wrap(model_fn)(),
            ),
        )
    ]
    whole, divided = map(tf.nest.flatten, results)
    self.assertGreater(tf.linalg.global_norm(results[0].update), 0.01)
    for expected, found in zip(whole, divided):
      np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

  def test_of_a_round(self):
    clients = toy.random_clients(3)
    results = []
    for size in (None, 3):
      form = examples_lib.Tensors(4, microbatch_size=size)
      process = process_lib.build_partial_process(
          toy.model_fn(),
          algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.1)),
          client_examples=form,
      )
      personal = [process.initialize_personal()] * 3
      examples = [
          form.value(clients.read(c), np.array([1, i], np.int32))
          for i, c in enumerate(clients.client_ids)
      ]
      result = process.next(process.initialize(), personal, examples)
      results.append(
          [result[0].global_model_weights.trainable, result[1], result[2]]
      )
    whole, divided = map(tf.nest.flatten, results)
    for expected, found in zip(whole, divided):
      np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


class LayersTest(absltest.TestCase):

  def test_each_microbatch_has_its_own_dropout(self):
    # x = 1 becomes 0 or 2, and y is 1: the gradient of w is minus the mean.
    def create_network():
      first = [tf.keras.layers.InputLayer([1]), tf.keras.layers.Dropout(0.5)]
      return tf.keras.Sequential([*first, *toy.keras_model().layers])

    form = examples_lib.Tensors(100, microbatch_size=1)
    found = [
        run(FED_SIM, form, [1] * 40, [1] * 40, model=create_model(network))
        for network in (create_network(), create_network())
    ]
    self.assertEqual(found[0].update, found[1].update)
    self.assertBetween(-10 * found[0].update[0].item(), 0.1, 1.9)

  def test_batch_normalization_is_refused(self):
    normalized = tf.keras.Sequential(
        [
            *toy.keras_model().layers,
            tf.keras.layers.BatchNormalization(name='normal'),
        ]
    )
    normalized.build([None, 1])
    model = create_model(normalized, partition.layers('normal'))
    run(FED_SIM, examples_lib.Tensors(100), model=model)
    with self.assertRaisesRegex(
        ValueError, '`microbatch_size`, found normal, which measure'
    ):
      run(FED_SIM, examples_lib.Tensors(9, microbatch_size=2), model=model)


if __name__ == '__main__':
  absltest.main()
