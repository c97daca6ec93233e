# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs a notebook's cells with another Python.

TFF 0.87.0 needs Python 3.11, but the Python of a hosted notebook is up to the
host. After

    other_kernel.use('.venv/bin/python')

every further cell is sent to an IPython kernel of that Python, and its output
is shown in this notebook. The cells need no changes.
"""

import atexit
import os
import subprocess
import sys
import tempfile
import time

import IPython
from IPython import display
import jupyter_client

_START_SECONDS = 120


class CellError(RuntimeError):
  """A cell failed in the other kernel; its traceback was printed."""


class OtherKernel:
  """A kernel of another Python, which ends when this process ends."""

  def __init__(self, python: str):
    """Starts the kernel.

    Args:
      python: The path of an interpreter that has ipykernel.

    Raises:
      RuntimeError: If the kernel does not start.
    """
    folder = tempfile.mkdtemp()
    connection_file = os.path.join(folder, 'kernel.json')
    log = os.path.join(folder, 'log')
    with open(log, 'wb') as output:
      self._process = subprocess.Popen(
          [python, '-m', 'ipykernel_launcher', '-f', connection_file],
          stdin=subprocess.DEVNULL,
          stdout=output,
          stderr=output,
      )
    atexit.register(self.close)
    deadline = time.monotonic() + _START_SECONDS
    while not os.path.exists(connection_file):
      if self._process.poll() is not None or time.monotonic() > deadline:
        self._process.kill()
        raise RuntimeError(
            f'Expected {python} to start a kernel, found that it did not. Its'
            f' output: {_read(log)}'
        )
      time.sleep(0.1)
    self._client = jupyter_client.BlockingKernelClient(
        connection_file=connection_file
    )
    self._client.load_connection_file()
    self._client.start_channels()
    self._client.wait_for_ready(timeout=_START_SECONDS)

  def run(self, source: str) -> None:
    """Runs a cell in the kernel and shows its output here.

    Raises:
      CellError: If the cell fails.
    """
    reply = self._client.execute_interactive(
        source, allow_stdin=False, output_hook=_show
    )
    if reply['content']['status'] != 'ok':
      raise CellError('The cell failed; see above.')

  def close(self) -> None:
    self._process.terminate()
    self._process.wait()


def use(python: str) -> None:
  """Sends all further cells of this notebook to a kernel of `python`."""
  kernel = OtherKernel(python)
  shell = IPython.get_ipython()
  shell.user_ns['_run_there'] = kernel.run

  def send(lines):
    source = ''.join(lines)
    # IPython may pass a cell that was transformed already.
    if not source.strip() or source.startswith('_run_there('):
      return lines
    return [f'_run_there({source!r})\n']

  shell.input_transformers_cleanup.append(send)


def _show(message) -> None:
  content = message['content']
  if message['msg_type'] == 'stream':
    to = sys.stderr if content['name'] == 'stderr' else sys.stdout
    print(content['text'], end='', file=to, flush=True)
  elif message['msg_type'] in ('display_data', 'execute_result'):
    display.publish_display_data(content['data'], content['metadata'])
  elif message['msg_type'] == 'error':
    print('\n'.join(content['traceback']), file=sys.stderr)


def _read(path: str) -> str:
  with open(path, encoding='utf-8', errors='replace') as f:
    return f.read()[-1000:]
