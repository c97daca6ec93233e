# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The frontier of a comparison."""

from absl.testing import absltest
from absl.testing import parameterized

from tff_partial.evaluation import comparison
from tff_partial.evaluation import metric
from tff_partial.reporting import comparison_plots
from tff_partial.reporting import formatting

POINTS = [
    ('large', 400, 3.0),
    ('small', 100, 1.0),
    ('same size', 100, 2.0),
    ('no better', 200, 2.0),
    ('worse', 300, -1.0),
]


class FrontierTest(parameterized.TestCase):

  @parameterized.parameters(
      (1, [(100, 2.0), (400, 3.0)]),
      (-1, [(300, -1.0)]),
  )
  def test_nobody_who_stores_as_little_is_better(self, sign, expected):
    self.assertEqual(comparison_plots.frontier(POINTS, sign=sign), expected)

  def test_the_frontier_does_not_begin_below_zero(self):
    self.assertEqual(comparison_plots.frontier(POINTS[-1:], sign=1), [])

  def test_the_figure_names_splits_and_draws_from_zero(self):
    difference = lambda mean: comparison.Difference(
        mean, 0.0, mean - 1, mean + 1, 9, 1, 0.5, 0.5, 1.0
    )
    figure = comparison_plots.gain_by_bytes(
        [
            ('fed_avg, none', 0, difference(1.0)),
            ('fed_alt, bias', 10, difference(-2.0)),
            ('fed_alt, output', 90, difference(0.5)),
            ('fed_sim, output', 90, difference(0.2)),
            ('fed_sim, output, finetuned', 90, difference(0.3)),
            ('fed_sim, adapter', 100, difference(0.1)),
        ],
        scale=10,
        unit='points',
        metric=metric.Metric('accuracy', higher_is_better=True),
    )
    axes = figure.axes[0]
    labels = [text.get_text() for text in axes.texts]
    self.assertEqual(labels, ['bias', 'output', 'adapter'])
    # Nothing, then the first output to the largest part.
    [line] = [x for x in axes.lines if x.get_drawstyle() == 'steps-post']
    self.assertEqual([*line.get_xdata()], [10, 90, 100])
    self.assertEqual([*line.get_ydata()], [0, 5, 5])

  def test_gain_per_kilobyte(self):
    self.assertEqual(formatting.per_kilobyte(0.5, 250), 2.0)
    self.assertIsNone(formatting.per_kilobyte(0.5, 0))


if __name__ == '__main__':
  absltest.main()
