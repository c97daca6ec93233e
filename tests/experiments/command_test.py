# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exit status and messages of commands."""

import contextlib
import errno
import io
import os
import resource
import signal
import sys
import tempfile
import time

from absl.testing import absltest
from absl.testing import parameterized

from tff_partial import errors
from tff_partial.experiments import command


def _raising(error):
  def main():
    raise error

  return main


class CommandTest(parameterized.TestCase):

  def run_command(self, main_fn, **kwargs):
    """The exit status and what is printed on stderr."""
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
      status = command.run(main_fn, 'python -m program', **kwargs)
    return status, stderr.getvalue()

  @parameterized.parameters((None, 0), (0, 0), (3, 3))
  def test_status_of_the_main_function(self, returned, expected):
    self.assertEqual(self.run_command(lambda: returned), (expected, ''))

  def test_new_files_are_private_and_there_are_no_cores(self):
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'new')

      def main():
        with open(path, 'w'):
          pass
        print(resource.getrlimit(resource.RLIMIT_CORE)[0], file=sys.stderr)

      umask = os.umask(0o022)
      try:
        self.assertEqual(self.run_command(main), (0, '0\n'))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(os.umask(0o022), 0o022)  # As before.
      finally:
        os.umask(umask)

  def test_sigterm_lets_it_clean_up(self):
    cleaned_up = []

    def main():
      try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
      finally:
        cleaned_up.append(True)

    with self.assertRaises(SystemExit) as raised:
      self.run_command(main)
    self.assertEqual(raised.exception.code, 128 + signal.SIGTERM)
    self.assertEqual(cleaned_up, [True])

  @parameterized.parameters(
      errors.SettingsError,
      errors.DataError,
      errors.FileError,
      errors.MissingFileError,
      errors.StoreError,
      errors.WorkerError,
  )
  def test_user_error_is_one_line(self, kind):
    self.assertEqual(
        self.run_command(_raising(kind('Expected a,\n  found b.'))),
        (1, 'Error: Expected a, found b.\n'),
    )

  def test_full_disk_is_one_line(self):
    full = OSError(errno.ENOSPC, 'No space left on device', '/tmp/x')
    status, said = self.run_command(_raising(full))
    self.assertEqual(status, 1)
    self.assertRegex(said, '^Error: .*/tmp/x.* No space left.*\n$')

  @parameterized.parameters(
      ValueError('wrong'),
      RuntimeError('wrong'),
      AssertionError('wrong'),
      FileNotFoundError(errno.ENOENT, 'wrong', '/tmp/x'),
  )
  def test_anything_else_is_a_bug(self, error):
    status, said = self.run_command(_raising(error))
    self.assertEqual(status, 1)
    self.assertStartsWith(said, 'Traceback')
    self.assertRegex(said, f'{type(error).__name__}: .*wrong')
    self.assertEndsWith(said, f'\n{command.BUG}\n')

  def test_debug_shows_the_traceback_of_a_user_error(self):
    mistake = _raising(errors.DataError('Expected a.'))
    _, said = self.run_command(mistake, debug=True)
    self.assertStartsWith(said, 'Traceback')
    self.assertEndsWith(said, '\nError: Expected a.\n')

  def test_interruption_is_one_line(self):
    self.assertEqual(
        self.run_command(_raising(KeyboardInterrupt())),
        (130, '\npython -m program: interrupted.\n'),
    )

  def test_exit_is_left_alone(self):
    with self.assertRaises(SystemExit):
      command.run(_raising(SystemExit(2)), 'program')

  @parameterized.parameters((signal.SIGTERM, SystemExit), (signal.SIGINT, None))
  def test_signal_whose_exception_is_ignored_comes_again(self, number, raised):
    class Loud:

      def __del__(self):
        os.kill(os.getpid(), number)
        time.sleep(0.01)  # Its handler raises here, and nobody sees it.

    def wait():
      Loud()
      time.sleep(30)

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    self.addCleanup(signal.signal, signal.SIGINT, previous)
    if raised:
      with self.assertRaises(raised):
        command.run(wait, 'program')
    else:
      status, _ = self.run_command(wait)
      self.assertEqual(status, command.INTERRUPTED)

  def test_names_of_arguments_become_flags(self):
    mistake = _raising(errors.SettingsError('Expected `seed`, not `x_y` or a.'))
    _, said = self.run_command(mistake, flag_names={'seed'})
    self.assertEqual(said, 'Error: Expected --seed, not `x_y` or a.\n')


if __name__ == '__main__':
  absltest.main()
