# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The campaign in a short form."""

import re
import subprocess
import sys

from absl.testing import absltest

from benchmarks.torture import outcome
from tests.helpers import paths

# BUILD: deps = ["//benchmarks/torture:__main__"]


class TortureTest(absltest.TestCase):

  def test_short_campaign(self):
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'benchmarks.torture', '--conditions=0'),
            *('--kills=3', '--scenarios=import,fed_avg', '--damages=120'),
            '--inputs=100',
        ],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
    # The lines of kills come a second time, as soon as they are known.
    tried = dict(re.findall(r'^\| ([^|]+) \| +(\d+) \|', done.stdout, re.M))
    self.assertEqual(
        tried,
        {
            'import': '1',
            'fed_avg': '2',
            **{
                f'damage to {kind}': '30'
                for kind in ('store', 'weights', 'metrics', 'data')
            },
            **{
                f'inputs of {kind}': '20'
                for kind in ('jsonl', 'table', 'npz', 'images', 'flags')
            },
        },
    )
    self.assertRegex(done.stdout, r'Seed 0; \d+ seconds; no process took more')

  def test_table_names_violations(self):
    found = outcome.Outcome('x', violations=['trial 7: silent'])
    found.counts.update({'reported': 2, 'wrong': 1})
    lines = outcome.table([found]).splitlines()
    self.assertEqual(lines[2], '| x | 3 | 2 reported, 1 wrong | 1 | 0 |')
    self.assertEqual(lines[-1], 'trial 7: silent')


if __name__ == '__main__':
  absltest.main()
