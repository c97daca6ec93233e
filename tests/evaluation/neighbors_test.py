# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""kNN-Per, compared with NumPy."""

import collections
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.evaluation import evaluation
from tff_partial.evaluation import metric
from tff_partial.evaluation import neighbors
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import weights as weights_lib

setUpModule, tearDownModule = worker.start, worker.stop

K = 3
BODY = np.array([[1.0, 0.5], [-0.5, 2.0]], np.float32)
HEAD = np.array([[0.3, -0.2, 0.1], [0.0, 0.4, -0.6]], np.float32)
FORM = examples_lib.Tensors(batch_size=4)


def cross_entropy(labels, logits):
  return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def model_fn():
  inputs = tf.keras.Input([2])
  x = tf.keras.layers.Dense(2, use_bias=False, name='body')(inputs)
  outputs = tf.keras.layers.Dense(3, use_bias=False, name='head')(x)
  return partial_model.PartialModel(
      tf.keras.Model(inputs, outputs),
      partition.none,
      loss_fn=lambda y, z: tf.reduce_mean(cross_entropy(y, z)),
      metric_fns={
          'loss': lambda y, z: (cross_entropy(y, z), tf.ones_like(y)),
      },
      input_spec=collections.OrderedDict(
          x=tf.TensorSpec([None, 2], tf.float32),
          y=tf.TensorSpec([None], tf.int32),
      ),
  )


def draw(seed, number):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=[number, 2]).astype(np.float32)
  # Neighbours know more than the model.
  y = (x @ BODY > 0) @ np.array([1, 1])
  return collections.OrderedDict(x=x, y=y.astype(np.int32))


def softmax(x):
  e = np.exp(x - np.max(x, -1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def votes(features, stored, labels, k, leave_out=False):
  """What the k nearest vote for, [examples, classes]."""
  found = np.zeros([len(features), 3])
  for i, feature in enumerate(features):
    distances = np.sum((stored - feature) ** 2, -1) / 2  # Two features.
    if leave_out:
      distances[i] = np.inf
    nearest = np.argsort(distances)[: min(k, len(stored) - leave_out)]
    closeness = np.exp(-distances[nearest])
    for j, c in zip(nearest, closeness):
      found[i, labels[j]] += c / closeness.sum()
  return found


def expected_losses(train, test, body=BODY, head=HEAD, k=K):
  represent = lambda x: x @ body
  probabilities = lambda x: softmax(represent(x) @ head)
  stored, labels = represent(train['x']), train['y']
  rows = np.arange(len(labels))
  near = votes(stored, stored, labels, k, leave_out=True)[rows, labels]
  known = probabilities(train['x'])[rows, labels]
  weights = np.linspace(0, 0.9, 10)
  a = weights[
      np.argmax(
          [np.sum(np.log(w * near + (1 - w) * known + 1e-7)) for w in weights]
      )
  ]
  mixed = a * votes(represent(test['x']), stored, labels, k)
  mixed += (1 - a) * probabilities(test['x'])
  return a, -np.log(mixed[np.arange(len(test['y'])), test['y']] + 1e-7)


class NeighborsTest(absltest.TestCase):

  def test_mixtures_of_clients(self):
    people = {
        'many': (draw(0, 30), draw(1, 9)),
        'fewer than k': (draw(2, 2), draw(3, 3)),
        'one': (draw(4, 1), draw(5, 2)),
    }
    trains, tests = (
        toy.Clients({name: data[i] for name, data in people.items()})
        for i in (0, 1)
    )
    weights = tff.learning.models.ModelWeights
    table = evaluation.evaluate(
        {
            'with_neighbors': evaluation.TestedModel(
                neighbors.build_evaluation(
                    model_fn, 'head', client_examples=FORM, num_neighbors=K
                ),
                weights([BODY, HEAD], []),
                lambda client_ids: [weights([], [])] * len(client_ids),
            )
        },
        evaluation.Population(trains, tests, participated=lambda _: True),
        list(people),
        progress=False,
    )
    chosen = []
    for i, (train, test) in enumerate(people.values()):
      a, losses = expected_losses(train, test)
      chosen.append(a)
      self.assertAlmostEqual(
          table.values('with_neighbors', 'loss')[i], np.mean(losses), places=4
      )
    self.assertGreater(chosen[0], 0.3)
    self.assertEqual(chosen[2], 0)

  def test_run(self):
    people = [
        {f'client_{i}': draw(j * 9 + i, 15) for i in range(3)} for j in (0, 1)
    ]
    train, test = map(toy.Clients, people)
    task = task_lib.Task(
        name='points',
        data='drawn',
        model='two layers',
        model_fn=lambda split: model_fn,
        splits={},
        train=train,
        test=test,
        client_examples=FORM,
        metric=metric.Metric('loss', higher_is_better=False),
        head='head',
    )
    config = config_lib.create(
        algorithm='knn_per',
        total_rounds=2,
        clients_per_round=3,
        rounds_per_evaluation=0,
    )
    plan = plan_lib.build(task, config)
    with tempfile.TemporaryDirectory() as folder:
      table = run_lib.run(plan, folder, progress=False)
      trained = weights_lib.load(f'{folder}/{run_folder.WEIGHTS}')
    self.assertEqual(plan.candidate, 'with_neighbors')
    for i, client_id in enumerate(table.client_ids):
      _, losses = expected_losses(
          train.read(client_id),
          test.read(client_id),
          trained['body/kernel'],
          trained['head/kernel'],
          k=10,
      )
      self.assertAlmostEqual(
          table.values('with_neighbors', 'loss')[i], np.mean(losses), places=4
      )


if __name__ == '__main__':
  absltest.main()
