# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs with FedDBE's mean regularization, next to NumPy."""

import dataclasses
import functools
import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import checkpoint
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments.estimates import feature_mean
from tff_partial.experiments.regime import split_study
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import identity_layers
from tff_partial.learning import mean_regularizer
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import weights

setUpModule, tearDownModule = worker.start, worker.stop

_RATE, _WEIGHT = 0.01, 3.0


def create(split):
  """A line of slope 1 through each client's points, with a personal offset."""
  inputs = tf.keras.Input([1])
  x = tf.keras.layers.Dense(
      1, use_bias=False, kernel_initializer='ones', name='line'
  )(inputs)
  rule = partition.none
  if split != 'none':
    x = mean_regularizer.MeanRegularizer(_WEIGHT)(x)
    x = identity_layers.FeatureBias(name='feature_bias')(x)
    rule = partition.layers('feature_bias')
  return partial_model.PartialModel(
      tf.keras.Model(inputs, x),
      rule,
      loss_fn=toy.loss,
      metric_fns={'squared_error': toy.squared_error},
      input_spec=toy.INPUT_SPEC,
  )


def create_task():
  return dataclasses.replace(
      toy_task.create_task('points', batch_size=100),
      model_fn=lambda split: functools.partial(create, split),
  )


class FeatureMeanTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.task = create_task()

  def plan(self, **settings):
    config = config_lib.create(
        **{
            'algorithm': 'fed_sim',
            'total_rounds': 1,
            'pretrain_rounds': 0,
            'clients_per_round': 5,
            'learning_rate': _RATE,
            **settings,
        }
    )
    return plan_lib.build(self.task, config)

  def run_it(self, plan):
    run_lib.run(plan, str(self.folder), progress=False)
    return weights.load(self.folder / run_folder.WEIGHTS)

  def test_one_round(self):
    found = self.run_it(self.plan())
    examples = [self.task.train.read(c) for c in self.task.train.client_ids]
    common = np.concatenate([e['x'] for e in examples]).mean()
    np.testing.assert_allclose(
        found[mean_regularizer.PATH], [common], rtol=1e-6
    )
    updates = [
        np.mean((e['x'] - e['y']) * e['x'])
        + _WEIGHT * (e['x'].mean() - common) * e['x'].mean()
        for e in examples
    ]
    sizes = [len(e['x']) for e in examples]
    np.testing.assert_allclose(
        found['line/kernel'],
        [[1 - _RATE * np.average(updates, weights=sizes)]],
        rtol=1e-6,
    )
    page = (self.folder / 'report.html').read_text()
    self.assertIn('the mean of the representations of its examples', page)
    self.assertIn('(1 number) and how many these are', page)
    cost = json.loads((self.folder / 'report.json').read_text())['cost']
    # Five clients get the slope twice, and send a mean, a number and a slope.
    self.assertEqual(cost['bytes_down'], 2 * 5 * 4)
    self.assertEqual(cost['bytes_up'], 3 * 5 * 4)

  def test_after_pretraining_without_rounds(self):
    self.run_it(
        self.plan(algorithm='finetune', pretrain_rounds=1, finetune_epochs=1)
    )
    slope = weights.load(self.folder / 'pretrain' / run_folder.WEIGHTS)
    examples = [self.task.train.read(c) for c in self.task.train.client_ids]
    found = json.loads((self.folder / feature_mean.FILE_NAME).read_text())
    np.testing.assert_allclose(
        found['mean'],
        [
            slope['line/kernel'][0, 0]
            * np.concatenate([e['x'] for e in examples]).mean()
        ],
        rtol=1e-6,
    )
    page = (self.folder / 'report.html').read_text()
    self.assertIn('Leaves a client in training: nothing', page)

  def test_a_start_with_a_mean(self):
    self.run_it(self.plan())
    plain = dataclasses.replace(
        self.plan(),
        variables=[
            v for v in self.plan().variables if v.path != mean_regularizer.PATH
        ],
    )
    self.assertIs(feature_mean.kept(plain, self.folder), plain)

  def test_it_is_measured_once(self):
    self.run_it(self.plan())
    path = self.folder / feature_mean.FILE_NAME
    path.write_text(json.dumps({'mean': [7.0]}))
    longer = self.plan(total_rounds=2)
    with run_folder.claim(
        str(self.folder), longer.settings, overwrite=False
    ) as claimed:
      claimed.change_rounds()
      values, _ = checkpoint.load(str(self.folder), self.task)
    np.testing.assert_array_equal(values[mean_regularizer.PATH], [7])
    self.assertEqual(self.run_it(longer)[mean_regularizer.PATH], [7])
    path.write_text('{"mean": "x"}')
    with self.assertRaisesRegex(errors.DataError, 'common mean .* damaged'):
      feature_mean.kept(longer, self.folder)

  @parameterized.parameters(
      (dict(noise_multiplier=1.0), 'differential privacy'),
      (dict(secure_aggregation=True), 'secure sums'),
      (dict(personal_l2='auto'), "found 'auto'"),
      (dict(aggregator='median'), 'median'),
  )
  def test_refused(self, settings, found):
    with self.assertRaisesRegex(errors.SettingsError, found):
      self.plan(**settings)

  def test_not_for_theory(self):
    with self.assertRaisesRegex(errors.SettingsError, 'with `regime`'):
      split_study.check_model(self.task, self.plan().config)

  def test_not_in_every_model(self):
    self.task = dataclasses.replace(
        self.task, model_fn=lambda _: functools.partial(create, 'output')
    )
    with self.assertRaisesRegex(errors.SettingsError, "FedAvg's model"):
      self.plan()


if __name__ == '__main__':
  absltest.main()
