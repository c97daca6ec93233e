# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Features of tones, of silence and of padding."""

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tasks.speech import features as features_lib


def tone(hertz, seconds, amplitude=8000):
  t = np.arange(int(seconds * features_lib.SAMPLE_RATE))
  wave = amplitude * np.sin(2 * np.pi * hertz / features_lib.SAMPLE_RATE * t)
  return wave.astype(np.int16)


def padded(*signals):
  lengths = np.array([len(s) for s in signals], np.int32)
  audio = np.zeros([len(signals), lengths.max()], np.int16)
  for row, s in zip(audio, signals):
    row[: len(s)] = s
  return tf.constant(audio), tf.constant(lengths)


class LogMelTest(absltest.TestCase):

  def test_counts_of_frames_agree(self):
    # 25 ms are 400 samples and 10 ms are 160.
    for samples, frames in ((0, 0), (399, 0), (400, 1), (559, 1), (560, 2)):
      self.assertEqual(features_lib.num_frames(samples), frames)
      found = features_lib.num_frames(tf.constant([samples]))
      np.testing.assert_array_equal(found, [frames])
    features, num_frames = features_lib.log_mel(*padded(tone(440, 1)))
    self.assertEqual(features.shape, (1, 98, 80))
    np.testing.assert_array_equal(num_frames, [98])

  def test_a_higher_tone_is_in_a_higher_band(self):
    features, _ = features_lib.log_mel(*padded(tone(300, 0.5), tone(3000, 0.5)))
    loudest = np.argmax(features[:, 10], axis=-1)
    # Bands divide mel(20 Hz) = 32 to mel(7600 Hz) = 2786, with mel(f) =
    # 1127 ln(1 + f / 700), in 81: 300 Hz is mel 402, band (402 - 32) / 34 - 1;
    # 3000 Hz is mel 1876.
    np.testing.assert_allclose(loudest, [9.9, 53.2], atol=1.5)

  def test_loudness_and_padding_make_no_difference(self):
    noise = np.random.default_rng(0).normal(0, 2000, 4800)
    quiet = np.round(noise * np.linspace(0.5, 2, 4800)).astype(np.int16)
    loud = 2 * quiet

    def heard(*signals):
      features, num_frames = features_lib.log_mel(*padded(*signals))
      return features_lib.normalize(features, num_frames)

    alone = heard(loud)
    both = heard(quiet, tone(440, 1))
    np.testing.assert_allclose(alone[0], both[0, : alone.shape[1]], atol=1e-3)
    np.testing.assert_array_equal(both[0, alone.shape[1] :], 0)

  def test_normalized_by_utterance(self):
    x = np.random.default_rng(0).normal(3, 5, [2, 50, 4]).astype(np.float32)
    found = features_lib.normalize(x, tf.constant([50, 20])).numpy()
    for values in (found[0], found[1, :20]):
      np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
      np.testing.assert_allclose(values.std(0), 1, atol=1e-3)

  def test_silence_is_finite(self):
    features, num_frames = features_lib.log_mel(
        tf.zeros([2, 100], tf.int16), tf.constant([100, 0])
    )
    found = features_lib.normalize(features, num_frames)
    self.assertEqual(found.shape, (2, 1, 80))
    np.testing.assert_array_equal(num_frames, [0, 0])
    np.testing.assert_array_equal(found, np.zeros_like(found))


class AugmentTest(absltest.TestCase):

  def test_masks_depend_on_the_seed_and_on_the_utterance(self):
    ones, lengths = tf.ones([3, 200, 80]), tf.constant([200, 200, 50])
    found = features_lib.augment(ones, lengths, tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(
        found,
        features_lib.augment(ones, lengths, tf.constant([1, 2])),
    )
    self.assertTrue(np.any(found[0] != found[1]))
    self.assertTrue(
        np.any(found != features_lib.augment(ones, lengths, [1, 3]))
    )
    for row, length in zip(found, lengths.numpy()):
      bins, frames = row.max(0), row[:length].max(1)
      # At most 2 masks cover a fifth of the bands or 0.08 of the time each.
      self.assertBetween(80 - bins.sum(), 1, 32 + 2)
      self.assertLessEqual(length - frames.sum(), 0.16 * length + 2)


if __name__ == '__main__':
  absltest.main()
