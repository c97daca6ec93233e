# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page of a comparison where runs are not as usual."""

import json
import math
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from tests.helpers import written_runs
from tff_partial.evaluation import run_results
from tff_partial.reporting import comparison_report


class ComparisonReportTest(parameterized.TestCase):

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

  @parameterized.parameters(([0, 4, 8], True), ([0, 4, 4], False))
  def test_a_frontier_has_parts_of_several_sizes(self, sizes, drawn):
    figure = self.folder / 'compared' / 'comparison_frontier.svg'
    figure.parent.mkdir()
    figure.write_text('of an earlier page')
    runs = {}
    for size, algorithm in zip(sizes, ('fed_avg', 'fed_sim', 'fed_alt')):
      folder = self.folder / algorithm
      written_runs.write(folder, [1] * 3, [1, 0, 1])
      report = json.loads((folder / 'report.json').read_text())
      report['split'] = [{'bytes': size, 'personal': True}]
      (folder / 'report.json').write_text(json.dumps(report))
      key = run_results.Key(algorithm, 'none', full=False, seed=0)
      runs[key] = run_results.read_run(folder)
    page, _ = self.compare(runs)
    self.assertEqual('id="frontier"' in page, drawn)
    self.assertEqual(figure.exists(), drawn)
    self.assertNotIn('of an earlier page', figure.read_text() if drawn else '')

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

  def test_worth_of_the_gate(self):
    page, text = self.write(
        fed_avg={}, fed_alt={'models': ['personalized', 'gated'], 'takers': 2}
    )
    for written in (page, text):
      self.assertIn('A coin lets as many clients of each run', written)
    row = (
        '| fed_alt, none | 66.7% | 0.0% | 0.0% | 0.0% (0.0% to 0.0%) | +33.33 |'
    )
    self.assertIn(row, text)
    self.assertIn('<td>66.7%</td>', page)
    [found] = self.numbers()['gates']
    self.assertEqual((found['name'], found['takers']), ('fed_alt, none', 2 / 3))

  def test_without_a_gate_it_is_not_mentioned(self):
    # Nor if earlier reports do not say how many clients take the model.
    page, text = self.write(
        fed_avg={}, fed_alt={'models': ['personalized', 'gated']}
    )
    for written in (page, text):
      self.assertNotIn('coin', written)

  def test_epsilons(self):
    def write(epsilons):
      runs = {}
      for seed, epsilon in enumerate(epsilons):
        folder = self.folder / f'run_{epsilon}_{seed}'
        written_runs.write(folder, [1] * 3, [1, 0, 1])
        (folder / 'privacy.json').write_text(
            json.dumps({'epsilon': epsilon, 'delta': 1e-5})
        )
        key = run_results.Key(f'a{epsilon}', 'none', full=False, seed=0)
        runs[key] = run_results.read_run(folder)
      folder = self.folder / 'compared'
      page = comparison_report.write(
          folder, title='t', runs=runs, failures={}, settings={}
      )
      text = page.with_suffix('.md').read_text()
      self.assertIn('single run', text)
      return page.read_text(), text

    page, text = write([None, 1.001])  # Without noise, and with some.
    for written in (page, text):
      self.assertIn('accuracy at different epsilons', written)
    self.assertIn('<td>∞</td><td>1e-05</td>', page)
    self.assertIn('| a1.001, none | 50.00% | 1.01 | 1e-05 |', text)
    _, text = write([1.9991, 1.9993])
    self.assertNotIn('different epsilons', text)

  def test_without_privacy_there_is_no_epsilon(self):
    page, text = self.write(fed_avg={})
    for written in (page, text):
      self.assertNotIn('psilon', written)

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
