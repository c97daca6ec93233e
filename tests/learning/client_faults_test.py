# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The client whose examples the model cannot compute is named."""

import collections

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import worker
from tff_partial import errors
from tff_partial.evaluation import evaluation
from tff_partial.learning import algorithms
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import process
from tff_partial.training import personal_store
from tff_partial.training import sampler
from tff_partial.training import training

setUpModule, tearDownModule = worker.start, worker.stop


def cross_entropy(labels, logits):
  return tf.nn.sparse_softmax_cross_entropy_with_logits(
      labels=labels, logits=logits
  )


def model_fn():
  """A classifier with three classes."""
  return partial_model.PartialModel(
      tf.keras.Sequential(
          [tf.keras.layers.InputLayer([1]), tf.keras.layers.Dense(3)]
      ),
      partition.matches('bias'),
      loss_fn=lambda y, logits: tf.reduce_mean(cross_entropy(y, logits)),
      metric_fns={
          'loss': lambda y, logits: (
              cross_entropy(y, logits),
              tf.ones_like(y, tf.float32),
          )
      },
      input_spec=collections.OrderedDict(
          x=tf.TensorSpec([None, 1], tf.float32),
          y=tf.TensorSpec([None], tf.int32),
      ),
  )


def clients(last_label):
  return toy.Clients(
      {
          name: collections.OrderedDict(
              x=np.ones([2, 1], np.float32), y=np.array([0, label], np.int32)
          )
          for name, label in (('fine', 2), ('odd', last_label))
      }
  )


class Wide(toy.Clients):
  """Clients of whom one has numbers of 64 bits."""

  def read(self, client_id):
    read = super().read(client_id)
    if client_id == 'odd':
      read = collections.OrderedDict(read, x=read['x'].astype(np.float64))
    return read


_WIDE = r"Client 'odd': Expected examples x: float32.*found x: float64"
_ODD = r"Client 'odd' .* labels y: .*label value of 7 .*range.*\. Correct"


def wide():
  return Wide({c: clients(1).read(c) for c in ('fine', 'odd')})


class FaultTest(absltest.TestCase):

  def test_in_training(self):
    rounds = process.build_partial_process(
        model_fn,
        algorithms.fed_sim(toy.sgd(), toy.sgd()),
        client_examples=toy.ALL_AT_ONCE,
    )
    for population, message in ((clients(7), _ODD), (wide(), _WIDE)):
      with personal_store.PersonalStore(rounds.initialize_personal()) as store:
        with self.assertRaisesRegex(errors.DataError, message):
          training.train(
              rounds,
              sampler.UniformSampler(population, clients_per_round=2),
              store,
              training.Settings(1),
              progress=False,
          )

  def test_in_evaluation(self):
    build = evaluation.build_evaluation(
        model_fn, client_examples=toy.ALL_AT_ONCE
    )
    kernel, bias = np.zeros([1, 3], np.float32), np.zeros([3], np.float32)
    tested = evaluation.TestedModel(
        build,
        toy.weights()._replace(trainable=[kernel]),
        lambda ids: [toy.weights()._replace(trainable=[bias]) for _ in ids],
    )
    ids = ['fine', 'odd']
    evaluate = lambda test: evaluation.evaluate(
        {'shared': tested},
        evaluation.Population(clients(2), test, lambda _: True),
        ids,
        progress=False,
    )
    self.assertLen(evaluate(clients(1)).client_ids, 2)
    with self.assertRaisesRegex(errors.DataError, _ODD):
      evaluate(clients(7))
    with self.assertRaisesRegex(errors.DataError, _WIDE):
      evaluate(wide())


if __name__ == '__main__':
  absltest.main()
