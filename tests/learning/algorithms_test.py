# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of every algorithm; a new one is a line in the table."""

import dataclasses
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
from tff_partial.learning import copied_model
from tff_partial.learning import dual_model
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import partition
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process
from tff_partial.learning import wrapped_model

setUpModule, tearDownModule = worker.start, worker.stop

FORM = examples_lib.Tensors(batch_size=2)
XS, YS = [1.0, 2.0, -1.0], [3.0, 5.0, -1.0]  # y = 2 x + 1, in two batches.
W, B = 0.25, -0.5  # Initial slope and offset.
MIXTURE = 0.5
SHARED, PERSONAL = toy.sgd(0.1), toy.sgd(0.2)
MAX_RATE = 0.2
INNER_STEPS = 2  # Of pFedMe, on each batch.


def pfedme(steps):
  return algorithms.pfedme(
      PERSONAL, penalty=0.5, pull=0.5, steps=steps, inner_steps=INNER_STEPS
  )


def ffgg(steps):
  return algorithms.ffgg(SHARED, PERSONAL, personal_steps=steps)


def apfl(steps):
  return algorithms.apfl(SHARED, PERSONAL, steps=steps)


# Name, function of `Steps`, the groups that each phase changes, and whether the
# algorithm is stateful.
ALGORITHMS = (
    (
        'fed_avg',
        lambda s: algorithms.fed_avg(SHARED, steps=s),
        ['shared'],
        True,
    ),
    (
        'fed_sim',
        lambda s: algorithms.fed_sim(SHARED, PERSONAL, steps=s),
        ['personal+shared'],
        True,
    ),
    (
        'fed_alt',
        lambda s: algorithms.fed_alt(SHARED, PERSONAL, steps=s),
        ['personal', 'shared'],
        True,
    ),
    (
        'fed_recon',
        lambda s: algorithms.fed_recon(SHARED, PERSONAL, steps=s),
        ['personal', 'shared'],
        False,
    ),
    (
        'finetune',
        lambda s: algorithms.finetune(PERSONAL, steps=s),
        ['personal'],
        True,
    ),
    (
        'ditto',
        lambda s: algorithms.ditto(SHARED, PERSONAL, penalty=0.5, steps=s),
        ['personal', 'shared'],
        True,
    ),
    ('pfedme', pfedme, ['personal+shared'], True),
    (
        'fed_babu',
        lambda s: algorithms.fed_babu(SHARED, steps=s),
        ['shared'],
        False,
    ),
    (
        'fed_rod',
        lambda s: algorithms.fed_rod(SHARED, PERSONAL, steps=s),
        ['personal+shared'],
        True,
    ),
    (
        'rolora',
        lambda s: algorithms.rolora(
            SHARED, turns=[partition.matches('kernel')], steps=s
        ),
        ['shared'],
        True,
    ),
    ('ffgg', ffgg, ['personal', 'shared'], True),
    (
        'fed_apm',
        lambda s: algorithms.fed_apm(SHARED, PERSONAL, rho=2.0, steps=s),
        ['personal', 'shared'],
        True,
    ),
    ('apfl', apfl, ['personal', 'personal+shared'], True),
)
TRAINING_SHARED = [row for row in ALGORITHMS if 'shared' in ''.join(row[2])]
COPYING = [row for row in ALGORITHMS if row[1](algorithms.Steps()).copies_model]


def plain_model_fn(algorithm):
  """A model that the algorithm takes: with a split, or without."""
  return toy.model_fn(
      partition.none if algorithm.copies_model else toy.B_IS_PERSONAL
  )


def start(algorithm, *, apart=0.0):
  """A client's shared and personal variables before its work.

  Args:
    algorithm: The algorithm that it runs.
    apart: By how much personal copies differ from what they are a copy of.
  """
  if not algorithm.copies_model:
    personal = toy.weights([B])
    if algorithm.wrapper is dual_model.DualModel:
      # The client's copy of the slope, and its dual variable.
      copy = [np.array([[v]], np.float32) for v in (W + apart, 0.1 * apart)]
      personal = personal._replace(non_trainable=copy)
    return toy.weights([[W]]), personal
  personal = [[[W + apart]], [B + apart]]
  if algorithm.wrapper is copied_model.MixedModel:
    personal.append(MIXTURE)
  return toy.weights([[W]], [B]), toy.weights(*personal)


@functools.cache
def build_process(create):
  """The algorithm, the model that it was given, and a process with both."""
  algorithm = create(algorithms.Steps())
  model_fn = plain_model_fn(algorithm)
  built = process.build_partial_process(
      model_fn,
      algorithm,
      client_examples=FORM,
      server_optimizer=tff.learning.optimizers.build_sgdm(1.0),
  )
  return algorithm, model_fn, built


def value(xs=XS, ys=YS, form=FORM):
  return form.value(toy.examples(xs, ys), np.array([0, 0], np.int32))


def run(algorithm, examples, variables, *, form=FORM):
  """One client's work: (shared and personal variables, output)."""
  shared, personal = variables
  output = local_update.local_update(
      algorithm.wrap(plain_model_fn(algorithm))(),
      algorithm.phases,
      local_update.ClientInputs(shared, personal, examples),
      client_examples=form,
  )
  output = tf.nest.map_structure(lambda t: t.numpy(), output)
  after = [u - d for u, d in zip(shared.trainable, output.update)]
  return (toy.weights(*after), output.personal), output


def moves(before, after):
  """The norms of the changes of the shared and the personal variables."""
  return [
      float(
          np.sqrt(
              sum(
                  np.sum(np.square(np.subtract(a, b)))
                  for a, b in zip(after_group[0], before_group[0])
              )
          )
      )
      for before_group, after_group in zip(before, after)
  ]


def assert_same(found, expected):
  tf.nest.map_structure(np.testing.assert_array_equal, found, expected)


class ContractTest(parameterized.TestCase):

  @parameterized.named_parameters(*ALGORITHMS)
  def test_says_what_it_does(self, create, groups, stateful):
    algorithm = create(algorithms.Steps())
    self.assertEqual(
        [
            '+'.join(
                name
                for name, changes in (
                    ('personal', phase.personal is not None),
                    ('shared', phase.shared is not None or phase.pull > 0),
                )
                if changes
            )
            for phase in algorithm.phases
        ],
        groups,
    )
    self.assertEqual(algorithm.stateful, stateful)
    self.assertEqual(algorithm.trains_shared, 'shared' in ''.join(groups))
    self.assertEqual(algorithm.trains_personal, 'personal' in ''.join(groups))

  @parameterized.named_parameters(*ALGORITHMS)
  def test_moves_the_groups_that_it_trains_and_no_others(
      self, create, groups, unused_stateful
  ):
    algorithm = create(algorithms.Steps())
    before = start(algorithm)
    after, _ = run(algorithm, value(), before)
    moved = [move > 0 for move in moves(before, after)]
    self.assertEqual(
        moved, ['shared' in ''.join(groups), 'personal' in ''.join(groups)]
    )

  @parameterized.named_parameters(*ALGORITHMS)
  def test_depends_only_on_its_arguments(self, create, *unused):
    algorithm = create(algorithms.Steps())
    first, again = (run(algorithm, value(), start(algorithm)) for _ in range(2))
    assert_same(first, again)

  @parameterized.named_parameters(*ALGORITHMS)
  def test_counts_steps_and_examples(self, create, groups, unused_stateful):
    # Three epochs of two batches, of 2 and 1 examples. FFGG goes over the
    # examples once for the shared variables, and APFL trains its weight on the
    # first batch.
    algorithm = create(algorithms.Steps(epochs=3))
    steps, seen = [6] * len(groups), [9] * len(groups)
    if create is pfedme:
      steps, seen = [6 * INNER_STEPS], [9 * INNER_STEPS]
    if create is ffgg:
      steps, seen = [6, 2], [9, 3]
    if create is apfl:
      steps, seen = [1, 6], [2, 9]
    output = run(algorithm, value(), start(algorithm))[1]
    self.assertEqual(output.counts.steps, sum(steps))
    self.assertEqual(output.counts.examples, sum(seen))
    self.assertEqual(output.weight, 3)

  @parameterized.named_parameters(*ALGORITHMS)
  def test_max_steps_bounds_each_phase(self, create, groups, unused_stateful):
    # Two batches of the first epoch and one of the second. A step of FFGG is an
    # epoch, and pFedMe's bound is on batches.
    steps, seen = 3 * len(groups), 5 * len(groups)
    if create is pfedme:
      steps, seen = steps * INNER_STEPS, seen * INNER_STEPS
    if create is ffgg:
      steps, seen = (3 + 1) * 2, (3 + 1) * 3
    if create is apfl:
      steps, seen = 1 + 3, 2 + 5
    algorithm = create(algorithms.Steps(epochs=5, max_steps=3))
    output = run(algorithm, value(), start(algorithm))[1]
    self.assertEqual(output.counts.steps, steps)
    self.assertEqual(output.counts.examples, seen)
    self.assertEqual(output.weight, 3)

  @parameterized.named_parameters(*ALGORITHMS)
  def test_weight_is_the_number_of_examples(self, create, *unused):
    sequences = examples_lib.Sequences()
    few = examples_lib.Tensors(batch_size=4, max_examples=8)
    for steps in (
        algorithms.Steps(epochs=2),
        algorithms.Steps(epochs=9, max_steps=3),
    ):
      algorithm = create(steps)
      for number in (3, 14):
        xs = np.linspace(-1, 1, number)
        examples = toy.examples(xs, 2 * xs)
        seed = np.array([0, 0], np.int32)
        dataset = tf.data.Dataset.from_tensor_slices(examples).batch(4)
        for form, given, expected in (
            (FORM, FORM.value(examples, seed), number),
            (few, few.value(examples, seed), min(number, 8)),
            (sequences, dataset, number),
        ):
          output = run(algorithm, given, start(algorithm), form=form)[1]
          self.assertEqual(output.weight, expected)

  @parameterized.named_parameters(*ALGORITHMS)
  def test_clip_norm_bounds_the_change(self, create, groups, unused_stateful):
    clip_norm = 1e-3
    steps = INNER_STEPS if create is pfedme else len(groups)
    bound = MAX_RATE * clip_norm * steps * (1 + 1e-3)
    for norm, is_bounded in ((clip_norm, True), (None, False)):
      algorithm = create(algorithms.Steps(max_steps=1, clip_norm=norm))
      before = start(algorithm)
      after, _ = run(algorithm, value(), before)
      self.assertEqual(max(moves(before, after)) <= bound, is_bounded)

  @parameterized.named_parameters(*ALGORITHMS)
  def test_client_without_examples_changes_nothing(self, create, *unused):
    algorithm = create(algorithms.Steps())
    before = start(algorithm)
    after, output = run(algorithm, value([], []), before)
    assert_same(after, before)
    self.assertEqual(output.weight, 0)
    self.assertEqual(output.metrics['squared_error'], (0, 0))
    self.assertEqual(output.counts, (0, 0, 0, 1))

  @parameterized.named_parameters(*ALGORITHMS)
  def test_client_without_examples_keeps_its_personal_variables(
      self, create, *unused
  ):
    algorithm = create(algorithms.Steps())
    before = start(algorithm, apart=1.0)
    _, output = run(algorithm, value([], []), before)
    assert_same(output.personal, before[1])
    self.assertEqual(output.weight, 0)

  @parameterized.named_parameters(*ALGORITHMS)
  def test_client_whose_loss_is_not_finite_changes_nothing(
      self, create, *unused
  ):
    algorithm = create(algorithms.Steps())
    before = start(algorithm, apart=1.0)
    for bad in (np.nan, np.inf, 1e30):  # The last overflows in training.
      _, output = run(algorithm, value([1.0, 1.0, bad]), before)
      for update in output.update:
        np.testing.assert_array_equal(update, np.zeros_like(update))
      assert_same(output.personal, before[1])
      # In a mean over all clients, it counts with what it sent before.
      counts = algorithm.sends_population_change
      self.assertEqual(output.weight, 3 if counts else 0)
      self.assertEqual(output.metrics['squared_error'], (0, 0))
      self.assertEqual((output.counts.non_finite, output.counts.empty), (1, 0))

  @parameterized.named_parameters(*ALGORITHMS)
  def test_metrics_are_those_of_the_last_phase(self, create, *unused):
    # With one batch and one step, they are measured where all phases but the
    # last have left the variables.
    form = toy.ALL_AT_ONCE
    algorithm = create(algorithms.Steps(max_steps=1))
    *before, last = algorithm.phases
    last = dataclasses.replace(last, inner_steps=1)
    algorithm = dataclasses.replace(algorithm, phases=(*before, last))
    inputs = local_update.ClientInputs(
        *start(algorithm, apart=1.0), value(form=form)
    )
    model = algorithm.wrap(plain_model_fn(algorithm))()
    local_update.run_phases(model, before, inputs, client_examples=form)
    batch = toy.examples(XS, YS)
    groups = [
        name
        for name in ('personal', 'shared')
        if getattr(last, name) is not None
    ]
    _, outputs, _ = model.gradients(batch, groups)
    expected = np.sum(np.square(outputs - batch['y']))
    _, output = run(algorithm, inputs.examples, inputs[:2], form=form)
    total, weight = output.metrics['squared_error']
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    self.assertEqual(weight, 3)

  @parameterized.named_parameters(*ALGORITHMS)
  def test_predictions_get_better(self, create, *unused):
    algorithm = create(algorithms.Steps())
    model = algorithm.wrap(plain_model_fn(algorithm))()
    batch = toy.examples(XS, YS)

    def error(variables):
      model.assign(*variables)
      return np.mean(
          np.square(model.outputs(batch, training=False) - batch['y'])
      )

    variables = start(algorithm)
    before = error(variables)
    for _ in range(3):
      variables, _ = run(algorithm, value(), variables)
      self.assertLess(error(variables), before)
      before = error(variables)

  @parameterized.named_parameters(*ALGORITHMS)
  def test_shared_only_predicts_as_the_shared_model(self, create, *unused):
    algorithm = create(algorithms.Steps())
    shared, personal = start(algorithm, apart=1.0)
    model = algorithm.wrap(plain_model_fn(algorithm))()
    model.assign(shared, algorithm.shared_only(shared, personal))
    outputs = model.outputs(toy.examples(XS, YS), training=False)
    np.testing.assert_allclose(
        np.squeeze(outputs, -1), [W * x + B for x in XS], rtol=1e-6
    )

  @parameterized.named_parameters(*TRAINING_SHARED)
  def test_a_round_averages_the_work_of_clients(self, create, *unused):
    algorithm, _, p = build_process(create)
    shared, personal = start(algorithm)
    others = [-x for x in XS]
    state, trained, metrics = p.next(
        p.start_from(p.initialize(), shared, personal),
        [personal] * 2,
        [value(), value(others)],
    )
    results = [
        run(algorithm, value(xs), (shared, personal)) for xs in (XS, others)
    ]
    # Both clients have the same number of examples.
    for found, *each in zip(
        state.global_model_weights.trainable,
        *(after[0].trainable for after, _ in results),
    ):
      np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-5)
    for found, (after, _) in zip(trained, results):
      for a, b in zip(found.trainable, after[1].trainable):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    self.assertEqual(
        metrics['counts'].steps, sum(o.counts.steps for _, o in results)
    )


class ModelTest(parameterized.TestCase):
  """`build_partial_process` makes the model that the algorithm trains."""

  @parameterized.named_parameters(*TRAINING_SHARED)
  def test_process_has_what_was_given(self, create, *unused):
    algorithm, model_fn, p = build_process(create)
    self.assertIs(p.client_examples, FORM)
    self.assertIs(p.algorithm, algorithm)
    if algorithm.wrapper is None:
      self.assertIs(p.model_fn, model_fn)
    else:
      self.assertIsInstance(p.model_fn(), algorithm.wrapper)

  @parameterized.named_parameters(*COPYING)
  def test_split_model_is_refused(self, create, *unused):
    with self.assertRaisesRegex(
        errors.SettingsError,
        'all shared.* found personal variables: line/bias. Use the split',
    ):
      process.build_partial_process(
          toy.model_fn(), create(algorithms.Steps()), client_examples=FORM
      )

  @parameterized.named_parameters(*COPYING)
  def test_model_that_was_wrapped_already_is_refused(self, create, *unused):
    algorithm = create(algorithms.Steps())
    with self.assertRaisesRegex(
        errors.SettingsError, 'personal variables: personal/line/kernel'
    ):
      process.build_partial_process(
          algorithm.wrap(toy.model_fn(partition.none)),
          algorithm,
          client_examples=FORM,
      )

  @parameterized.named_parameters(
      ('pull', phase_lib.Phase(personal=PERSONAL, pull=0.5)),
      (
          'anchor',
          phase_lib.Phase(
              personal=toy.sgd(penalty=1.0, anchor=phase_lib.SHARED)
          ),
      ),
  )
  def test_phases_that_need_a_copy_are_refused_without_one(self, phase):
    with self.assertRaisesRegex(errors.SettingsError, "`wrapper` .* 'mine'"):
      algorithms.Algorithm('mine', (phase,))
    with self.assertRaisesRegex(errors.SettingsError, "`wrapper` .* 'mine'"):
      algorithms.Algorithm('mine', (phase,), wrapper=wrapped_model.WrappedModel)
    algorithms.Algorithm('mine', (phase,), wrapper=copied_model.CopiedModel)


class AlgorithmTest(absltest.TestCase):

  def test_only_copies_are_replaced_by_the_shared_model(self):
    shared, personal = toy.weights(1, 2), toy.weights(3, 4)
    for wrapper, expected in (
        (wrapped_model.WrappedModel, personal),
        (lambda make: make(), personal),
        (copied_model.CopiedModel, shared),
        (functools.partial(copied_model.MixedModel, mixture=0.1), shared),
    ):
      algorithm = algorithms.Algorithm(
          'mine', (phase_lib.Phase(shared=SHARED),), wrapper=wrapper
      )
      found = algorithm.shared_only(shared, personal)
      np.testing.assert_array_equal(found.trainable, expected.trainable)

  def test_every_algorithm_is_in_the_table(self):
    public = {
        name
        for name, value in vars(algorithms).items()
        if callable(value) and name.islower() and not name.startswith('_')
    }
    self.assertEqual(public, {name for name, *_ in ALGORITHMS})
    for name, create, *_ in ALGORITHMS:
      self.assertEqual(create(algorithms.Steps()).name, name)

  def test_dual_steps_need_their_model(self):
    phase = phase_lib.Phase(shared=SHARED, dual_rho=0.5)
    with self.assertRaisesRegex(errors.SettingsError, "`wrapper` .* 'mine'"):
      algorithms.Algorithm('mine', (phase,))
    with self.assertRaisesRegex(errors.SettingsError, '`rho` above 0, found 0'):
      algorithms.fed_apm(SHARED, PERSONAL, rho=0)

  def test_phases_of_one_algorithm_may_be_of_different_lengths(self):
    for create in (
        algorithms.fed_alt,
        lambda *args, **kwargs: algorithms.ditto(*args, penalty=1.0, **kwargs),
    ):
      algorithm = create(
          SHARED,
          PERSONAL,
          steps=algorithms.Steps(epochs=1),
          personal_steps=algorithms.Steps(epochs=4),
      )
      self.assertEqual([phase.epochs for phase in algorithm.phases], [4, 1])

  def test_no_phases(self):
    with self.assertRaisesRegex(ValueError, "phase .* 'idle', found none"):
      algorithms.Algorithm('idle', ())


if __name__ == '__main__':
  absltest.main()
