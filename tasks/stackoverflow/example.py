# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predicts the next word. Needs TensorFlow and this folder alone.

python example.py "how do i"
"""

from collections.abc import Collection
import html
import pathlib
import re
import sys
import unicodedata

import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent
LENGTH = 20  # Words that the model reads, with the start of the sentence.
ADDRESS = re.compile(r'\b(?:https?://|www\.)[^\s<>()]*[^\s<>().,;:!?]')
APOSTROPHES = str.maketrans('‘’`´', "''''")
# Scripts without spaces between words, by the names of their characters.
UNSPACED = ('CJK', 'HIRAGANA', 'KATAKANA', 'THAI', 'LAO', 'KHMER', 'MYANMAR')


def is_letter(char: str) -> bool:
  return char == '_' or unicodedata.category(char)[0] in 'LN'


def is_mark(char: str) -> bool:
  """Whether a character belongs to the one before it."""
  is_joiner, is_skin_tone = char in '\u200c\u200d', '🏻' <= char <= '🏿'
  return unicodedata.category(char)[0] == 'M' or is_joiner or is_skin_tone


def is_unspaced(char: str) -> bool:
  return is_letter(char) and unicodedata.name(char, '').startswith(UNSPACED)


def to_words(sentence: str, vocabulary: Collection[str]) -> list[str]:
  """Cuts a sentence as the sentences were that the model was trained on."""
  # Either each letter of such scripts is a word, or all between two spaces.
  one_by_one = not any(sum(map(is_unspaced, word)) > 1 for word in vocabulary)
  alone = lambda char: one_by_one and is_unspaced(char)
  text = unicodedata.normalize('NFC', html.unescape(sentence))
  text = unicodedata.normalize('NFC', text.translate(APOSTROPHES).lower())
  found: list[str] = []
  in_word = False  # Whether a letter would go on with the last word.
  text = ADDRESS.sub(' <URL> ', text)
  for i, char in enumerate(text):
    following = text[i + 1 : i + 2]
    if char.isspace():
      in_word = False
    elif is_mark(char) and i and not text[i - 1].isspace():
      found[-1] += char
    elif not in_word and found and found[-1][-1] == '\u200d':
      found[-1] += char  # Pictures that make one.
    elif is_letter(char) and not alone(char):
      if in_word:
        found[-1] += char
      else:
        found.append(char)
      in_word = True
    elif (
        char in "'-·״׳"
        and in_word
        and following
        and is_letter(following)
        and not alone(following)
    ):
      found[-1] += char
    else:
      found.append(char)
      in_word = False
  # An address was cut into its brackets and its letters.
  joined = '\n'.join(found).replace('<\nURL\n>', '<URL>')
  return joined.split('\n') if found else []


def main(sentence: str) -> None:
  words = (FOLDER / 'vocabulary.txt').read_text('utf-8').split()
  number = {word: i for i, word in enumerate(words, 1)}
  other, start = len(words) + 1, len(words) + 2
  read = to_words(sentence, words)[1 - LENGTH :]  # The last ones.
  tokens = [start, *(number.get(word, other) for word in read)]
  model = tf.saved_model.load(str(FOLDER / 'saved_model'))
  logits = model.signatures['raw'](tokens=tf.constant([tokens]))['outputs']
  chances = tf.nn.softmax(logits[-1])  # After the last word.
  for i in tf.argsort(chances[1:other], direction='DESCENDING')[:3].numpy():
    print(f'{words[i]}\t{chances[i + 1]:.1%}')


if __name__ == '__main__':
  main(*sys.argv[1:])
