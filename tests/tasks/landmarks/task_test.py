# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the landmarks task."""

import collections
import functools
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tasks.landmarks import scenes
from tasks.landmarks import task as landmarks
from tasks.networks import classification
from tasks.networks import resnet
from tests.helpers import worker
from tff_partial.data import sql_writer
from tff_partial.learning import algorithms
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process

setUpModule, tearDownModule = worker.start, worker.stop

SMALL = functools.partial(
    resnet.create_resnet8, (32, 32, 3), 5, small_stem=False
)


def _features(size, channels):
  return collections.OrderedDict(
      pixels=tf.TensorSpec([size, size, channels], tf.uint8),
      label=tf.TensorSpec([], tf.int32),
  )


class MetricsTest(absltest.TestCase):

  def test_metrics(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      model = classification.create_model_fn(
          SMALL, (32, 32, 3), resnet.SPLITS, 'none'
      )()
      logits = tf.math.log([[0.5, 0.25, 0.25, 1e-9, 1e-9]] * 2)
      batch = {'y': tf.constant([0, 1])}
      loss, metrics = session.run(
          (model.loss(batch, logits), model.metrics(batch, logits))
      )
    # -log 0.5 and -log 0.25 are log 2 and 2 log 2.
    log2 = np.log(2)
    self.assertAlmostEqual(loss, 1.5 * log2, places=5)
    np.testing.assert_allclose(metrics['loss'][0], [log2, 2 * log2], rtol=1e-5)
    np.testing.assert_array_equal(metrics['accuracy'][0], [1, 0])
    for name in ('loss', 'accuracy'):
      np.testing.assert_array_equal(metrics[name][1], [1, 1])


class PrepareTest(absltest.TestCase):

  def prepare(self, pixels, seed, image_size):
    batch = {
        'pixels': tf.constant(pixels),
        'label': tf.range(len(pixels), dtype=tf.int32),
    }
    result = landmarks._prepare_train(
        image_size, batch, tf.constant(seed, tf.int32)
    )
    np.testing.assert_array_equal(result['y'], np.arange(len(pixels)))
    return result['x'].numpy()

  def test_crops_and_mirror_images(self):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, [32, 16, 16, 3], np.uint8)
    x = self.prepare(pixels, [1, 2], 14)
    back = np.round(255 * (x * landmarks._DEVIATION + landmarks._MEAN)).astype(
        np.uint8
    )
    found = collections.Counter()
    for image, crop in zip(pixels, back):
      for top in range(3):
        for left in range(3):
          part = image[top : top + 14, left : left + 14]
          for mirrored, view in ((False, part), (True, part[:, ::-1])):
            if np.array_equal(view, crop):
              found[top, left, mirrored] += 1
    # Every image is one of 9 crops or a mirror image of one.
    self.assertEqual(sum(found.values()), 32)
    self.assertGreater(len({place[:2] for place in found}), 4)
    self.assertLen({place[2] for place in found}, 2)

  def test_same_crops_for_the_same_seed(self):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, [8, 16, 16, 3], np.uint8)
    first = self.prepare(pixels, [1, 2], 14)
    np.testing.assert_array_equal(self.prepare(pixels, [1, 2], 14), first)
    self.assertFalse(np.array_equal(self.prepare(pixels, [1, 3], 14), first))

  def test_test_photos_are_scaled_as_a_whole(self):
    # Black on the left, white on the right, [batch, 16, 16, 3].
    pixels = np.repeat(np.array([[0] * 8 + [255] * 8], np.uint8), 16, axis=0)
    pixels = np.stack([pixels] * 3, axis=-1)[np.newaxis]
    result = landmarks._prepare_test(
        8, {'pixels': tf.constant(pixels), 'label': tf.constant([3])}, None
    )
    x = result['x'].numpy()
    self.assertEqual(x.shape, (1, 8, 8, 3))
    # (0 - mean) / deviation, and (1 - mean) / deviation.
    np.testing.assert_allclose(
        x[0, 0, 0], [-2.11790, -2.03571, -1.80444], atol=1e-4
    )
    np.testing.assert_allclose(x[0, 7, 7], [2.24891, 2.42857, 2.64], atol=1e-4)


class TaskTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def write(self, size=64, channels=3, classes='a\nb\n'):
    features = _features(size, channels)
    for name in ('train', 'test'):
      path = os.path.join(self.folder, f'{name}.sqlite')
      with sql_writer.SqlWriter(path, features) as writer:
        pixels = np.zeros([2, size, size, channels], np.uint8)
        writer.write('ann', {'pixels': pixels, 'label': [0, 1]})
    if classes is not None:
      with open(os.path.join(self.folder, 'classes.txt'), 'w') as f:
        f.write(classes)

  def test_a_round_on_scenes(self):
    folder = scenes.create_scenes(self.folder, num_photographers=2)
    task = landmarks.create_task(folder, batch_size=64, image_size=16)
    self.assertFalse(task.demonstration)
    training = lambda: phase_lib.GroupTraining(
        tff.learning.optimizers.build_sgdm(0.05)
    )
    partial = process.build_partial_process(
        task.model_fn('output'),
        algorithms.fed_sim(training(), training()),
        client_examples=task.client_examples,
    )
    ids = list(task.train.client_ids)
    values = [
        task.client_examples.value(
            task.train.read(name), clients_lib.seed_for(0, 0, name)
        )
        for name in ids
    ]
    personal = [partial.initialize_personal()] * len(ids)
    state = partial.initialize()
    losses = []
    for _ in range(3):
      state, personal, metrics = partial.next(state, personal, values)
      losses.append(metrics['train']['loss'])
    self.assertEqual(
        metrics['counts'].examples,
        sum(task.train.num_examples(name) for name in ids),
    )
    self.assertEqual(metrics['counts'].non_finite, 0)
    self.assertLess(losses[-1], losses[0])

  def test_embedded_data_are_for_demonstration(self):
    few = functools.partial(scenes.create_scenes, num_photographers=2)
    with (
        mock.patch.dict(os.environ, {'TFF_PARTIAL_CACHE': self.folder}),
        mock.patch.object(scenes, 'create_scenes', few),
    ):
      task = landmarks.create_task()
    self.assertTrue(task.demonstration)
    self.assertIn('30 classes', task.data)
    self.assertIn('56x56', task.model)

  @parameterized.parameters(
      (dict(channels=1), r"found 'pixels' \[64, 64, 1\], 'label'"),
      (dict(classes=None), 'Expected the names of the classes'),
      (dict(classes='a\n'), 'at least two classes .* found 1'),
  )
  def test_bad_folders(self, written, message):
    self.write(**written)
    with self.assertRaisesRegex((ValueError, OSError), message):
      landmarks.create_task(self.folder)

  @parameterized.parameters(
      (dict(model='vgg'), "Expected `model` of .* found 'vgg'"),
      (dict(image_size=8), '`image_size` of at least 16'),
  )
  def test_bad_arguments(self, arguments, message):
    self.write()
    with self.assertRaisesRegex(ValueError, message):
      landmarks.create_task(self.folder, **arguments)

  def test_unknown_split(self):
    self.write()
    task = landmarks.create_task(self.folder)
    with self.assertRaisesRegex(
        ValueError, 'Expected `personal` to be one of .*adapter'
    ):
      task.model_fn('head')


if __name__ == '__main__':
  absltest.main()
