# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files are replaced completely or not at all; a lock has one holder."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
from unittest import mock

from absl.testing import absltest

from tff_partial import errors
from tff_partial import files

# Writes half of a file, says so, and waits.
_REPLACE = """
import sys, time
from tff_partial import files
with files.replace(sys.argv[1]) as partial:
  with open(partial, 'w') as f:
    f.write('half of the new content')
  print('ready', flush=True)
  time.sleep(600)
"""
# Takes a lock, says so, and waits.
_LOCK = """
import sys, time
from tff_partial import files
with files.lock(sys.argv[1]):
  print('ready', flush=True)
  time.sleep(600)
"""
# Writes two long texts in turn, until it is killed.
_ALTERNATE = """
import sys
from tff_partial import files
print('ready', flush=True)
while True:
  for letter in 'ab':
    files.replace_text(sys.argv[1], letter * 100_000)
"""


class FilesTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory())
    )
    self.path = self.folder / 'report.html'

  def names(self):
    return sorted(os.listdir(self.folder))

  @contextlib.contextmanager
  def program(self, code):
    """Runs a program that has said that it is ready; kills it at the end."""
    with subprocess.Popen(
        [sys.executable, '-c', code, str(self.path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    ) as process:
      try:
        self.assertEqual(process.stdout.readline(), 'ready\n')
        yield process
      finally:
        process.kill()


class ReplaceTest(FilesTest):

  def test_files_and_folders_are_for_this_user_alone(self):
    umask = os.umask(0o022)
    self.addCleanup(os.umask, umask)
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, 'a', 'b')
      files.make_folder(path)
      files.replace_text(path / 'text', 'private')
      with files.new_folder(path / 'new'):
        pass
      self.assertEqual(path.stat().st_mode & 0o777, 0o700)
      self.assertEqual((path / 'text').stat().st_mode & 0o777, 0o600)
      self.assertEqual((path / 'new').stat().st_mode & 0o777, 0o700)

  def test_replaces_the_content(self):
    self.path.write_text('old')
    with files.replace(self.path) as partial:
      partial.write_text('new')
      self.assertEqual(self.path.read_text(), 'old')
      self.assertEqual(partial.parent, self.folder)
      self.assertEqual(partial.suffix, '.html')
      self.assertIn(files.PARTIAL, partial.name)
    self.assertEqual(self.path.read_text(), 'new')
    self.assertEqual(self.names(), ['report.html'])

  def test_error_in_the_block_leaves_the_old_file(self):
    self.path.write_text('old')
    with self.assertRaisesRegex(ZeroDivisionError, 'by zero'):
      with files.replace(self.path) as partial:
        self.assertEqual(partial.stat().st_mode & 0o077, 0)
        partial.write_text('half')
        print(1 / 0)
    self.assertEqual(self.path.read_text(), 'old')
    self.assertEqual(self.names(), ['report.html'])

  def test_block_that_writes_nothing(self):
    self.path.write_text('old')
    with self.assertRaises(FileNotFoundError):
      with files.replace(self.path):
        pass
    self.assertEqual(self.path.read_text(), 'old')

  def test_name_that_is_taken_by_a_folder(self):
    self.path.mkdir()
    with self.assertRaises(OSError):
      files.replace_text(self.path, 'new')
    self.assertEqual(self.names(), ['report.html'])

  def test_killed_program_leaves_the_old_file(self):
    self.path.write_text('old')
    other = self.folder / f'.other.html{files.PARTIAL}0a1b2c3d.html'
    other.write_text('')
    with self.program(_REPLACE) as process:
      process.send_signal(signal.SIGKILL)
      process.wait()
    self.assertEqual(self.path.read_text(), 'old')
    self.assertLen(self.names(), 3)
    files.remove_partial(self.path)
    self.assertEqual(self.names(), [other.name, 'report.html'])

  def test_readers_see_one_content_or_the_other(self):
    self.path.write_text('a' * 100_000)
    with self.program(_ALTERNATE):
      seen = set()
      while len(seen) < 2:
        text = self.path.read_text()
        self.assertLen(text, 100_000)
        self.assertLen(set(text), 1)
        seen.add(text[0])

  def test_content_is_on_disk_before_the_name_and_then_the_name(self):
    order = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor):
      order.append(('sync', pathlib.Path(f'/proc/self/fd/{descriptor}')))
      order[-1] = ('sync', order[-1][1].readlink())
      fsync(descriptor)

    def note_replace(source, target):
      order.append(('replace', pathlib.Path(target)))
      replace(source, target)

    with mock.patch.object(os, 'fsync', note_fsync):
      with mock.patch.object(os, 'replace', note_replace):
        with files.replace(self.path) as partial:
          partial.write_text('new')
    self.assertEqual(
        order,
        [('sync', partial), ('replace', self.path), ('sync', self.folder)],
    )

  def test_text_is_written_byte_for_byte(self):
    files.replace_text(self.path, 'caf\N{LATIN SMALL LETTER E WITH ACUTE}\r\n')
    self.assertEqual(self.path.read_bytes(), b'caf\xc3\xa9\r\n')


class LockTest(FilesTest):

  def assertLocked(self):
    with self.assertRaisesRegex(
        files.LockedError, 'report.html.* another process'
    ):
      with files.lock(self.path):
        pass

  def assertFree(self):
    with files.lock(self.path):
      pass

  def test_error_is_a_users(self):
    self.assertTrue(issubclass(files.LockedError, errors.UserError))
    self.assertTrue(issubclass(files.LockedError, OSError))

  def test_one_holder_in_a_process(self):
    with files.lock(self.path):
      self.assertLocked()
      self.assertLocked()  # The failed attempt did not release it.
    self.assertFree()
    self.assertEqual(self.names(), ['report.html'])

  def test_one_holder_of_two_processes(self):
    with self.program(_LOCK):
      self.assertLocked()

  def test_killed_holder_frees_it(self):
    with self.program(_LOCK) as process:
      process.send_signal(signal.SIGKILL)
      process.wait()
      self.assertFree()

  def test_error_in_the_block_frees_it(self):
    with self.assertRaises(ZeroDivisionError):
      with files.lock(self.path):
        print(1 / 0)
    self.assertFree()

  def test_another_thread_can_free_it(self):
    held = contextlib.ExitStack()
    held.enter_context(files.lock(self.path))
    thread = threading.Thread(target=held.close)
    thread.start()
    thread.join()
    self.assertFree()

  def test_file_in_the_place_of_the_folder(self):
    self.path.write_text('precious')
    with self.assertRaises(OSError) as caught:
      with files.lock(self.path / '.lock'):
        pass
    self.assertNotIsInstance(caught.exception, files.LockedError)
    self.assertEqual(self.path.read_text(), 'precious')


class NewFolderTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def test_appears_at_the_end_of_the_block(self):
    path = self.folder / 'a' / 'b'
    with files.new_folder(path) as partial:
      (partial / 'file').write_text('content')
      self.assertFalse(path.exists())
    self.assertEqual((path / 'file').read_text(), 'content')
    self.assertEqual(list(path.parent.iterdir()), [path])

  def test_error_leaves_nothing(self):
    with self.assertRaises(KeyboardInterrupt):
      with files.new_folder(self.folder / 'a') as partial:
        (partial / 'file').write_text('content')
        raise KeyboardInterrupt
    self.assertEmpty(list(self.folder.iterdir()))

  def test_replaces_an_empty_folder_only(self):
    (self.folder / 'a').mkdir()
    for content in ('first', 'second'):
      try:
        with files.new_folder(self.folder / 'a') as partial:
          (partial / 'file').write_text(content)
      except files.ExistsError as e:
        self.assertIn('other content', str(e))
        self.assertEqual(content, 'second')
    self.assertEqual((self.folder / 'a' / 'file').read_text(), 'first')

  def test_a_file_in_the_place_of_a_folder(self):
    (self.folder / 'a').write_text('')
    for path in (self.folder / 'a', self.folder / 'a' / 'b' / 'c'):
      with self.assertRaisesRegex(errors.FileError, 'is a file'):
        files.make_folder(path)


if __name__ == '__main__':
  absltest.main()
