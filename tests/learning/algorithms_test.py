# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of every algorithm; a new one is a line in the table."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import process

setUpModule, tearDownModule = worker.start, worker.stop

FORM = examples_lib.Tensors(batch_size=2)
XS, YS = [1.0, 2.0, -1.0], [3.0, 5.0, -1.0]  # y = 2 x + 1, in two batches.
W, B = 0.25, -0.5  # Where training starts.


def fed_avg(steps):
  return algorithms.fed_avg(toy.sgd(0.1), steps=steps)


def fed_sim(steps):
  return algorithms.fed_sim(toy.sgd(0.1), toy.sgd(0.2), steps=steps)


def fed_alt(steps):
  return algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2), steps=steps)


def fed_recon(steps):
  return algorithms.fed_recon(toy.sgd(0.1), toy.sgd(0.2), steps=steps)


def finetune(steps):
  return algorithms.finetune(toy.sgd(0.2), steps=steps)


# What makes it, the groups that its phases train, whether it is stateful.
ALGORITHMS = (
    ('fed_avg', fed_avg, ['shared'], True),
    ('fed_sim', fed_sim, ['personal+shared'], True),
    ('fed_alt', fed_alt, ['personal', 'shared'], True),
    ('fed_recon', fed_recon, ['personal', 'shared'], False),
    ('finetune', finetune, ['personal'], True),
)


def run(create, xs=XS, ys=YS, *, steps=None, w=W, b=B):
  """(w, b, output) after one client's work."""
  output = local_update.local_update(
      toy.model_fn()(),
      create(steps or algorithms.Steps()).phases,
      toy.weights([[w]]),
      toy.weights([b]),
      FORM.value(toy.examples(xs, ys), np.array([0, 0], np.int32)),
      client_examples=FORM,
  )
  output = tf.nest.map_structure(lambda t: t.numpy(), output)
  return (
      w - float(output.update[0].squeeze()),
      float(output.personal.trainable[0].squeeze()),
      output,
  )


class ContractTest(parameterized.TestCase):

  @parameterized.named_parameters(*ALGORITHMS)
  def test_says_what_it_does(self, create, groups, stateful):
    algorithm = create(algorithms.Steps())
    self.assertEqual(algorithm.name, create.__name__)
    self.assertEqual(algorithm.stateful, stateful)
    self.assertEqual(
        [
            '+'.join(
                name
                for name in ('personal', 'shared')
                if getattr(phase, name) is not None
            )
            for phase in algorithm.phases
        ],
        groups,
    )
    self.assertEqual(algorithm.trains_shared, 'shared' in ''.join(groups))
    self.assertEqual(algorithm.trains_personal, 'personal' in ''.join(groups))

  @parameterized.named_parameters(*ALGORITHMS)
  def test_moves_the_groups_that_it_trains_and_no_others(
      self, create, groups, unused_stateful
  ):
    w, b, _ = run(create)
    self.assertEqual(w != W, 'shared' in ''.join(groups))
    self.assertEqual(b != B, 'personal' in ''.join(groups))

  @parameterized.named_parameters(*ALGORITHMS)
  def test_depends_on_its_arguments_alone(self, create, *unused):
    first, again = run(create)[2], run(create)[2]
    tf.nest.map_structure(np.testing.assert_array_equal, first, again)

  @parameterized.named_parameters(*ALGORITHMS)
  def test_counts_steps_and_examples(self, create, groups, unused_stateful):
    # Two batches of 3 examples, for 3 epochs, in each phase.
    output = run(create, steps=algorithms.Steps(epochs=3))[2]
    self.assertEqual(output.counts.steps, 6 * len(groups))
    self.assertEqual(output.counts.examples, 9 * len(groups))
    self.assertEqual(output.weight, 9.0)  # What the last phase saw.
    # Cut off after two batches and the first of the next epoch.
    output = run(create, steps=algorithms.Steps(epochs=3, max_steps=3))[2]
    self.assertEqual(output.counts.steps, 3 * len(groups))
    self.assertEqual(output.counts.examples, 5 * len(groups))

  @parameterized.named_parameters(*ALGORITHMS)
  def test_gradients_are_bounded(self, create, *unused):
    # Rates are 0.1 and 0.2, and there is one step a phase.
    w, b, _ = run(create, steps=algorithms.Steps(max_steps=1, clip_norm=1e-3))
    self.assertLessEqual(abs(w - W), 0.1 * 1e-3 * (1 + 1e-3))
    self.assertLessEqual(abs(b - B), 0.2 * 1e-3 * (1 + 1e-3))

  @parameterized.named_parameters(*ALGORITHMS)
  def test_client_without_examples_changes_nothing(self, create, *unused):
    w, b, output = run(create, [], [])
    self.assertEqual((w, b, output.weight), (W, B, 0))
    self.assertEqual((output.counts.empty, output.counts.non_finite), (1, 0))

  @parameterized.named_parameters(*ALGORITHMS)
  def test_client_that_fails_changes_nothing(self, create, *unused):
    for bad in (np.nan, 1e30):  # The second becomes infinite in training.
      w, b, output = run(create, [1.0, 1.0, bad], YS)
      self.assertEqual((w, b, output.weight), (W, B, 0))
      self.assertEqual((output.counts.empty, output.counts.non_finite), (0, 1))

  @parameterized.named_parameters(*ALGORITHMS)
  def test_gets_better(self, create, *unused):
    def error(w, b):
      return np.mean([(w * x + b - y) ** 2 for x, y in zip(XS, YS)])

    w, b = W, B
    before = error(w, b)
    for _ in range(3):
      w, b, _ = run(create, w=w, b=b)
      self.assertLess(error(w, b), before)
      before = error(w, b)

  @parameterized.named_parameters(
      *(line for line in ALGORITHMS if 'shared' in ''.join(line[2]))
  )
  def test_a_round_is_the_clients_work_averaged(self, create, *unused):
    p = process.build_partial_process(
        toy.model_fn(), create(algorithms.Steps()), client_examples=FORM
    )
    value = FORM.value(toy.examples(XS, YS), np.array([0, 0], np.int32))
    state, personal, _ = p.next(
        p.start_from(
            p.initialize(), toy.weights([[W]]), p.initialize_personal()
        ),
        [toy.weights([B])] * 2,
        [value] * 2,
    )
    w, b, _ = run(create)
    # Two clients that are alike.
    np.testing.assert_allclose(
        np.squeeze(state.global_model_weights.trainable[0]), w, rtol=1e-6
    )
    for each in personal:
      np.testing.assert_allclose(np.squeeze(each.trainable[0]), b, rtol=1e-6)


class AlgorithmTest(absltest.TestCase):

  def test_every_algorithm_is_in_the_table(self):
    public = {
        name
        for name, value in vars(algorithms).items()
        if callable(value) and name.islower() and not name.startswith('_')
    }
    # The others are tested in full_personalization_test.
    others = {'ditto', 'pfedme', 'apfl'}
    self.assertEqual(public, {name for name, *_ in ALGORITHMS} | others)

  def test_phases_of_one_algorithm_may_be_of_different_lengths(self):
    algorithm = algorithms.fed_alt(
        toy.sgd(0.1),
        toy.sgd(0.2),
        steps=algorithms.Steps(epochs=1),
        personal_steps=algorithms.Steps(epochs=4),
    )
    self.assertEqual([phase.epochs for phase in algorithm.phases], [4, 1])

  def test_no_phases(self):
    with self.assertRaisesRegex(ValueError, "a phase in 'idle', found none"):
      algorithms.Algorithm('idle', ())


if __name__ == '__main__':
  absltest.main()
