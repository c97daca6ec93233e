# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Paths of the checkout, and of real data for tests if there are any."""

import os
import pathlib
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# This variable names a folder with handwriting/, photos/, speech/ and text/.
REAL_DATA = 'TFF_PARTIAL_TEST_DATA'


def real_data(test: unittest.TestCase, *names: str) -> str:
  """The path of real data in the folder named by `$TFF_PARTIAL_TEST_DATA`.

  Skips the test if the variable is not set; fails it if there are no such data.
  """
  folder = os.environ.get(REAL_DATA)
  if not folder:
    test.skipTest(f'Set {REAL_DATA} to a folder of real data to run this test.')
  path = pathlib.Path(folder, *names)
  test.assertTrue(path.exists(), path)
  return str(path)
