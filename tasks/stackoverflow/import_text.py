# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports text by person from JSON lines: one object for each text.

{"user": "ann", "date": "2014-01-22T04:00:55", "text": "Some text. More."}
"""

import codecs
import collections
from collections.abc import Iterator
import gzip
import json
import os
from typing import Any, NamedTuple, Optional
import zlib

import numpy as np

from tff_partial import errors
from tff_partial.data import people as people_lib
from tff_partial.data import tally

from . import dates
from . import text as text_lib
from . import vocabulary

ON_ERROR = ('stop', 'skip')


def add_parser(kinds: Any, **kwargs: Any) -> None:
  """Adds `jsonl` to the kinds of `tasks.import_client_data`.

  Args:
    kinds: What `ArgumentParser.add_subparsers` returned.
    **kwargs: Keyword arguments of every kind.
  """
  parser = kinds.add_parser(
      'jsonl', help='text, as one JSON object per line (.jsonl, .gz)', **kwargs
  )
  parser.add_argument(
      '--text',
      default='text',
      help='field of the text, or of a list of sentences; default: %(default)s',
  )
  parser.add_argument(
      '--person',
      default='person',
      help='field that says who wrote it; default: %(default)s',
  )
  parser.add_argument(
      '--date',
      help='field that says when it was written: ISO 8601, RFC 2822, or seconds'
      ' or milliseconds since 1970; if given, the latest texts of each person'
      ' are for testing',
  )
  parser.add_argument(
      '--on_error',
      choices=ON_ERROR,
      default='stop',
      help='what to do about a line that lacks a field or cannot be read; skip'
      ' leaves it out and counts it; default: %(default)s',
  )
  parser.add_argument(
      '--unspaced',
      choices=text_lib.UNSPACED,
      default='characters',
      help='what is a word in scripts without spaces, such as Chinese, Japanese'
      ' and Thai: each of the characters, or all between two spaces (keep);'
      ' default: %(default)s',
  )
  parser.add_argument(
      '--min_people_per_word',
      type=int,
      default=5,
      help='leave words that fewer people use out of the vocabulary, which'
      ' every run copies; default: %(default)s',
  )
  parser.set_defaults(
      read=lambda args: read_jsonl(
          args.source,
          text=args.text,
          person=args.person,
          date=args.date,
          on_error=args.on_error,
          unspaced=args.unspaced,
          min_people_per_word=args.min_people_per_word,
      )
  )


def read_jsonl(
    path: str,
    *,
    text: str,
    person: str,
    date: Optional[str] = None,
    on_error: str = 'stop',
    unspaced: str = 'characters',
    min_people_per_word: int = 5,
) -> people_lib.ClientSource:
  """Reads the sentences of a file of JSON lines, by who wrote them.

  The sentences of one line are either all for training or all for testing, and
  so are texts of one person that are the same. The whole text is in memory
  while it is read.

  Args:
    path: A file in UTF-8, which may be compressed (`.gz`).
    text: The field of the text, or of a list of sentences.
    person: The field that says who wrote it, text or an integer.
    date: The field that says when it was written; see `dates.parse`. If given,
      the latest texts of each person are for testing.
    on_error: What to do about a line that lacks a field or cannot be read:
      'stop' raises an error, 'skip' leaves it out and counts it.
    unspaced: What is a word in scripts without spaces; see `text.to_words`.
    min_people_per_word: Words of fewer people are not in the vocabulary.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.SettingsError: If `on_error` or `unspaced` is unknown, or
      `min_people_per_word` is below 1.
    errors.DataError: If a line is not as expected, giving its number, or if the
      file has no text.
  """
  for argument, value, choices in (
      ('on_error', on_error, ON_ERROR),
      ('unspaced', unspaced, text_lib.UNSPACED),
  ):
    if value not in choices:
      raise errors.SettingsError(
          f'Expected `{argument}` of {list(choices)}, found {value!r}.'
      )
  if min_people_per_word < 1:
    raise errors.SettingsError(
        'Expected `min_people_per_word` of at least 1, found'
        f' {min_people_per_word}.'
    )
  left_out, changed = tally.Tally(), tally.Tally()
  reader = _LineReader(text, person, date)
  written = collections.defaultdict(list)
  for number, line in _lines(path):
    where = f'in line {number} of {path}'
    try:
      name, when, spoken = reader.read(line, number, where)
    except _BadLineError as e:
      if on_error == 'stop':
        raise
      left_out.add(e.reason, where)
      continue
    sentences = _to_words(spoken, unspaced, where, left_out, changed)
    if sentences:
      written[name].append(_Text(when, number, sentences))
  if not written:
    raise errors.DataError(
        f'Expected text in {path}, found none. Left out:'
        f' {tally.format_line(left_out) or "nothing"}.'
    )

  def finish(folder: str) -> None:
    reason = f'words of fewer than {min_people_per_word} people'
    # None is given as an example: it may be a name or a telephone number.
    changed[f'{reason}, not in the vocabulary'] = vocabulary.write(
        folder, min_people_per_word=min_people_per_word
    )

  return people_lib.ClientSource(
      features=vocabulary.FEATURES,
      num_people=len(written),
      examples=(
          (name, _by_time(written[name], changed)) for name in sorted(written)
      ),
      left_out=left_out,
      changed=changed,
      together='line',
      in_order=date is not None,
      finish_fn=finish,
  )


def _to_words(
    spoken: list[str],
    unspaced: str,
    where: str,
    left_out: tally.Tally,
    changed: tally.Tally,
) -> list[str]:
  """Separates the words of sentences by spaces; leaves out empty ones."""
  sentences = []
  for sentence in spoken:
    words = text_lib.to_words(sentence, unspaced=unspaced)
    if not words:
      left_out.add('empty sentences', where)
      continue
    sentences.append(' '.join(words))
    if text_lib.is_unspaced(sentence):
      how = 'cut at each character' if unspaced == 'characters' else 'not cut'
      changed.add(
          f'sentences in a script without spaces, {how} (`unspaced`)', where
      )
  return sentences


class _Text(NamedTuple):
  """A person's text: its time, its line and its sentences."""

  when: float
  number: int
  sentences: list[str]


def _by_time(texts: list[_Text], changed: tally.Tally) -> dict[str, Any]:
  """A person's sentences in order of time, and the line that each is from."""
  texts = sorted(texts, key=lambda t: t.when)  # Ties stay in the file's order.
  lines = people_lib.number_by_first(
      (tuple(t.sentences) for t in texts),
      [f'line {t.number}' for t in texts],
      changed,
  )
  return {
      'tokens': [sentence for t in texts for sentence in t.sentences],
      'line': np.repeat(lines, [len(t.sentences) for t in texts]),
  }


class _BadLineError(errors.DataError):
  """A line that cannot be used, and the reason under which it is counted."""

  def __init__(self, reason: str, message: str):
    super().__init__(
        f'{message} Correct the line, or leave out such lines with'
        ' `on_error`=skip.'
    )
    self.reason = reason


class _LineReader:
  """Reads who wrote a line, when, and its sentences."""

  def __init__(self, text: str, person: str, date: Optional[str]):
    self._text, self._person, self._date = text, person, date
    self._unit = ''  # Of dates that are numbers, and the line of the first one.
    self._unit_from = ''

  def read(
      self, line: bytes, number: int, where: str
  ) -> tuple[str, float, list[str]]:
    """Reads a line.

    Args:
      line: One line of the file.
      number: Its number, which is its time if there are no dates.
      where: Names the line in errors.

    Raises:
      _BadLineError: If the line cannot be used.
    """
    fields = _parse(line, where)
    for field in filter(None, (self._text, self._person, self._date)):
      if fields.get(field) is None:
        found = 'null' if field in fields else str(sorted(fields))
        raise _BadLineError(
            f'lines without {field!r}',
            f'Expected a field {field!r} {where}, found {found}. Name the'
            ' fields with `text`, `person` and `date`.',
        )
      _check_characters(fields[field], field, where)
    name = fields[self._person]
    if (
        isinstance(name, bool)
        or not isinstance(name, (str, int))
        or not people_lib.person_name(name)
    ):
      raise _BadLineError(
          f'lines without a name in {self._person!r}',
          f'Expected a name in {self._person!r} {where}, found {name!r}.',
      )
    sentences = _sentences(fields[self._text], self._text, where)
    when = float(number)
    if self._date:
      when = self._time(fields[self._date], where)
    return people_lib.person_name(name), when, sentences

  def _time(self, value: Any, where: str) -> float:
    """Seconds since 1970; all numbers of a file must have the same unit."""
    try:
      date = dates.parse(value)
    except errors.DataError as e:
      raise _BadLineError(
          f'lines with a {self._date!r} that cannot be read',
          f'In {self._date!r} {where}: {e}',
      ) from e
    if date.unit and not self._unit:
      self._unit, self._unit_from = date.unit, where
    if date.unit and date.unit != self._unit:
      raise _BadLineError(
          f'lines with a {self._date!r} in another unit',
          f'Expected {self._unit} since 1970 in {self._date!r} {where}, as'
          f' {self._unit_from}, found {value!r}, which are {date.unit}.',
      )
    return date.seconds


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
  """Yields the lines that are not empty, with their numbers from 1."""
  if not os.path.isfile(path):
    raise errors.MissingFileError(f'Expected a file {path}, found none.')
  with gzip.open(path) if path.endswith('.gz') else open(path, 'rb') as f:
    try:
      for number, line in enumerate(f, start=1):
        line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
          yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
      raise errors.DataError(
          f'Expected a gzip file in {path}, found something else, or a file'
          f' that was cut short: {e}.'
      ) from e


def _parse(line: bytes, where: str) -> dict[str, Any]:
  try:
    fields = json.loads(line.decode())
  except UnicodeDecodeError as e:
    raise _BadLineError(
        'lines that are not UTF-8', f'Expected UTF-8 text {where}, found {e}.'
    ) from e
  # A number of thousands of digits is a ValueError too.
  except (ValueError, RecursionError) as e:
    raise _BadLineError(
        'lines that are not JSON objects',
        f'Expected a JSON object {where}, found {e}.',
    ) from e
  if not isinstance(fields, dict):
    raise _BadLineError(
        'lines that are not JSON objects',
        f'Expected a JSON object {where}, found a {type(fields).__name__}.',
    )
  return fields


def _check_characters(value: Any, field: str, where: str) -> None:
  """Checks that text can be stored: JSON may escape half of a character."""
  for part in value if isinstance(value, list) else [value]:
    if isinstance(part, str):
      try:
        part.encode()
      except UnicodeEncodeError as e:
        raise _BadLineError(
            'lines with a lone surrogate',
            f'Expected whole characters in {field!r} {where}, found'
            f' {part[e.start]!r}, which is half of one (a lone surrogate).',
        ) from e


def _sentences(value: Any, field: str, where: str) -> list[str]:
  """The sentences of a field."""
  if isinstance(value, str):
    sentences = text_lib.split_sentences(value)
  elif isinstance(value, list) and all(isinstance(v, str) for v in value):
    sentences = value
  else:
    raise _BadLineError(
        f'lines without text in {field!r}',
        f'Expected text or a list of sentences in {field!r} {where}, found'
        f' {type(value).__name__}.',
    )
  return sentences
