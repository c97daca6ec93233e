# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The transformer block."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tasks.networks import transformer


def _block(**kwargs):
  kwargs = {'causal': True, **kwargs}
  return transformer.TransformerBlock(
      num_heads=2, feedforward_width=12, init_stddev=0.5, **kwargs
  )


def _inputs(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class TransformerBlockTest(parameterized.TestCase):

  def test_against_numpy(self):
    block = _block(causal=False, attention_bias=False)
    x = _inputs(1, 3, 4)
    found = block(x)[0].numpy()

    def norm(v):
      centered = v - v.mean(-1, keepdims=True)
      return centered / np.sqrt(v.var(-1, keepdims=True) + 1e-5)

    query, key, value, out = (
        getattr(block.attention, name).kernel.numpy()
        for name in ('query', 'key', 'value', 'out')
    )
    mixed = []
    for head in (slice(0, 2), slice(2, 4)):
      q, k, v = (x[0] @ kernel[:, head] for kernel in (query, key, value))
      weights = np.exp(q @ k.T / np.sqrt(2))
      mixed.append(weights / weights.sum(-1, keepdims=True) @ v)
    y = norm(x[0] + np.concatenate(mixed, -1) @ out)
    hidden = np.maximum(y @ block.feedforward_in.kernel.numpy(), 0)
    expected = norm(y + hidden @ block.feedforward_out.kernel.numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

  @parameterized.parameters(True, False)
  def test_causal_attends_only_to_the_past(self, causal):
    block = _block(causal=causal)
    x = _inputs(1, 5, 4)
    changed = x.copy()
    changed[0, 3] += 1
    difference = np.abs(block(x) - block(changed))[0].max(-1)
    self.assertEqual(difference[:3].max() == 0, causal)
    self.assertGreater(difference[3:].min(), 0)

  @parameterized.parameters(True, False)
  def test_padding_is_ignored(self, norm_first):
    block = _block(causal=False, norm_first=norm_first)
    x = _inputs(2, 5, 4)
    mask = np.array([[True] * 3 + [False] * 2, [True] * 5])
    padded = block(x, padding_mask=mask)
    np.testing.assert_allclose(
        padded[:1, :3], block(x[:1, :3]), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(padded[1:], block(x[1:]), rtol=1e-4, atol=1e-6)

  @parameterized.parameters(True, False)
  def test_fresh_adapters_change_nothing(self, norm_first):
    plain = _block(norm_first=norm_first)
    adapted = _block(norm_first=norm_first, adapter_width=3)
    x = _inputs(2, 5, 4)
    plain(x), adapted(x)
    for name in ('attention', 'feedforward_in', 'feedforward_out'):
      getattr(adapted, name).set_weights(getattr(plain, name).get_weights())
    np.testing.assert_array_equal(adapted(x), plain(x))
    # There are two adapters of 4 * 3 + 3 + 3 * 4 + 4 parameters.
    self.assertEqual(adapted.count_params() - plain.count_params(), 2 * 31)
    adapted.adapter2.up.bias.assign([1.0, 0, 0, 0])
    self.assertGreater(np.abs(adapted(x) - plain(x)).max(), 0.01)

  def test_width_that_heads_do_not_divide(self):
    with self.assertRaisesRegex(ValueError, 'width that 2 heads divide.* 5'):
      _block()(tf.zeros([1, 2, 5]))


if __name__ == '__main__':
  absltest.main()
