# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes folders with the utterances of a few speakers."""

import collections
import tempfile

import numpy as np
import tensorflow as tf

from tasks.speech import ctc
from tasks.speech import encoder as encoder_lib
from tff_partial.data import people as people_lib

NUM_FEATURES = 13
TINY = encoder_lib.Size(2, 16, 2, 32, 4)


def make_folder(test, features, examples):
  folder = tempfile.TemporaryDirectory()
  test.addCleanup(folder.cleanup)
  people = people_lib.ClientSource(
      collections.OrderedDict(
          transcript=tf.TensorSpec([], tf.string), **features
      ),
      len(examples),
      examples.items(),
  )
  people_lib.write_folder(people, folder.name)
  return folder.name


def make_features(test, speakers=2, utterances=5):
  """Writes utterances in which each character has a noise of its own."""
  sound = np.random.default_rng(0).normal(size=[30, 8, NUM_FEATURES])
  examples = {}
  for s in range(speakers):
    rng = np.random.default_rng([1, s])
    said = [
        ' '.join(rng.choice(['ONE', 'TWO', 'SIX'], rng.integers(1, 4)))
        for _ in range(utterances)
    ]
    examples[f's{s}'] = {
        'features': [
            np.concatenate([sound[c] for c in ctc.encode(t)]).astype(np.float32)
            for t in said
        ],
        'transcript': said,
    }
  spec = tf.TensorSpec([None, NUM_FEATURES], tf.float32)
  return make_folder(test, {'features': spec}, examples)
