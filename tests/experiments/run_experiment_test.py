# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The program from end to end: its output, and how it resumes and fails.

Whole runs are processes of their own, because they are interrupted and killed.
Mistakes are tested in this process, which imports TensorFlow once, and those
that are found before TensorFlow is imported in one process without it.
"""

import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile

from absl.testing import absltest
import tensorflow as tf

from tests.helpers import paths
from tests.helpers import programs
from tff_partial.experiments import flags as flags_lib
from tff_partial.experiments import run_folder

# BUILD: shard_count = 4


def _settings(data, output_dir, *others):
  """A run with a worker, which must not be left behind."""
  return programs.settings(data, output_dir, '--runtime=worker', *others)


class RunTest(programs.FolderTest):
  """One run without interruptions, and one that is stopped and killed."""

  def test_runs_and_resumes_to_the_last_bit(self):
    data = programs.write_data(self.folder / 'data')
    whole, stopped = self.folder / 'whole', self.folder / 'stopped'
    with self.subTest('end to end, into a pipe'):
      self.check_pipe(data, whole)
    with self.subTest('files'):
      self.check_files(whole)
    with self.subTest('the same command again'):
      before = programs.contents(whole)
      code, out, said = self.call(*_settings(data, whole))
      self.assertEqual((code, said), (0, []))
      self.assertStartsWith(out, f'Finished before: {whole}\n')
      self.assertEqual(programs.contents(whole), before)
    with self.subTest('export'):
      client_id = programs.results(whole)['clients'][0][0]
      copy, exported = self.folder / 'copy', self.folder / 'exported'
      # Reading a store makes SQLite leave files next to it.
      shutil.copytree(whole, copy)
      code, out, said = self.call(
          *_settings(data, copy),
          f'--export_client={client_id}',
          f'--export_dir={exported}',
      )
      self.assertEqual((code, said), (0, []))
      self.assertEndsWith(
          out,
          f'Exported: {exported} (the personalized model of {client_id})\n',
      )
      self.assertTrue((exported / 'model.tflite').exists())
    with self.subTest('other flags'):
      self.assertRefused(
          '--learning_rate: 0.1 there, 0.2 now; --seed: 0 there, 1 now',
          *_settings(data, whole, '--learning_rate=0.2', '--seed=1'),
      )
      self.assertEqual(programs.contents(whole), before)

    # A shell's background jobs ignore SIGINT, and so would what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, expected in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
      with self.subTest(signal.Signals(number).name):
        running = self.start(*_settings(data, stopped))
        running.wait_for(rf'fed_alt: .* ([2-9]|[1-4]\d)/{programs.ROUNDS} ')
        self.assertEqual(running.end(number), expected)
        self.assertAllEnd(running.workers)
        self.assertFalse((stopped / 'report.html').exists())
        said = running.log.read_text().splitlines()[-1]
        if number == signal.SIGINT:
          self.assertStartsWith(said, 'run_experiment: stopped. The same')
    with self.subTest('resumed'):
      running = self.start(*_settings(data, stopped))
      self.assertEqual(running.end(), 0, running.log.read_text())
      self.assertAllEnd(running.workers)
      for part in ('.', 'pretrain'):
        self.assertEqual(
            programs.results(stopped / part), programs.results(whole / part)
        )
      rounds = [
          line.split(',')[0]
          for line in (stopped / run_folder.METRICS).read_text().splitlines()
      ]
      self.assertEqual(rounds[1:], [f'{i + 1}' for i in range(programs.ROUNDS)])

    for damage in (self.cut_short, self.flip_a_byte):
      with self.subTest(damage.__name__):
        copy = self.folder / damage.__name__
        shutil.copytree(whole, copy)
        (copy / 'report.html').unlink()
        damage(copy / 'personal_store.sqlite')
        before = programs.contents(copy)
        self.assertRefused(
            'personal_store.sqlite .*Restore the file from a copy',
            *_settings(data, copy),
        )
        after = programs.contents(copy)
        self.assertEqual({name: after.get(name) for name in before}, before)

  def check_pipe(self, data, folder):
    command = ' '.join([*programs.PROGRAM, *_settings(data, folder)])
    errors = self.folder / 'errors'
    program = subprocess.Popen(
        ['bash', '-c', f'set -o pipefail; {command} 2> {errors} | cat'],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    # Returns only when no process, such as a worker, holds the pipe open.
    output, _ = program.communicate(timeout=programs.SECONDS)
    self.assertEqual(program.returncode, 0, errors.read_text())
    lines = output.splitlines()
    self.assertEqual(
        [line.split()[0] for line in lines[:5]],
        ['task', 'data', 'split', 'algorithm', 'output'],
    )
    self.assertIn('8 clients', lines[1])
    self.assertIn('558 of 6,838 parameters', lines[2])
    self.assertRegex(
        lines[3], f'2 rounds of fed_avg, then {programs.ROUNDS} rounds of'
    )
    self.assertStartsWith(lines[5], 'Personalization ')
    self.assertStartsWith(
        lines[6],
        'Leaves a client each round: the update of 6,280 shared parameters'
        " (25,120 bytes), the client's weight, the metrics accuracy and",
    )
    self.assertEqual(lines[-1], f'Report: {folder / "report.html"}')
    for line in re.split('[\r\n]+', errors.read_text()):
      self.assertRegex(line, '^((fed_avg|fed_alt|evaluate): .*)?$')

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
    # Each of 60 rounds has 3 clients with 6 examples in 2 batches, in 2 phases.
    self.assertEqual(
        report['cost']['gradient_steps'], programs.ROUNDS * 3 * 2 * 2
    )
    self.assertEqual(
        report['cost']['examples_processed'], programs.ROUNDS * 3 * 6 * 2
    )
    rows = (folder / 'clients.csv').read_text().splitlines()
    self.assertLen(rows, 1 + 8)
    learned = programs.results(folder)
    # Two of eight were kept out, and all others took part in 60 rounds.
    self.assertLen(learned['clients'], 6)

  def cut_short(self, file):
    os.truncate(file, file.stat().st_size // 2)

  def flip_a_byte(self, file):
    row = programs.results(file.parent)['clients'][0]
    value = max((v for v in row if isinstance(v, bytes)), key=len)
    stored = bytearray(file.read_bytes())
    stored[stored.index(value[100:200]) + 7] ^= 1
    file.write_bytes(stored)


# Arguments, and what is said of them before TensorFlow is imported.
_EARLY_MISTAKES = (
    ('--task=poetry', 'emnist.*landmarks'),
    ('--algorithm=sgd', 'fed_avg.*finetune'),
    ('--algorithm=fed_alt,sgd', "fed_avg.*finetune.*found 'sgd'"),
    ('--seeds=0,x', "like 0,1,2, found '0,x'"),
    ('--seeds=', 'at least one value of --seeds, found none'),
    ('--algorithm=fed_sim,fed_alt --personal=all', 'something to share'),
    ('--algorithm=fed_sim,fed_alt --personal=none', 'found --personal none'),
    # The order of values makes no difference.
    (
        '--algorithm=fed_alt,fed_avg --personal=none,output --control',
        'no --control in a comparison',
    ),
    ('--learning_rate=1,0.1', 'one value of --learning_rate.* With --tune'),
    ('--learning_rate=1,fast', 'fast'),
    ('--epochs=1,0', 'positive'),
    ('--tune', 'several values of at least one setting with --tune'),
    ('--tune --gate=0.1,0.2', 'one value of --gate, found 2'),
    ('--batch_size=4,8', 'one value of --batch_size.* With --tune'),
    ('--tune --batch_size=4,4', 'different values of --batch_size'),
    (
        '--tune --task_arg=epochs=1,2',
        "argument 'epochs' of a task, found 2: a setting has the same name",
    ),
    ('--tune --epochs=1,2 --control', 'no --control in a comparison'),
    (
        '--tune --epochs=1,2 --algorithm=fed_alt --alternating_steps',
        "no --alternating_steps for algorithm 'fed_alt'",
    ),
    (
        '--tune --epochs=1,2 --algorithm=ditto --personal_l2=auto',
        "--personal_l2 for algorithm 'ditto'",
    ),
    ('--tune --epochs=1,2 --seeds=0,-1', '--seeds of at least 0, found -1'),
    ('--regime --tune --epochs=1,2', 'no --tune with --regime'),
    ('--regime --seeds=0,1', 'no --seeds with --regime'),
    (
        '--regime --export_client=ann --export_dir=x',
        'no --export_client with --regime',
    ),
    ('--regime --algorithm=fed_alt,fed_sim', 'one --algorithm with --regime'),
    ('--tune --epochs=1,2 --tune_seeds=x', "--tune_seeds like .*found 'x'"),
    ('--tune --epochs=1,2 --algorithm=sgd', "found 'sgd'"),
    ('--tune_seeds=1', 'Expected --tune with --tune_seeds'),
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
    (
        '--cluster=nowhere',
        "--cluster of local, auto or ray://host:port, found 'nowhere'.$",
    ),
)


class MistakeTest(programs.FolderTest):

  def test_found_before_tensorflow_is_imported(self):
    file = self.folder / 'file'
    file.write_text('precious')
    with tempfile.TemporaryDirectory() as other:
      with run_folder.claim(other, {}, overwrite=False):
        places = {'file': file, 'folder': self.folder, 'claimed': other}
        ends = programs.run_before_tensorflow(
            [a.format(**places).split() for a, _ in _EARLY_MISTAKES]
        )
    for (arguments, message), (code, said) in zip(
        _EARLY_MISTAKES, ends, strict=True
    ):
      with self.subTest(arguments):
        self.assertEqual(code, 1)
        self.assertLen(said, 1, said)
        self.assertRegex(said[0], f'^run_experiment: .*{message}')
    self.assertEqual(file.read_text(), 'precious')
    self.assertEqual(os.listdir(self.folder), ['file'])

  def test_settings_that_do_not_fit_the_data(self):
    data = programs.write_data(self.folder / 'data')
    out = self.folder / 'out'
    for message, *mistake in (
        ('--personal to be one of .*found', '--personal=head'),
        ('matches no variable .*dense/kernel', '--personal=regex:attention'),
        ('model`? of .*resnet18', '--task=emnist', '--model=lstm'),
        ('clients_per_round.* from 1 to 6, .*found 7', '--clients_per_round=7'),
        ('at most 8 clients', '--eval_clients=9'),
        ('at most 8 clients', '--unseen_clients=9'),
        ('learning_rate above 0', '--personal_learning_rate=0'),
        (
            'with --gate to export its gated model, found one without',
            '--export_client=ann',
            f'--export_dir={self.folder}/ann',
            '--export_model=gated',
        ),
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
        self.assertRefused(message, *programs.settings(data, out, *mistake))
        # No store was created, so the folder can be used with other flags.
        self.assertFalse(list(out.rglob('personal_store.sqlite')))

  def test_run_is_overwritten_only_by_one_that_starts(self):
    out = self.folder / 'out'
    with run_folder.claim(str(out), {}, overwrite=False):
      (out / 'report.html').write_text('precious')
    data = programs.write_data(self.folder / 'data')
    nowhere = (f'--init_from={out}/../a.safetensors', '--pretrain_rounds=0')
    for message, where, *mistake in (
        ('found no such file', self.folder / 'no_data'),
        ('--personal to be one of', data, '--personal=head'),
        ('--personal to be one of', data, '--personal=head', '--seeds=0,1'),
        (
            '--personal to be one of',
            *(data, '--personal=head', '--tune', '--epochs=1,2'),
        ),
        ('--personal to be one of', data, '--personal=head', '--regime'),
        ('any split.*fed_rod', data, '--algorithm=fed_rod', '--regime'),
        *(
            ('found no such file. Correct', data, *nowhere, *several)
            for several in (['--seeds=0,1'], ['--regime'])
        ),
    ):
      with self.subTest(str(mistake)):
        self.assertRefused(
            message,
            *programs.settings(where, out, '--overwrite', *mistake),
        )
        self.assertEqual((out / 'report.html').read_text(), 'precious')

  def test_short_help_shows_defaults(self):
    shown = flags_lib.short_help()
    self.assertIn('--seed [0]\n', shown)
    self.assertIn('--overwrite\n', shown)

  def test_damaged_or_missing_data(self):
    whole = programs.write_data(self.folder / 'whole')

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
      programs.write_data(
          folder, features={**programs.FEATURES, 'pixels': spec}
      )

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
        self.assertRefused(
            message, *programs.settings(copy, self.folder / 'out')
        )

  def execute(self, folder, sql):
    with contextlib.closing(
        sqlite3.connect(folder / 'train.sqlite')
    ) as connection:
      connection.execute(sql)
      connection.commit()

  def test_one_client_of_another_shape(self):
    data = programs.write_data(self.folder / 'data')
    other = self.folder / 'other'
    spec = tf.TensorSpec([8, 8], tf.uint8)
    programs.write_data(other, features={**programs.FEATURES, 'pixels': spec})
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
        *programs.settings(
            data,
            self.folder / 'out',
            '--clients_per_round=8',
            '--unseen_clients=0',
        ),
    )

  def test_full_disk(self):
    data = programs.write_data(self.folder / 'data')
    for size, message in (
        (100, 'config.json.* disk'),
        (20_000, 'personal_store.sqlite.* disk'),
        (200_000, 'report.html, found: .* free space'),
    ):
      out = self.folder / f'out_{size}'
      with self.subTest(message), self.limit_files(size):
        self.assertRefused(
            message,
            *programs.settings(
                data, out, '--pretrain_rounds=0', '--total_rounds=1'
            ),
        )
    with self.subTest('with more space it continues'):
      arguments = programs.settings(
          data, out, '--pretrain_rounds=0', '--total_rounds=1'
      )
      code, printed, said = self.call(*arguments)
      self.assertEqual((code, said), (0, []), printed)
      self.assertTrue((out / 'report.html').exists())

  @contextlib.contextmanager
  def limit_files(self, size):
    """Limits the size of files, which has the effect of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
      yield
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class DemoTest(programs.FolderTest):

  def test_demo(self):
    """The demonstration, shortened: drawn data, FedAvg, FedAlt, a report."""
    run = subprocess.run(
        [
            *programs.PROGRAM,
            '--flagfile=tasks/presets/emnist_demo.flags',
            '--pretrain_rounds=40',
            '--total_rounds=20',
            '--rounds_per_evaluation=0',
            f'--output_dir={self.folder}/demo',
        ],
        cwd=paths.ROOT,
        env={**os.environ, 'TFF_PARTIAL_CACHE': f'{self.folder}/cache'},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=programs.SECONDS,
    )
    self.assertEqual(run.returncode, 0, run.stdout)
    # So few rounds may gain nothing that is clear, as processors round.
    self.assertRegex(
        run.stdout, r'accuracy .* to .*: \d+ are better and \d+ are worse'
    )
    report = json.loads(
        pathlib.Path(self.folder, 'demo', 'report.json').read_text()
    )
    models = report['groups']['participated']['models']
    self.assertGreater(
        models['personalized']['weighted_mean'],
        models['non_personalized']['weighted_mean'],
    )


if __name__ == '__main__':
  absltest.main()
