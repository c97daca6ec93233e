# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Features of speech: log-mel energies of 25 ms every 10 ms.

Everything runs in a graph. Features depend on an utterance's own samples only,
not on its padding.
"""

import tensorflow as tf

SAMPLE_RATE = 16_000  # Hz.
NUM_BINS = 80
_WINDOW = SAMPLE_RATE * 25 // 1000  # Samples.
_HOP = SAMPLE_RATE * 10 // 1000  # Samples.
_FFT = 512
_HERTZ = (20.0, 7600.0)
_LEAST_ENERGY = 1e-6  # Far below a whisper, so that silence has a logarithm.
DESCRIPTION = (
    f'samples from -32768 to 32767 at {SAMPLE_RATE:,} Hz, and how many there'
    ' are without padding; divided by 32768, then log(energy +'
    f' {_LEAST_ENERGY}) in {NUM_BINS} mel bands from {_HERTZ[0]:g} to'
    f' {_HERTZ[1]:g} Hz, of windows of {_WINDOW} samples (Hann) every {_HOP}'
    f' with an FFT of {_FFT}; each band minus its mean over the utterance,'
    ' divided by its deviation'
)

# Augmentation as in [1], with masks in proportion to short utterances.
#
# [1] Park et al. SpecAugment. Interspeech 2019. https://arxiv.org/abs/1904.08779
_MASKS = 2
_MASKED_BINS = 0.2  # Largest fraction of the bins that a mask covers.
_MASKED_TIME = 0.08  # Largest fraction of an utterance that a mask covers.


def num_frames(num_samples):
  """The number of windows that fit: ints, arrays or tensors."""
  fits = num_samples >= _WINDOW
  frames = (num_samples - _WINDOW) // _HOP + 1
  return tf.where(fits, frames, 0) if tf.is_tensor(frames) else frames * fits


def log_mel(
    audio: tf.Tensor, num_samples: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """Computes logarithms of the energies in 80 mel bands.

  Args:
    audio: Samples at 16 kHz, int16 [batch, samples], padded.
    num_samples: Their lengths, int32 [batch].

  Returns:
    The features, float32 [batch, frames, NUM_BINS], and the numbers of frames,
    int32 [batch].
  """
  # Padded to at least one window, since there must be a frame.
  short = tf.maximum(0, _WINDOW - tf.shape(audio)[1])
  samples = tf.pad(tf.cast(audio, tf.float32) / 2**15, [[0, 0], [0, short]])
  spectra = tf.signal.stft(samples, _WINDOW, _HOP, fft_length=_FFT)
  mel = tf.signal.linear_to_mel_weight_matrix(
      NUM_BINS, _FFT // 2 + 1, SAMPLE_RATE, *_HERTZ
  )
  energies = tf.matmul(tf.square(tf.abs(spectra)), mel)
  return tf.math.log(energies + _LEAST_ENERGY), num_frames(num_samples)


def normalize(features: tf.Tensor, num_frames: tf.Tensor) -> tf.Tensor:
  """Scales each feature to mean 0 and variance 1 in each utterance.

  This removes what is constant in an utterance: loudness and the microphone.
  Padding becomes 0.

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
  """Masks random bands and stretches of time (SpecAugment [1]).

  Args:
    features: Normalized features, float32 [batch, frames, features].
    num_frames: Their lengths, int32 [batch].
    seed: Seed of the masks, int32 [2].
  """
  batch, frames, bins = tf.unstack(tf.shape(features))
  # Two numbers for each mask of each axis: its width and its place.
  draws = tf.random.stateless_uniform([2, 2, _MASKS, batch, 1], seed)

  def kept(size, length, most, draws):
    """Whether no mask covers a position, bool [batch, size]."""
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
