# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Voices: synthetic speakers who say short sentences.

They demonstrate speech recognition by speaker and are no evidence; findings
come from real people's data. Each speaker has an accent, a voice, a pitch, a
rate of speech, and a microphone with its own tone and noise. Sentences consist
of digits, letters and a hundred common words.

Audio is int16 at 16 kHz. Nothing is downloaded, and the same seed makes the
same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Optional

import numpy as np
from scipy import signal

from tff_partial.data import cached_folder
from tff_partial.data import people as people_lib
from tff_partial.data import tally

from . import espeak
from . import import_speech

_VERSION = 1  # Must be raised with any change to the data.
_ACCENTS = (
    'en',
    'en-029',
    'en-gb-scotland',
    'en-gb-x-gbclan',
    'en-gb-x-rp',
    'en-us',
    'en-us-nyc',
)
# The engine's variants that sound like people.
_VARIANTS = (
    *(f'f{i}' for i in range(1, 6)),
    *(f'm{i}' for i in range(1, 9)),
    *('klatt', 'klatt2', 'klatt3', 'klatt4'),
    *('adam', 'Alex', 'Alicia', 'Andrea', 'Andy', 'anika', 'Annie', 'antonio'),
    *('belinda', 'benjamin', 'boris', 'caleb', 'david', 'Denis', 'Diogo', 'ed'),
    *('edward', 'Gene', 'grandma', 'grandpa', 'Henrique', 'Hugo', 'iven'),
    *('Jacky', 'john', 'kaukovalta', 'Lee', 'linda', 'marcelo', 'Marco'),
    *('Mario', 'max', 'Michael', 'michel', 'miguel', 'Mike', 'Nguyen'),
    *('norbert', 'pablo', 'paul', 'pedro', 'quincy', 'rob', 'robert'),
    *('sandro', 'shelby', 'steph', 'travis', 'victor', 'zac'),
)
_DIGITS = 'ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE'.split()
_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
# Words that fill the gaps of the sentences below.
_WORDS = {
    'verb': 'OPEN CLOSE START STOP FIND SHOW MOVE KEEP CHECK PAINT'.split(),
    'color': 'RED GREEN BLUE WHITE BLACK YELLOW BROWN GREY'.split(),
    'thing': (
        'DOOR WINDOW LAMP TABLE CHAIR BOX BOOK LETTER PHONE BASKET CLOCK'
    ).split(),
    'place': (
        'KITCHEN GARDEN OFFICE HALL BATHROOM STREET SCHOOL MARKET STATION'
    ).split(),
    'name': 'ANNA JOHN SARAH PETER MARY DAVID LUCY GEORGE EMMA THOMAS'.split(),
    'day': (
        'MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY TOMORROW'
    ).split(),
    'verb_to': 'CALL ASK TELL HELP MEET VISIT'.split(),
}
_SENTENCES = (
    '{verb} THE {color} {thing}',
    '{verb} THE {thing} IN THE {place}',
    'THE {color} {thing} IS IN THE {place}',
    '{verb_to} {name} ON {day}',
    '{verb_to} {name} AT {digit} IN THE {place}',
    '{name} HAS {digit} {color} BOXES',
    'WHERE IS THE {thing}',
    'IT IS {digit} {digit} ON {day}',
)
# Fractions of the utterances that spell or count; the others are sentences.
_SPELT, _NUMBERS = 0.2, 0.3


class Speaker(NamedTuple):
  """A speaker.

  Attributes:
    voice: Accent and variant, by the engine's names.
    rate: Words per minute.
    pitch: The pitch, from 0 to 99.
    tone: Fraction of each sample that is subtracted from the next one. Above 0
      the microphone sounds bright, below 0 dull.
    noise: Standard deviation of the microphone's noise, in units of int16.
  """

  voice: str
  rate: int
  pitch: int
  tone: float
  noise: float


def create_voices(
    cache_dir: Optional[str] = None,
    *,
    num_speakers: int = 80,
    num_utterances: int = 25,
    seed: int = 0,
) -> str:
  """Makes the speakers' utterances, unless the cache holds them.

  Args:
    cache_dir: Where to keep them; see `cached_folder.cached_folder`.
    num_speakers: Number of speakers.
    num_utterances: Utterances per speaker. A fifth of them are for testing.
    seed: Determines everything.

  Returns:
    A folder with `train.sqlite` and `test.sqlite`, of the same speakers.

  Raises:
    errors.WorkerError: If the engine fails.
    OSError: If the folder cannot be written.
  """
  left_out = tally.Tally()
  people = people_lib.ClientSource(
      features=import_speech.AUDIO_FEATURES,
      num_people=num_speakers,
      examples=_speak(num_speakers, num_utterances, seed, left_out),
      left_out=left_out,
  )
  return cached_folder.cached_folder(
      f'voices-{_VERSION}-{num_speakers}-{num_utterances}-{seed}',
      lambda folder: people_lib.write_folder(people, folder, seed=seed),
      cache_dir=cache_dir,
  )


def _speak(
    num_speakers: int,
    num_utterances: int,
    seed: int,
    left_out: tally.Tally,
) -> Iterator[tuple[str, Mapping[str, Sequence]]]:
  """Yields the speakers' names and utterances."""
  rngs = [np.random.default_rng([seed, i]) for i in range(num_speakers)]
  speakers = [_create_speaker(rng) for rng in rngs]
  sentences = [
      [_create_sentence(rng) for _ in range(num_utterances)] for rng in rngs
  ]
  spoken = espeak.synthesize(
      espeak.Utterance(s.voice, s.rate, s.pitch, _as_spoken(sentence))
      for s, said in zip(speakers, sentences)
      for sentence in said
  )
  for i, (speaker, said, rng) in enumerate(zip(speakers, sentences, rngs)):
    audio = [_record(next(spoken), speaker, rng) for _ in said]
    name = f'voice_{i:03}'
    names = len(said) * [name]
    yield name, import_speech.keep_usable(zip(names, audio, said), left_out)


def _create_speaker(rng: np.random.Generator) -> Speaker:
  return Speaker(
      voice=f'{rng.choice(_ACCENTS)}+{rng.choice(_VARIANTS)}',
      rate=int(rng.integers(100, 171)),
      pitch=int(rng.integers(20, 81)),
      tone=rng.uniform(-0.6, 0.6),
      noise=rng.uniform(10, 300),
  )


def _create_sentence(rng: np.random.Generator) -> str:
  kind = rng.random()
  if kind < _SPELT:
    return 'SPELL ' + ' '.join(rng.choice(list(_LETTERS), rng.integers(3, 6)))
  if kind < _SPELT + _NUMBERS:
    return ' '.join(rng.choice(_DIGITS, rng.integers(3, 7)))
  words = {name: rng.choice(words) for name, words in _WORDS.items()}
  sentence = rng.choice(_SENTENCES)
  while '{digit}' in sentence:
    sentence = sentence.replace('{digit}', rng.choice(_DIGITS), 1)
  return sentence.format(**words)


def _as_spoken(sentence: str) -> str:
  """Writes letters so that the engine spells them: `a` would be an article."""
  words = sentence.lower().split()
  return ' '.join('ay' if word == 'a' else word for word in words)


def _record(
    spoken: np.ndarray, speaker: Speaker, rng: np.random.Generator
) -> np.ndarray:
  """Applies the speaker's microphone; returns int16 samples at 16 kHz."""
  audio = signal.resample_poly(spoken.astype(np.float64), 320, 441)
  audio[1:] -= speaker.tone * audio[:-1]
  audio += speaker.noise * rng.normal(size=len(audio))
  return np.clip(np.round(audio / 2), -(2**15), 2**15 - 1).astype(np.int16)
