# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The program gives the same results in several processes as in one."""

import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

from tests.helpers import paths
from tests.helpers import programs
from tff_partial.runtime import worker_process

_PROGRAM = (
    sys.executable,
    str(paths.ROOT / 'run_experiment.py'),
)


class RunOnClusterTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory())
    )

  def run_program(self, name, *arguments):
    data = self.folder / 'data'
    if not data.exists():
      data.mkdir()
      programs.write_data(data)
    settings = programs.settings(data, self.folder / name)
    return subprocess.run(
        [
            *_PROGRAM,
            *settings,
            '--total_rounds=2',
            '--finetune_epochs=1',
            *arguments,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )

  def test_same_bits_and_same_evaluation(self):
    here = self.run_program(
        # A client has one thread, as in the other processes.
        'here',
        '--clients_per_shard=2',
        f'--max_concurrent_clients={worker_process.usable_cores()}',
    )
    self.assertEqual(here.returncode, 0, here.stderr)
    there = self.run_program(
        'there',
        '--clients_per_shard=2',
        '--cluster=local',
        '--actor_cores=1',
    )
    self.assertEqual(there.returncode, 0, there.stderr)
    found, expected = (
        programs.results(self.folder / name) for name in ('there', 'here')
    )
    self.assertEqual(found, expected)
    # These include the clients that were fine-tuned before the evaluation.
    found, expected = (
        (self.folder / name / 'clients.csv').read_text()
        for name in ('there', 'here')
    )
    self.assertEqual(found, expected)

  def test_bad_address(self):
    done = self.run_program('none', '--cluster=nowhere')
    self.assertEqual(done.returncode, 1)
    self.assertEqual(
        done.stderr,
        'run_experiment: Expected --cluster of local, auto or ray://host:port,'
        " found 'nowhere'.\n",
    )


if __name__ == '__main__':
  absltest.main()
