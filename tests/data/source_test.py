# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The three kinds of data that a task can be trained on."""

import collections
import os
import tempfile
from unittest import mock

from absl.testing import absltest
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import client_data
from tff_partial.data import source
from tff_partial.data import sql_writer

_FEATURES = collections.OrderedDict(x=tf.TensorSpec([], tf.int32))


class SourceTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name
    self.source = source.Source(
        embedded_fn=lambda: self.write('embedded'),
        embedded_description='made up',
        tff_fn=lambda: self.write('tff'),
        tff_description='the real ones',
    )

  def write(self, name):
    """A folder with one client of this name."""
    folder = os.path.join(self.folder, name)
    with sql_writer.train_and_test(folder, _FEATURES) as writers:
      for writer in writers:
        writer.write(name, {'x': [1]})
    return folder

  def test_each_kind(self):
    other = self.write('other')
    for data, name, description, demonstration in (
        ('embedded', 'embedded', 'made up', True),
        ('tff', 'tff', 'the real ones', False),
        (other, 'other', other, False),
    ):
      with self.subTest(data):
        opened = self.source.open(data)
        self.assertEqual(list(opened.train.client_ids), [name])
        self.assertEqual(list(opened.test.client_ids), [name])
        self.assertEqual(opened.folder, os.path.join(self.folder, name))
        self.assertEqual(
            (opened.description, opened.demonstration),
            (description, demonstration),
        )

  def test_nothing_else_is_made(self):
    self.source.open('tff')
    self.assertEqual(os.listdir(self.folder), ['tff'])

  def test_data_of_tff_in_another_format(self):
    def open_reversed(folder):
      train, test = client_data.open_folder(folder)
      return test, train

    reversed_source = source.Source(
        embedded_fn=lambda: self.write('embedded'),
        embedded_description='',
        tff_fn=lambda: self.write('tff'),
        tff_description='',
        open_tff_fn=open_reversed,
    )
    for data, name in (('embedded', 'train'), ('tff', 'test')):
      path = reversed_source.open(data).train.path
      self.assertEqual(os.path.basename(path), f'{name}.sqlite')

  def test_home_folder(self):
    self.write('mine')
    with mock.patch.dict(os.environ, HOME=self.folder):
      opened = self.source.open('~/mine')
    self.assertEqual(list(opened.train.client_ids), ['mine'])
    self.assertEqual(opened.description, '~/mine')

  def test_features_that_a_task_expects(self):
    expecting = source.Source(
        embedded_fn=lambda: self.write('embedded'),
        embedded_description='',
        tff_fn=lambda: self.write('tff'),
        tff_description='',
        features=collections.OrderedDict(y=tf.TensorSpec([], tf.int32)),
    )
    with self.assertRaisesRegex(errors.DataError, "feature 'y'"):
      expecting.open('embedded')


if __name__ == '__main__':
  absltest.main()
