# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Words and their numbers, made from training text and stored with it.

Numbers are those of TFF's Stack Overflow task: 0 for padding, then the words
from the most common one, then one number for all other words, one for the start
of a sentence and one for its end.
"""

import collections
from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import os
from typing import Union

import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial import files
from tff_partial.data import sql_clients

FILE = 'vocabulary.txt'
# An example in a folder of text: a sentence, with spaces between words.
FEATURES = collections.OrderedDict(tokens=tf.TensorSpec([], tf.string))
PADDING = 0
_NUM_SPECIAL = 4


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """Words and their numbers.

  Attributes:
    words: The words numbered from 1, the most common first.
  """

  words: tuple[str, ...]

  def __post_init__(self):
    if not self.words:
      raise errors.DataError('Expected at least one word, found none.')
    if len(set(self.words)) < len(self.words):
      count = collections.Counter(self.words)
      raise errors.DataError(
          'Expected every word once, found'
          f' {count.most_common(1)[0][0]!r} again.'
      )

  @property
  def size(self) -> int:
    """The number of numbers, including the four that are not words."""
    return len(self.words) + _NUM_SPECIAL

  @property
  def other(self) -> int:
    """The number that stands for words outside the vocabulary."""
    return len(self.words) + 1

  @property
  def start(self) -> int:
    return len(self.words) + 2

  @property
  def end(self) -> int:
    return len(self.words) + 3

  @property
  def text(self) -> str:
    """The text of a file: one word per line."""
    return ''.join(f'{word}\n' for word in self.words)

  @property
  def digest(self) -> str:
    """A fingerprint of the words, on which models depend."""
    return hashlib.blake2b(self.text.encode(), digest_size=6).hexdigest()

  @functools.cached_property
  def _number_of(self) -> dict[str, int]:
    return {word: i + 1 for i, word in enumerate(self.words)}

  def encode(
      self,
      sentences: Union[Sequence[Union[str, bytes]], np.ndarray],
      length: int,
  ) -> np.ndarray:
    """Converts sentences to numbers: start, at most `length` words, and end.

    As in TFF's task, a sentence that was cut has no end.

    Args:
      sentences: Words with spaces between them, in UTF-8.
      length: The number of words to keep of each sentence.

    Returns:
      int32 [sentences, length + 1], padded.

    Raises:
      errors.DataError: If a sentence is not UTF-8, giving its position.
    """
    numbers = np.full([len(sentences), length + 1], PADDING, np.int32)
    get, other = self._number_of.get, self.other
    for i, sentence in enumerate(sentences):
      try:
        words = (
            sentence.decode() if isinstance(sentence, bytes) else sentence
        ).split()
      except UnicodeDecodeError as e:
        raise errors.DataError(
            f'Expected UTF-8 text in sentence {i}, found {e}.'
        ) from e
      row = [self.start, *(get(word, other) for word in words[:length])]
      if len(words) < length:
        row.append(self.end)
      numbers[i, : len(row)] = row
    return numbers


def load(folder: str) -> Vocabulary:
  """Reads the vocabulary of a folder.

  Raises:
    errors.MissingFileError: If there is none.
    errors.DataError: If it is not UTF-8 or has a word twice.
  """
  path = os.path.join(folder, FILE)
  if not os.path.isfile(path):
    raise errors.MissingFileError(
        f'Expected a vocabulary in {path}, found no such file. Import the text'
        ' again with "python -m tasks.import_client_data jsonl".'
    )
  try:
    with open(path, encoding='utf-8') as f:
      return Vocabulary(tuple(f.read().split()))
  except ValueError as e:  # A UnicodeDecodeError is one.
    raise errors.DataError(
        f'Expected UTF-8 text in {path}, one word per line. {e}'
    ) from e


def save(folder: str, vocabulary: Vocabulary) -> None:
  """Writes a vocabulary, all of it or nothing."""
  files.replace_text(os.path.join(folder, FILE), vocabulary.text)


def write(
    folder: str, *, min_people_per_word: int, max_words: int = 10_000
) -> int:
  """Makes the vocabulary of a folder's training text and writes it there.

  Words that most people use come first, and among them those used most often.

  Args:
    folder: A folder with `train.sqlite`.
    min_people_per_word: Words of fewer people are left out: names and numbers
      that only they use would be in every copy of the vocabulary.
    max_words: The number of words to keep.

  Returns:
    The number of words that were left out because too few people use them.

  Raises:
    errors.DataError: If the training text cannot be read, or enough people use
      no word.
    OSError: If the folder cannot be read or written.
  """
  people, uses = collections.Counter(), collections.Counter()
  clients = sql_clients.SqlClients(os.path.join(folder, 'train.sqlite'))
  for client_id in clients.client_ids:
    words = b' '.join(clients.read(client_id)['tokens']).decode().split()
    uses.update(words)
    people.update(set(words))
  kept = [word for word, n in people.items() if n >= min_people_per_word]
  if not kept:
    raise errors.DataError(
        f'Expected words that at least {min_people_per_word} people use, found'
        f' none among {len(clients.client_ids):,} people. Import text of more'
        ' people, or give a smaller `min_people_per_word` if nobody else will'
        ' see the vocabulary.'
    )
  ranked = sorted(kept, key=lambda word: (-people[word], -uses[word], word))
  save(folder, Vocabulary(tuple(ranked[:max_words])))
  return len(people) - len(kept)
