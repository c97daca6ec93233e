# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report of a search: its numbers, warnings and figures."""

import dataclasses
import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from tff_partial.evaluation import metric as metric_lib
from tff_partial.reporting import tuning_plots
from tff_partial.reporting import tuning_report

_ERROR = metric_lib.Metric('error_rate', higher_is_better=False)


def _tried(name, *scores):
  return tuple(
      tuning_report.Tried({name: x}, score, '' if score else 'diverged')
      for x, score in scores
  )


class TuningReportTest(absltest.TestCase):

  def test_numbers_and_warnings(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    tuning = tuning_report.Tuning(
        title='A search',
        metric=_ERROR,
        validation=0.2,
        seeds=(0, 1),
        grids=(
            tuning_report.Grid(
                'fed_alt, <output>',
                {'rate': (1.0, 0.1)},
                _tried('rate', (1.0, None), (0.1, 0.25)),
                chosen=1,
                edges=('rate',),
            ),
            tuning_report.Grid(
                'fed_avg, none',
                {},
                (tuning_report.Tried({}, 0.5),),
                chosen=0,
            ),
            tuning_report.Grid(
                'ditto, a copy of all',
                {'rate': (1.0, 3.0)},
                (
                    *_tried('rate', (1.0, None)),
                    tuning_report.Tried({'rate': 3.0}, None, 'below 2'),
                ),
                chosen=None,
            ),
        ),
    )
    path = tuning_report.write(folder.name, tuning)
    found = json.loads(pathlib.Path(folder.name, 'tuning.json').read_text())
    self.assertEqual(found['note'], '')
    # What is refused is no run: (2 + 1 + 1) settings with two seeds.
    self.assertEqual(found['runs'], 8)
    first, second, third = found['grids']
    self.assertEqual((first['chosen'], first['score']), ({'rate': 0.1}, 0.25))
    self.assertIn('rate is the least value tried', first['warning'])
    self.assertEqual((second['chosen'], second['warning']), ({}, ''))
    self.assertIsNone(third['chosen'])
    self.assertIn('left out', third['warning'])
    text = pathlib.Path(folder.name, 'tuning.md').read_text()
    self.assertIn('| 0.1 | 25.00% | chosen |', text)
    self.assertIn('| 1 | – | diverged |', text)
    self.assertIn('| fed_alt, <output> | rate 0.1 |', text)
    html = path.read_text()
    self.assertIn('fed_alt, &lt;output&gt;', html)
    self.assertNotIn('<output>', html)
    self.assertEqual(html.count('src="data:image/svg'), 2)
    self.assertTrue(
        pathlib.Path(folder.name, 'tuning_fed_alt_output_.svg').exists()
    )
    # One seed chooses by chance where scores are close.
    tuning_report.write(folder.name, dataclasses.replace(tuning, seeds=(0,)))
    for name in ('tuning.md', 'tuning.html'):
      text = pathlib.Path(folder.name, name).read_text()
      self.assertIn('One seed chose these settings', text)

  def test_heat_map_has_the_best_over_what_it_does_not_show(self):
    lists = {'epochs': (1, 2), 'rate': (1.0, 0.1, 0.01), 'l2': (0.5, 0.0, 1.0)}
    tried = [
        ({'epochs': e, 'rate': r, 'l2': p}, e * (r + p))
        for e in lists['epochs']
        for r in lists['rate']
        for p in lists['l2']
    ]
    figure = tuning_plots.scores(
        lists,
        tried,
        chosen=0,
        metric=_ERROR,
        label='error',
        percent=False,
    )
    [axes] = figure.axes
    self.assertEqual((axes.get_ylabel(), axes.get_xlabel()), ('rate', 'l2'))
    # Lower is better, and one epoch is best. Values are in order.
    np.testing.assert_allclose(
        -axes.images[0].get_array(),
        np.add.outer([0.01, 0.1, 1.0], [0.0, 0.5, 1.0]),
    )
    [frame] = axes.patches
    self.assertEqual(frame.get_xy(), (1 - 0.5, 2 - 0.5))

  def test_a_single_list_is_a_line(self):
    figure = tuning_plots.scores(
        {'rate': (1.0, 0.1, 0.01)},
        [({'rate': 1.0}, None), ({'rate': 0.1}, 3.0), ({'rate': 0.01}, 4.0)],
        chosen=1,
        metric=_ERROR,
        label='error',
        percent=False,
    )
    [axes] = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [4.0, 3.0, np.nan])
    self.assertEqual([t.get_text() for t in axes.texts], ['none'])


if __name__ == '__main__':
  absltest.main()
