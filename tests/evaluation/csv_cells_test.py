# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0

from absl.testing import absltest
from absl.testing import parameterized

from tff_partial.evaluation import csv_cells


class CsvCellsTest(parameterized.TestCase):

  @parameterized.parameters(
      ('=cmd()', "'=cmd()"),
      ('+1', "'+1"),
      ('-1', "'-1"),
      ('@sum', "'@sum"),
      ('\tx', "'\tx"),
      ('\rx', "'\rx"),
      ("'ann", "''ann"),
      ('ann=1', 'ann=1'),
      ('', ''),
  )
  def test_escapes_and_back(self, text, cell):
    self.assertEqual(csv_cells.escape(text), cell)
    self.assertEqual(csv_cells.unescape(cell), text)


if __name__ == '__main__':
  absltest.main()
