# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tables of what privacy costs, by hand."""

import json
import pathlib
import tempfile

from absl.testing import absltest

from benchmarks import more_people
from benchmarks import privacy_price
from tests.helpers import written_runs
from tff_partial.privacy import accounting


class PrivacyPriceTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.folder = folder
    for name, accuracy, models in (
        ('local_0', 0.5, ['trained_alone']),
        ('local_1', 0.5, ['trained_alone']),
        ('finetune_2_0', 0.6, ['finetuned']),
        ('finetune_2_1', 0.6, ['finetuned']),
        # Judged by the second model, which is perfect.
        ('fed_alt_output_2_0', 0.7, ['personalized', 'finetuned']),
        ('fed_alt_output_2_1', 0.7, ['personalized', 'finetuned']),
        ('finetune_inf_1', 0.9, ['finetuned']),
        ('fed_alt_output_inf_1', 0.7, ['personalized', 'finetuned']),
    ):
      written_runs.write(
          folder / name, [1, 1, 1], [accuracy] * 3, models=models
      )
    self.schemes = privacy_price.read(folder)

  def test_tables(self):
    means, differences, _, costs, less, from_local, alone = (
        privacy_price.tables(self.schemes)
    )
    self.assertEqual(means[0], '| arm | 2 | ∞ |')
    self.assertIn('| finetune | 60.00 ± 0.00 | 90.00 |', means)
    self.assertIn('| fed_alt_output | 100.00 ± 0.00 | 100.00 |', means)
    self.assertEqual(
        differences[2:],
        [
            '| fed_alt_output | +40.00 (+40.00 to +40.00), 2 seeds | +10.00'
            ' (+10.00 to +10.00), 1 seed |'
        ],
    )
    # With the seed 1 alone; FedAlt loses nothing, and fine-tuning 30 points.
    self.assertIn('| finetune | -30.00 (-30.00 to -30.00), 1 seed | – |', costs)
    self.assertEqual(
        less[2:],
        ['| fed_alt_output | +30.00 (+30.00 to +30.00), 1 seed | – |'],
    )
    self.assertIn(
        '| finetune | +10.00 (+10.00 to +10.00), 2 seeds', from_local[3]
    )
    self.assertEqual(alone, ['Clients alone: 50.00 ± 0.00 over 2 seeds.'])

  def test_noise_multipliers_with_what_they_promise_rounded_up(self):
    for name, epsilon in (('a_2_0', 1.9912), ('a_inf_0', None)):
      path = self.folder / name / 'privacy.json'
      path.parent.mkdir()
      mechanism = {'noise_multiplier': 2.5, 'rounds': 20, 'num_clients': 836}
      path.write_text(
          json.dumps(
              {
                  'epsilon': epsilon,
                  'delta': 836**-1.1,
                  'mechanisms': [mechanism] * 2,
              }
          )
      )
    self.assertEqual(
        privacy_price.noise(self.folder)[2:],
        [
            '| 2.00 | 0.00062 | 2.5 | 40 | 836 |',
            '| ∞ | 0.00062 | 2.5 | 40 | 836 |',
        ],
    )

  def test_more_people(self):
    # In turns, which is accounted for at once.
    run = accounting.Mechanism(0.0, 'cyclic', 100, 50, 2)
    *_, first, more = more_people.table(run, 2.0, [1000])
    cells = lambda row: row.strip('| ').split(' | ')
    self.assertEqual(cells(first)[:5], ['100', '0.0064', '50', '2.00', '2.00'])
    self.assertEqual(cells(more)[:3], ['1,000', '0.00051', '500'])
    # The same noise on the mean of ten times as many.
    noise = 10 * float(cells(first)[5])
    expected = accounting.guarantee(
        [accounting.Mechanism(noise, 'cyclic', 1000, 500, 2)], 1000**-1.1
    )
    self.assertAlmostEqual(float(cells(more)[3]), expected.epsilon, delta=0.011)

  def test_more_than_on_other_data(self):
    others = {
        arm: scheme
        for arm, scheme in self.schemes.items()
        if arm != ('fed_alt_output', 2.0)
    }
    others['fed_alt_output', 2.0] = others['finetune', 2.0]
    *_, more, _ = privacy_price.tables(self.schemes, others)
    self.assertStartsWith(more[2], '| fed_alt_output | – | +0.00 (')

  def test_figure_has_all_arms(self):
    [legend] = privacy_price.draw(self.schemes).legends
    self.assertEqual(
        [text.get_text() for text in legend.get_texts()],
        ['every client alone', 'fed alt output', 'finetune'],
    )


if __name__ == '__main__':
  absltest.main()
