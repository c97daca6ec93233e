# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole runs of run_experiment.py, as processes or in this process."""

import collections
import contextlib
import hashlib
import io
import json
import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings

from absl import flags
from absl.testing import flagsaver
from absl.testing import parameterized
import numpy as np
import psutil
import tensorflow as tf

import tasks
from tests.helpers import paths
from tests.helpers import small_emnist
from tff_partial.data import sql_writer
from tff_partial.experiments import flags as flags_lib
from tff_partial.experiments import program
from tff_partial.experiments import run_folder

flags_lib.define()
PROGRAM = (sys.executable, str(paths.ROOT / 'run_experiment.py'))
ROUNDS = 60  # Enough to stop a run in the middle.
TASK = f'{small_emnist.__name__}:{small_emnist.create_task.__name__}'
SECONDS = 900  # A run that takes longer has failed.
FEATURES = collections.OrderedDict(
    pixels=tf.TensorSpec([28, 28], tf.uint8), label=tf.TensorSpec([], tf.int32)
)


def write_data(folder, *, features=FEATURES):
  """Writes eight writers with six and four examples; returns the folder."""
  for name, size in (('train', 6), ('test', 4)):
    with sql_writer.SqlWriter(f'{folder}/{name}.sqlite', features) as writer:
      for i in range(8):
        rng = np.random.default_rng([i, size])
        shape = [size, *features['pixels'].shape]
        writer.write(
            f'writer_{i}',
            {
                'pixels': rng.integers(0, 256, shape).astype(np.uint8),
                'label': rng.integers(0, 62, size),
            },
        )
  return pathlib.Path(folder)


# Runs commands one after the other, and ends where one fails.
_SEVERAL = """
import json, runpy, sys
for module, *arguments in json.loads(sys.argv[1]):
  sys.argv = [module, *arguments]
  try:
    runpy.run_module(module, run_name='__main__', alter_sys=True)
  except SystemExit as e:
    if e.code:
      raise
"""


# Runs the program several times, without TensorFlow; prints how it ended.
_BEFORE_TENSORFLOW = """
import contextlib, io, json, sys
from absl.testing import flagsaver
import run_experiment
from tff_partial.experiments import flags
flags.define()
ends = []
for sys.argv in json.loads(sys.argv[1]):
  with flagsaver.flagsaver(), contextlib.redirect_stderr(io.StringIO()) as err:
    try:
      run_experiment.program.run(run_experiment.tasks.TASKS)
    except SystemExit as e:
      code = e.code
  if isinstance(code, str):  # As Python ends.
    err.write(code)
    code = 1
  ends.append((code, err.getvalue().splitlines()))
assert not {'tensorflow', 'tensorflow_federated', 'jax'} & set(sys.modules)
print(json.dumps(ends))
"""


def run_before_tensorflow(arguments):
  """Runs the program with mistakes that are found before it is imported.

  Args:
    arguments: The arguments of each run.

  Returns:
    For each the exit status and stderr's lines.
  """
  argvs = [['run_experiment', *a] for a in arguments]
  run = subprocess.run(
      [sys.executable, '-c', _BEFORE_TENSORFLOW, json.dumps(argvs)],
      cwd=paths.ROOT,
      stdin=subprocess.DEVNULL,
      capture_output=True,
      text=True,
      timeout=SECONDS,
  )
  if run.returncode:
    raise AssertionError(run.stderr)
  return json.loads(run.stdout)


def run_all(*commands, **kwargs):
  """Runs commands in one process, which imports TensorFlow once.

  Args:
    *commands: For each the name of a module and its arguments, as after
      `python -m`.
    **kwargs: For `subprocess.run`.

  Returns:
    The process, which has ended.
  """
  # Names beyond ASCII are the bytes that a shell would pass.
  several = json.dumps(commands, ensure_ascii=False)
  return subprocess.run(
      [sys.executable, '-c', _SEVERAL, several],
      cwd=paths.ROOT,
      stdin=subprocess.DEVNULL,
      capture_output=True,
      timeout=SECONDS,
      **kwargs,
  )


def settings(data, output_dir, *others):
  return [
      f'--task={TASK}',
      f'--data={data}',
      f'--output_dir={output_dir}',
      f'--total_rounds={ROUNDS}',
      '--pretrain_rounds=2',
      '--clients_per_round=3',
      '--unseen_clients=2',
      '--rounds_per_evaluation=0',
      '--batch_size=4',
      *others,
  ]


def results(folder):
  """What a run has learned: weights, personal variables and server state."""
  with contextlib.closing(
      sqlite3.connect(folder / 'personal_store.sqlite')
  ) as connection:
    return {
        'weights': (folder / run_folder.WEIGHTS).read_bytes(),
        'clients': connection.execute(
            'SELECT * FROM clients ORDER BY client_id'
        ).fetchall(),
        'state': connection.execute(
            'SELECT * FROM state ORDER BY position'
        ).fetchall(),
    }


def contents(folder):
  """The hash of every file, except for logs and locks."""
  return {
      str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest()
      for path in folder.rglob('*')
      if path.is_file() and path.suffix not in ('.lock', '.log')
  }


class Running:
  """A run in a process of its own, and the workers that were seen."""

  def __init__(self, arguments, log):
    self._log = open(log, 'wb')
    self.log = pathlib.Path(log)
    self.process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=self._log,
        stderr=self._log,
    )
    self.workers = set()
    self._watch = threading.Thread(target=self._record_workers)
    self._watch.start()

  def _record_workers(self):
    while self.process.poll() is None:
      with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(self.process.pid).children(recursive=True):
          if child.name() == 'worker_binary':
            self.workers.add(child)
      time.sleep(0.05)

  def wait_for(self, pattern):
    """Waits until the run's output contains a pattern."""
    deadline = time.monotonic() + SECONDS
    while not re.search(pattern, self.log.read_text(errors='replace')):
      if self.process.poll() is not None or time.monotonic() > deadline:
        raise AssertionError(f'No {pattern!r} in: {self.log.read_text()}')
      time.sleep(0.01)

  def end(self, signal_number=None):
    """Sends a signal, if any, and returns the exit status."""
    if signal_number is not None:
      self.process.send_signal(signal_number)
    try:
      return self.process.wait(SECONDS)
    finally:
      self.process.kill()
      self._watch.join()
      self._log.close()


class FolderTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def assertAllEnd(self, workers):
    self.assertNotEmpty(workers)
    gone, alive = psutil.wait_procs(workers, timeout=10)
    self.assertEmpty(
        [p for p in alive if p.status() != psutil.STATUS_ZOMBIE], gone
    )

  def start(self, *arguments):
    log = self.folder / f'log_{time.monotonic_ns()}'
    running = Running(arguments, log)
    self.addCleanup(running.end)
    self.addCleanup(running.process.kill)
    return running

  def call(self, *arguments):
    """Runs the program in this process.

    Returns:
      The exit status, stdout, and the lines of stderr without progress bars.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        flagsaver.flagsaver(),
        # Some test runners show those of the packages that we use.
        warnings.catch_warnings(action='ignore', category=DeprecationWarning),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
      argv = flags.FLAGS(['run_experiment', *arguments])
      with self.assertRaises(SystemExit) as raised:
        program.main(argv, tasks=tasks.TASKS)
    lines = re.split('[\r\n]+', err.getvalue())
    said = [line for line in lines if line and '%|' not in line]
    return raised.exception.code, out.getvalue(), said

  def assertRefused(self, message, *arguments):
    code, _, said = self.call(*arguments)
    self.assertEqual(code, 1)
    self.assertLen(said, 1, said)
    self.assertRegex(said[0], f'^run_experiment: .*{message}')
