# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The program from end to end: what it leaves, resumes, refuses and says.

Whole runs are processes of their own, since they are interrupted and killed.
Mistakes are made in this process, which imports TensorFlow once, but for those
that are found before TensorFlow is.
"""

import collections
import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
import numpy as np
import psutil
import tensorflow as tf

import run_experiment
from tasks import experiment
from tasks import run_folder
from tasks import sql_writer

_ROOT = pathlib.Path(__file__).absolute().parent.parent
_PROGRAM = (sys.executable, str(_ROOT / 'run_experiment.py'))
_ROUNDS = 60  # Enough to be stopped in.
# BUILD: shard_count = 4
_SECONDS = 900  # After which a run that does not get there is given up.
_FEATURES = collections.OrderedDict(
    pixels=tf.TensorSpec([28, 28], tf.uint8), label=tf.TensorSpec([], tf.int32)
)


def write_data(folder, *, features=_FEATURES):
  """Eight writers of six and four examples; the folder."""
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


def settings(data, output_dir, *others):
  return [
      f'--data={data}',
      f'--output_dir={output_dir}',
      f'--total_rounds={_ROUNDS}',
      '--pretrain_rounds=2',
      '--clients_per_round=3',
      '--unseen_clients=2',
      '--rounds_per_evaluation=0',
      '--batch_size=4',
      *others,
  ]


def results(folder):
  """What a run has learnt: weights, personal variables and server state."""
  with contextlib.closing(
      sqlite3.connect(folder / 'personal_store.sqlite')
  ) as connection:
    return {
        'weights': (folder / experiment.WEIGHTS_FILE).read_bytes(),
        'clients': connection.execute(
            'SELECT * FROM clients ORDER BY client_id'
        ).fetchall(),
        'state': connection.execute(
            'SELECT * FROM state ORDER BY position'
        ).fetchall(),
    }


def contents(folder):
  """A hash of every file; logs and locks say nothing and are left out."""
  return {
      str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest()
      for path in folder.rglob('*')
      if path.is_file() and path.suffix not in ('.lock', '.log')
  }


class Running:
  """A run that was started, and the workers that it was seen to have."""

  def __init__(self, arguments, log):
    self._log = open(log, 'wb')
    self.log = pathlib.Path(log)
    self.process = subprocess.Popen(
        [*_PROGRAM, *arguments],
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
    """Waits until the run has said something."""
    deadline = time.monotonic() + _SECONDS
    while not re.search(pattern, self.log.read_text(errors='replace')):
      if self.process.poll() is not None or time.monotonic() > deadline:
        raise AssertionError(f'No {pattern!r} in: {self.log.read_text()}')
      time.sleep(0.01)

  def end(self, signal_number=None):
    """Sends a signal if given one; the exit status."""
    if signal_number is not None:
      self.process.send_signal(signal_number)
    try:
      return self.process.wait(_SECONDS)
    finally:
      self.process.kill()
      self._watch.join()
      self._log.close()


class _FolderTest(parameterized.TestCase):

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

  def early(self, *arguments):
    """Exit status, and lines of stderr, of a run that ends soon."""
    run = subprocess.run(
        [*_PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    return run.returncode, run.stderr.splitlines()

  def call(self, *arguments):
    """Exit status, stdout and lines of stderr of the program, called here."""
    out, err = io.StringIO(), io.StringIO()
    with (
        flagsaver.flagsaver(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
      argv = flags.FLAGS(['run_experiment', *arguments])
      with self.assertRaises(SystemExit) as raised:
        run_experiment.main(argv)
    lines = re.split('[\r\n]+', err.getvalue())
    # Progress bars are drawn on stderr too.
    said = [line for line in lines if line and '%|' not in line]
    return raised.exception.code, out.getvalue(), said

  def assertRefused(self, message, *arguments):
    code, _, said = self.call(*arguments)
    self.assertEqual(code, 1)
    self.assertLen(said, 1, said)
    self.assertRegex(said[0], f'^run_experiment: .*{message}')


class RunTest(_FolderTest):
  """One run left in peace, and one that is stopped and killed."""

  def test_runs_and_resumes_to_the_last_bit(self):
    data = write_data(self.folder / 'data')
    whole, stopped = self.folder / 'whole', self.folder / 'stopped'
    with self.subTest('end to end, into a pipe'):
      self.check_pipe(data, whole)
    with self.subTest('files'):
      self.check_files(whole)
    with self.subTest('the same command again'):
      before = contents(whole)
      code, out, said = self.call(*settings(data, whole))
      self.assertEqual((code, said), (0, []))
      self.assertStartsWith(out, f'Finished before: {whole}\n')
      self.assertEqual(contents(whole), before)
    with self.subTest('export'):
      client_id = results(whole)['clients'][0][0]
      copy, exported = self.folder / 'copy', self.folder / 'exported'
      # SQLite leaves files beside a store that it has but read.
      shutil.copytree(whole, copy)
      code, out, said = self.call(
          *settings(data, copy),
          f'--export_client={client_id}',
          f'--export_dir={exported}',
      )
      self.assertEqual((code, said), (0, []))
      self.assertEndsWith(out, f'Exported: {exported}\n')
      self.assertTrue((exported / 'model.tflite').exists())
    with self.subTest('other flags'):
      self.assertRefused(
          '--learning_rate: 0.1 there, 0.2 now; --seed: 0 there, 1 now',
          *settings(data, whole, '--learning_rate=0.2', '--seed=1'),
      )
      self.assertEqual(contents(whole), before)

    # A shell's background jobs ignore SIGINT, and so would what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, expected in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
      with self.subTest(signal.Signals(number).name):
        running = self.start(*settings(data, stopped))
        running.wait_for(rf'fed_alt: .* [2-9]/{_ROUNDS} ')
        self.assertEqual(running.end(number), expected)
        self.assertAllEnd(running.workers)
        self.assertFalse((stopped / 'report.html').exists())
        said = running.log.read_text().splitlines()[-1]
        if number == signal.SIGINT:
          self.assertStartsWith(said, 'run_experiment: stopped. The same')
    with self.subTest('resumed'):
      running = self.start(*settings(data, stopped))
      self.assertEqual(running.end(), 0, running.log.read_text())
      self.assertAllEnd(running.workers)
      for part in ('.', 'pretrain'):
        self.assertEqual(results(stopped / part), results(whole / part))
      rounds = [
          line.split(',')[0]
          for line in (stopped / experiment.METRICS_FILE)
          .read_text()
          .splitlines()
      ]
      self.assertEqual(rounds[1:], [f'{i + 1}' for i in range(_ROUNDS)])

    for damage in (self.cut_short, self.flip_a_byte):
      with self.subTest(damage.__name__):
        copy = self.folder / damage.__name__
        shutil.copytree(whole, copy)
        (copy / 'report.html').unlink()
        damage(copy / 'personal_store.sqlite')
        before = contents(copy)
        self.assertRefused(
            'personal_store.sqlite .*Restore the file from a copy',
            *settings(data, copy),
        )
        after = contents(copy)
        self.assertEqual({name: after.get(name) for name in before}, before)

  def check_pipe(self, data, folder):
    command = ' '.join([*_PROGRAM, *settings(data, folder)])
    errors = self.folder / 'errors'
    program = subprocess.Popen(
        ['bash', '-c', f'set -o pipefail; {command} 2> {errors} | cat'],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    # Ends only when nobody holds the pipe any more, a worker neither.
    output, _ = program.communicate(timeout=_SECONDS)
    self.assertEqual(program.returncode, 0, errors.read_text())
    lines = output.splitlines()
    self.assertEqual(
        [line.split()[0] for line in lines[:5]],
        ['task', 'data', 'split', 'algorithm', 'output'],
    )
    self.assertIn('8 clients', lines[1])
    self.assertIn('7,998 of 115,374 parameters', lines[2])
    self.assertRegex(lines[3], f'2 rounds of fed_avg, then {_ROUNDS} rounds of')
    self.assertStartsWith(lines[5], 'Personalization ')
    self.assertEqual(lines[-1], f'Report: {folder / "report.html"}')
    for line in re.split('[\r\n]+', errors.read_text()):
      self.assertRegex(line, '^((fed_avg|fed_alt|test): .*)?$')

  def check_files(self, folder):
    for name in (
        'config.json',
        'metrics.csv',
        'personal_store.sqlite',
        'model.safetensors',
        'report.html',
        'report.json',
        'clients.csv',
        'pretrain/model.safetensors',
    ):
      self.assertGreater((folder / name).stat().st_size, 0, name)
    self.assertNotEmpty(list((folder / 'tensorboard').iterdir()))
    report = json.loads((folder / 'report.json').read_text())
    self.assertEqual(
        (report['baseline'], report['candidate']),
        ('non_personalized', 'personalized'),
    )
    # Each of 60 rounds: 3 clients, 6 examples in 2 batches, in 2 phases.
    self.assertEqual(report['cost']['gradient_steps'], _ROUNDS * 3 * 2 * 2)
    self.assertEqual(report['cost']['examples_processed'], _ROUNDS * 3 * 6 * 2)
    rows = (folder / 'clients.csv').read_text().splitlines()
    self.assertLen(rows, 1 + 8)
    learnt = results(folder)
    # Two of eight were kept out, the others met in 60 rounds.
    self.assertLen(learnt['clients'], 6)

  def cut_short(self, file):
    os.truncate(file, file.stat().st_size // 2)

  def flip_a_byte(self, file):
    value = results(file.parent)['clients'][0][2]
    stored = bytearray(file.read_bytes())
    stored[stored.index(value[100:200]) + 7] ^= 1
    file.write_bytes(stored)


class MistakeTest(_FolderTest):

  @parameterized.parameters(
      ('--task=poetry', 'emnist.*landmarks'),
      ('--algorithm=sgd', 'fed_avg.*finetune'),
      ('--algorithm=fed_alt,sgd', "fed_avg.*finetune.*found 'sgd'"),
      ('--seeds=0,x', "like 0,1,2, found '0,x'"),
      ('--seeds=', 'a seed at least'),
      ('--algorithm=fed_sim,fed_alt --personal=all', 'something to share'),
      ('--clients_per_round=0', 'positive'),
      ('--total_rounds=-1', 'negative'),
      ('--batch_size=0', 'positive'),
      ('--learning_rate=fast', 'fast'),
      ('--colour=red', 'colour'),
      ('train', "flags only, found 'train'"),
      ('--pretrain_rounds=1 --init_from=x', 'both'),
      ('--export_client=ann', 'only one of them'),
      ('--output_dir={file}', 'a folder to write in at .*--output_dir'),
      ('--output_dir={file}/below', 'a folder to write in at .*--output_dir'),
      ('--output_dir={folder}', 'with file and no config.json'),
      ('--output_dir={claimed}', 'no other run in .*, found one going on'),
  )
  def test_found_before_tensorflow_is_imported(self, arguments, message):
    file = self.folder / 'file'
    file.write_text('precious')
    with tempfile.TemporaryDirectory() as other:
      with run_folder.claim(other, {}, overwrite=False):
        places = {'file': file, 'folder': self.folder, 'claimed': other}
        code, said = self.early(*arguments.format(**places).split())
    self.assertEqual(code, 1)
    self.assertLen(said, 1, said)
    self.assertRegex(said[0], f'^run_experiment: .*{message}')
    self.assertEqual(file.read_text(), 'precious')
    self.assertEqual(os.listdir(self.folder), ['file'])

  def test_settings_and_data_that_do_not_go_together(self):
    data = write_data(self.folder / 'data')
    out = self.folder / 'out'
    for message, *mistake in (
        ('input, |split of .*found', '--personal=head'),
        ('matches no variable .*conv1/kernel', '--personal=regex:attention'),
        ('model of .*resnet18', '--model=lstm'),
        ('from 1 to 6 clients per round.*found 7', '--clients_per_round=7'),
        ('at most 8 clients', '--eval_clients=9'),
        ('at most 8 clients', '--unseen_clients=9'),
        ('learning_rate above 0', '--personal_learning_rate=0'),
        ('fewer warm-up rounds', '--schedule=linear', '--warmup_rounds=99'),
        (
            'found no such file',
            '--pretrain_rounds=0',
            f'--init_from={self.folder}/nowhere',
        ),
        (
            'a file of .*safetensors, .*train.sqlite',
            '--pretrain_rounds=0',
            f'--init_from={data}/train.sqlite',
        ),
    ):
      with self.subTest(str(mistake)):
        self.assertRefused(message, *settings(data, out, *mistake))
        # Nothing was begun, so that other flags can have the folder.
        self.assertFalse(list(out.rglob('personal_store.sqlite')))

  def test_data_that_are_none(self):
    whole = write_data(self.folder / 'whole')

    def empty(folder):
      (folder / 'train.sqlite').write_bytes(b'')

    def cut_short(folder):
      file = folder / 'test.sqlite'
      os.truncate(file, file.stat().st_size // 2)

    def other_tables(folder):
      self.execute(folder, 'ALTER TABLE examples RENAME TO pictures')

    def no_clients(folder):
      self.execute(folder, 'DELETE FROM client_metadata')

    def other_features(folder):
      spec = tf.TensorSpec([8, 8], tf.uint8)
      write_data(folder, features={**_FEATURES, 'pixels': spec})

    for damage, message in (
        (empty, "a table 'examples' .*train.sqlite"),
        (cut_short, 'test.sqlite.* cut short'),
        (other_tables, "a table 'examples' .*train.sqlite"),
        (no_clients, 'Expected clients in .*train.sqlite, found none'),
        (other_features, r"'writer_0' .*uint8\[6, 8, 8\]"),
        (shutil.rmtree, 'train.sqlite, found no such file'),
    ):
      with self.subTest(damage.__name__):
        copy = self.folder / damage.__name__
        shutil.copytree(whole, copy)
        damage(copy)
        self.assertRefused(message, *settings(copy, self.folder / 'out'))

  def execute(self, folder, sql):
    with contextlib.closing(
        sqlite3.connect(folder / 'train.sqlite')
    ) as connection:
      connection.execute(sql)
      connection.commit()

  def test_one_client_of_another_shape(self):
    data = write_data(self.folder / 'data')
    other = self.folder / 'other'
    spec = tf.TensorSpec([8, 8], tf.uint8)
    write_data(other, features={**_FEATURES, 'pixels': spec})
    with contextlib.closing(
        sqlite3.connect(data / 'train.sqlite')
    ) as connection:
      connection.execute('ATTACH ? AS other', [f'{other}/train.sqlite'])
      connection.execute(
          'UPDATE examples SET serialized_example_proto = (SELECT'
          ' serialized_example_proto FROM other.examples WHERE'
          " client_id = 'writer_5') WHERE client_id = 'writer_5'"
      )
      connection.commit()
    self.assertRefused(
        "Client 'writer_5' of .*train.sqlite.*pixels",
        *settings(
            data,
            self.folder / 'out',
            '--clients_per_round=8',
            '--unseen_clients=0',
        ),
    )

  def test_full_disk(self):
    data = write_data(self.folder / 'data')
    for size, file in (
        (100, 'config.json'),
        (200_000, 'personal_store.sqlite'),
    ):
      out = self.folder / f'out_{size}'
      with self.subTest(file), self.limit_files(size):
        self.assertRefused(
            f'{file}.* disk',
            *settings(data, out, '--pretrain_rounds=0', '--total_rounds=1'),
        )
    with self.subTest('with more space it goes on'):
      arguments = settings(data, out, '--pretrain_rounds=0', '--total_rounds=1')
      code, printed, said = self.call(*arguments)
      self.assertEqual((code, said), (0, []), printed)
      self.assertTrue((out / 'report.html').exists())

  @contextlib.contextmanager
  def limit_files(self, size):
    """No file may have more bytes, which is what a full disk comes to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
      yield
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class DemoTest(_FolderTest):

  def test_demo(self):
    """The demonstration, shortened: drawn data, FedAvg, FedAlt, a report."""
    run = subprocess.run(
        [
            *_PROGRAM,
            '--flagfile=tasks/presets/emnist_demo.flags',
            '--pretrain_rounds=40',
            '--total_rounds=20',
            f'--output_dir={self.folder}/demo',
        ],
        cwd=_ROOT,
        env={**os.environ, 'TFF_PARTIAL_CACHE': f'{self.folder}/cache'},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
    )
    self.assertEqual(run.returncode, 0, run.stdout)
    self.assertRegex(
        run.stdout, r'(?s)accuracy from .* to .*% of clients are worse'
    )
    report = json.loads(
        pathlib.Path(self.folder, 'demo', 'report.json').read_text()
    )
    models = report['groups']['participated']['models']
    self.assertGreater(
        models['personalized']['weighted_mean'],
        models['non_personalized']['weighted_mean'],
    )


class DoctorTest(_FolderTest):

  def test_doctor(self):
    code, out, _ = self.call('--doctor', f'--output_dir={self.folder}')
    self.assertEqual(code, 0, out)
    self.assertEndsWith(out, 'All is well.\n')


if __name__ == '__main__':
  absltest.main()
