# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs of models with constants, which clients are sent once."""

import dataclasses
import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial.experiments import checkpoint
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import weights

setUpModule, tearDownModule = worker.start, worker.stop

_RATE = 0.01


def create_task(width=1):
  """The toy task after a frozen layer."""
  task = toy_task.create_task('points', batch_size=100)

  def model_fn(split):
    def create():
      scale = tf.keras.layers.Dense(
          width, kernel_initializer='ones', name='scale', trainable=False
      )
      return partial_model.PartialModel(
          tf.keras.Sequential(
              [
                  tf.keras.layers.InputLayer([1]),
                  scale,
                  tf.keras.layers.Dense(
                      1, kernel_initializer='zeros', name='line'
                  ),
              ]
          ),
          partition.rule_by_name(split, task.splits),
          loss_fn=toy.loss,
          metric_fns={'squared_error': toy.squared_error},
          input_spec=toy.INPUT_SPEC,
      )

    return create

  return dataclasses.replace(
      task, model_fn=model_fn, splits={'output': partition.matches('line/bias')}
  )


class ConstantsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def plan(self, task, total_rounds=1, **settings):
    config = config_lib.create(
        total_rounds=total_rounds,
        clients_per_round=5,
        learning_rate=_RATE,
        **settings,
    )
    return plan_lib.build(task, config)

  def test_pretrained_constants_are_sent_once(self):
    task = create_task()
    start = self.folder / 'start.safetensors'
    weights.save_by_path(start, {'scale/kernel': np.float32([[2]])})
    plan = self.plan(task, algorithm='fed_avg', init_from=str(start))
    run_lib.run(plan, str(self.folder / 'run'), progress=False)
    found = weights.load(self.folder / 'run' / 'model.safetensors')
    np.testing.assert_array_equal(found['scale/kernel'], [[2]])
    # One step of all clients from zeros, of the mean of -2 x y.
    examples = [task.train.read(c) for c in task.train.client_ids]
    x, y = (np.concatenate([e[key] for e in examples]) for key in 'xy')
    np.testing.assert_allclose(
        found['line/kernel'], [[_RATE * np.mean(2 * x * y)]], rtol=1e-5
    )
    report = json.loads((self.folder / 'run' / 'report.json').read_text())
    # A kernel and a bias each.
    self.assertEqual(report['cost']['bytes_once_per_client'], 8)
    self.assertEqual(report['cost']['bytes_down_per_client'], 8)
    self.assertEqual(report['cost']['bytes_down'], 8 * 5)
    page = (self.folder / 'run' / 'report.html').read_text()
    self.assertIn('Sent to a client once', page)

  def test_model_of_an_unfinished_run_has_them(self):
    task, folder = create_task(), self.folder / 'run'
    run_lib.run(self.plan(task, pretrain_rounds=0), str(folder), progress=False)
    expected = weights.load(folder / 'model.safetensors')
    longer = self.plan(task, 2, pretrain_rounds=0)
    with run_folder.claim(
        str(folder), longer.settings, overwrite=False
    ) as claimed:
      claimed.change_rounds()
      values, rounds = checkpoint.load(str(folder), task)
    self.assertEqual(rounds, 1)
    self.assertSameElements(values, expected)
    for path, value in expected.items():
      np.testing.assert_array_equal(values[path], value)

  def test_large_ones_are_broadcast(self):
    width = plan_lib.MAX_CONSTANTS_BYTES // 8 + 1
    plan = self.plan(create_task(width), pretrain_rounds=0)
    shared = lambda width: toy.weights([[0]])._replace(
        non_trainable=[np.zeros([1, width], np.float32)] * 2
    )
    self.assertIs(plan.with_constants(shared(width)), plan)
    kept = plan.with_constants(shared(width - 1))
    self.assertLen(kept.constants, 2)


if __name__ == '__main__':
  absltest.main()
