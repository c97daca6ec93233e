# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every command of the README runs, shortened and in one folder.

Commands that download data run without a network and must fail with one line.
The notebook is run by `notebook_test.py`.
"""

import contextlib
import importlib
import io
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile
from unittest import mock

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
import numpy as np
import soundfile

import tasks
from tests.helpers import commands
from tests.helpers import markdown
from tests.helpers import small_networks
from tff_partial.experiments import flags as flags_lib
from tff_partial.experiments import program

# BUILD: tags = ["external"]
flags_lib.define()
_README = markdown.ROOT / 'README.md'
_FLAGS = {
    'batch_size': 4,
    'clients_per_round': 2,
    'epochs': 1,
    'eval_clients': 2,
    'finetune_epochs': 0,
    'max_steps': 1,
    'rounds_per_evaluation': 0,
    'total_rounds': 1,
    'warmup_rounds': 0,
}
_NOWHERE = 'http://127.0.0.1:9'  # Nothing listens at this port.


def write_characters(path, writers=('ann', 'bob', 'cem', 'dee')):
  rng = np.random.default_rng(0)
  np.savez(
      path,
      pixels=rng.integers(0, 256, [32, 28, 28]).astype(np.uint8),
      label=rng.integers(0, 62, 32),
      writer=np.repeat(writers, 32 // len(writers)),
  )


def write_librispeech(folder):
  rng = np.random.default_rng(0)
  for speaker in ('19', '26'):
    chapter = folder / speaker / '198'
    chapter.mkdir(parents=True)
    lines = []
    for i in range(3):
      utterance = f'{speaker}-198-{i:04}'
      sound = 0.1 * rng.normal(size=8000)
      soundfile.write(chapter / f'{utterance}.flac', sound, 16_000)
      lines.append(f'{utterance} TO BE\n')
    (chapter / f'{speaker}-198.trans.txt').write_text(''.join(lines))


class ReadmeTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    for name in ('run_experiment.py', 'tasks', 'tff_partial', 'results'):
      (self.folder / name).symlink_to(markdown.ROOT / name)
    proxies = {
        name: _NOWHERE
        for protocol in ('http', 'https')
        for name in (f'{protocol}_proxy', f'{protocol}_proxy'.upper())
    }
    self.enter_context(
        mock.patch.dict(
            os.environ,
            {
                'HOME': str(self.folder),
                'TFF_PARTIAL_CACHE': str(self.folder / 'cache'),
                **proxies,
            },
        )
    )
    self.enter_context(contextlib.chdir(self.folder))
    self.enter_context(small_networks.of_all_tasks())

  def test_commands(self):
    everything = markdown.commands(_README)
    self.assertGreater(len(everything), 15)
    write_characters('characters.npz')
    write_characters('eve.npz', ['eve'])
    write_librispeech(self.folder / 'LibriSpeech/train-clean-360')
    # Data are imported first, because the other commands use them.
    importing = lambda words: 'tasks.import_client_data' in words
    for words in sorted(everything, key=importing, reverse=True):
      with self.subTest(' '.join(words)):
        self.run_command(words)

  def run_command(self, words):
    program, *rest = words
    if program == 'make':
      self.run_program(
          ['make', '--dry-run', f'--directory={markdown.ROOT}', *rest]
      )
    elif program == '.venv/bin/jupyter':
      self.assertEqual(
          rest,
          [
              *('execute', '--inplace'),
              'notebooks/partial_personalization.ipynb',
          ],
      )
    elif '--help' in rest:
      self.assertIn('--personal', self.run_program([sys.executable, *rest]))
    elif rest[0] == 'run_experiment.py':
      self.run_experiment(rest)
    else:
      self.assertEqual(program, markdown.PYTHON)
      option, module, *arguments = map(self.one_who_took_part, rest)
      self.assertEqual(option, '-m')
      code, out, said = commands.call(
          importlib.import_module(module), *arguments
      )
      self.assertEqual(code, 0, said)
      self.assertNotEmpty(out)

  def one_who_took_part(self, word):
    """Replaces a client of the whole run by one of the shortened run."""
    if not word.startswith('--client='):
      return word
    with contextlib.closing(
        sqlite3.connect('out/adapter/personal_store.sqlite')
    ) as connection:
      query = 'SELECT client_id FROM clients ORDER BY client_id'
      return f'--client={connection.execute(query).fetchone()[0]}'

  def run_program(self, command):
    """Runs a program that must succeed; returns what it prints."""
    run = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    self.assertEqual(run.returncode, 0, run.stderr)
    return run.stdout

  def run_experiment(self, argv):
    with flagsaver.flagsaver():
      flags.FLAGS(argv)
      flags.FLAGS([argv[0], *self.shortened()])
      doctor, compared = flags.FLAGS.doctor, flags.FLAGS.seeds
      downloads = flags.FLAGS.data == 'tff'
      output_dir = pathlib.Path(flags.FLAGS.output_dir)
      code, out, err = self.call(argv[0])
      if doctor:
        self.assertEqual(code, 0, out)
        self.assertEndsWith(out, 'All checks passed.\n')
      elif downloads:
        self.assertEqual(code, 1)
        self.assertRegex(
            err.splitlines()[-1],
            r'^run_experiment: Expected .*, found (no such file|none)\b',
        )
      else:
        self.assertEqual(code, 0, err)
        page = 'comparison.html' if compared else 'report.html'
        self.assertTrue((output_dir / page).exists())
        if output_dir.name == 'adapter':  # Run again, as the README describes.
          code, out, _ = self.call(argv[0])
          self.assertEqual(code, 0)
          self.assertStartsWith(out, 'Finished before: ')

  def call(self, name):
    """Runs with the current flags; returns exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        self.assertRaises(SystemExit) as raised,
    ):
      program.main([name], tasks=tasks.TASKS)
    return raised.exception.code, out.getvalue(), err.getvalue()

  def shortened(self):
    """Flags that shorten the run of the current flags and shrink its model."""
    current = flags.FLAGS
    changed = dict(_FLAGS)
    if current.data == 'embedded':
      changed['data'] = 'out/mine'
    if current.task == 'speech':
      changed['model'] = 'small'
    if current.seeds:  # One run; `compare_test.py` compares several.
      changed.update(algorithm='fed_alt', personal='output', seeds='0')
    if current.algorithm != 'fed_avg' and not current.init_from:
      name = pathlib.Path(current.output_dir).name
      changed['pretrain_rounds'] = int(name == 'adapter')
    return [f'--{name}={value}' for name, value in changed.items()]

  def test_has_the_output_of_the_demonstration(self):
    text = _README.read_text(encoding='utf-8')
    self.assertTrue(
        re.search(
            r'^Personalization improves accuracy from [\d.]+% to [\d.]+%'
            r' \(\S+ points, 95% interval \S+ to \S+\) over .*'
            r' better and .* worse \(sign test .*\.$',
            text,
            re.M,
        )
    )


if __name__ == '__main__':
  absltest.main()
