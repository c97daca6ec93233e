# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predicts the next word. Needs TensorFlow and this folder alone.

python example.py "how do i"
"""

import pathlib
import re
import sys

import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent
LENGTH = 20  # Words that the model reads, with the start of the sentence.


def main(sentence: str) -> None:
  words = (FOLDER / 'vocabulary.txt').read_text('utf-8').split()
  number = {word: i for i, word in enumerate(words, 1)}
  other, start = len(words) + 1, len(words) + 2
  found = re.findall(r"[\w'-]+|[^\w\s]", sentence.lower())
  tokens = [start, *(number.get(word, other) for word in found)][:LENGTH]
  model = tf.saved_model.load(str(FOLDER / 'saved_model'))
  logits = model.signatures['raw'](tokens=tf.constant([tokens]))['outputs']
  chances = tf.nn.softmax(logits[-1])  # After the last word.
  for i in tf.argsort(chances[1:other], direction='DESCENDING')[:3].numpy():
    print(f'{words[i]}\t{chances[i + 1]:.1%}')


if __name__ == '__main__':
  main(*sys.argv[1:])
