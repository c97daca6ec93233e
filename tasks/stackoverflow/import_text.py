# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports text by person from JSON lines: one object for each text.

{"user": "ann", "date": "2014-01-22T04:00:55", "text": "Some text. More."}
"""

import collections
from collections.abc import Iterator
import datetime
import gzip
import json
import os
from typing import Any, Optional

import numpy as np

from tff_partial import errors
from tff_partial.data import people as people_lib
from tff_partial.data import tally

from . import text as text_lib
from . import vocabulary


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
      help='field that says when it was written; if given, the latest texts of'
      ' each person are for testing',
  )
  parser.set_defaults(
      read=lambda args: read_jsonl(
          args.source, text=args.text, person=args.person, date=args.date
      )
  )


def read_jsonl(
    path: str, *, text: str, person: str, date: Optional[str] = None
) -> people_lib.ClientSource:
  """Reads the sentences of a file of JSON lines, by who wrote them.

  The sentences of one line are either all for training or all for testing. The
  whole text is in memory while it is read.

  Args:
    path: A file in UTF-8, which may be compressed (`.gz`).
    text: The field of the text, or of a list of sentences.
    person: The field that says who wrote it, text or an integer.
    date: The field that says when it was written, ISO 8601 or seconds since
      1970. If given, the latest texts of each person are for testing.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If a line is not as expected, giving its number, or if the
      file has no text.
  """
  left_out = tally.Tally()
  written = collections.defaultdict(list)  # By person: (time, sentences).
  for number, line in _lines(path):
    where = f'in line {number} of {path}'
    fields = _parse(line, where)
    for name in filter(None, (text, person, date)):
      if name not in fields:
        raise errors.DataError(
            f'Expected a field {name!r} {where}, found {sorted(fields)}. Name'
            ' the fields with `text`, `person` and `date`.'
        )
    name = fields[person]
    if isinstance(name, bool) or not isinstance(name, (str, int)) or name == '':
      raise errors.DataError(
          f'Expected a name in {person!r} {where}, found {name!r}.'
      )
    sentences = []
    for sentence in _sentences(fields[text], f'in {text!r} {where}'):
      words = text_lib.to_words(sentence)
      if words:
        sentences.append(' '.join(words))
      else:
        left_out.add('empty sentences', where)
    if sentences:
      when = _time(fields[date], f'in {date!r} {where}') if date else number
      written[str(name)].append((when, sentences))
  if not written:
    raise errors.DataError(
        f'Expected text in {path}, found none. Left out:'
        f' {tally.format_line(left_out) or "nothing"}.'
    )
  return people_lib.ClientSource(
      features=vocabulary.FEATURES,
      num_people=len(written),
      examples=((name, _by_time(written[name])) for name in sorted(written)),
      left_out=left_out,
      together='line',
      in_order=date is not None,
      finish_fn=vocabulary.write,
  )


def _by_time(texts: list[tuple[float, list[str]]]) -> dict[str, Any]:
  """A person's sentences in order of time, and the line that each is from."""
  texts = sorted(texts, key=lambda t: t[0])  # Ties stay in the file's order.
  return {
      'tokens': [sentence for _, sentences in texts for sentence in sentences],
      'line': np.repeat(
          np.arange(len(texts)), [len(sentences) for _, sentences in texts]
      ),
  }


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
  """Yields the lines that are not empty, with their numbers from 1."""
  if not os.path.isfile(path):
    raise errors.MissingFileError(f'Expected a file {path}, found none.')
  with gzip.open(path) if path.endswith('.gz') else open(path, 'rb') as f:
    try:
      for number, line in enumerate(f, start=1):
        if line.strip():
          yield number, line
    except (gzip.BadGzipFile, EOFError) as e:
      raise errors.DataError(
          f'Expected a gzip file in {path}, found something else, or a file'
          f' that was cut short: {e}.'
      ) from e


def _parse(line: bytes, where: str) -> dict[str, Any]:
  try:
    fields = json.loads(line.decode())
  except UnicodeDecodeError as e:
    raise errors.DataError(f'Expected UTF-8 text {where}, found {e}.') from e
  except json.JSONDecodeError as e:
    raise errors.DataError(f'Expected a JSON object {where}, found {e}.') from e
  if not isinstance(fields, dict):
    raise errors.DataError(
        f'Expected a JSON object {where}, found a {type(fields).__name__}.'
    )
  return fields


def _sentences(value: Any, where: str) -> list[str]:
  if isinstance(value, str):
    return text_lib.split_sentences(value)
  if isinstance(value, list) and all(isinstance(v, str) for v in value):
    return value
  raise errors.DataError(
      f'Expected text or a list of sentences {where}, found'
      f' {type(value).__name__}.'
  )


def _time(value: Any, where: str) -> float:
  """Converts to seconds since 1970; a date without a time zone is in UTC."""
  if isinstance(value, (int, float)) and not isinstance(value, bool):
    return float(value)
  try:
    time = datetime.datetime.fromisoformat(value)
  except (TypeError, ValueError) as e:
    raise errors.DataError(
        f'Expected a date such as 2014-01-22T04:00:55 {where}, found'
        f' {value!r}.'
    ) from e
  if time.tzinfo is None:
    time = time.replace(tzinfo=datetime.UTC)
  return time.timestamp()
