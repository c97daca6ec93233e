# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluating clients under several models, checked by hand."""

import collections
import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import worker
from tff_partial import errors
from tff_partial.evaluation import client_table
from tff_partial.evaluation import evaluation
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import phase as phase_lib
from tff_partial.runtime import sharding as sharding_lib

setUpModule, tearDownModule = worker.start, worker.stop

FORM = examples_lib.Tensors(batch_size=2)
TRAIN = toy.Clients(
    {
        'a': toy.examples([1, 2], [2, 3]),
        'b': toy.examples([1], [5]),
        'c': toy.examples([], []),
    }
)
# With w = 1 the errors are x + b - y.
TEST = toy.Clients(
    {
        'a': toy.examples([1, 2, 3], [1, 2, 5]),
        'b': toy.examples([1], [3]),
        'c': toy.examples([2], [2]),
    }
)
PERSONAL = {'a': 0.0, 'b': 2.0, 'c': -1.0}


def personal_fn(client_ids):
  return [toy.weights([PERSONAL[c]]) for c in client_ids]


def model(phases=(), **kwargs):
  return evaluation.TestedModel(
      evaluation=evaluation.build_evaluation(
          toy.model_fn(), client_examples=FORM, phases=phases
      ),
      shared=toy.weights([[1.0]]),
      personal_fn=personal_fn,
      **kwargs,
  )


def evaluate(
    models, client_ids=('a', 'b', 'c'), clients_per_shard=None, train=TRAIN
):
  return evaluation.evaluate(
      models,
      evaluation.Population(
          train=train,
          test=TEST,
          participated=lambda client_id: client_id == 'a',
      ),
      client_ids,
      sharding=sharding_lib.Sharding(clients_per_shard=clients_per_shard),
      progress=False,
  )


class Counted:
  """Clients that count how often each one is read."""

  def __init__(self, clients):
    self.reads = collections.Counter()
    self._clients = clients

  @property
  def client_ids(self):
    return self._clients.client_ids

  def num_examples(self, client_id):
    return self._clients.num_examples(client_id)

  def read(self, client_id):
    self.reads[client_id] += 1
    return self._clients.read(client_id)


class EvaluateTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 50, None)
  def test_every_client_with_its_own_variables(self, clients_per_shard):
    table = evaluate(
        {'personalized': model()}, clients_per_shard=clients_per_shard
    )
    # a: errors 0, 0, -2; b: 1 + 2 - 3 = 0; c: 2 - 1 - 2 = -1.
    scores = table.scores['personalized']['squared_error']
    np.testing.assert_allclose(scores.total, [0, 0, 4, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(scores.weight, np.ones(5))
    np.testing.assert_allclose(
        table.values('personalized', 'squared_error'), [4 / 3, 0, 1], rtol=1e-6
    )
    np.testing.assert_array_equal(table.test_examples, [3, 1, 1])
    np.testing.assert_array_equal(table.train_examples, [2, 1, 0])
    np.testing.assert_array_equal(table.participated, [True, False, False])

  def test_examples_of_a_client_that_has_none_to_train_on(self):
    dataset = tf.data.Dataset.from_tensor_slices(toy.examples([1], [2]))
    for form, examples in (
        (FORM, toy.examples([1], [2])),
        (examples_lib.Sequences(), dataset.batch(2)),
    ):
      population = evaluation.Population(
          train=toy.Clients({}),
          test=toy.Clients({'new': examples}),
          participated=lambda client_id: False,
      )
      found = population.read_train('new', form)
      form.check(found, toy.INPUT_SPEC)
      value = form.value(found, np.zeros(2, np.int32))
      self.assertEqual(form.count(value), 0)

  def test_finetuning_before_the_test(self):
    # a: w = 1, b = 0 has training errors (-1, -1), gradient -1, so b = 0.5 and
    # the errors are 0.5, 0.5, -1.5. c has no training examples and stays.
    kept = {}
    phases = algorithms.finetune(toy.sgd(0.5)).phases
    table = evaluate(
        {
            'finetuned': model(
                phases,
                keep_fn=lambda ids, outputs: kept.update(zip(ids, outputs)),
            ),
            'personalized': model(),
        }
    )
    np.testing.assert_allclose(
        table.scores['finetuned']['squared_error'].total[[0, 1, 2, 4]],
        [0.25, 0.25, 2.25, 1],
        atol=1e-6,
    )
    b_of = lambda output: float(output['personal'].trainable[0][0])
    self.assertAlmostEqual(b_of(kept['a']), 0.5, places=6)
    # b: error 1 + 2 - 5 = -2, so b = 3.
    self.assertAlmostEqual(b_of(kept['b']), 3.0, places=6)
    self.assertEqual((kept['a']['steps'], kept['a']['examples']), (1, 2))
    self.assertEqual(kept['c']['steps'], 0)
    np.testing.assert_allclose(
        table.scores['personalized']['squared_error'].total[:3], [0, 0, 4]
    )

  def test_training_the_shared_variables_stays_with_the_client(self):
    phases = algorithms.fed_avg(toy.sgd(0.1)).phases
    both = evaluate({'x': model(phases)}, ('a', 'b'))
    alone = evaluate({'x': model(phases)}, ('b',))
    np.testing.assert_array_equal(
        both.scores['x']['squared_error'].total[3:],
        alone.scores['x']['squared_error'].total,
    )

  def test_penalty_anchored_at_the_initial_variables(self):
    # c has b = -1 and no data; a: gradient -1 plus 1 * (0 - 2).
    phases = algorithms.finetune(
        toy.sgd(0.5, penalty=1.0, anchor=phase_lib.INITIAL)
    ).phases
    kept = {}
    evaluate(
        {
            'x': model(
                phases,
                initial_personal=toy.weights([2.0]),
                keep_fn=lambda ids, outputs: kept.update(zip(ids, outputs)),
            )
        },
        ('a',),
    )
    self.assertAlmostEqual(
        float(kept['a']['personal'].trainable[0][0]), 1.5, places=6
    )

  def test_client_that_only_has_test_examples_is_evaluated_as_it_is(self):
    phases = algorithms.finetune(toy.sgd(0.5)).phases
    table = evaluate(
        {'finetuned': model(phases)},
        ('a', 'b'),
        train=toy.Clients({'a': TRAIN.read('a')}),
    )
    # b's error is 1 + 2 - 3 = 0 before, and after.
    np.testing.assert_allclose(
        table.values('finetuned', 'squared_error')[1], 0, atol=1e-6
    )
    np.testing.assert_array_equal(table.train_examples, [2, 0])

  def test_a_model_for_some_clients(self):
    seen = []

    def own(client_ids):
      seen.extend(client_ids)
      return personal_fn(client_ids)

    table = evaluate(
        {
            'personalized': model(),
            'new': dataclasses.replace(
                model(),
                personal_fn=own,
                tests_fn=lambda client_id: client_id == 'b',
            ),
            'nobodys': dataclasses.replace(
                model(), tests_fn=lambda client_id: False
            ),
        },
        clients_per_shard=2,
    )
    self.assertEqual(seen, ['b'])
    np.testing.assert_array_equal(
        table.values('new', 'squared_error'), [np.nan, 0, np.nan]
    )
    np.testing.assert_array_equal(
        table.weights('new', 'squared_error'), [0, 1, 0]
    )
    self.assertFalse(table.weights('nobodys', 'squared_error').any())
    np.testing.assert_array_equal(table.test_examples, [3, 1, 1])

  def test_clients_are_read_once_for_all_models(self):
    train = Counted(TRAIN)
    phases = algorithms.finetune(toy.sgd(0.5)).phases
    models = {'personalized': model(), 'finetuned': model(phases)}
    evaluate(models, clients_per_shard=2, train=train)
    self.assertEqual(train.reads, {'a': 1, 'b': 1, 'c': 1})

  def test_training_examples_are_read_only_for_phases(self):
    train = Counted(TRAIN)
    evaluate({'personalized': model()}, train=train)
    self.assertEmpty(train.reads)

  def test_no_clients_are_refused(self):
    with self.assertRaisesRegex(ValueError, 'at least one client to evaluate'):
      evaluate({'personalized': model()}, ())

  def test_models_with_examples_in_different_forms_are_refused(self):
    other = dataclasses.replace(
        model().evaluation, client_examples=examples_lib.Tensors(batch_size=3)
    )
    with self.assertRaisesRegex(ValueError, 'same `client_examples`'):
      evaluate(
          {'x': model(), 'y': dataclasses.replace(model(), evaluation=other)}
      )


class WeightsTest(absltest.TestCase):

  def test_negative_weights_are_refused(self):
    scores = {'c': {'error': (np.ones(2), np.array([1.0, -1.0]))}}
    with self.assertRaisesRegex(
        errors.SettingsError, "'error' .* found -1 at client 'c'. Return 1"
    ):
      client_table.from_scores(
          {'shared': scores},
          client_ids=['c'],
          train_examples=[1],
          participated=[True],
      )


if __name__ == '__main__':
  absltest.main()
