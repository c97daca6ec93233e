# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text to sentences, and sentences to words.

Words are made as in TFF's Stack Overflow: lower case, HTML unescaped, addresses
replaced by `<URL>`, punctuation apart but for apostrophes and hyphens within a
word. Letters beyond ASCII stay, which TFF's data have lost.
"""

import html
import re

_ADDRESS = re.compile(r'\b(?:https?://|www\.)[^\s<>()]*[^\s<>().,;:!?]')
_WORD = re.compile(r"<URL>|\w+(?:['-]\w+)*|[^\w\s]")
_APOSTROPHES = str.maketrans('‘’`´', "''''")
# A paragraph's end, or that of a sentence before something that begins one.
_BETWEEN = re.compile(r'\n\s*\n|(?<=[.!?])\s+(?=["\'(]?[^\W\d_a-z])')


def split_sentences(text: str) -> list[str]:
  """The sentences of a text, on one line each, none of them empty."""
  sentences = (' '.join(part.split()) for part in _BETWEEN.split(text))
  return [sentence for sentence in sentences if sentence]


def to_words(sentence: str) -> list[str]:
  """The words of a sentence; none if there is nothing in it."""
  sentence = html.unescape(sentence).translate(_APOSTROPHES).lower()
  return _WORD.findall(_ADDRESS.sub(' <URL> ', sentence))
