# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs that become longer or shorter, and models of unfinished runs."""

import contextlib
import dataclasses
import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.helpers import programs
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import checkpoint
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import compare
from tff_partial.experiments.exports import export
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import weights
from tff_partial.runtime import sharding
from tff_partial.training import store_summary

setUpModule, tearDownModule = worker.start, worker.stop


class CheckpointTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    self.task = toy_task.create_task('points')

  def plan(self, total_rounds, **settings):
    config = config_lib.create(
        **{
            'total_rounds': total_rounds,
            'pretrain_rounds': 0,
            'clients_per_round': 2,
            'learning_rate': 0.01,
            'rounds_per_evaluation': 0,
            **settings,
        }
    )
    return plan_lib.build(self.task, config)

  def run_in(self, name, total_rounds, **settings):
    plan = self.plan(total_rounds, **settings)
    run_lib.run(plan, str(self.folder / name), progress=False)

  def interrupted(self, name, **settings):
    """A run that stands after 2 of 4 rounds; returns its weights then."""
    self.run_in(name, 2, **settings)
    found = weights.load(self.folder / name / 'model.safetensors')
    plan = self.plan(4, **settings)
    with run_folder.claim(
        str(self.folder / name), plan.settings, overwrite=False
    ) as claimed:
      self.assertFalse(claimed.finished)
      claimed.change_rounds()
    self.assertFalse((self.folder / name / 'model.safetensors').exists())
    return found

  def test_longer_run_is_what_it_would_have_been(self):
    self.run_in('grown', 1, pretrain_rounds=1)
    self.run_in('grown', 3, pretrain_rounds=1)
    self.run_in('whole', 3, pretrain_rounds=1)
    grown, whole = self.folder / 'grown', self.folder / 'whole'
    self.assertEqual(programs.results(grown), programs.results(whole))
    reports = [
        json.loads((folder / 'report.json').read_text())
        for folder in (grown, whole)
    ]
    for key in ('groups', 'settings', 'headline'):
      self.assertEqual(reports[0][key], reports[1][key])
    with self.assertRaisesRegex(
        errors.SettingsError, 'total_rounds` of at least 3, .* found 2'
    ):
      self.run_in('grown', 2, pretrain_rounds=1)
    # A run that is refused stays finished.
    self.assertTrue((grown / 'report.html').exists())

  def test_rates_that_depend_on_the_number_of_rounds(self):
    self.run_in('run', 1, schedule='linear')
    with self.assertRaisesRegex(
        errors.SettingsError, 'total_rounds` 1 as in .*linear .* found 2'
    ):
      self.run_in('run', 2, schedule='linear')
    self.run_in('halved', 1, schedule='staircase')
    self.run_in('halved', 2, schedule='staircase')

  def test_start_from_an_unfinished_run(self):
    expected = self.interrupted('first', pretrain_rounds=1)
    start = {'init_from': str(self.folder / 'first')}
    with self.assertLogs(level='WARNING') as logs:
      self.run_in('second', 1, **start)
    self.assertTrue(
        any('its model after round 2 of 4' in line for line in logs.output)
    )
    kept = weights.load(self.folder / 'second' / 'start.safetensors')
    self.assertSameElements(kept, expected)
    for path, value in expected.items():
      np.testing.assert_array_equal(kept[path], value)
    gated = plan_lib.build(
        self.task, self.plan(1, gate=0.5, personal='output', **start).config
    )
    table = run_lib.run(gated, str(self.folder / 'gated'), progress=False)
    # The first run may go on without an effect on the others.
    self.run_in('first', 4, pretrain_rounds=1)
    self.run_in('second', 2, **start)
    self.assertEqual(
        (self.folder / 'second' / 'start.safetensors').read_bytes(),
        weights_bytes(expected, self.folder / 'same.safetensors'),
    )
    client_id = next(store_summary.trained_clients(self.folder / 'gated'))
    out = self.folder / 'exported'
    export.export(
        *(str(self.folder / 'gated'), client_id, str(out)),
        model='gated',
        task=self.task,
    )
    model = tf.keras.models.load_model(out / 'model.keras', compile=False)
    examples = self.task.test.read(client_id)
    np.testing.assert_allclose(
        np.mean((model(examples['x']).numpy() - examples['y']) ** 2),
        table.values('gated', 'squared_error')[
            table.client_ids.index(client_id)
        ],
        rtol=1e-4,
    )

  def compare(self, *algorithms, init_from):
    return compare.run(
        self.task,
        combinations.combinations(
            self.plan(1, init_from=str(self.folder / init_from)).config,
            algorithms=algorithms,
            splits=['output'],
            seeds=[0],
        ),
        str(self.folder / 'compared'),
        worker_fn=lambda: contextlib.nullcontext(sharding.Sharding()),
        progress=False,
    )

  def test_all_runs_of_a_comparison_start_alike(self):
    expected = self.interrupted('first')
    self.assertEmpty(self.compare('fed_sim', init_from='first'))
    self.run_in('first', 4)
    self.assertEmpty(self.compare('fed_sim', 'fed_alt', init_from='first'))
    starts = [*(self.folder / 'compared').glob('fed_*/start.safetensors')]
    self.assertLen(starts, 3)  # FedSim also with FedAlt's steps.
    for start in starts:
      self.assertEqual(
          start.read_bytes(),
          weights_bytes(expected, self.folder / 'same.safetensors'),
      )

  def test_comparison_whose_start_has_changed(self):
    self.run_in('first', 1)
    self.assertEmpty(self.compare('fed_sim', init_from='first'))
    self.run_in('first', 2)
    with self.assertRaisesRegex(errors.SettingsError, 'weights to start from'):
      self.compare('fed_sim', 'fed_alt', init_from='first')

  def test_run_whose_start_goes_on_later(self):
    self.run_in('first', 1)
    start = {'init_from': str(self.folder / 'first')}
    self.run_in('second', 1, **start)
    with run_folder.claim(
        str(self.folder / 'first'), self.plan(2).settings, overwrite=False
    ) as claimed:
      claimed.change_rounds()
    with self.assertRaisesRegex(errors.MissingFileError, 'first/model.safete'):
      self.run_in('second', 2, **start)
    self.run_in('first', 2)
    with self.assertRaisesRegex(errors.SettingsError, 'weights to start from'):
      self.run_in('second', 2, **start)
    # A run that is refused stays finished, with the rounds that it had.
    second = self.folder / 'second'
    for name in ('report.html', 'model.safetensors'):
      self.assertTrue((second / name).exists())
    config = json.loads((second / 'config.json').read_text())
    self.assertEqual(config['settings']['total_rounds'], 1)

  def test_start_that_is_not_there(self):
    self.run_in('first', 1)
    for name in ('pretrain', 'model.safetensor'):
      with self.assertRaisesRegex(errors.MissingFileError, 'no such file'):
        self.run_in('second', 1, init_from=str(self.folder / 'first' / name))

  def test_start_with_other_texts(self):
    folder, task = self.folder / 'first', self.task
    folder.mkdir()
    (folder / 'config.json').write_text('{}')
    (folder / 'words.txt').write_text('a b')
    file = folder / 'model.safetensors'
    weights.save_by_path(file, {'line/kernel': np.float32([[1]])})
    for start in (folder, file):
      for texts in ('a b', 'b a'):
        task = dataclasses.replace(self.task, texts={'words.txt': texts})
        keep = lambda: checkpoint.keep_start(self.folder, task, str(start))
        if texts == 'a b':
          keep()
          continue
        with self.assertRaisesRegex(errors.SettingsError, 'the words.txt that'):
          keep()

  def test_unfinished_run_without_a_checkpoint(self):
    folder = self.folder / 'first'
    with run_folder.claim(str(folder), self.plan(1).settings, overwrite=False):
      pass
    with self.assertRaisesRegex(errors.DataError, 'checkpoint .* none yet'):
      self.run_in('second', 1, init_from=str(folder))

  def test_export_of_an_unfinished_run(self):
    expected = self.interrupted('run')
    client_id = next(store_summary.trained_clients(self.folder / 'run'))
    export.export(
        str(self.folder / 'run'),
        client_id,
        str(self.folder / 'out'),
        task=self.task,
    )
    found = json.loads((self.folder / 'out' / 'export.json').read_text())
    self.assertEqual(found['unfinished_after_round'], 2)
    model = tf.keras.models.load_model(self.folder / 'out' / 'model.keras')
    np.testing.assert_array_equal(
        model.layers[-1].kernel.numpy(), expected['line/kernel']
    )


def weights_bytes(values, path):
  weights.save_by_path(path, values)
  return path.read_bytes()


if __name__ == '__main__':
  absltest.main()
