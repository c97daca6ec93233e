# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tables of splits and methods, by hand."""

import math
import pathlib
import tempfile

from absl.testing import absltest

from benchmarks import splits
from tests.helpers import written_runs
from tff_partial.experiments.comparisons import combinations

# Of Student's distribution with 2 degrees of freedom: the .975 quantile.
_T = 4.302652729911275


class SplitsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory())
    )
    for name, accuracy in (
        ('fed_alt_output-learning_rate_0.1', [0.6, 0.7, 0.8]),
        ('fed_alt_input', [0.2, 0.3, 0.4]),
        ('fed_alt_auto', [0.5, 0.7, 0.9]),
        ('ffgg_output', [0.5, 0.5, 0.5]),
    ):
      written_runs.write(self.folder / 'toy' / f'{name}-7', [1, 1, 1], accuracy)
    self.read = splits.reader(self.folder / 'toy')

  def test_gains(self):
    lines = splits.gains(self.read)
    [output] = [line for line in lines if line.startswith('| output')]
    # 0.6, 0.7 and 0.8 above 0.
    half = 100 * _T * 0.1 / math.sqrt(3)
    self.assertIn(
        f'| +70.00 ({70 - half:+.2f} to {70 + half:+.2f}), 1 seed |', output
    )
    self.assertIn('| +50.00 (+50.00 to +50.00), 1 seed |', output)

  def test_pairs(self):
    written_runs.write(
        self.folder / 'toy' / 'fed_sim_input-7', [1, 1, 1], [0.1, 0.2, 0.3]
    )
    written_runs.write(
        self.folder / 'toy' / 'fed_avg_none-7', [1, 1, 1], [0.3, 0.4, 0.5]
    )
    [line] = [
        line for line in splits.pairs(self.read) if line.startswith('| input')
    ]
    self.assertEqual(
        line,
        '| input | +10.00 (+10.00 to +10.00), 1 seed | – | – | -10.00 (-10.00'
        ' to -10.00), 1 seed | – |',
    )

  def test_what_own_variables_add(self):
    written_runs.write(
        self.folder / 'toy' / 'fed_sim_bias-7',
        [1, 1, 1],
        [0.5, 0.5, 0.5],
        models=['personalized', 'shared'],
    )
    [line] = [
        line
        for line in splits.own_parts(self.read)
        if line.startswith('| bias')
    ]
    # The shared model is right about everything.
    self.assertEqual(
        line, '| bias | – | -50.00 (-50.00 to -50.00), 1 seed | – | – |'
    )

  def test_hurt(self):
    written_runs.write(
        self.folder / 'toy' / 'finetune_bias-7',
        [1, 1, 1],
        [0.1, 0.2, 0.9],
        baseline=[0.2, 0.2, 0.2],
    )
    [line] = [
        line for line in splits.hurt(self.read) if line.startswith('| bias')
    ]
    self.assertEqual(
        line,
        '| bias | – | – | 33.3% (0.0%; by chance 0.0%; 0% could) |',
    )

  def test_contests(self):
    [line] = splits.contests(self.read)[2:]
    half = 100 * _T * 0.1 / math.sqrt(3)
    self.assertEqual(
        line,
        '| FFGG, output | fed_alt, output |'
        f' -20.00 ({-20 - half:+.2f} to {-20 + half:+.2f}), 1 seed | 1.00 x |'
        ' 1.00 x | – |',
    )

  def test_ffgg_next_to_fed_alt_with_as_many_passes(self):
    name = combinations.folder_name('fed_alt with equal steps', 'output', 7)
    written_runs.write(self.folder / 'toy' / name, [1] * 3, [0.4, 0.4, 0.4])
    _, line = splits.contests(self.read)[2:]
    self.assertStartsWith(
        line,
        '| FFGG, output | fed_alt with equal steps, output | +10.00 (+10.00 to'
        ' +10.00), 1 seed |',
    )

  def test_constants_are_sent_once(self):
    written_runs.write(
        self.folder / 'toy' / 'fed_sim_lora_b-7',
        [1, 1, 1],
        [0.9, 0.9, 0.9],
        bytes_once=461_000,
    )
    written_runs.write(
        self.folder / 'toy' / 'fed_alt_adapter-7', [1, 1, 1], [0.9, 0.9, 0.9]
    )
    lines = splits.contests(self.read)
    [line] = [line for line in lines if 'FedSA-LoRA' in line]
    self.assertEndsWith(line, '| 1.00 x | 1.00 x | 461 kB |')

  def test_regret(self):
    [line] = splits.regret(self.read, 'fed_alt')
    # Less the best, by client: -0.1, 0, 0.1; less the mean 0.4, 0.5 and 0.6 of
    # the splits by hand: 0.1, 0.2, 0.3.
    half = 100 * _T * 0.1 / math.sqrt(3)
    self.assertEndsWith(
        line,
        f'| output, of 2 | +0.00 ({-half:+.2f} to {half:+.2f}), 1 seed |'
        f' +20.00 ({20 - half:+.2f} to {20 + half:+.2f}), 1 seed |',
    )
    self.assertEmpty(splits.regret(self.read, 'ffgg'))

  def test_two_runs_of_a_seed(self):
    written_runs.write(
        self.folder / 'toy' / 'fed_alt_input-learning_rate_1-7',
        [1, 1, 1],
        [0, 0, 0],
    )
    with self.assertRaisesRegex(ValueError, 'one run of fed_alt with input'):
      splits.reader(self.folder / 'toy')('fed_alt', 'input')

  def test_other_comparisons_of_the_same_clients(self):
    for name in ('toy.ffgg/fed_apm_input-7', 'toy.dbe1/fed_sim_bias-7'):
      written_runs.write(self.folder / name, [1, 1, 1], [0.9, 0.9, 0.9])
    text = splits.report(self.folder)
    self.assertIn('| FedAPM, input | fed_alt, input | +60.00 (', text)
    self.assertIn(
        '| FedDBE (bias, mean regularization 1) | fed_alt, output | +20.00 (',
        text,
    )
    self.assertEqual(text.count('\n## '), 1)

  def test_report_leaves_other_folders_out(self):
    (self.folder / 'other').mkdir()
    found = splits.report(self.folder)
    self.assertIn('## toy', found)
    self.assertNotIn('other', found)


if __name__ == '__main__':
  absltest.main()
