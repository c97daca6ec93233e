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

  def compare(self, runs):
    """The page of runs, and its Markdown."""
    page = comparison_report.write(
        self.folder / 'compared',
        title='t',
        runs=runs,
        failures={},
        settings={},
        control='fed_avg',
        one_for_all=['fed_lora'],
    )
    return page.read_text(), page.with_suffix('.md').read_text()

  def write(self, **runs):
    """The page and the Markdown of runs, each by what `written_runs` takes."""
    found = {}
    for algorithm, kwargs in runs.items():
      folder = self.folder / algorithm
      written_runs.write(folder, [1] * 3, **{'accuracy': [1, 0, 1], **kwargs})
      key = run_results.Key(algorithm, 'none', full=False, seed=0)
      found[key] = run_results.read_run(folder)
    return self.compare(found)

  def numbers(self):
    """The numbers behind the page."""
    path = self.folder / 'compared' / 'comparison.json'
    return json.loads(path.read_text())

  def test_the_best_of_those_that_did_not_diverge(self):
    page, _ = self.write(finetune={'accuracy': [math.nan] * 3}, local={})
    self.assertIn('“local, none” has the best mean', page)
    self.assertIsNone(self.numbers()['schemes'][0]['mean'])

  def test_what_changes_are_from(self):
    page, text = self.write(
        knn_per={'baseline_model': 'shared'},
        fed_alt={'baseline_model': 'non_personalized'},
        fed_avg={},
        local={
            'models': ['trained_alone'],
            'baseline_model': 'non_personalized',
        },
    )
    words = (
        'The change is from the baseline of each scheme: the model that it'
        ' starts from; for knn_per, none, the shared model of the same run; for'
        ' local, none, the pretrained model, which it does not start from.'
    )
    self.assertIn(words, page)
    self.assertIn(words, text)
    self.assertIn('0.0% for the shared model of the same run', page)

  def test_constants_that_are_sent_once(self):
    page, text = self.write(fed_sim={'bytes_once': 461_000}, fed_avg={})
    self.assertIn('<td>461 kB</td>', page)
    self.assertIn('| 2 bytes | 461 kB | 1 byte |', text)

  def test_steps_that_clients_do_not_count(self):
    folder = self.folder / 'run'
    written_runs.write(folder, [1] * 3, [1, 0, 1])
    numbers = json.loads((folder / 'report.json').read_text())
    numbers['cost']['gradient_steps'] = None  # With differential privacy.
    (folder / 'report.json').write_text(json.dumps(numbers))
    key = run_results.Key('fed_avg', 'none', full=False, seed=0)
    page, _ = self.compare({key: run_results.read_run(folder)})
    self.assertIn('<td>not counted</td>', page)

  def test_clients_kept_out_that_trained_the_start(self):
    folder = self.folder / 'run'
    written_runs.write(folder, [1] * 3, [1, 0, 1])
    rows = (folder / 'clients.csv').read_text()
    # The client b took part in the run that this one started from.
    (folder / 'clients.csv').write_text(rows.replace('b,1,0,', 'b,0,1,'))
    key = run_results.Key('fed_avg', 'none', full=False, seed=0)
    run = run_results.read_run(folder, unseen=['b'])
    page, text = self.compare({key: run})
    self.assertIn('1 of them', page)
    self.assertNotIn('never trained', page)
    self.assertIn('1 of these clients trained the model', text)

  def test_p_values_of_pairs(self):
    _, text = self.write(fed_avg={'models': ['personalized', 'finetuned']})
    # One client is better, and two are equal.
    self.assertIn('| 33.3% / 0.0% | 1.000 |', text)

  def test_all_diverged(self):
    page, _ = self.write(finetune={'accuracy': [math.nan] * 3})
    self.assertIn('training has\n    diverged', page)

  def test_who_personalizes(self):
    self.write(
        fed_avg={'accuracy': [1, 0, 0]},
        fed_lora={},
        fed_alt={'accuracy': [1, 1, 1]},
    )
    self.assertContainsSubset(
        [
            (
                'One model for all versus more rounds of FedAvg',
                'fed_lora, none',
            ),
            ('Personalization versus more rounds of FedAvg', 'fed_alt, none'),
        ],
        [(p['question'], p['first']) for p in self.numbers()['pairs']],
    )


if __name__ == '__main__':
  absltest.main()
