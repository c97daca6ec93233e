# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0

import dataclasses
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import notes
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import start
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import weights

setUpModule, tearDownModule = worker.start, worker.stop


def unnamed_layers(split):
  """A model to which a split adds a layer, before the last one."""

  def create():
    added = [] if split == 'none' else [tf.keras.layers.Dense(2)]
    layers = [tf.keras.layers.Dense(2), *added, tf.keras.layers.Dense(1)]
    return partial_model.PartialModel(
        tf.keras.Sequential([tf.keras.layers.InputLayer([1]), *layers]),
        partition.none if split == 'none' else partition.layers('dense_1'),
        loss_fn=toy.loss,
        metric_fns={'squared_error': toy.squared_error},
        input_spec=toy.INPUT_SPEC,
    )

  return create


class StartTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.path = str(pathlib.Path(folder.name, 'model.safetensors'))
    self.plan = plan_lib.build(
        toy_task.create_task('toy'),
        config_lib.create(clients_per_round=2, pretrain_rounds=0),
    )
    self.all = start.load(self.plan, None)

  def save_only(self, *, personal):
    """Saves the personal variables, or the shared ones."""
    weights.save(
        self.path,
        [v for v in self.plan.variables if v.personal == personal],
        self.all.shared,
        self.all.personal,
    )

  def paths(self, *, personal):
    return [v.path for v in self.plan.variables if v.personal == personal]

  def test_new_personal_variables_are_information(self):
    self.save_only(personal=False)
    with self.assertNoLogs():
      found = start.load(self.plan, self.path)
    self.assertEqual(list(found.new), self.paths(personal=True))
    [note] = notes.notes_on_new_variables(found.new)
    self.assertEqual(
        note,
        f'{len(found.new)} personal variable is new: the model that training'
        f' started from does not have {", ".join(found.new)}.',
    )

  def test_clients_get_copies_of_what_was_trained(self):
    plan = plan_lib.build(
        toy_task.create_task('toy'),
        config_lib.create(
            algorithm='ditto', clients_per_round=2, pretrain_rounds=0
        ),
    )
    before = start.load(plan, None)
    trained = tf.nest.map_structure(lambda v: v + 1, before.shared)
    weights.save(self.path, plan.variables, trained, before.personal)
    found = start.load(plan, self.path)
    for copy, value in zip(found.personal.trainable, trained.trainable):
      np.testing.assert_array_equal(copy, value)

  def test_nothing_to_share_is_refused_before_pretraining(self):
    with self.assertRaisesRegex(
        errors.SettingsError, 'fed_alt, found none with `personal` regex:li'
    ):
      plan_lib.build(
          toy_task.create_task('toy'),
          config_lib.create(clients_per_round=2, personal='regex:line|nothing'),
      )

  def test_layers_with_other_numbers_are_refused_before_training(self):
    task = dataclasses.replace(
        toy_task.create_task('toy'), model_fn=unnamed_layers
    )
    build = lambda **settings: plan_lib.build(
        task, config_lib.create(clients_per_round=2, **settings)
    )
    with self.assertRaisesRegex(
        errors.SettingsError, r'dense/kernel \[1, 2\] as \[2, 2\], .* a name'
    ):
      build()
    build(pretrain_rounds=0)

  def test_missing_shared_variables_are_a_warning(self):
    self.save_only(personal=True)
    with self.assertLogs() as logs:
      found = start.load(self.plan, self.path)
    self.assertEmpty(found.new)
    [record] = logs.records
    self.assertEqual(record.levelname, 'WARNING')
    self.assertIn(
        f'{len(self.paths(personal=False))} variables are missing and start'
        ' from seeded values',
        record.getMessage(),
    )


if __name__ == '__main__':
  absltest.main()
