# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What splits add to the networks of all tasks."""

import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tasks.emnist import task as emnist
from tasks.networks import additions as additions_lib
from tasks.networks import resnet
from tasks.speech import encoder
from tasks.stackoverflow import task as stackoverflow
from tasks.tabular import task as tabular
from tests.helpers import speech_data
from tests.helpers import stackoverflow_data
from tff_partial.learning import lora as lora_lib
from tff_partial.learning import outlines
from tff_partial.learning import partition

ADDED = additions_lib.Additions(feature_bias=True, input_norm=True)
SECOND = ('second_head/kernel', 'second_head/bias')
BIAS = 'feature_bias/bias'
NORM = ('input_norm/scale', 'input_norm/offset')
FEATURES = {
    'features': np.random.default_rng(0).normal(size=[2, 9, 5]),
    'num_frames': np.array([9, 9]),
}
# Name, what builds the network, its splits, inputs, what `ADDED` adds: of each
# variable its number of elements.
NETWORKS = (
    (
        'emnist',
        emnist.create_cnn,
        emnist.SPLITS,
        np.ones([2, 28, 28, 1]),
        {NORM[0]: 1, NORM[1]: 1, BIAS: 128},
    ),
    (
        'landmarks',
        functools.partial(
            resnet.create_resnet8, (16, 16, 3), 5, small_stem=False
        ),
        resnet.SPLITS,
        np.ones([2, 16, 16, 3]),
        {NORM[0]: 3, NORM[1]: 3, BIAS: 64},
    ),
    (
        'tabular',
        functools.partial(tabular.create_mlp, 4, 2, 8),
        tabular.SPLITS,
        np.ones([2, 4]),
        {NORM[0]: 4, NORM[1]: 4, BIAS: 8},
    ),
    (
        'speech',
        functools.partial(encoder.create_encoder, 5, 7, speech_data.TINY),
        encoder.splits(speech_data.TINY),
        FEATURES,
        {NORM[0]: 5, NORM[1]: 5, BIAS: speech_data.TINY.width},
    ),
)


def _by_path(model):
  return {
      path.replace('.', '/'): variable
      for path, variable in model.get_weight_paths().items()
  }


class AdditionsTest(parameterized.TestCase):

  @parameterized.parameters(
      ('output', additions_lib.NOTHING),
      ('bias', additions_lib.Additions(feature_bias=True)),
      ('output+bias', additions_lib.Additions(feature_bias=True)),
      ('input_norm+adapter', additions_lib.Additions(True, False, True)),
      # Biases of layers that are there anyway.
      ('regex:bias', additions_lib.NOTHING),
      ('input+regex:/bias$', additions_lib.NOTHING),
      ('regex:feature_bias|head', additions_lib.Additions(feature_bias=True)),
  )
  def test_of_split(self, split, expected):
    self.assertEqual(additions_lib.of_split(split), expected)

  @parameterized.named_parameters(*NETWORKS)
  def test_networks_compute_what_they_did(self, build, splits, inputs, added):
    plain, larger = build(), build(additions=ADDED)
    paths = _by_path(larger)
    for path, variable in _by_path(plain).items():
      paths.pop(path).assign(variable)
    self.assertEqual(
        {path: v.shape.num_elements() for path, v in paths.items()}, added
    )
    tf.nest.map_structure(
        np.testing.assert_array_equal, plain(inputs), larger(inputs)
    )
    rule = partition.rule_by_name('bias+input_norm', splits)
    self.assertEqual({p for p in _by_path(larger) if rule(p)}, {*added})

  def test_bias_of_text(self):
    build = functools.partial(
        stackoverflow.create_transformer,
        stackoverflow.SIZES['tiny'],
        stackoverflow_data.ABC.size,
    )
    plain, larger = build(), build(
        additions=additions_lib.Additions(feature_bias=True)
    )
    paths = _by_path(larger)
    for path, variable in _by_path(plain).items():
      paths.pop(path).assign(variable)
    self.assertEqual([*paths], [BIAS])
    self.assertEqual(paths[BIAS].shape, [64])
    x = np.array([[5, 1, 2, 3], [5, 3, 0, 0]])
    np.testing.assert_array_equal(plain(x), larger(x))
    before = plain(x).numpy()
    paths[BIAS].assign(np.eye(64)[7])
    # A softmax that is the transposed embedding: its column 7 is added.
    embedding = _by_path(larger)['words/embedding'].numpy()
    np.testing.assert_allclose(larger(x), before + embedding[:, 7], atol=1e-5)

  @parameterized.named_parameters(
      # Features and outputs of the layer that there is anyway.
      ('emnist', *NETWORKS[0][1:4], 128, 62),
      ('landmarks', *NETWORKS[1][1:4], 64, 5),
      ('tabular', *NETWORKS[2][1:4], 8, 2),
      ('speech', *NETWORKS[3][1:4], speech_data.TINY.width, 7),
      (
          'stackoverflow',
          functools.partial(
              stackoverflow.create_transformer,
              stackoverflow.SIZES['tiny'],
              stackoverflow_data.ABC.size,
          ),
          stackoverflow.SIZES['tiny'].splits,
          np.array([[5, 1, 2, 3], [5, 3, 0, 0]]),
          64,
          stackoverflow_data.ABC.size,
      ),
  )
  def test_second_head(self, build, splits, inputs, features, outputs):
    plain = build()
    larger = build(additions=additions_lib.of_split('second_head'))
    paths = _by_path(larger)
    for path, variable in _by_path(plain).items():
      paths.pop(path).assign(variable)
    self.assertEqual(
        {path: v.shape.as_list() for path, v in paths.items()},
        {SECOND[0]: [features, outputs], SECOND[1]: [outputs]},
    )
    rule = partition.rule_by_name('second_head', splits)
    self.assertEqual({p for p in _by_path(larger) if rule(p)}, {*SECOND})
    logits = lambda model: tf.nest.flatten(model(inputs))[0]
    np.testing.assert_array_equal(logits(plain), logits(larger))
    paths[SECOND[1]].assign(np.arange(outputs))
    np.testing.assert_allclose(
        logits(larger), logits(plain) + np.arange(outputs), rtol=1e-5
    )

  def test_words_have_no_channels(self):
    with self.assertRaisesRegex(
        ValueError, "Expected `personal` to be one of .*found 'input_norm'"
    ):
      stackoverflow.create_model_fn(
          stackoverflow.SIZES['tiny'], stackoverflow_data.ABC, 'input_norm'
      )

  def test_padding_of_speech_has_no_offset(self):
    model = encoder.create_encoder(5, 7, speech_data.TINY, additions=ADDED)
    model.get_layer('input_norm').offset.assign([9.0] * 5)
    x = np.random.default_rng(0).normal(size=[1, 6, 5]).astype(np.float32)
    alone = model({'features': x, 'num_frames': np.array([6])})
    padded = model(
        {
            'features': np.pad(x, [[0, 0], [0, 7], [0, 0]]),
            'num_frames': np.array([6]),
        }
    )
    np.testing.assert_allclose(
        padded['logits'][:, :2], alone['logits'], atol=1e-4
    )

  @parameterized.named_parameters(
      # 800 -> 128 -> 62.
      ('emnist', *NETWORKS[0][1:4], 2 * (800 + 128 + 128 + 62), 2 * (128 + 62)),
      ('landmarks', *NETWORKS[1][1:4], 2 * (64 + 5), 2 * 5),
      # 4 -> 8 -> 8 -> 2.
      ('tabular', *NETWORKS[2][1:4], 2 * (12 + 16 + 10), 2 * (8 + 8 + 2)),
  )
  def test_low_rank_matrices(self, build, splits, inputs, both, b):
    lora = additions_lib.of_split('lora', lora_lib.Lora(rank=2))
    plain, larger = build(), build(additions=lora)
    paths = _by_path(larger)
    for path, variable in _by_path(plain).items():
      paths.pop(path).assign(variable)
    np.testing.assert_array_equal(plain(inputs), larger(inputs))
    size = lambda split: sum(
        v.shape.num_elements()
        for path, v in _by_path(larger).items()
        if partition.rule_by_name(split, splits)(path)
    )
    self.assertEqual((size('lora'), size('lora_b')), (both, b))

  @parameterized.parameters('.', 'block1/attention/(query|value)$')
  def test_low_rank_matrices_of_a_transformer(self, targets):
    size = dataclasses.replace(speech_data.TINY, num_blocks=2)
    build = functools.partial(encoder.create_encoder, 5, 7, size)
    plain = build()
    larger = build(
        additions=additions_lib.of_split('lora', lora_lib.Lora(1, targets))
    )
    paths = _by_path(larger)
    for path, variable in _by_path(plain).items():
      paths.pop(path).assign(variable)
    np.testing.assert_array_equal(
        plain(FEATURES)['logits'], larger(FEATURES)['logits']
    )
    layers = [f'block1/attention/{name}' for name in ('query', 'value')]
    if targets == '.':
      names = ('query', 'key', 'value', 'out')
      layers = ['head'] + [
          f'block{i}/{name}'
          for i in (0, 1)
          for name in (
              *(f'attention/{name}' for name in names),
              'feedforward_in',
              'feedforward_out',
          )
      ]
    self.assertCountEqual(
        paths, [f'{layer}/lora_{matrix}' for layer in layers for matrix in 'ab']
    )
    block = larger.get_layer('block1')
    copy = type(block).from_config(block.get_config())
    copy(np.ones([1, 3, size.width], np.float32))
    self.assertEqual(
        [v.shape for v in copy.variables], [v.shape for v in block.variables]
    )

  def test_frozen_splits_train_nothing_but_the_matrices(self):
    model_fn = functools.partial(
        stackoverflow.create_model_fn,
        stackoverflow.SIZES['tiny'],
        stackoverflow_data.ABC,
        lora=lora_lib.Lora(targets='query'),
    )
    query = lambda matrix: {
        f'block_{i}/attention/query/lora_{matrix}' for i in (0, 1)
    }
    for split, others in (('lora_b', set()), ('lora_b+bias', {BIAS})):
      variables = outlines.describe(model_fn(split))
      self.assertEqual(
          {v.path for v in variables if v.trainable and not v.personal},
          query('a'),
      )
      self.assertEqual(
          {v.path for v in variables if v.personal}, query('b') | others
      )
      self.assertFalse(any(v.moving for v in variables))
    variables = outlines.describe(model_fn('lora_shared'))
    self.assertFalse(any(v.personal for v in variables))
    self.assertEqual(
        {v.path for v in variables if v.trainable}, query('a') | query('b')
    )
    variables = outlines.describe(model_fn('lora'))
    self.assertTrue(all(v.trainable for v in variables))
    self.assertEqual(
        {v.path for v in variables if v.personal}, query('a') | query('b')
    )


if __name__ == '__main__':
  absltest.main()
