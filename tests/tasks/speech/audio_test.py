# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Recordings of all kinds become samples at 16 kHz."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import soundfile

from tasks.speech import audio as audio_lib
from tff_partial import errors


def tone(rate, seconds=0.5, hertz=440):
  return 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate * seconds) / rate)


class AudioTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def read(self, name, samples, rate, **kwargs):
    self.notes = []
    path = os.path.join(self.folder, name)
    soundfile.write(path, samples, rate, **kwargs)
    return audio_lib.read(path, note_fn=self.notes.append)

  @parameterized.parameters(
      ('a.wav', 8_000, {}, 1e-3),
      ('a.wav', 44_100, {}, 1e-3),
      ('a.flac', 48_000, {}, 1e-3),
      # As integers, samples stored as floats would be 0.
      ('a.wav', 16_000, {'subtype': 'FLOAT'}, 1e-4),
      ('a.wav', 16_000, {'subtype': 'PCM_24'}, 1e-4),
      ('a.wav', 16_000, {'subtype': 'ULAW'}, 0.05),
      ('a.mp3', 44_100, {}, 0.05),
      ('a.ogg', 16_000, {}, 0.05),
  )
  def test_formats_and_rates(self, name, rate, kwargs, error):
    audio = self.read(name, tone(rate), rate, **kwargs)
    self.assertEqual(audio.dtype, np.int16)
    if not name.endswith('.mp3'):  # Which adds a little at both ends.
      self.assertLen(audio, 8_000)
    # Without the ends, which depend on the resampler.
    middle = slice(2_000, 6_000)
    np.testing.assert_allclose(
        audio[middle] / 2**15, tone(16_000)[middle], atol=error
    )
    self.assertEqual(
        self.notes,
        [] if rate == 16_000 else [f'recordings at {rate:,} Hz, resampled'],
    )

  @parameterized.parameters(16_000, 8_000)
  def test_header_that_claims_too_many_samples(self, rate):
    self.read('a.flac', tone(rate), rate)
    path = os.path.join(self.folder, 'a.flac')
    with open(path, 'r+b') as f:
      f.seek(21)  # The last 36 bits of 18 bytes are the number of samples.
      byte = f.read(1)[0]
      f.seek(21)
      f.write(bytes([byte | 0x0F, 255, 255, 255, 255]))
    # Read at once, they would take 128 GiB.
    with self.assertRaisesRegex(errors.DataError, r'a\.flac'):
      audio_lib.read(path)

  def test_channels_are_averaged(self):
    left = np.full(100, 1_000, np.int16)
    audio = self.read('a.wav', np.stack([left, 3 * left], 1), 16_000)
    np.testing.assert_array_equal(audio, np.full(100, 2_000))
    self.assertEqual(self.notes, ['recordings with 2 channels, averaged'])

  def test_samples_at_16_khz_stay_as_they_are(self):
    samples = np.array([-(2**15), -1, 0, 1, 2**15 - 1], np.int16)
    np.testing.assert_array_equal(self.read('a.flac', samples, 16_000), samples)

  def test_empty_recording(self):
    self.assertEmpty(self.read('a.wav', np.zeros([0, 2]), 8_000))

  def test_no_audio(self):
    path = os.path.join(self.folder, 'a.wav')
    with self.assertRaisesRegex(OSError, 'Expected a file .*a.wav'):
      audio_lib.read(path)
    with open(path, 'w') as f:
      f.write('text')
    with self.assertRaisesRegex(ValueError, 'Expected audio in .*a.wav'):
      audio_lib.read(path)

  def test_finds_files_without_suffix(self):
    path = os.path.join(self.folder, 'a.mp3')
    self.read('a.mp3', tone(16_000), 16_000)
    self.assertEqual(audio_lib.find(path), path)
    self.assertEqual(audio_lib.find(path[:-4]), path)
    self.assertIsNone(audio_lib.find(path[:-1]))


if __name__ == '__main__':
  absltest.main()
