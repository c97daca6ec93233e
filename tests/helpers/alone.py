# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Programs that cannot import this project."""

import os
import subprocess
import sys


def run(*command: object, cwd: object) -> str:
  """Runs Python where this project cannot be imported; what it prints."""
  result = subprocess.run(
      [sys.executable, '-I', '-W', 'ignore', *map(str, command)],
      cwd=str(cwd),
      env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'},
      capture_output=True,
      text=True,
  )
  if result.returncode:
    raise AssertionError(result.stderr)
  return result.stdout
