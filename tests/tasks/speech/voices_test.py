# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Synthesized voices: reproducible bytes, and audible speech."""

import os
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from tasks.speech import espeak
from tasks.speech import voices
from tff_partial import errors
from tff_partial.data import client_data


def make(test, **kwargs):
  cache_dir = tempfile.TemporaryDirectory()
  test.addCleanup(cache_dir.cleanup)
  return voices.create_voices(
      cache_dir.name, num_speakers=4, num_utterances=5, **kwargs
  )


def read_bytes(folder):
  return [
      pathlib.Path(folder, name).read_bytes()
      for name in sorted(os.listdir(folder))
      if name != '.lock'
  ]


class VoicesTest(absltest.TestCase):

  def test_the_same_seed_makes_the_same_bytes(self):
    first = read_bytes(make(self))
    self.assertLen(first, 3)  # With a list of the other two.
    self.assertEqual(first, read_bytes(make(self)))
    self.assertNotEqual(first, read_bytes(make(self, seed=1)))

  def test_speakers_speak(self):
    train, test = client_data.open_folder(make(self))
    self.assertLen(train.client_ids, 4)
    for client_id in train.client_ids:
      self.assertEqual(test.num_examples(client_id), 1)
      examples = train.read(client_id)
      self.assertLen(examples['transcript'], 4)
      for audio, transcript in zip(examples['audio'], examples['transcript']):
        self.assertEqual(audio.dtype, np.int16)
        # From 5 to 30 characters per second.
        self.assertBetween(len(transcript) / (len(audio) / 16_000), 1, 30)
        self.assertBetween(np.abs(audio.astype(int)).max(), 1000, 2**15 - 1)

  def test_engine_has_every_voice(self):
    every = [f'{accent}+m1' for accent in voices._ACCENTS]
    every += [f'en+{variant}' for variant in voices._VARIANTS]
    spoken = espeak.synthesize(
        espeak.Utterance(voice, 170, 50, 'yes') for voice in every
    )
    for voice, audio in zip(every, spoken):
      # 'Yes' takes from 0.1 to 1.5 s.
      self.assertBetween(len(audio) / espeak.SAMPLE_RATE, 0.1, 1.5, voice)

  def test_unknown_voice(self):
    with self.assertRaisesRegex(errors.WorkerError, 'failed to say .*nobody'):
      list(espeak.synthesize([espeak.Utterance('nobody', 170, 50, 'yes')]))


if __name__ == '__main__':
  absltest.main()
