# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports speech that a table lists: file, transcript and speaker of each.

Common Voice's tables are of this kind, and one is soon made of VCTK's folders.
"""

import collections
from collections.abc import Iterator, Mapping, Sequence
import os
from typing import Any, Optional

from tff_partial import errors
from tff_partial import files
from tff_partial.data import people as people_lib
from tff_partial.data import tables
from tff_partial.data import tally

from . import audio as audio_lib
from . import import_speech

# Usual names of the columns, the project's own first. Common Voice has
# client_id and sentence.
_USUAL = {
    'path': ('path', 'file', 'filename', 'audio', 'wav'),
    'transcript': ('transcript', 'sentence', 'text', 'transcription'),
    'person': ('speaker', 'person', 'client_id', 'speaker_id'),
}


def add_parser(kinds: Any, **kwargs: Any) -> None:
  """Adds `speech` to the kinds of `tasks.import_client_data`.

  Args:
    kinds: What `ArgumentParser.add_subparsers` returned.
    **kwargs: Keyword arguments of every kind.
  """
  parser = kinds.add_parser(
      'speech',
      help='speech in WAV, MP3 or FLAC files, with a table (.csv, .tsv) of'
      ' files, transcripts and speakers',
      description='Transcripts are written in capitals; punctuation other than'
      ' apostrophes becomes spaces. Utterances with digits, signs or letters'
      ' other than A to Z are left out.',
      **kwargs,
  )
  parser.add_argument(
      '--folder',
      type=os.path.expanduser,
      help="folder of the files; default: the table's folder, or clips in it",
  )
  for argument, what in (
      ('path', 'column of file names'),
      ('transcript', 'column of transcripts'),
      ('person', 'column that says who speaks'),
  ):
    usual = ', '.join(_USUAL[argument])
    parser.add_argument(
        f'--{argument}', help=f'{what}; default: the first of {usual}'
    )
  parser.set_defaults(
      read=lambda args: read(
          args.source,
          folder=args.folder,
          path=args.path,
          transcript=args.transcript,
          person=args.person,
      )
  )


def read(
    source: str,
    *,
    folder: Optional[str] = None,
    path: Optional[str] = None,
    transcript: Optional[str] = None,
    person: Optional[str] = None,
) -> people_lib.ClientSource:
  """Reads the recordings that a table lists, by speaker.

  Recordings of any rate and number of channels are converted to 16 kHz and one
  channel, and counted. Transcripts are normalized by the rule of
  `transcripts`.

  Args:
    source: A CSV or TSV file with one line per recording.
    folder: The folder of the recordings; `None` means the folder of the table,
      or `clips` in it.
    path: The column of file names, with or without a suffix. `None` means the
      first column with a usual name, as for the others.
    transcript: The column of transcripts.
    person: The column that says who speaks.

  Raises:
    errors.MissingFileError: If the table or the folder is not there.
    errors.DataError: If the table lacks a column, or has no rows with a
      speaker.
  """
  table = tables.read(source)
  if folder is not None and not os.path.isdir(folder):
    raise errors.MissingFileError(f'Expected a folder {folder}, found none.')
  here = os.path.dirname(source)
  folders = [folder] if folder else [here, os.path.join(here, 'clips')]
  columns = {
      argument: _column(table, argument, named)
      for argument, named in (
          ('path', path),
          ('transcript', transcript),
          ('person', person),
      )
  }
  left_out, changed = tally.Tally(), tally.Tally()
  by_speaker = collections.defaultdict(list)
  for number, row in enumerate(table.rows, start=1):
    speaker = people_lib.person_name(row[columns['person']])
    if speaker:
      by_speaker[speaker].append(
          (row[columns['path']].strip(), row[columns['transcript']])
      )
    else:
      left_out.add('rows without a speaker', f'row {number} of {source}')
  if not by_speaker:
    raise errors.DataError(
        f'Expected speakers in column {columns["person"]!r} of {source}, found'
        f' none among {len(table.rows)} rows.'
    )
  return people_lib.ClientSource(
      features=import_speech.AUDIO_FEATURES,
      num_people=len(by_speaker),
      examples=(
          (speaker, _examples(folders, rows, left_out, changed))
          for speaker, rows in sorted(by_speaker.items())
      ),
      left_out=left_out,
      changed=changed,
      together=import_speech.RECORDING,
  )


def _column(table: tables.Table, argument: str, named: Optional[str]) -> str:
  """The column that an argument names, or the first with a usual name."""
  arguments = '`path`, `transcript` and `person`'
  if named is None:
    found = [name for name in _USUAL[argument] if name in table.columns]
    named = found[0] if found else _USUAL[argument][0]
  tables.check_columns(table, [named], arguments)
  return named


def _examples(
    folders: Sequence[str],
    rows: Sequence[tuple[str, str]],
    left_out: tally.Tally,
    changed: tally.Tally,
) -> Mapping[str, Any]:
  """A speaker's usable recordings."""
  examples = import_speech.keep_usable(
      _recordings(folders, rows, left_out), left_out, changed=changed
  )
  return import_speech.with_copies(examples, changed)


def _recordings(
    folders: Sequence[str],
    rows: Sequence[tuple[str, str]],
    left_out: tally.Tally,
) -> Iterator[tuple[Any, ...]]:
  """Yields what can be read, for `import_speech.keep_usable`."""
  for name, transcript in rows:
    found = ((audio_lib.find(os.path.join(f, name)), f) for f in folders)
    file, folder = next((pair for pair in found if pair[0]), (None, ''))
    if not name or file is None:
      left_out.add('utterances without an audio file', name or 'an empty name')
      continue
    if not files.is_inside(file, folder):
      left_out.add('utterances outside of the folder', f'{file} in {folder}')
      continue
    recording = import_speech.read_or_count(file, left_out)
    if recording is not None:
      audio, done = recording
      yield name, audio, transcript, *done
