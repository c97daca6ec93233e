# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command that imports people's data."""

import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from unittest import mock

from absl.testing import absltest
import numpy as np

from tasks import import_client_data
from tests.helpers import commands
from tests.helpers import paths
from tff_partial.data import client_data


class ImportClientDataTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def test_imports(self):
    self.write()
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'tasks.import_client_data', 'npz'),
            *('~/people.npz', '--output_dir=~/new/out', '--person=who'),
        ],
        cwd=paths.ROOT,
        env={**os.environ, 'HOME': self.folder},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        umask=0o022,
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertIn('1 person, 2 examples', done.stdout)
    train, _ = client_data.open_folder(os.path.join(self.folder, 'new', 'out'))
    self.assertEqual(list(train.client_ids), ['ann'])
    # Nobody else can read what is written.
    found = list(pathlib.Path(self.folder, 'new').rglob('*'))
    self.assertGreaterEqual(len(found), 3)
    for path in [*found, pathlib.Path(self.folder, 'new')]:
      self.assertEqual(path.stat().st_mode & 0o077, 0, path)

  def test_nothing_is_left_of_an_import_that_is_ended(self):
    source = pathlib.Path(self.folder, 'text.jsonl')
    with open(source, 'w') as f:
      for i in range(20_000):
        text = json.dumps({'user': f'p{i // 10}', 'text': f'secret {i} word.'})
        f.write(text + '\n')
    out = pathlib.Path(self.folder, 'out')
    for number in (signal.SIGKILL, signal.SIGTERM):
      process = subprocess.Popen(
          [
              *(sys.executable, '-m', 'tasks.import_client_data', 'jsonl'),
              *(source, f'--output_dir={out}', '--person=user'),
          ],
          cwd=paths.ROOT,
          stderr=subprocess.DEVNULL,
      )
      self.addCleanup(process.wait)
      self.addCleanup(process.kill)
      before = set(out.glob('.*partial*'))
      while not set(out.glob('.*partial*')) - before:
        self.assertIsNone(process.poll())
        time.sleep(0.01)
      time.sleep(0.2)
      process.send_signal(number)
      process.wait(60)
      if number == signal.SIGKILL:
        self.assertNotEmpty(list(out.glob('.*partial*')))
    self.assertEqual(process.returncode, 128 + signal.SIGTERM)
    self.assertEqual(os.listdir(out), ['.lock'])

  def test_mistakes(self):
    self.write()
    os.mkdir(os.path.join(self.folder, 'full'))
    for name in ('train.sqlite', 'test.sqlite'):
      with open(os.path.join(self.folder, 'full', name), 'w'):
        pass
    for arguments, message in (
        (['--person=who', '--output_dir=~/full'], 'found .* or --overwrite'),
        ([], "array 'person' .* --person and, for speech, --lengths"),
        (['--test_fraction=2', '--person=who'], '--test_fraction between 0'),
        (
            ['--person=who', '--lengths=label'],
            "floats .* 'pixels', found uint8",
        ),
    ):
      with (
          self.subTest(message),
          mock.patch.dict(os.environ, HOME=self.folder),
      ):
        status, out, said = commands.call(
            import_client_data,
            *('npz', '~/people.npz', '--output_dir=~/out', *arguments),
        )
        self.assertEqual((status, out), (1, ''))
        self.assertRegex(said, f'^Error: Expected .*{message}')
        self.assertNotIn('\n', said)

  def test_help_of_every_kind(self):
    for kind, argument in (
        ('npz', '--lengths'),
        ('jsonl', '--date'),
        ('librispeech', '--test_fraction'),
        ('speech', '--transcript'),
        ('images', '--csv'),
        ('table', '--features'),
    ):
      with (
          self.subTest(kind),
          contextlib.redirect_stdout(io.StringIO()) as stdout,
          self.assertRaises(SystemExit),
      ):
        import_client_data.parse(['import_client_data', kind, '--help'])
      self.assertIn(argument, stdout.getvalue())

  def write(self):
    np.savez(
        os.path.join(self.folder, 'people.npz'),
        pixels=np.arange(12, dtype=np.uint8).reshape([2, 2, 3]),
        label=[0, 1],
        who=['ann', 'ann'],
    )


if __name__ == '__main__':
  absltest.main()
