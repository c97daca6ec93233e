# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table of penalties has the right model of the right run."""

import json
import math
import pathlib
import tempfile

from absl.testing import absltest

from benchmarks import penalties
from tests.helpers import written_runs


class PenaltiesTest(absltest.TestCase):

  def test_by_hand(self):
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    split = root / 'digits' / 'output'
    for penalty, accuracy, models in (
        ('0', [0, 0, 1], ['personalized']),
        ('auto', [0, 1, 1], ['personalized']),
        ('gate', [0, 0, 0], ['personalized', 'gated']),
    ):
      written_runs.write(
          split / penalty / 'fed_alt_output-1',
          [1, 1, 1],
          accuracy,
          baseline=[1, 0, 0],
          models=models,
      )
    (split / 'auto' / 'fed_alt_output-1' / 'personal_l2.json').write_text(
        json.dumps({'chosen': '0.5 s', 'total': 12.34})
    )
    (split / '0.1').mkdir()  # Nothing is finished there.
    _, _, *lines = penalties.table(root).splitlines()
    without, auto, gate = (
        [cell.strip() for cell in line.split('|')[1:-1]] for line in lines
    )
    self.assertEqual(without[:3], ['digits', 'output', '0'])
    self.assertEqual(without[6], '–')
    self.assertEqual(without[7], '33.3%')
    # Client b is better by 1. Student's t with 2 degrees of freedom, times the
    # error of 1/3.
    half = 4.302652729911275 / 3
    self.assertEqual(
        auto[6],
        f'+33.33 ({100 * (1 / 3 - half):+.2f} to {100 * (1 / 3 + half):+.2f}),'
        ' 1 seed',
    )
    self.assertTrue(auto[4].startswith('66.67'))
    self.assertEqual(auto[9], '0.5 s: 12.3')
    self.assertEqual(auto[8], '–')  # That a coin would hurt.
    # All are right under the model that the gate leaves.
    self.assertTrue(gate[4].startswith('100.00'))
    self.assertEqual(gate[7], '0.0%')
    self.assertFalse(math.isnan(float(gate[5].split()[0])))


if __name__ == '__main__':
  absltest.main()
