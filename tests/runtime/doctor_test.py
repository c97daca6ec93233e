# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests for doctor.py: what is wrong is found and comes with advice."""

import contextlib
import io
import os
import pathlib
import tempfile

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
    """The check of that name, made without those that come after it."""
    return next(
        check
        for check in doctor.checks(
            str(self.requirements), os.path.join(self.folder, output_dir)
        )
        if check.name == name
    )

  def test_all_is_well_here(self):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
      ok = doctor.report(
          str(self.requirements), str(self.folder / 'new' / 'er')
      )
    self.assertTrue(ok, output.getvalue())
    lines = output.getvalue().splitlines()
    self.assertIn('ok    Packages: 1 of 1 as pinned', lines)
    self.assertIn('ok    Worker: starts, answers and stops', lines)
    self.assertEqual(lines[-1], 'All is well.')
    self.assertFalse((self.folder / 'new').exists())

  def test_packages(self):
    self.requirements.write_text(
        f'numpy=={np.__version__}\nabsl-py==0.0.1\nno-such-package==1.0\n'
    )
    self.assertRegex(
        str(self.check('Packages')),
        r'^MEND  Packages: expected the versions of .*requirements.txt, found 1'
        r' of 3 as pinned \(absl-py \S+ instead of 0.0.1, no-such-package'
        r' absent instead of 1.0\). Run `pip install ',
    )

  def test_no_requirements(self):
    self.requirements.unlink()
    self.assertRegex(
        str(self.check('Packages')), 'MEND .*found no such file. Run in a compl'
    )

  def test_output_folder_below_a_file(self):
    (self.folder / 'file').touch()
    self.assertRegex(
        str(self.check('Output folder', 'file/folder')),
        'MEND .*/file, not writable. Name another with --output_dir.',
    )

  def test_report_of_something_to_mend(self):
    self.requirements.write_text('numpy==0.0.1\n')
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
      self.assertFalse(doctor.report(str(self.requirements), str(self.folder)))
    self.assertEndsWith(
        output.getvalue(), 'Mend the lines above, and try again.\n'
    )


if __name__ == '__main__':
  absltest.main()
