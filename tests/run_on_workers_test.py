# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The program on several workers ends with what it ends with on one."""

import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

from tests import remote_workers_test
from tests import run_experiment_test

_PROGRAM = (
    sys.executable,
    str(pathlib.Path(__file__).resolve().parent.parent / 'run_experiment.py'),
)


class RunOnWorkersTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory())
    )

  def run_program(self, name, *arguments):
    data = self.folder / 'data'
    if not data.exists():
      data.mkdir()
      run_experiment_test.write_data(data)
    settings = run_experiment_test.settings(data, self.folder / name)
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

  def test_same_bits_and_same_tests(self):
    workers = remote_workers_test.Workers(self, 2)
    here = self.run_program(
        # As many threads for a client as it has in those workers.
        'here',
        '--clients_per_shard=2',
        '--max_concurrent_clients=1',
    )
    self.assertEqual(here.returncode, 0, here.stderr)
    there = self.run_program(
        'there',
        '--clients_per_shard=2',
        f'--workers={",".join(workers.addresses)}',
    )
    self.assertEqual(there.returncode, 0, there.stderr)
    found, expected = (
        run_experiment_test.results(self.folder / name)
        for name in ('there', 'here')
    )
    self.assertEqual(found, expected)
    # Among them the clients that were fine-tuned before the test.
    found, expected = (
        (self.folder / name / 'clients.csv').read_text()
        for name in ('there', 'here')
    )
    self.assertEqual(found, expected)

  def test_what_is_no_address(self):
    done = self.run_program('none', '--workers=nowhere')
    self.assertEqual(done.returncode, 1)
    self.assertEqual(
        done.stderr,
        "run_experiment: Expected workers as host:port, found 'nowhere'."
        ' Separate several by commas.\n',
    )


if __name__ == '__main__':
  absltest.main()
