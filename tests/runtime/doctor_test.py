# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests for doctor.py: what is wrong is found and comes with advice."""

import contextlib
import io
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np

from tff_partial.runtime import doctor


class DoctorTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    self.requirements = self.folder / 'requirements.txt'
    self.requirements.write_text(
        f'# A comment.\nnumpy=={np.__version__} \\\n    --hash=sha256:0\n'
    )

  def check(self, name, output_dir=''):
    """Runs the checks until the one with this name, and returns it."""
    return next(
        check
        for check in doctor.checks(
            str(self.requirements), os.path.join(self.folder, output_dir)
        )
        if check.name == name
    )

  def test_all_checks_pass_here(self):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
      ok = doctor.report(
          str(self.requirements), str(self.folder / 'new' / 'er')
      )
    self.assertTrue(ok, output.getvalue())
    lines = output.getvalue().splitlines()
    self.assertIn('ok    Packages: 1 of 1 as pinned', lines)
    self.assertIn('ok    Worker: starts, answers and stops', lines)
    self.assertEqual(lines[-1], 'All checks passed.')
    self.assertFalse((self.folder / 'new').exists())

  def test_packages(self):
    self.requirements.write_text(
        f'numpy=={np.__version__}\nabsl-py==0.0.1\nno-such-package==1.0\n'
    )
    self.assertRegex(
        str(self.check('Packages')),
        r'^FAIL  Packages: expected the versions of .*requirements.txt, found 1'
        r' of 3 as pinned \(absl-py \S+ instead of 0.0.1, no-such-package'
        r' absent instead of 1.0\). Run `pip install ',
    )

  def test_no_requirements(self):
    self.requirements.unlink()
    self.assertRegex(
        str(self.check('Packages')), 'FAIL .*found no such file. Run in a compl'
    )

  def test_output_folder_below_a_file(self):
    (self.folder / 'file').touch()
    self.assertRegex(
        str(self.check('Output folder', 'file/folder')),
        'FAIL .*/file, not writable. Use another output folder.',
    )

  def test_output_folder_that_cannot_be_looked_at(self):
    def refuse(path, *args, **kwargs):
      if os.fspath(path).endswith('/new'):
        raise PermissionError(13, 'Permission denied')
      return stat(path, *args, **kwargs)

    stat = os.stat
    with (
        mock.patch.object(os, 'stat', refuse),
        mock.patch.object(os, 'access', return_value=False),
    ):
      self.assertRegex(
          str(self.check('Output folder', 'new')),
          f'FAIL .*{self.folder}, not writable',
      )

  def test_report_of_a_failure(self):
    self.requirements.write_text('numpy==0.0.1\n')
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
      self.assertFalse(doctor.report(str(self.requirements), str(self.folder)))
    self.assertEndsWith(
        output.getvalue(), 'Fix the failures above and try again.\n'
    )


if __name__ == '__main__':
  absltest.main()
