# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The campaign in a short form."""

import re
import subprocess
import sys

from absl.testing import absltest

from benchmarks.torture import memory
from benchmarks.torture import outcome
from tests.helpers import paths

# BUILD: deps = ["//benchmarks/torture:__main__"]


class TortureTest(absltest.TestCase):

  def test_short_campaign(self):
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'benchmarks.torture', '--conditions=0'),
            *('--kills=2', '--scenarios=import,fed_avg', '--damages=120'),
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
            'fed_avg': '1',
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
    self.assertRegex(done.stdout, r'Seed 0; \d+ seconds.')

  def test_table_names_violations(self):
    found = outcome.Outcome('x', violations=['trial 7: silent'])
    found.counts.update({'reported': 2, 'wrong': 1})
    lines = outcome.table([found]).splitlines()
    self.assertEqual(lines[2], '| x | 3 | 2 reported, 1 wrong | 1 | 0 |  |')
    self.assertEqual(lines[-1], 'trial 7: silent')

  def test_memory_is_bounded(self):
    found = outcome.Outcome('x')
    mib = 2**20
    found.note_peaks({'driver': 9 * mib, 'worker': 7 * mib}, 10 * mib)
    self.assertEmpty(found.violations)
    for peak in (11, 12, 8):
      found.note_peaks({'driver': peak * mib, 'worker': mib}, 10 * mib)
    self.assertEqual(found.violations, ['x: driver took 11 MiB'])
    self.assertEndsWith(
        outcome.table([found]).splitlines()[2], '| driver 12, worker 7 |'
    )

  def test_peak_is_what_a_process_took(self):
    take = 'x = bytearray(100 * 2**20); del x; print(flush=True); input()'
    with subprocess.Popen(
        [sys.executable, '-c', take],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
      process.stdout.readline()
      peak = memory.peak_bytes(process.pid)
      process.stdin.close()
    self.assertBetween(peak, 100 * 2**20, 150 * 2**20)
    self.assertEqual(memory.peak_bytes(process.pid), 0)


if __name__ == '__main__':
  absltest.main()
