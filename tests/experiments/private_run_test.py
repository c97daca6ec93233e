# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs with a key: their cohorts, how they resume, and what is left of them."""

import dataclasses
import json
import pathlib
import shutil
import tempfile

from absl.testing import absltest

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import combinations
from tff_partial.experiments import config as config_lib
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.privacy import secret_key
from tff_partial.training import sampler as sampler_lib

setUpModule, tearDownModule = worker.start, worker.stop


class _Failing(toy.Clients):
  """Clients that can be read this many times before the disk fails."""

  def __init__(self, data, reads):
    super().__init__(data)
    self.reads = reads

  def read(self, client_id):
    if not self.reads:
      raise OSError('The disk is gone.')
    self.reads -= 1
    return super().read(client_id)


def task(reads=None):
  whole = toy_task.create_task('', num_clients=12)
  if reads is None:
    return whole
  data = {c: whole.train.read(c) for c in whole.train.client_ids}
  return dataclasses.replace(whole, train=_Failing(data, reads))


def config(**settings):
  return config_lib.create(
      **{
          'algorithm': 'fed_alt',
          'total_rounds': 4,
          'pretrain_rounds': 3,
          'clients_per_round': 4,
          'client_sampling': 'poisson',
          'rounds_per_evaluation': 0,
          'seconds_per_checkpoint': 0,
          **settings,
      }
  )


class FolderTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def run_one(self, name, *, reads=None, **settings):
    """Runs in a folder, or goes on there; its report."""
    plan = plan_lib.build(task(reads), config(**settings))
    run_lib.run(plan, str(self.folder / name), progress=False)
    return json.loads((self.folder / name / 'report.json').read_text())

  def bits(self, name):
    """What a run and its pretraining have learned, as bytes by file."""
    return {
        part: (self.folder / name / part / 'model.safetensors').read_bytes()
        for part in ('.', 'pretrain')
    }

  def stop(self, name, reads, **settings):
    with self.assertRaises(OSError):
      self.run_one(name, reads=reads, **settings)


class SamplingTest(FolderTest):

  def test_key_is_kept_while_it_is_needed(self):
    self.stop('run', 20)
    key = self.folder / 'run' / secret_key.FILE
    self.assertEqual(key.stat().st_mode & 0o777, 0o600)
    for name in ('copy', 'lost'):
      shutil.copytree(self.folder / 'run', self.folder / name)
    (self.folder / 'lost' / secret_key.FILE).unlink()
    with self.assertRaisesRegex(errors.MissingFileError, 'private.key of the'):
      self.run_one('lost')
    # Stopped again, in another place, and gone on with in both.
    self.stop('copy', 5)
    self.run_one('copy')
    self.run_one('run')
    self.assertEqual(self.bits('copy'), self.bits('run'))
    for name in ('copy', 'run'):
      self.assertFalse((self.folder / name / secret_key.FILE).exists())

  def test_cohorts_are_those_of_the_key(self):
    plan = lambda **kwargs: plan_lib.build(task(), config(**kwargs))
    cohorts = lambda p: [p.sampler.cohort(r) for r in range(5)]
    first, second = plan(), plan()
    self.assertNotEqual(cohorts(first), cohorts(second))
    key = secret_key.new()
    self.assertEqual(
        cohorts(first.with_key(key)), cohorts(second.with_key(key))
    )
    # Pretraining and training have cohorts of their own.
    keyed = first.with_key(key)
    self.assertNotEqual(cohorts(keyed), cohorts(keyed.pretraining))
    self.assertEqual(keyed.pretraining.key, key)
    public = [cohorts(plan(dp_key='seed', seed=s)) for s in (0, 0, 1)]
    self.assertEqual(public[0], public[1])
    self.assertNotEqual(public[0], public[2])
    self.assertIn('4 rounds of about 4 clients', plan_lib.describe(first, ''))

  def test_without_poisson_there_is_no_key(self):
    for sampling, kind in (
        (None, sampler_lib.UniformSampler),
        ('fixed', sampler_lib.UniformSampler),
        ('cyclic', sampler_lib.CyclicSampler),
    ):
      plan = plan_lib.build(task(), config(client_sampling=sampling))
      self.assertIsNone(plan.key)
      self.assertIsInstance(plan.sampler, kind)

  def test_comparison_has_the_same_cohorts_in_all_runs(self):
    compare = lambda **kwargs: combinations.combinations(
        config(**kwargs),
        algorithms=['fed_alt'],
        splits=['output'],
        seeds=[0, 1],
    )
    with self.assertRaisesRegex(errors.SettingsError, '`dp_key` seed'):
      compare()
    self.assertLen(compare(dp_key='seed'), 2)


if __name__ == '__main__':
  absltest.main()
