# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a speech recognizer hears: log-mel energies of 25 ms every 10 ms.

Everything depends on an utterance's own samples alone, not on how far it is
padded, and runs in a graph.
"""

import tensorflow as tf

SAMPLE_RATE = 16_000  # Hz.
NUM_BINS = 80
_WINDOW = SAMPLE_RATE * 25 // 1000  # Samples.
_HOP = SAMPLE_RATE * 10 // 1000  # Samples.
_FFT = 512
_HERTZ = (20.0, 7600.0)
_LEAST_ENERGY = 1e-6  # Far below a whisper; silence has no logarithm.

# Augmentation, as in [1] with masks for short utterances.
#
# [1] Park et al. SpecAugment. Interspeech 2019. https://arxiv.org/abs/1904.08779
_MASKS = 2
_MASKED_BINS = 0.2  # Of all bins, at most.
_MASKED_TIME = 0.08  # Of an utterance, at most.


def num_frames(num_samples):
  """How many windows fit; ints, arrays or tensors."""
  fits = num_samples >= _WINDOW
  frames = (num_samples - _WINDOW) // _HOP + 1
  return tf.where(fits, frames, 0) if tf.is_tensor(frames) else frames * fits


def log_mel(
    audio: tf.Tensor, num_samples: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """Logarithms of the energies in 80 bands that are alike to the ear.

  Args:
    audio: Samples, int16 [batch, samples], padded.
    num_samples: Their lengths, int32 [batch].

  Returns:
    float32 [batch, frames, NUM_BINS] and the numbers of frames, int32 [batch].
  """
  # At least one window, or there would be no frame to pad.
  short = tf.maximum(0, _WINDOW - tf.shape(audio)[1])
  samples = tf.pad(tf.cast(audio, tf.float32) / 2**15, [[0, 0], [0, short]])
  spectra = tf.signal.stft(samples, _WINDOW, _HOP, fft_length=_FFT)
  mel = tf.signal.linear_to_mel_weight_matrix(
      NUM_BINS, _FFT // 2 + 1, SAMPLE_RATE, *_HERTZ
  )
  energies = tf.matmul(tf.square(tf.abs(spectra)), mel)
  return tf.math.log(energies + _LEAST_ENERGY), num_frames(num_samples)


def normalize(features: tf.Tensor, num_frames: tf.Tensor) -> tf.Tensor:
  """Mean 0 and variance 1 of each feature in each utterance, padding 0.

  What is the same in all of an utterance, loudness and microphone, goes.

  Args:
    features: float32 [batch, frames, features], padded.
    num_frames: Their lengths, int32 [batch].
  """
  mask = tf.sequence_mask(num_frames, tf.shape(features)[1], tf.float32)
  mask = mask[..., tf.newaxis]
  count = tf.maximum(tf.reduce_sum(mask, 1, keepdims=True), 1)
  mean = tf.reduce_sum(mask * features, 1, keepdims=True) / count
  centered = mask * (features - mean)
  variance = tf.reduce_sum(tf.square(centered), 1, keepdims=True) / count
  return centered * tf.math.rsqrt(variance + 1e-5)


def augment(
    features: tf.Tensor, num_frames: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
  """Masks bands and stretches of time, so that no detail is relied upon [1].

  Args:
    features: Normalized, float32 [batch, frames, features].
    num_frames: Their lengths, int32 [batch].
    seed: int32 [2].
  """
  batch, frames, bins = tf.unstack(tf.shape(features))
  # The two of a mask's width and place, for each axis.
  draws = tf.random.stateless_uniform([2, 2, _MASKS, batch, 1], seed)

  def kept(size, length, most, draws):
    """Which positions up to `size` no mask covers, bool [batch, size]."""
    length = tf.cast(length, tf.float32)
    width = most * length * draws[0]
    start = (length - width) * draws[1]
    position = tf.range(tf.cast(size, tf.float32))
    covered = (start <= position) & (position < start + width)
    return ~tf.reduce_any(covered, 0)

  in_time = kept(frames, num_frames[:, tf.newaxis], _MASKED_TIME, draws[0])
  in_bins = kept(bins, bins, _MASKED_BINS, draws[1])
  keep = in_time[:, :, tf.newaxis] & in_bins[:, tf.newaxis]
  return features * tf.cast(keep, tf.float32)
