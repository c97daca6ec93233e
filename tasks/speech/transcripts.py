# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rule by which transcripts are brought into a recognizer's characters.

Letters become capitals, typographic apostrophes become plain ones, and every
other mark of punctuation becomes a space. What is spoken but not spelled is
refused: digits, and signs such as % and &. So are brackets other than round
ones, which mark noises in many corpora, and letters beyond A to Z.
"""

import unicodedata

from . import ctc

_APOSTROPHES = str.maketrans('‘’`´ʼ', "'''''")
_KEPT = frozenset("'%&@#*/\\[]{}")  # Punctuation that is not replaced.


def normalize(transcript: str) -> str:
  """Applies the rule; what is refused remains."""
  text = unicodedata.normalize('NFC', transcript).translate(_APOSTROPHES)
  return ctc.normalize(''.join(' ' if _is_punctuation(c) else c for c in text))


def has_punctuation(transcript: str) -> bool:
  """Whether the rule replaces marks of punctuation."""
  return any(map(_is_punctuation, transcript.translate(_APOSTROPHES)))


def why_refused(transcript: str) -> str:
  """Says what is wrong with a normalized transcript; empty if nothing is."""
  if not transcript:
    return 'utterances without words'
  if any(c.isdecimal() for c in transcript):
    return 'utterances with digits, which must be written as words'
  if ctc.unknown_characters(transcript):
    return 'utterances with characters other than letters and apostrophes'
  return ''


def _is_punctuation(character: str) -> bool:
  return character not in _KEPT and unicodedata.category(character)[0] == 'P'
