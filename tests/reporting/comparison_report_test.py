# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page of a comparison where runs are not as usual."""

import json
import math
import pathlib
import tempfile

from absl.testing import absltest

from tests.helpers import written_runs
from tff_partial.evaluation import run_results
from tff_partial.reporting import comparison_report


class ComparisonReportTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def write(self, **accuracy_by_algorithm):
    """The page, and the numbers behind it."""
    runs = {}
    for algorithm, accuracy in accuracy_by_algorithm.items():
      folder = self.folder / algorithm
      written_runs.write(folder, [1] * 3, accuracy)
      key = run_results.Key(algorithm, 'none', full=False, seed=0)
      runs[key] = run_results.read_run(folder)
    page = comparison_report.write(
        self.folder / 'compared',
        title='t',
        runs=runs,
        failures={},
        settings={},
        control='fed_avg',
        one_for_all=['fed_lora'],
    )
    numbers = (self.folder / 'compared' / 'comparison.json').read_text()
    return page.read_text(), json.loads(numbers)

  def test_the_best_of_those_that_did_not_diverge(self):
    page, found = self.write(finetune=[math.nan] * 3, local=[1, 0, 1])
    self.assertIn('“local, none” has the best mean', page)
    self.assertIsNone(found['schemes'][0]['mean'])

  def test_all_diverged(self):
    page, _ = self.write(finetune=[math.nan] * 3)
    self.assertIn('training has\n    diverged', page)

  def test_who_personalizes(self):
    _, found = self.write(
        fed_avg=[1, 0, 0], fed_lora=[1, 0, 1], fed_alt=[1, 1, 1]
    )
    self.assertContainsSubset(
        [
            (
                'One model for all versus more rounds of FedAvg',
                'fed_lora, none',
            ),
            ('Personalization versus more rounds of FedAvg', 'fed_alt, none'),
        ],
        [(p['question'], p['first']) for p in found['pairs']],
    )


if __name__ == '__main__':
  absltest.main()
