# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What leaves clients: by the flow of data, and by changing what must not.

`leaves_clients` shows which results of a client's work are sent. That these do
not carry personal variables along is shown by rounds with other personal
variables where these must have no effect. Rounds with a leak fail the same
checks.
"""

import collections
import functools

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.learning import algorithms
from tff_partial.learning import copied_model
from tff_partial.learning import data_flow
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import process

setUpModule, tearDownModule = worker.start, worker.stop

SHARED, PERSONAL = toy.sgd(0.1), toy.sgd(0.2)
ALGORITHMS = {
    'fed_avg': algorithms.fed_avg(SHARED),
    'fed_sim': algorithms.fed_sim(SHARED, PERSONAL),
    'fed_alt': algorithms.fed_alt(SHARED, PERSONAL),
    'fed_recon': algorithms.fed_recon(SHARED, PERSONAL),
    'finetune': algorithms.finetune(PERSONAL),
    'ditto': algorithms.ditto(SHARED, PERSONAL, penalty=0.5),
    'pfedme': algorithms.pfedme(PERSONAL, penalty=0.5, pull=0.5),
    'apfl': algorithms.apfl(SHARED, PERSONAL),
}
SPLITS = {
    'bias': toy.B_IS_PERSONAL,
    'kernel': partition.matches('/kernel$'),
    'none': partition.none,
}
ALLOWED = {'update', 'weight', 'metrics', 'counts'}


@functools.cache  # Building one takes seconds.
def build(algorithm, model_fn=None, **kwargs):
  return process.build_partial_process(
      model_fn or toy.model_fn(split_of(algorithm)),
      algorithm,
      client_examples=toy.ALL_AT_ONCE,
      **kwargs,
  )


def split_of(algorithm):
  """A split that the algorithm takes."""
  return toy.B_IS_PERSONAL if algorithm.wrapper is None else partition.none


def fields(computation):
  """The results of clients' work that leave them."""
  found = set()
  for value in data_flow.leaves_clients(computation):
    found |= value.fields
  return found


def with_leak(p, leak):
  """A round that also sums a value of clients for the server.

  Args:
    p: The process.
    leak: From the personal variables of clients before and after their work,
      `{P}@CLIENTS` each, to `{V}@CLIENTS`.
  """
  members = list(p.next.type_signature.parameter)

  @tff.federated_computation(*members)
  def leaky(state, personal, examples):
    state, trained, metrics = p.next(state, personal, examples)
    total = tff.federated_sum(leak(personal, trained))
    return state, trained, tff.federated_zip((metrics, total))

  return leaky


class LeavesClientsTest(parameterized.TestCase):

  @parameterized.named_parameters(
      (f'{name}_{split}', algorithm, split)
      for name, algorithm in ALGORITHMS.items()
      for split in SPLITS
      if split == 'none' or algorithm.wrapper is None
  )
  def test_results_of_work_that_are_not_personal(self, algorithm, split):
    p = build(algorithm, toy.model_fn(SPLITS[split]))
    for computation in (p.next, p.pieces.partial_round):
      self.assertEqual(fields(computation), ALLOWED)
    self.assertEmpty(data_flow.leaves_clients(p.initialize))

  def test_each_value_with_its_type_and_what_it_is_computed_from(self):
    found = data_flow.leaves_clients(build(ALGORITHMS['fed_alt']).next)
    self.assertEqual(
        [(x.uri, str(x.type_spec), sorted(x.origins)) for x in found],
        [
            # The weighted update, and the weight.
            ('federated_sum', '<float32[1,1]>', ['update/0', 'weight']),
            ('federated_sum', 'float32', ['weight']),
            (
                'federated_sum',
                '<metrics=<squared_error=<float32,float32>>,counts='
                '<steps=int64,examples=int64,non_finite=int64,empty=int64>>',
                [
                    'counts/empty',
                    'counts/examples',
                    'counts/non_finite',
                    'counts/steps',
                    'metrics/squared_error/0',
                    'metrics/squared_error/1',
                ],
            ),
        ],
    )

  def test_without_metrics_the_update_and_its_weight_alone(self):
    p = build(ALGORITHMS['fed_alt'], metrics=False)
    for computation in (p.next, p.pieces.partial_round):
      self.assertEqual(fields(computation), {'update', 'weight'})

  def test_secure_sums_of_everything(self):
    p = build(
        ALGORITHMS['fed_alt'],
        model_aggregator=tff.learning.secure_aggregator(),
        metrics_aggregation_factory=tff.aggregators.SecureSumFactory(1000.0),
    )
    found = data_flow.leaves_clients(p.next)
    self.assertTrue(all(x.is_secure for x in found))
    self.assertEqual(fields(p.next), ALLOWED)

  @parameterized.named_parameters(
      ('robust', tff.learning.robust_aggregator, False),
      ('dp', lambda: tff.learning.dp_aggregator(1e-3, 2), False),
      ('secure', tff.learning.secure_aggregator, True),
      ('compressed', tff.learning.compression_aggregator, False),
  )
  def test_aggregators_that_send_more(self, create, is_secure):
    p = build(ALGORITHMS['fed_alt'], model_aggregator=create())
    found = data_flow.leaves_clients(p.next)
    self.assertGreater(len(found), 2)
    # An unweighted aggregator does not take weights.
    self.assertContainsSubset({'update', 'metrics', 'counts'}, fields(p.next))
    self.assertContainsSubset(fields(p.next), ALLOWED)
    self.assertEqual(
        {x.is_secure for x in found if 'update' in x.fields}, {is_secure}
    )

  def test_keys_of_a_selection_leave(self):
    as_array = tff.tensorflow.computation(
        lambda k: tf.reshape(k, [1]), np.int32
    )
    row = tff.tensorflow.computation(
        lambda table, key: tf.gather(table, key), (np.float32, [3]), np.int32
    )

    @tff.federated_computation(
        tff.FederatedType(np.int32, tff.CLIENTS),
        tff.FederatedType((np.float32, [3]), tff.SERVER),
    )
    def select(keys, table):
      return tff.federated_select(
          tff.federated_map(as_array, keys),
          tff.federated_value(np.int32(3), tff.SERVER),
          table,
          row,
      )

    [found] = data_flow.leaves_clients(select)
    self.assertEqual(found.origins, {'argument/keys'})


class LeaksTest(parameterized.TestCase):
  """Leaks that the flow of data shows, of personal types and others."""

  def assert_found(self, p, leak, origins):
    more = data_flow.leaves_clients(with_leak(p, leak))
    usual = data_flow.leaves_clients(p.next)
    [extra] = [x for x in more if x not in usual]
    self.assertEqual(extra.origins, origins)
    self.assertNoCommonElements(extra.fields, ALLOWED)

  def test_sum_of_personal_variables_among_metrics(self):
    self.assert_found(
        build(ALGORITHMS['fed_alt']),
        lambda before, after: after.trainable,
        {'personal/trainable/0'},
    )

  def test_scalar_from_personal_variables_before_work(self):
    p = build(ALGORITHMS['fed_alt'])
    total = tff.tensorflow.computation(
        lambda personal: tf.reduce_sum(personal.trainable[0]),
        p.initialize_personal.type_signature.result,
    )
    self.assert_found(
        p,
        lambda before, after: tff.federated_map(total, before),
        {'argument/personal/trainable/0'},
    )

  def test_mixture_of_apfl(self):
    # The type of a term of a metric: a scalar.
    self.assert_found(
        build(ALGORITHMS['apfl']),
        lambda before, after: after.trainable[2],
        {'personal/trainable/2'},
    )

  def test_personal_variables_of_the_type_of_the_update(self):
    self.assert_found(
        build(ALGORITHMS['ditto']),
        lambda before, after: after.trainable,
        {'personal/trainable/0', 'personal/trainable/1'},
    )


# The loss and the metrics read the first output alone, which depends on the
# shared variables alone.
def two_outputs():
  x = tf.keras.layers.Input([1])
  layer = lambda name: tf.keras.layers.Dense(
      1, kernel_initializer='zeros', name=name
  )
  outputs = [layer('line')(x), layer('ignored')(x)]
  return tf.keras.Model(x, outputs)


class IgnoringModel(partial_model.PartialModel):
  """A model whose loss ignores its personal part."""

  def __init__(self):
    super().__init__(
        two_outputs(),
        partition.layers('ignored'),
        loss_fn=lambda labels, outputs: toy.loss(labels, outputs[0]),
        metric_fns={
            'squared_error': lambda labels, outputs: toy.squared_error(
                labels, outputs[0]
            )
        },
        input_spec=toy.INPUT_SPEC,
    )


def labels_only():
  """A model whose metric ignores all variables."""
  return partial_model.PartialModel(
      toy.keras_model(),
      partition.none,
      loss_fn=toy.loss,
      metric_fns={'label': lambda y, _: (y[:, 0], tf.ones_like(y[:, 0]))},
      input_spec=toy.INPUT_SPEC,
  )


def bits_of_round(p, personal, examples):
  """The bits of the server's state and metrics after a round."""
  state, _, metrics = p.next(p.initialize(), personal, examples)
  return [np.asarray(x).tobytes() for x in tf.nest.flatten([state, metrics])]


def other(personal, number):
  """Personal variables with this number everywhere."""
  return tf.nest.map_structure(lambda v: np.full_like(v, number), personal)


def interferes(p, examples, numbers=(0.25, 0.5)):
  """Whether the server sees which personal variables clients have.

  Args:
    p: The process.
    examples: The examples of the clients whose personal variables change. One
      more client has the same throughout.
    numbers: The values that personal variables have.
  """
  initial = p.initialize_personal()
  same = toy.value([1, 2], [3, 5])
  found = {
      tuple(
          bits_of_round(
              p,
              [initial] + [other(initial, n)] * len(examples),
              [same, *examples],
          )
      )
      for n in numbers
  }
  return len(found) > 1


NOBODY = [toy.value([], [])]
SOMEBODY = [toy.value([1, 3], [2, 2])]


class NonInterferenceTest(parameterized.TestCase):

  @parameterized.named_parameters(
      (name, algorithm)
      for name, algorithm in ALGORITHMS.items()
      if algorithm.wrapper is None and name != 'fed_avg'
  )
  def test_loss_that_ignores_personal_variables(self, algorithm):
    p = build(algorithm, IgnoringModel)
    self.assertFalse(interferes(p, SOMEBODY))

  # pFedMe's shared model moves towards personal ones by design.
  @parameterized.named_parameters(('ditto', 'ditto'), ('apfl', 'apfl'))
  def test_metric_that_ignores_personal_copies(self, name):
    p = build(ALGORITHMS[name], labels_only)
    self.assertFalse(interferes(p, SOMEBODY))

  @parameterized.named_parameters(
      (name, algorithm)
      for name, algorithm in ALGORITHMS.items()
      if name != 'fed_avg'
  )
  def test_clients_without_examples(self, algorithm):
    # Without weights, which would hide the updates of these clients.
    p = build(
        algorithm, model_aggregator=tff.aggregators.UnweightedMeanFactory()
    )
    self.assertFalse(interferes(p, NOBODY))

  def test_personal_variables_that_are_not_finite(self):
    p = build(ALGORITHMS['fed_alt'], IgnoringModel)
    self.assertFalse(interferes(p, SOMEBODY, numbers=(np.nan, np.inf)))


class LeakyMetric(IgnoringModel):
  """A metric has the sum of the personal variables in it, a scalar."""

  def metrics(self, batch, outputs):
    (name, (total, weight)), *_ = super().metrics(batch, outputs).items()
    leak = tf.reduce_sum(self.personal.trainable[0])
    return collections.OrderedDict([(name, (total + leak, weight))])


class LeakyGradient(IgnoringModel):
  """The update of the shared variables has personal ones in it."""

  def gradients(self, batch, groups):
    loss, outputs, gradients = super().gradients(batch, groups)
    leak = lambda group, values: tuple(
        g + (v if group == 'shared' else 0.0)
        for g, v in zip(values, self.personal.trainable)
    )
    return loss, outputs, [leak(*pair) for pair in zip(groups, gradients)]


class LeakyMixture(copied_model.MixedModel):
  """A metric has APFL's mixture weight in it."""

  def metrics(self, batch, outputs):
    (name, (total, weight)), *_ = super().metrics(batch, outputs).items()
    mixture = self.personal.trainable[2].read_value()
    return collections.OrderedDict([(name, (total, weight + mixture))])


class InterferenceTest(parameterized.TestCase):
  """Leaks inside a client's work, which the flow of data does not show."""

  @parameterized.named_parameters(
      ('metric', LeakyMetric), ('update', LeakyGradient)
  )
  def test_leak_is_found(self, model_fn):
    p = build(ALGORITHMS['fed_alt'], model_fn)
    self.assertEqual(fields(p.next), ALLOWED)
    self.assertTrue(interferes(p, SOMEBODY))

  def test_mixture_is_found(self):
    algorithm = algorithms.Algorithm(
        'apfl', ALGORITHMS['apfl'].phases, wrapper=LeakyMixture
    )
    p = build(algorithm, labels_only)
    self.assertEqual(fields(p.next), ALLOWED)
    self.assertTrue(interferes(p, SOMEBODY))


if __name__ == '__main__':
  absltest.main()
