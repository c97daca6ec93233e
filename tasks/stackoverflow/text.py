# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Splits text into sentences, and sentences into words.

Words are as in TFF's Stack Overflow: lower case, HTML unescaped, addresses
replaced by `<URL>`, and punctuation separated, except for apostrophes and
hyphens within a word. Letters beyond ASCII are kept, which TFF's data lack.
"""

import html
import re

_ADDRESS = re.compile(r'\b(?:https?://|www\.)[^\s<>()]*[^\s<>().,;:!?]')
_WORD = re.compile(r"<URL>|\w+(?:['-]\w+)*|[^\w\s]")
_APOSTROPHES = str.maketrans('‘’`´', "''''")
# The end of a paragraph, or of a sentence before the start of another one.
_BETWEEN = re.compile(r'\n\s*\n|(?<=[.!?])\s+(?=["\'(]?[^\W\d_a-z])')


def split_sentences(text: str) -> list[str]:
  """Returns the sentences of a text, each on one line and none empty."""
  sentences = (' '.join(part.split()) for part in _BETWEEN.split(text))
  return [sentence for sentence in sentences if sentence]


def to_words(sentence: str) -> list[str]:
  """Returns the words of a sentence; none if it is empty."""
  sentence = html.unescape(sentence).translate(_APOSTROPHES).lower()
  return _WORD.findall(_ADDRESS.sub(' <URL> ', sentence))
