# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Federated Google Landmarks, read from files that TFF wrote."""

import csv
import io
import os
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image
import tensorflow as tf
import tensorflow_federated as tff

from tasks.landmarks import gldv2
from tasks.landmarks import photo_folder
from tff_partial import errors
from tff_partial.data import client_data


def _jpeg(color, mode='RGB'):
  buffer = io.BytesIO()
  Image.new(mode, (30, 20), color).save(buffer, 'JPEG', quality=95)
  return buffer.getvalue()


class Gldv2Test(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.source = os.path.join(folder.name, 'source')
    self.cache = os.path.join(folder.name, 'cache')

  def write(self, people):
    """Photos as (JPEG, class), by photographer, in files that TFF makes."""
    images = os.path.join(self.source, 'images')
    os.makedirs(images)
    mapping = os.path.join(self.source, 'train.csv')
    with open(mapping, 'w', newline='') as f:
      table = csv.writer(f)
      table.writerow(['user_id', 'image_id', 'class'])
      for name, photos in people.items():
        for i, (encoded, label) in enumerate(photos):
          table.writerow([name, f'{name}_{i}', label])
          with open(os.path.join(images, f'{name}_{i}.jpg'), 'wb') as image:
            image.write(encoded)
    tff.simulation.datasets.gldv2._create_train_data_files(
        os.path.join(self.source, 'gld160k', 'train'), images, mapping
    )

  def create(self, **kwargs):
    return gldv2.create_gldv2(self.source, self.cache, **kwargs)

  def test_photographers_with_enough_photos(self):
    photos = [(_jpeg((i, i, i)), i) for i in range(51)]
    self.write({'7': photos, '8': photos[:49], '9': photos[:50]})
    with self.assertLogs(level='WARNING') as logs:
      folder = self.create(size=16)
    self.assertIn('left out 1 photographers with fewer', logs.output[0])
    train, test = client_data.open_folder(folder)
    self.assertCountEqual(list(train.client_ids), ['7', '9'])
    # Half of 51, rounded down, is for testing.
    self.assertLen(train.read('7')['label'], 26)
    self.assertLen(test.read('7')['label'], 25)
    labels = np.concatenate([c.read('7')['label'] for c in (train, test)])
    np.testing.assert_array_equal(np.sort(labels), np.arange(51))
    for clients in (train, test):
      examples = clients.read('7')
      self.assertEqual(examples['pixels'].shape[1:], (16, 16, 3))
      # Photo i has gray level i, up to the losses of JPEG.
      np.testing.assert_allclose(
          examples['pixels'].mean(axis=(1, 2, 3)), examples['label'], atol=2
      )
    self.assertLen(photo_folder.read_classes(folder), 2028)

  def test_made_on_first_use_only(self):
    self.write({'7': [(_jpeg((0, 0, 0)), 0)] * 50})
    folder = self.create(size=16)
    os.rename(self.source, self.source + '.gone')
    self.assertEqual(self.create(size=16), folder)

  def test_photos_that_cannot_be_used_are_counted(self):
    good = [(_jpeg(99, mode='L'), 1)] * 50
    bad = [(b'damaged', 1), (_jpeg(0), 2028)]
    self.write({'7': [*good[:20], *bad, *good[20:]]})
    with self.assertLogs(level='WARNING') as logs:
      train, test = client_data.open_folder(self.create(size=16))
    self.assertLen(logs.output, 2)
    self.assertIn('left out 1 photos that cannot be read', logs.output[0])
    self.assertIn('left out 1 photos without a class', logs.output[1])
    self.assertLen(train.read('7')['label'], 25)
    np.testing.assert_allclose(test.read('7')['pixels'], 99, atol=2)

  def test_nobody_with_enough_photos(self):
    self.write({'7': [(_jpeg(0), 0)] * 3})
    with self.assertRaisesRegex(ValueError, 'at least 50 photos .*found none'):
      self.create(size=16)

  def test_data_not_downloaded(self):
    with self.assertRaisesRegex(OSError, 'Download them with .*load_data'):
      self.create(size=16)

  def test_records_that_lack_something(self):
    self.write({'7': [(_jpeg(0), 0)] * 52})
    path = os.path.join(self.source, 'gld160k', 'train', '7')
    protos = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    for i, name in enumerate(('class', 'image/encoded_jpeg')):
      example = tf.train.Example.FromString(protos[i])
      del example.features.feature[name]
      protos[i] = example.SerializeToString()
    with tf.io.TFRecordWriter(path) as writer:
      for proto in protos:
        writer.write(proto)
    with self.assertLogs(level='WARNING') as logs:
      self.create(size=16)
    self.assertIn('left out 1 photos that cannot be read', logs.output[0])
    self.assertIn('left out 1 photos without a class', logs.output[1])
    with tf.io.TFRecordWriter(path) as writer:
      for _ in range(50):
        writer.write(b'not an example')
    with self.assertRaisesRegex(errors.DataError, 'a record of another kind'):
      self.create(size=8)

  def test_damaged_file(self):
    self.write({'7': [(_jpeg(0), 0)] * 50})
    path = os.path.join(self.source, 'gld160k', 'train', '7')
    with open(path, 'r+b') as f:
      f.truncate(os.path.getsize(path) - 5)
    with self.assertRaisesRegex(ValueError, 'found a damaged one'):
      self.create(size=16)


if __name__ == '__main__':
  absltest.main()
