# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The scripts of results/: their commands are accepted, with equal budgets."""

import os
import pathlib
import shlex
import subprocess
import tempfile

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
import numpy as np

from results import swap_labels
from tasks import import_client_data
from tests.helpers import paths
from tff_partial.experiments import flags as flags_lib
from tff_partial.experiments.comparisons import search_flags

# BUILD: data = ["//:sources"]
flags_lib.define()
_SCRIPTS = (
    'emnist',
    'landmarks',
    'stackoverflow',
    'speech',
    'findings',
    'leaderboard',
    'privacy',
    'theory',
)
_PROGRAMS = (
    'benchmarks.leaderboard',
    'benchmarks.regime_score',
    'benchmarks.penalties',
    'benchmarks.privacy_price',
)


def _commands(script, **environment):
  """What a script would run, as lists of words."""
  with tempfile.TemporaryDirectory() as out:
    result = subprocess.run(
        ['sh', str(paths.ROOT / 'results' / f'{script}.sh')],
        check=True,
        capture_output=True,
        cwd=paths.ROOT,
        env={
            'PATH': os.environ['PATH'],
            'DATA': 'data',
            'OUT': out,
            'DRY_RUN': '1',
            'FORECASTS': str(pathlib.Path(out, 'forecasts.json')),
            **environment,
        },
        text=True,
    )
  return [shlex.split(line)[1:] for line in result.stdout.splitlines()]


class ResultsTest(parameterized.TestCase):

  @parameterized.parameters(*_SCRIPTS)
  def test_commands_are_accepted(self, script):
    experiments = 0
    for words in _commands(script):
      if words[:2] == ['-m', 'tasks.import_client_data']:
        import_client_data.parse(words[1:])
        continue
      if words[0] == '-m':
        self.assertIn(words[1], _PROGRAMS)
        continue
      if words[0] == 'results/swap_labels.py':
        continue
      self.assertEqual(words[0], 'run_experiment.py')
      experiments += 1
      with flagsaver.flagsaver():
        flags.FLAGS(words)
        if not flags.FLAGS.tune:
          continue
        search = search_flags.read_search()
        grids = search.grids()
        self.assertNotEmpty(grids)
        for grid in grids:
          # The same lists, but for those that an algorithm ignores.
          self.assertContainsSubset(grid.lists.items(), search.lists.items())
          if grid.scheme.name in ('fed_sim', 'fed_alt', 'fed_recon'):
            self.assertEqual(grid.lists, search.lists)
    self.assertGreater(experiments, 0)

  def test_forecasts_and_comparisons_differ_only_in_what_is_run(self):
    runs = {'forecasts': {}, 'comparisons': {}}
    for words in _commands('theory'):
      for stage, found in runs.items():
        if (folder := f'/theory/{stage}/') in words[-1]:
          found[words[-1].partition(folder)[2]] = {
              w
              for w in words[:-1]
              if not w.startswith(('--regime', '--algorithm', '--seeds'))
          }
    self.assertNotEmpty(runs['forecasts'])
    self.assertEqual(runs['forecasts'], runs['comparisons'])

  def test_a_short_trial(self):
    commands = _commands('emnist', FLAGS='--total_rounds=2 --seeds=0')
    runs = [words for words in commands if words[0] == 'run_experiment.py']
    self.assertNotEmpty(runs)
    for words in runs:
      self.assertEqual(words[-2:], ['--total_rounds=2', '--seeds=0'])

  def test_every_writer_swaps_two_labels(self):
    labels, writers = np.tile(np.arange(10), 300), np.repeat(np.arange(300), 10)
    swapped = swap_labels.swap(labels, writers).reshape([300, 10])
    np.testing.assert_array_equal(np.sort(swapped), labels.reshape([300, 10]))
    changed = swapped != np.arange(10)
    np.testing.assert_array_equal(changed.sum(axis=1), 2)
    # All of the 45 pairs are there.
    self.assertLen(np.unique(changed, axis=0), 45)

  def test_data_are_asked_for(self):
    result = subprocess.run(
        ['sh', str(paths.ROOT / 'results' / 'emnist.sh')],
        capture_output=True,
        env={'PATH': os.environ['PATH']},
        text=True,
    )
    self.assertNotEqual(result.returncode, 0)
    self.assertIn('Set DATA', result.stderr)


if __name__ == '__main__':
  absltest.main()
