# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The program gives the same results in several processes as in one."""

import subprocess

from absl.testing import absltest

from tests.helpers import programs
from tff_partial.runtime import worker_process

# BUILD: deps = ["//:run_experiment"]
# BUILD: size = "large"


class RunOnClusterTest(programs.FolderTest):

  def settings(self, name, *arguments):
    data = self.folder / 'data'
    if not data.exists():
      data.mkdir()
      programs.write_data(data)
    return [
        *programs.settings(data, self.folder / name),
        '--total_rounds=2',
        '--pretrain_rounds=0',
        '--finetune_epochs=1',
        *arguments,
    ]

  def run_program(self, name, *arguments):
    return subprocess.run(
        [*programs.PROGRAM, *self.settings(name, *arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )

  def test_same_bits_and_same_evaluation(self):
    code, out, said = self.call(
        *self.settings(
            'here',
            '--clients_per_shard=2',
            # A client has one thread, as in the other processes.
            f'--max_concurrent_clients={worker_process.usable_cores()}',
        )
    )
    self.assertEqual((code, said), (0, []), out)
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


if __name__ == '__main__':
  absltest.main()
