# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs notice that data, settings or the model to start from have changed."""

import contextlib
import hashlib
import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tasks.emnist import task as emnist
from tests.helpers import emnist_data
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import origin
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import compare
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import weights
from tff_partial.runtime import sharding as sharding_lib

setUpModule, tearDownModule = worker.start, worker.stop


class _Fingerprinted(clients_lib.ExcludingClients):
  """Clients with a fingerprint of their own."""

  def __init__(self, clients, fingerprint):
    super().__init__(clients, ())
    self.fingerprint = fingerprint


class _FolderTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def task(self, train=None, test='test'):
    task = toy_task.create_task('points')
    if train is None:
      return task
    return task.with_clients(
        train=_Fingerprinted(task.train, train),
        test=_Fingerprinted(task.test, test),
    )

  def config(self, **settings):
    return config_lib.create(
        **{
            'total_rounds': 1,
            'pretrain_rounds': 1,
            'clients_per_round': 2,
            'learning_rate': 0.01,
            'rounds_per_evaluation': 0,
            **settings,
        }
    )

  def run_in(self, name, task, **settings):
    plan = plan_lib.build(task, self.config(**settings))
    run_lib.run(plan, str(self.folder / name), progress=False)
    return json.loads((self.folder / name / 'origin.json').read_text())


class RunOfTest(_FolderTest):

  def test_folder_or_weights_of_a_run(self):
    (self.folder / 'config.json').touch()
    other = self.folder / 'other.h5'
    other.touch()
    # The weights of a run that is not finished are not there yet.
    for start in (self.folder, self.folder / 'model.safetensors', other):
      self.assertEqual(origin.run_of(start), self.folder)
    for name in ('pretrain', 'model.safetensor'):
      self.assertIsNone(origin.run_of(self.folder / name))


class KeepTest(_FolderTest):

  def keep(self, data=None, start=None, generation=None):
    origin.keep(
        self.folder, origin.Origin(data, start, generation), data='letters'
    )

  def test_keeps_and_refuses_others(self):
    self.keep('d1', 's1')
    self.keep('d1', 's1')
    self.assertEqual(origin.read(self.folder), origin.Origin('d1', 's1'))
    with self.assertRaisesRegex(
        errors.SettingsError, 'the data in letters that .* have changed since'
    ):
      self.keep('d2', 's1')
    with self.assertRaisesRegex(errors.SettingsError, 'weights to start from'):
      self.keep('d1', 's2')
    self.assertEqual(origin.read(self.folder), origin.Origin('d1', 's1'))

  def test_what_is_not_known_is_filled_in_later(self):
    self.keep(start='s1')
    self.keep('d1')
    self.assertEqual(origin.read(self.folder), origin.Origin('d1', 's1'))

  @parameterized.parameters('', '[]', '{"colour": "red"}')
  def test_damaged_file(self, text):
    (self.folder / 'origin.json').write_text(text)
    with self.assertRaisesRegex(errors.DataError, 'a damaged file'):
      self.keep('d1')

  def test_digest(self):
    file = self.folder / 'weights.h5'
    self.assertIsNone(origin.digest(file))
    file.write_bytes(b'weights')
    self.assertEqual(
        origin.digest(file), hashlib.sha256(b'weights').hexdigest()
    )


class TaskTest(_FolderTest):

  def test_task_has_the_fingerprint_of_its_folder(self):
    def fingerprint(first_label):
      emnist_data.write_folder(str(self.folder), first_label=first_label)
      return emnist.create_task(str(self.folder)).fingerprint

    first = fingerprint(0)
    self.assertRegex(first, r'^[0-9a-f]{32}\+[0-9a-f]{32}$')
    self.assertEqual(fingerprint(0), first)
    self.assertNotEqual(fingerprint(1), first)
    # Clients in memory have none.
    self.assertIsNone(toy_task.create_task('points').fingerprint)


class RunTest(_FolderTest):

  def test_other_data_under_a_run(self):
    found = self.run_in('run', self.task('a'))
    self.assertEqual(found, {'data': 'a+test', 'start': None, 'generation': 1})
    self.assertEqual(
        origin.read(self.folder / 'run' / 'pretrain'),
        origin.Origin('a+test', generation=0),
    )
    self.run_in('run', self.task('a'))
    for other in (self.task('b'), self.task('a', test='b')):
      with self.assertRaisesRegex(
          errors.SettingsError, 'the data in points that the run in .*/run'
      ):
        self.run_in('run', other)
    # Clients without a fingerprint are taken on trust.
    self.run_in('run', self.task())

  def test_other_settings_of_a_run_in_the_library(self):
    self.run_in('run', self.task())
    with self.assertRaisesRegex(errors.SettingsError, '0.01 there, 0.02 now'):
      self.run_in('run', self.task(), learning_rate=0.02)

  def test_other_model_to_start_from(self):
    self.run_in('first', self.task())
    start = {'pretrain_rounds': 0, 'init_from': str(self.folder / 'first')}
    found = self.run_in('second', self.task(), **start)
    weights = self.folder / 'first' / 'model.safetensors'
    self.assertEqual(
        found['start'], hashlib.sha256(weights.read_bytes()).hexdigest()
    )
    weights.write_bytes(
        (self.folder / 'first/pretrain/model.safetensors').read_bytes()
    )
    with self.assertRaisesRegex(errors.SettingsError, 'weights to start from'):
      self.run_in('second', self.task(), **start)

  def test_runs_before_are_gone(self):
    self.run_in('a/first', self.task())
    start = lambda folder: {
        'pretrain_rounds': 0,
        'init_from': str(self.folder / folder / 'first' / 'model.safetensors'),
    }
    found = self.run_in('second', self.task(), **start('a'))
    self.run_in('whole', self.task(), total_rounds=2, **start('a'))
    (self.folder / 'b' / 'first').mkdir(parents=True)
    (self.folder / 'a' / 'first' / 'model.safetensors').rename(
        self.folder / 'b' / 'first' / 'model.safetensors'
    )
    # The weights alone do not say how many runs there were, and so which
    # cohorts come next. The run does.
    plan = plan_lib.build(self.task(), self.config(**start('b')))
    self.assertNotEqual(plan.generation, found['generation'])
    self.run_in('second', self.task(), total_rounds=2, **start('b'))
    self.assertEqual(
        origin.read(self.folder / 'second'), origin.Origin(**found)
    )
    second, whole = (
        weights.load(self.folder / name / 'model.safetensors')
        for name in ('second', 'whole')
    )
    for path, value in whole.items():
      np.testing.assert_array_equal(second[path], value)

  def test_runs_before_a_private_run_are_gone(self):
    weights.save_by_path(self.folder / 'mine.safetensors', {})
    config = self.config(
        pretrain_rounds=0,
        init_from=str(self.folder / 'mine.safetensors'),
        init_is_public=True,
        noise_multiplier=3.0,
        delta=0.1,
        dp_clip=1.0,
        client_sampling='cyclic',
    )
    plan = plan_lib.build(self.task(), config)
    run = self.folder / 'run'
    run.mkdir()
    origin.write(run, origin.Origin(generation=5))
    # Noise of another run would be drawn for the rounds again.
    with self.assertRaisesRegex(
        errors.SettingsError, 'the runs before this one, by .*`init_from`'
    ):
      run_lib.run_in(run_folder.RunFolder(run), plan, progress=False)

  def test_each_run_in_a_row_has_cohorts_of_its_own(self):
    names = ('first', 'second', 'third', 'fourth')
    previous, found = {'pretrain_rounds': 0}, []
    for number, name in enumerate(names):
      plan = plan_lib.build(self.task(), self.config(**previous))
      self.assertEqual(plan.generation, number)
      found.append([tuple(plan.sampler.cohort(r)) for r in range(6)])
      kept = self.run_in(name, self.task(), **previous)
      self.assertEqual(kept['generation'], number)
      previous = {'pretrain_rounds': 0, 'init_from': str(self.folder / name)}
    for i, cohorts in enumerate(found):
      self.assertNotIn(cohorts, found[:i])
    # The second is like a run after its own pretraining.
    plan = plan_lib.build(self.task(), self.config())
    self.assertEqual(
        [tuple(plan.sampler.cohort(r)) for r in range(6)], found[1]
    )
    # Runs of before say nothing of their generation.
    (self.folder / 'second' / 'origin.json').unlink()
    (self.folder / 'second' / 'pretrain').mkdir()
    self.assertEqual(origin.generation_after(self.folder / 'second'), 2)

  def test_other_data_under_a_comparison(self):
    def run(task):
      todo = combinations.combinations(
          self.config(), algorithms=['fed_avg'], splits=[None], seeds=[0]
      )
      return compare.run(
          task,
          todo,
          str(self.folder / 'out'),
          worker_fn=lambda: contextlib.nullcontext(sharding_lib.Sharding()),
          progress=False,
      )

    self.assertEmpty(run(self.task('a')))
    with self.assertRaisesRegex(errors.SettingsError, 'data in points'):
      run(self.task('b'))
    # A pretrained model of other data is not taken either.
    (self.folder / 'out' / 'origin.json').unlink()
    with self.assertRaisesRegex(
        errors.SettingsError, 'failed. The first: .*data in points .*pretrained'
    ):
      run(self.task('b'))


if __name__ == '__main__':
  absltest.main()
