# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A comparison whose runs are spread over processes."""

import json
import subprocess

from absl.testing import absltest

from tests.helpers import programs
from tests.helpers import toy_task
from tff_partial.runtime import worker_process

# BUILD: deps = ["//:run_experiment"]
# BUILD: size = "large"
_TOY = f'--task={toy_task.__name__}:{toy_task.create_task.__name__}'
# Keeps which process reads whom; a task reads its first client when it is made.
_FILE = """
import os
import pathlib

from tests.helpers import toy
from tests.helpers import toy_task


class Clients(toy.Clients):

  def read(self, client_id):
    if client_id != 'client_0':
      with open(pathlib.Path(__file__).with_name('readers'), 'a') as f:
        f.write(f'{os.getpid()}\\n')
    return super().read(client_id)


def create_task(data):
  task = toy_task.create_task(data)
  people = Clients({c: task.train.read(c) for c in task.train.client_ids})
  return task.with_clients(train=people, test=people)
"""


class SpreadTest(programs.FolderTest):

  def comparison(self, name, *arguments):
    return [
        *arguments,
        '--algorithm=fed_avg,fed_alt',
        '--total_rounds=2',
        f'--output_dir={self.folder / name}',
    ]

  def compare(self, name, *arguments):
    """Runs the program; its process ID and what it said."""
    with subprocess.Popen(
        [*programs.PROGRAM, *self.comparison(name, *arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
      _, said = process.communicate()
    self.assertEqual(process.returncode, 0, said)
    return process.pid, said

  def test_same_bits_as_one_after_the_other(self):
    settings = programs.settings(
        'points', self.folder, _TOY, '--learning_rate=0.01', '--seeds=0,1'
    )
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
    _, said = self.compare(
        'there', *settings, '--cluster=local', '--actor_cores=1'
    )
    # Two models to start from, and two runs with each, of which each process
    # does several.
    self.assertRegex(said, r'runs: 100%.* 6/6 ')
    self.assertNotIn('tried again', said)
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
    file = self.folder / 'line.py'
    file.write_text(_FILE)
    program, said = self.compare(
        'search',
        f'--task={file}:create_task',
        '--data=points',
        '--clients_per_round=2',
        '--pretrain_rounds=0',
        '--cluster=local',
        '--actor_cores=1',
        '--tune',
        '--learning_rate=0.01,0.03',
        '--validation=0.3',
        '--tune_seeds=0',
        '--seeds=0',
    )
    self.assertNotIn('tried again', said)
    root = self.folder / 'search'
    # This program has trained and tested nobody.
    readers = set(map(int, (self.folder / 'readers').read_text().split()))
    self.assertNotEmpty(readers)
    self.assertNotIn(program, readers)
    grids = json.loads((root / 'tuning.json').read_text())['grids']
    self.assertLen(
        list(root.glob('grid/*/report.html')),
        sum(len(grid['tried']) for grid in grids),
    )
    self.assertTrue(all(grid['chosen'] for grid in grids))
    self.assertTrue((root / 'comparison.html').exists())


if __name__ == '__main__':
  absltest.main()
