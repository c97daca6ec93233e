# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Flags are checked before TensorFlow, which takes seconds, is imported.

The directions of imports are contracts in pyproject.toml, which `make check`
checks.
"""

import subprocess
import sys

from absl.testing import absltest

from tests.helpers import paths

# BUILD: deps = ["//:run_experiment"]


class ImportsTest(absltest.TestCase):

  def test_flags_are_checked_before_tensorflow_is_imported(self):
    program = 'import sys, run_experiment; print(*sys.modules)'
    modules = subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True,
        check=True,
        cwd=paths.ROOT,
        text=True,
    ).stdout.split()
    self.assertIn('run_experiment', modules)
    self.assertNoCommonElements(
        modules, ('tensorflow', 'tensorflow_federated', 'keras', 'jax')
    )


if __name__ == '__main__':
  absltest.main()
