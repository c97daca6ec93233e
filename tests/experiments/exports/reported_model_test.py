# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exports of what the report says about a client, made again."""

import dataclasses
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
from tff_partial.experiments import finished_run
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments.exports import export
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import weights

setUpModule, tearDownModule = worker.start, worker.stop


class ReportedModelTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    self.run_dir = self.folder / 'run'
    self.task = toy_task.create_task('x', batch_size=100)

  def run_all(self, **settings):
    """Trains, and returns the report's table of clients."""
    config = config_lib.create(
        total_rounds=1,
        clients_per_round=5,
        learning_rate=0.1,
        rounds_per_evaluation=0,
        personal='output',
        **{'pretrain_rounds': 0, **settings},
    )
    self.plan = plan_lib.build(self.task, config)
    return run_lib.run(self.plan, str(self.run_dir), progress=False)

  def export(self, client, model):
    """Exports a client's model; its weight, its offset, and export.json."""
    out = self.folder / f'{client}_{model}'
    export.export(
        str(self.run_dir), client, str(out), model=model, task=self.task
    )
    loaded = tf.keras.models.load_model(out / 'model.keras', compile=False)
    w, b = (float(v.numpy().squeeze()) for v in loaded.variables)
    return w, b, json.loads((out / 'export.json').read_text())

  def test_finetuned(self):
    self.run_all(finetune_epochs=1)
    w, before, _ = self.export('client_2', 'personalized')
    same, after, description = self.export('client_2', 'finetuned')
    examples = self.task.train.read('client_2')
    # One step on all examples: the gradient of b is mean(w x + b - y).
    gradient = np.mean(w * examples['x'] + before - examples['y'])
    self.assertGreater(abs(gradient), 0.01)
    self.assertAlmostEqual(after, before - 0.1 * gradient, places=5)
    self.assertEqual(same, w)
    self.assertEqual(description['tested_as'], 'finetuned')
    self.assertEqual(description['not_included'], [])

  def test_layers_without_names_have_those_of_the_run(self):
    line = lambda: tf.keras.Sequential(
        [tf.keras.layers.InputLayer([1]), tf.keras.layers.Dense(1)]
    )
    self.task = dataclasses.replace(
        self.task,
        model_fn=lambda split: lambda: partial_model.PartialModel(
            line(),
            partition.rule_by_name(split, self.task.splits),
            loss_fn=toy.loss,
            metric_fns={'squared_error': toy.squared_error},
            input_spec=toy.INPUT_SPEC,
        ),
    )
    self.run_all(finetune_epochs=1)
    self.export('client_2', 'finetuned')
    found = weights.load(
        self.folder / 'client_2_finetuned' / 'personal.safetensors'
    )
    self.assertEqual(list(found), ['dense/bias'])

  def test_gated(self):
    # Two of the clients differ from the others. Test examples, which must not
    # decide, say the opposite.
    rng = np.random.default_rng(0)
    people = [{}, {}]
    for i, offset in enumerate((0, 0, 0, 3, -3)):
      for data, sign in zip(people, (1, -1)):
        x, noise = rng.normal(size=[2, 8])
        y = 2 * x + sign * offset + noise
        data[f'client_{i}'] = toy.examples(x, y)
    train, test = map(toy.Clients, people)
    self.task = self.task.with_clients(train=train, test=test)
    table = self.run_all(
        gate=0.5, pretrain_rounds=1, personal_learning_rate=1.0
    )
    column = lambda name: dict(
        zip(table.client_ids, table.values(name, 'squared_error'))
    )
    errors_of = {
        name: column(name)
        for name in ('gated', 'personalized', 'non_personalized')
    }
    # What each client's held-out examples say.
    w, b = (
        weights.load(self.run_dir / 'pretrain' / run_folder.WEIGHTS)[path]
        for path in ('line/kernel', 'line/bias')
    )
    run = finished_run.FinishedRun(str(self.run_dir), self.plan.model_fn)
    clients = {}
    for client in table.client_ids:
      examples = self.plan.held_out.read(client)
      self.assertLen(examples['x'], 4)
      own = run.model(client).outputs(examples, training=False)
      kept = w * examples['x'] + b
      errors_held_out = [
          np.mean((outputs - examples['y']) ** 2) for outputs in (own, kept)
      ]
      chosen = ('personalized', 'non_personalized')[np.argmin(errors_held_out)]
      self.assertEqual(errors_of['gated'][client], errors_of[chosen][client])
      clients[chosen] = client
    self.assertCountEqual(clients, ['personalized', 'non_personalized'])
    for chosen, client in clients.items():
      w, b, description = self.export(client, 'gated')
      examples = self.task.test.read(client)
      error = np.mean((w * examples['x'] + b - examples['y']) ** 2)
      np.testing.assert_allclose(error, errors_of['gated'][client], rtol=1e-4)
      self.assertEqual(description['gate_chose'], chosen)
      np.testing.assert_allclose(error, errors_of[chosen][client], rtol=1e-4)
      self.assertEqual(description['tested_as'], 'gated')

  def test_refuses_data_that_were_imported_again(self):
    self.task = self.imported('monday')
    self.run_all(finetune_epochs=1, pretrain_rounds=1)
    self.task = self.imported('tuesday')
    with self.assertRaisesRegex(errors.SettingsError, 'the data in x'):
      self.export('client_2', 'finetuned')

  def imported(self, day):
    """The task with data of this fingerprint."""
    clients = clients_lib.ExcludingClients(self.task.train, ())
    clients.fingerprint = day
    return self.task.with_clients(train=clients, test=clients)

  def test_refuses_what_the_run_has_not(self):
    self.run_all()
    for model, message in (
        ('finetuned', 'run with `finetune_epochs` to export its'),
        ('gated', 'run with `gate` to export its gated model'),
        ('best', "found 'best'"),
    ):
      with self.assertRaisesRegex(errors.SettingsError, message):
        self.export('client_2', model)


if __name__ == '__main__':
  absltest.main()
