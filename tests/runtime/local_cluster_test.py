# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Processes on this machine end with the program that started them."""

import os
import signal
import subprocess
import sys

from absl.testing import absltest
import psutil

from tests.helpers import paths

_PROGRAM = """
import os, signal
import numpy as np
import tensorflow_federated as tff
import tff_partial as tffp
from tff_partial.runtime import sharding

@tff.tensorflow.computation(np.int32)
def add_one(x):
  return x + 1

cores = len(os.sched_getaffinity(0))
with tffp.connect('local', runtime='worker', actor_cores=cores) as cluster:
  step = sharding.Step(add_one)
  print(list(cluster.compute(3, lambda i: (step, [i]))), flush=True)
  signal.pause()
"""


class LocalClusterTest(absltest.TestCase):

  def test_killed_program_leaves_nobody_behind(self):
    program = subprocess.Popen(
        [sys.executable, '-c', _PROGRAM],
        cwd=paths.ROOT,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
        stdout=subprocess.PIPE,
        text=True,
    )
    self.addCleanup(program.stdout.close)
    self.addCleanup(program.wait)
    self.addCleanup(program.kill)
    self.assertEqual(program.stdout.readline(), '[1, 2, 3]\n')
    started = psutil.Process(program.pid).children(recursive=True)
    names = [process.name() for process in started]
    # One of the program, and one of the process that computes.
    self.assertEqual(names.count('worker_binary'), 2, names)
    self.assertIn('raylet', names)
    # Two helpers of Ray's own, which hold no values, end a minute later.
    started = [p for p in started if not p.name().endswith('Agent')]
    program.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(started, timeout=60)
    self.assertEmpty(
        [p for p in alive if p.status() != psutil.STATUS_ZOMBIE], alive
    )


if __name__ == '__main__':
  absltest.main()
