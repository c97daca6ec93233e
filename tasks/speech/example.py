# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Transcribes a recording. Needs TensorFlow and this folder alone.

python example.py speech.wav
"""

import itertools
import json
import pathlib
import sys

import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent
RATE = 16_000  # Samples per second.


def read(path: str) -> tf.Tensor:
  """Reads a WAV file of 16 bits and 16 kHz, int16 [samples]."""
  samples, rate = tf.audio.decode_wav(tf.io.read_file(path), 1)
  if rate != RATE:
    sys.exit(f'Expected {RATE} samples per second in {path}, found {rate}.')
  return tf.cast(tf.round(samples[:, 0] * 2**15), tf.int16)


def main(path: str) -> None:
  model = tf.saved_model.load(str(FOLDER / 'saved_model'))
  signal = read(path)
  outputs = model.signatures['raw'](
      signal=signal[tf.newaxis], length=tf.shape(signal)
  )
  frames = int(outputs['num_frames'][0])
  best = tf.argmax(outputs['logits'][0, :frames], -1).numpy()
  description = json.loads((FOLDER / 'export.json').read_text('utf-8'))
  characters = description['classes']
  # The last class is the blank, which separates equal letters.
  text = ''.join(
      characters[i]
      for i, _ in itertools.groupby(best)
      if i != len(characters) - 1
  )
  print(' '.join(text.split()))  # Single spaces between words.


if __name__ == '__main__':
  main(*sys.argv[1:])
