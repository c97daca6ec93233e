# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Paths that start with ~ are in the home folder, in every flag."""

import os
from unittest import mock

from absl.testing import absltest

from tests.helpers import programs
from tff_partial.data import cached_folder
from tff_partial.experiments import finished_run
from tff_partial.runtime import doctor


class HomeFolderTest(programs.FolderTest):

  def setUp(self):
    super().setUp()
    self.enter_context(mock.patch.dict(os.environ, HOME=str(self.folder)))

  def test_run_and_comparison(self):
    (self.folder / 'data').mkdir()
    programs.write_data(self.folder / 'data')
    rounds = ('--total_rounds=1', '--pretrain_rounds=0')
    code, _, said = self.call(
        *programs.settings('~/data', '~/run', *rounds, '--algorithm=fed_avg')
    )
    self.assertEqual(code, 0, said)
    self.assertTrue((self.folder / 'run' / 'report.html').exists())
    self.assertEqual(
        finished_run.read_settings('~/run')['algorithm'], 'fed_avg'
    )
    code, _, said = self.call(
        *programs.settings('~/data', '~/two', '--total_rounds=1'),
        *('--pretrain_rounds=0', '--init_from=~/run', '--seeds=0'),
    )
    self.assertEqual(code, 0, said)
    self.assertTrue((self.folder / 'two' / 'comparison.html').exists())
    self.assertFalse(os.path.exists('~'))

  def test_doctor_and_cache(self):
    expected = [check.expected for check in doctor.checks('', '~/results')]
    self.assertIn(f'a writable folder at {self.folder}/results', expected)
    self.assertEqual(
        cached_folder.cache_root('~/cache'), str(self.folder / 'cache')
    )


if __name__ == '__main__':
  absltest.main()
