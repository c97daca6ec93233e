# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Functions that are called in other processes, some of which die."""

import os
import pathlib
import signal
import tempfile

from absl.testing import absltest

from tff_partial import errors
from tff_partial.runtime import cluster_jobs
from tff_partial.runtime import ray_connection


def work(argument):
  """Counts its calls in a file, and ends as the file's name says."""
  path = pathlib.Path(argument)
  calls = len(path.read_text()) if path.exists() else 0
  path.write_text('x' * (calls + 1))
  if path.name == 'dies_once' and not calls:
    os.kill(os.getpid(), signal.SIGKILL)
  if path.name == 'fails':
    raise errors.FileError('Expected more,\nfound less.')


class ClusterJobsTest(absltest.TestCase):

  def test_every_argument_once_and_again_if_its_process_dies(self):
    folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    names = ['works', 'dies_once', 'fails', 'works_too']
    with ray_connection.connect('local', insecure_cluster=False):
      ended = dict(
          cluster_jobs.call(work, [str(folder / n) for n in names], cores=1)
      )
    self.assertEqual(
        ended, {0: None, 1: None, 2: 'Expected more, found less.', 3: None}
    )
    calls = [len((folder / name).read_text()) for name in names]
    self.assertEqual(calls, [1, 2, 1, 1])


if __name__ == '__main__':
  absltest.main()
