# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Splits text into sentences, and sentences into words.

Words are as in TFF's Stack Overflow: lower case, HTML unescaped, addresses
replaced by `<URL>`, and punctuation separated, except for apostrophes and
hyphens within a word. Letters beyond ASCII are kept, which TFF's data lack.
Text is in Unicode's form NFC, and a word ends where Unicode's rules for words
[1] end it: vowel signs, accents and joiners belong to the letter before them.

Chinese, Japanese, Thai, Lao, Khmer and Burmese have no spaces between words.
They are cut at each character as readers see them, or kept as they are.

[1] Unicode Standard Annex 29. https://www.unicode.org/reports/tr29/
"""

from collections.abc import Iterable
import html
import re
import unicodedata

import regex

UNSPACED = ('characters', 'keep')  # What to do with scripts without spaces.

_ADDRESS = re.compile(r'\b(?:https?://|www\.)[^\s<>()]*[^\s<>().,;:!?]')
_APOSTROPHES = str.maketrans('‘’`´', "''''")
# The end of a paragraph, or of a sentence before the start of another one. Some
# scripts have full stops of their own, after which there may be no space.
_BETWEEN = re.compile(
    r'\n\s*\n|(?<=[.!?])\s+(?=["\'(]?[^\W\d_a-z])|(?<=[।॥۔؟])\s+'
    r'|(?<=[。！？])(?![。！？」』”）\s])|(?<=[。！？][」』”）])(?!\s)'
)

_NO_SPACES = (
    r'[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]'
)
_LETTER = r'[\p{L}\p{N}_]'
# Marks, joiners, and what stands between letters in Catalan and Hebrew.
_REST = r'(?:[\p{L}\p{N}_\p{M}\u200c\u200d]|(?<=\p{L})[·״׳](?=\p{L}))'


def _word_pattern(first: str, rest: str) -> regex.Pattern:
  """Matches a word, or one character as readers see it."""
  return regex.compile(
      rf"<URL>|{first}{rest}*(?:['-]{first}{rest}*)*|(?!\s)\X", regex.V1
  )


_WORD = {
    'keep': _word_pattern(_LETTER, _REST),
    'characters': _word_pattern(
        f'[{_LETTER}--{_NO_SPACES}]', f'(?:(?!{_NO_SPACES}){_REST})'
    ),
}
_IS_UNSPACED = regex.compile(_NO_SPACES)
_IS_LONG = regex.compile(rf'(?={_NO_SPACES})\X(?={_NO_SPACES})\X')


def split_sentences(text: str) -> list[str]:
  """Returns the sentences of a text, each on one line and none empty."""
  sentences = (' '.join(part.split()) for part in _BETWEEN.split(text))
  return [sentence for sentence in sentences if sentence]


def is_unspaced(text: str) -> bool:
  """Whether a text has letters of a script without spaces between words."""
  return _IS_UNSPACED.search(text) is not None


def unspaced_of(words: Iterable[str]) -> str:
  """The member of `UNSPACED` with which these words were made."""
  return 'keep' if any(map(_IS_LONG.search, words)) else 'characters'


def to_words(sentence: str, *, unspaced: str = 'characters') -> list[str]:
  """Returns the words of a sentence; none if it is empty.

  Args:
    sentence: Any text.
    unspaced: What to do with scripts without spaces between words: 'characters'
      makes a word of each character, 'keep' of all characters between spaces.
  """
  sentence = unicodedata.normalize('NFC', html.unescape(sentence))
  sentence = unicodedata.normalize(
      'NFC', sentence.translate(_APOSTROPHES).lower()
  )
  return _WORD[unspaced].findall(_ADDRESS.sub(' <URL> ', sentence))
