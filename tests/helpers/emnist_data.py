# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes a folder with the characters of a few clients."""

import collections
import os

import numpy as np
import tensorflow as tf

from tff_partial.data import sql_writer

FEATURES = collections.OrderedDict(
    pixels=tf.TensorSpec([28, 28], tf.uint8), label=tf.TensorSpec([], tf.int32)
)


def write_folder(folder, *, shape=(28, 28), first_label=0, clients=2):
  """Writes clients with three examples each."""
  features = collections.OrderedDict(
      FEATURES, pixels=tf.TensorSpec(shape, tf.uint8)
  )
  for name in ('train', 'test'):
    path = os.path.join(folder, f'{name}.sqlite')
    with sql_writer.SqlWriter(path, features) as writer:
      for i in range(clients):
        rng = np.random.default_rng(i)
        writer.write(
            f'writer_{i}',
            {
                'pixels': rng.integers(0, 256, [3, *shape]).astype(np.uint8),
                'label': first_label + np.arange(3),
            },
        )
