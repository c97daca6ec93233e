# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Programs in an environment of their own with Keras 3, which TFF cannot have.

`make .venv-keras3/installed` makes the environment; `make test` does, too.
"""

import subprocess

from tests.helpers import paths

PYTHON = paths.ROOT / '.venv-keras3' / 'bin' / 'python'


def run(program: str, *arguments: str) -> str:
  """Runs a program and returns what it printed."""
  if not PYTHON.exists():
    raise FileNotFoundError(
        f'Expected Keras 3 in {PYTHON}, found nothing there. Run `make'
        ' .venv-keras3/installed`.'
    )
  result = subprocess.run(
      [PYTHON, '-I', '-W', 'ignore', '-c', program, *map(str, arguments)],
      env={'KERAS_BACKEND': 'jax'},
      capture_output=True,
      text=True,
  )
  if result.returncode:
    raise AssertionError(result.stderr)
  return result.stdout
