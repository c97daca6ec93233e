# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run with a backdoor, and its success in the report."""

import collections
import json
import pathlib
import re
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.evaluation import metric
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition

setUpModule, tearDownModule = worker.start, worker.stop


def _clients(seed):
  """Twenty clients whose pictures' upper left pixel is their label."""
  data = {}
  for i in range(20):
    y = np.random.default_rng([seed, i]).integers(2, size=12).astype(np.int32)
    x = np.zeros([12, 4, 4], np.float32)
    x[:, 0, 0], x[:, 0, 1] = y, 1 - y
    data[f'client_{i}'] = collections.OrderedDict(x=x, y=y)
  return toy.Clients(data)


def _model_fn():
  return partial_model.PartialModel(
      tf.keras.Sequential(
          [
              tf.keras.layers.InputLayer([4, 4]),
              tf.keras.layers.Flatten(),
              tf.keras.layers.Dense(2, kernel_initializer='zeros'),
          ]
      ),
      partition.matches('bias'),
      loss_fn=lambda y, logits: tf.reduce_mean(
          tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
      ),
      metric_fns={
          'accuracy': lambda y, logits: (
              tf.cast(tf.equal(tf.argmax(logits, 1, tf.int32), y), tf.float32),
              tf.ones_like(y, tf.float32),
          )
      },
      input_spec=collections.OrderedDict(
          x=tf.TensorSpec([None, 4, 4], tf.float32),
          y=tf.TensorSpec([None], tf.int32),
      ),
  )


def _task():
  return task_lib.Task(
      name='pictures',
      data='drawn',
      model='linear',
      model_fn=lambda split: _model_fn,
      splits={'output': partition.matches('bias')},
      train=_clients(0),
      test=_clients(1),
      client_examples=examples_lib.Tensors(batch_size=12),
      metric=metric.Metric('accuracy', higher_is_better=True),
  )


class AttackRunTest(absltest.TestCase):

  def run_one(self, **settings):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    path = pathlib.Path(folder.name)
    config = config_lib.create(
        algorithm='fed_alt',
        pretrain_rounds=0,
        total_rounds=15,
        clients_per_round=20,
        learning_rate=2.0,
        epochs=5,
        rounds_per_evaluation=0,
        **settings,
    )
    plan = plan_lib.build(_task(), config)
    run_lib.run(plan, str(path), progress=False)
    return plan, json.loads((path / 'report.json').read_text())

  def test_success_of_a_backdoor(self):
    plan, report = self.run_one(attack='backdoor', attackers=0.4)
    [note] = [n for n in report['notes'] if n.startswith('Simulated')]
    self.assertStartsWith(
        note,
        'Simulated attack (backdoor) by 40% of the clients in training, which'
        ' are not evaluated. Its success, label 0 for pictures of others with'
        ' the trigger: ',
    )
    # Eight attackers of twenty. All others' models do what they want.
    self.assertLen(plan.evaluated, 12)
    rates = [float(r) for r in re.findall(r'([\d.]+)% under', note)]
    self.assertLen(rates, 2)
    self.assertGreater(min(rates), 90)

  def test_refuses_that_all_are_malicious(self):
    config = config_lib.create(attack='label_flip', attackers=1.0)
    with self.assertRaisesRegex(ValueError, 'nobody is left to evaluate'):
      plan_lib.build(_task(), config)

  def test_median_stops_it(self):
    _, report = self.run_one(
        attack='backdoor', attackers=0.1, aggregator='median'
    )
    [note] = [n for n in report['notes'] if n.startswith('Simulated')]
    rates = [float(r) for r in re.findall(r'([\d.]+)% under', note)]
    self.assertEqual(rates, [0.0, 0.0])


if __name__ == '__main__':
  absltest.main()
