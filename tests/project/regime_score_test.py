# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Forecasts are collected, comparisons read, and both scored, by hand."""

import json
import math
import pathlib
import tempfile

from absl.testing import absltest

from benchmarks import regime_score
from tests.helpers import written_runs


def regime_json(log_ratio):
  constants = {
      'normalised_steps': {'shared': {'value': 0.2}, 'personal': {'value': 1}},
      'leading_difference': {'value': 0.5},
      'criterion': {
          'as_drawn': {'margin': 2.0},
          'independent': {'margin': -3.0},
      },
  }
  held_out = {'log_ratio': log_ratio, 'low': -0.2, 'high': 0.0, 'call': None}
  return {
      'splits': {
          'output': {
              'clients_per_round': 3,
              'repeats': 4,
              'start': constants,
              'pilot': {
                  'lookahead': {
                      'clients_per_round': [1, 2, 4],
                      'relative': [0.0, 0.2, 0.6],
                  }
              },
              'forecasts': {'equal_epochs': {'held_out': held_out}},
          }
      }
  }


def row(question, log_ratio, criterion=-1.0):
  return {
      'pair': 'toy',
      'split': 'output',
      'question': question,
      'repeats': 4,
      'log_ratio': log_ratio,
      'low': log_ratio - 0.1,
      'high': log_ratio + 0.1,
      'call': None if abs(log_ratio) < 0.1 else log_ratio < 0,
      'leading_order': log_ratio,
      'lookahead': log_ratio,
      'criterion_as_drawn': criterion,
      'criterion_independent': criterion,
  }


def measured(log_ratio, half=0.01):
  ends = log_ratio - half, log_ratio + half
  return regime_score.Outcome(3, log_ratio, *ends, -log_ratio, -1, 1)


class RegimeScoreTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_collects_forecasts(self):
    path = self.folder / 'digits' / 'regime.json'
    path.parent.mkdir()
    path.write_text(json.dumps(regime_json(-0.1)))
    [found] = regime_score.collect(self.folder)
    self.assertEqual(found['pair'], 'digits')
    self.assertEqual(found['log_ratio'], -0.1)
    self.assertAlmostEqual(found['lookahead'], 0.4)  # Half-way from 2 to 4.
    # Below 0, FedAlt is ahead: its bound is the smaller one by 2.
    self.assertEqual(found['criterion_as_drawn'], -2)
    self.assertEqual(found['criterion_independent'], 3)

  def test_forecasts_that_are_kept_stay(self):
    old, again, new = row('q', 0.1), row('q', 0.2), row('q', 0.3)
    new['pair'] = 'other'
    self.assertEqual(regime_score.added([old], [again, new]), [old, new])

  def test_outcome_by_hand(self):
    for seed in (1, 2):
      written_runs.write(
          self.folder / f'fed_alt_output-{seed}', [1, 2, 3], [1, 1, 1]
      )
      written_runs.write(
          self.folder / f'fed_sim_output-{seed}', [2, 4, 6], [0, 0, 0]
      )
    found = regime_score.outcome(self.folder, 'output', regime_score.EPOCHS)
    self.assertEqual(found.seeds, 2)
    self.assertAlmostEqual(found.log_ratio, math.log(2 / 4))
    # Differences -1, -2 and -3; Student's t with 2 degrees of freedom.
    half = 4.302652729911275 / math.sqrt(3)
    self.assertAlmostEqual(found.low, (-2 - half) / 4)
    self.assertAlmostEqual(found.high, (-2 + half) / 4)
    self.assertEqual(found[4:], (-1, -1, -1))
    absent = regime_score.outcome(self.folder, 'output', regime_score.STEPS)
    self.assertEqual(absent.seeds, 0)

  def test_scores_by_hand(self):
    epochs, steps = regime_score.EPOCHS, regime_score.STEPS
    rows = [
        (row(epochs, -0.3), measured(-0.2)),
        (row(epochs, -0.05), measured(-0.1)),
        (row(epochs, 0.2), measured(-0.3)),  # Wrong.
        (row(epochs, 0.2), measured(0.001)),  # Not resolved.
        (row(steps, 0.4), measured(0.1)),
    ]
    lines = {
        tuple(c.strip() for c in line.split('|')[1:3]): line
        for line in regime_score.score_table(rows)
    }
    cells = lambda *key: [c.strip() for c in lines[key].split('|')[3:-1]]
    self.assertEqual(
        cells('rehearsals', 'epochs'),
        # P(X >= 2) = 3 low^2 - 2 low^3 = 0.025 at 9.4%. Ranks 1, 2, 3.5, 3.5
        # and 2, 3, 1, 4: products add to 0.5, squares to 4.5 and 5.
        ['3 of 4', '2 (67%)', '9% to 99%', '–', '3', '1', '0.11'],
    )
    self.assertEqual(cells('rehearsals', 'either')[:2], ['4 of 5', '3 (75%)'])
    # The better constant is FedAlt at equal epochs and FedSim at equal steps.
    self.assertEqual(cells('rehearsals', 'either')[4], '4')
    self.assertEqual(
        cells('rehearsals, calls only', 'epochs')[:2], ['2 of 3', '1 (50%)']
    )
    self.assertEqual(
        cells("the paper's criterion, batches as drawn", 'epochs')[:2],
        ['3 of 4', '3 (100%)'],
    )
    # The metric's intervals contain 0.
    self.assertIn(
        '| 0 of 5 |', regime_score.score_table(rows, by_metric=True)[4]
    )
    text = '\n'.join(regime_score.probabilities(rows))
    self.assertIn('contains the measured log ratio in 2 of 5 pairs', text)
    self.assertIn('No call is made in 0 of 1 unresolved pair', text)
    self.assertIn(
        'A constant 75%, the share of FedAlt, known only afterwards: 0.188',
        text,
    )
    table = regime_score.pair_table(rows)
    self.assertIn('-25.9 | -33.0 to -18.1 | FedAlt | -18.1 |', table[2])


if __name__ == '__main__':
  absltest.main()
