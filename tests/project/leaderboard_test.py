# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table of the leaderboard's methods, by hand."""

import dataclasses
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from benchmarks import leaderboard
from tests.helpers import written_runs


class LeaderboardTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory())
    )
    for name, accuracy in (
        ('leaderboard/fed_avg_none-0', [0.2, 0.3, 0.4]),
        ('leaderboard/fed_sim_output-0', [0.6, 0.7, 0.8]),
        ('leaderboard_finetune0/finetune_output-0', [0.7, 0.4, 0.7]),
        ('leaderboard_local/local_all-0', [0.5, 0.6, 0.7]),
    ):
      written_runs.write(self.folder / name, [1, 1, 1], accuracy)
    for run, model in (('fed_avg_none-0', 'non_'), ('fed_sim_output-0', '')):
      rows = ('5,0.1', '6,0.9', '7,0.7')
      (self.folder / 'leaderboard' / run / 'metrics.csv').write_text(
          '\n'.join([f'round,eval/{model}personalized/accuracy', *rows, ''])
      )
    self.schemes = leaderboard.schemes(self.folder)

  def test_table(self):
    _, _, *lines = leaderboard.table(self.folder, self.schemes)
    cells = [line.strip('| ').split(' | ') for line in lines]
    self.assertEqual(
        [row[:5] for row in cells],
        [
            ['FedAvg', '6', '90.00%', '30.00%', '85.85%'],
            ['every client alone', '–', '–', '60.00%', '–'],
            ['FedAvg, fine-tuned: output', '–', '–', '60.00%', '–'],
            ['FedPer (`fed_sim`, output)', '6', '90.00%', '70.00%', '97.44%'],
        ],
    )
    less_alone = [row[5:] for row in cells]
    self.assertEqual(less_alone[1], ['–', '–', '–'])
    self.assertStartsWith(less_alone[2][0], '+0.00 (')
    self.assertEqual(less_alone[2][2], '33% / 33%')
    ten = '+10.00 (+10.00 to +10.00), 1 seed'
    self.assertEqual(less_alone[3], [ten, ten, '100% / 0%'])

  def test_each_client_alike(self):
    weights = {'accuracy': np.array([8.0, 1.0, 1.0])}
    for scheme in self.schemes.values():
      [outcome] = scheme.outcomes.values()
      scheme.outcomes[0] = dataclasses.replace(outcome, weights=weights)
    _, _, *lines = leaderboard.table(self.folder, self.schemes)
    # Of the clients' differences +0.2, -0.2 and 0.
    [row] = [line for line in lines if 'output |' in line]
    cells = row.strip('| ').split(' | ')
    self.assertStartsWith(cells[5], '+14.00 (')
    self.assertStartsWith(cells[6], '+0.00 (')

  def test_curves(self):
    figure = leaderboard.draw(self.folder, self.schemes)
    [axes] = figure.axes
    [avg, per, alone] = axes.lines
    self.assertEqual([*avg.get_xdata()], [5, 6, 7])
    np.testing.assert_allclose(per.get_ydata(), [0.9, 0.1, 0.3])
    np.testing.assert_allclose(alone.get_ydata(), 0.4)


if __name__ == '__main__':
  absltest.main()
