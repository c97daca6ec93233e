# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A comparison whose runs are spread over processes."""

import json
import subprocess

from absl.testing import absltest

from tests.helpers import paths
from tests.helpers import programs
from tff_partial.runtime import worker_process

# BUILD: deps = ["//:run_experiment"]
# BUILD: size = "large"


class SpreadTest(programs.FolderTest):

  def comparison(self, name, *arguments):
    return [
        *arguments,
        '--algorithm=fed_avg,fed_alt',
        '--total_rounds=2',
        f'--output_dir={self.folder / name}',
    ]

  def compare(self, name, *arguments):
    done = subprocess.run(
        [*programs.PROGRAM, *self.comparison(name, *arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    return done

  def test_same_bits_as_one_after_the_other(self):
    data = self.folder / 'data'
    data.mkdir()
    programs.write_data(data)
    settings = programs.settings(data, self.folder, '--seeds=0,1')
    code, out, said = self.call(
        *self.comparison(
            'here',
            *settings,
            '--clients_per_shard=1',
            # A client has one thread, as in the other processes.
            f'--max_concurrent_clients={worker_process.usable_cores()}',
        )
    )
    self.assertEqual((code, said), (0, []), out)
    done = self.compare(
        'there', *settings, '--cluster=local', '--actor_cores=1'
    )
    # Two models to start from, and two runs with each, of which each process
    # does several.
    self.assertRegex(done.stderr, r'runs: 100%.* 6/6 ')
    self.assertNotIn('tried again', done.stderr)
    here, there = self.folder / 'here', self.folder / 'there'
    stores = sorted(
        path.parent.relative_to(here)
        for path in here.rglob('personal_store.sqlite')
    )
    self.assertLen(stores, 6)
    for folder in stores:
      with self.subTest(folder):
        self.assertEqual(
            programs.results(there / folder), programs.results(here / folder)
        )
    self.assertTrue((there / 'comparison.html').exists())
    self.assertFalse((there / '.seen_by_all').exists())

  def test_search(self):
    done = self.compare(
        'search',
        f'--task={paths.ROOT}/tests/helpers/toy_task.py:create_task',
        '--data=points',
        '--clients_per_round=2',
        '--pretrain_rounds=1',
        '--cluster=local',
        '--actor_cores=1',
        '--tune',
        '--learning_rate=0.01,0.03',
        '--validation=0.3',
        '--tune_seeds=0',
        '--seeds=0',
    )
    self.assertNotIn('tried again', done.stderr)
    root = self.folder / 'search'
    # This program has computed nothing.
    self.assertFalse((root / 'worker.log').exists())
    grids = json.loads((root / 'tuning.json').read_text())['grids']
    self.assertLen(
        list(root.glob('grid/*/report.html')),
        sum(len(grid['tried']) for grid in grids),
    )
    self.assertTrue(all(grid['chosen'] for grid in grids))
    self.assertTrue((root / 'comparison.html').exists())


if __name__ == '__main__':
  absltest.main()
