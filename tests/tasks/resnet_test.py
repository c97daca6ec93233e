# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Residual networks: the paper's sizes, and adapters that start as identity.

Expected numbers are those of the paper's networks, counted by making them.
"""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tasks.networks import additions as additions_lib
from tasks.networks import resnet
from tff_partial.learning import partition


def _additions(with_adapters):
  return additions_lib.Additions(adapters=with_adapters)


def create_emnist(with_adapters):
  return resnet.create_resnet18(
      (28, 28, 1), 62, small_stem=True, additions=_additions(with_adapters)
  )


def create_landmarks(with_adapters):
  return resnet.create_resnet18(
      (224, 224, 3), 2028, small_stem=False, additions=_additions(with_adapters)
  )


def create_small(with_adapters):
  return resnet.create_resnet8(
      (12, 12, 1), 5, small_stem=True, additions=_additions(with_adapters)
  )


def sizes(create, split):
  """Parameters of all variables, and of a split's."""
  with tf.Graph().as_default():
    paths = {
        path.replace('.', '/'): v.shape.num_elements()
        for path, v in create(split == 'adapter').get_weight_paths().items()
    }
  rule = partition.rule_by_name(split, resnet.SPLITS)
  return (
      sum(paths.values()),
      sum(size for path, size in paths.items() if rule(path)),
  )


class ResnetTest(parameterized.TestCase):

  @parameterized.parameters(
      # A 3x3 convolution of 1 to 64 channels, gamma and beta of 64.
      ('input', 11_199_486, 3 * 3 * 64 + 2 * 64),
      # 512 features and a bias for each of 62 classes.
      ('output', 11_199_486, 513 * 62),
      # 4 adapters of each width c, c * c and 2 c; the norms of the stem and of
      # 4 convolutions of each width. They add what the adapters have.
      ('adapter', 11_199_486 + 1_400_320, 1_408_128),
      ('none', 11_199_486, 0),
      ('all', 11_199_486, 11_199_486),
  )
  def test_sizes_for_characters(self, split, total, personal):
    self.assertEqual(sizes(create_emnist, split), (total, personal))

  def test_counts_of_the_paper(self):
    self.assertEqual(3 * 3 * 64 + 2 * 64, 704)
    self.assertEqual(513 * 62, 31_806)
    widths = (64, 128, 256, 512)
    adapters = sum(4 * (c * c + 2 * c) for c in widths)
    norms = 2 * 64 + sum(4 * 2 * c for c in widths)
    self.assertEqual((adapters, adapters + norms), (1_400_320, 1_408_128))

  @parameterized.parameters(
      ('input', 12_216_876, 9_536),
      ('output', 12_216_876, 513 * 2028),
      ('adapter', 12_216_876 + 1_400_320, 1_408_128),
  )
  def test_sizes_for_landmarks(self, split, total, personal):
    self.assertEqual(sizes(create_landmarks, split), (total, personal))

  def test_norms_of_shortcuts_are_shared_with_adapters(self):
    rule = resnet.SPLITS['adapter']
    self.assertTrue(rule('stage1_block0_norm2/gamma'))
    self.assertTrue(rule('stage1_block0_adapter2/norm/gamma'))
    self.assertFalse(rule('stage1_block0_shortcut_norm/gamma'))
    self.assertTrue(resnet.SPLITS['norm']('stage1_block0_shortcut_norm/gamma'))

  def test_fresh_adapters_are_the_identity_to_the_last_bit(self):
    plain, adapted = create_small(False), create_small(True)
    paths = adapted.get_weight_paths()
    self.assertLen(paths, len(plain.variables) + 3 * 6)
    for path, variable in plain.get_weight_paths().items():
      paths[path].assign(variable)
    images = np.random.default_rng(0).random([2, 12, 12, 1], np.float32)
    np.testing.assert_array_equal(plain(images), adapted(images))

  def test_images_become_logits(self):
    logits = create_small(True)(np.zeros([3, 12, 12, 1], np.float32))
    self.assertEqual(logits.shape, (3, 5))
    with tf.Graph().as_default():
      self.assertEqual(create_landmarks(False).output_shape, (None, 2028))


if __name__ == '__main__':
  absltest.main()
