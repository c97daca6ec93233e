# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports speech: LibriSpeech's folders, and arrays of features.

Utterances that a recognizer cannot be trained on are left out and counted:
those without words, those with digits or characters that `transcripts` refuses,
those that are too short for their transcript, and those whose audio cannot be
read.
"""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
import pathlib
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import npz
from tff_partial.data import people as people_lib
from tff_partial.data import tally

from . import audio as audio_lib
from . import ctc
from . import encoder as encoder_lib
from . import features as features_lib
from . import transcripts

# What a copy of a recording has the number of the first one in.
RECORDING = 'recording'
AUDIO_FEATURES = collections.OrderedDict(
    audio=tf.TensorSpec([None], tf.int16),
    transcript=tf.TensorSpec([], tf.string),
)


def add_parser(kinds: Any, **kwargs: Any) -> None:
  """Adds `librispeech` to the kinds of `tasks.import_client_data`.

  Args:
    kinds: What `ArgumentParser.add_subparsers` returned.
    **kwargs: Keyword arguments of every kind.
  """
  parser = kinds.add_parser(
      'librispeech',
      help="speech in LibriSpeech's layout: <speaker>/<chapter>/*.flac",
      **kwargs,
  )
  parser.set_defaults(read=lambda args: read_librispeech(args.source))


def add_npz_arguments(parser: Any) -> None:
  """Adds features of speech to the parser of the kind `npz`."""
  read_images = parser.get_default('read')
  parser.add_argument(
      '--lengths',
      help='for speech: array of the number of frames of each utterance;'
      ' --examples are then the frames of all utterances, --label the'
      ' transcripts',
  )

  def read(args) -> people_lib.ClientSource:
    if args.lengths is None:
      return read_images(args)
    return read_npz(
        args.source,
        examples=args.examples,
        lengths=args.lengths,
        label=args.label,
        person=args.person,
    )

  parser.set_defaults(read=read)


def read_librispeech(folder: str) -> people_lib.ClientSource:
  """Reads LibriSpeech's layout, `<speaker>/<chapter>/*.flac` and `*.trans.txt`.

  Args:
    folder: A part of the corpus, such as `LibriSpeech/test-other`. Files may be
      WAV, MP3 or Ogg too, at any rate and with any number of channels.

  Raises:
    errors.MissingFileError: If there is no such folder.
    errors.DataError: If the folder has another layout.
  """
  root = pathlib.Path(folder)
  if not root.is_dir():
    raise errors.MissingFileError(f'Expected a folder {folder}, found none.')
  chapters = collections.defaultdict(list)
  for path in sorted(root.glob('*/*/*.trans.txt')):
    chapters[people_lib.person_name(path.parts[-3])].append(path)
  if not chapters:
    raise errors.DataError(
        f'Expected <speaker>/<chapter>/*.trans.txt in {folder}, found none.'
        ' Give the folder whose subfolders are speakers.'
    )
  left_out, changed = tally.Tally(), tally.Tally()
  return people_lib.ClientSource(
      features=AUDIO_FEATURES,
      num_people=len(chapters),
      examples=(
          (
              speaker,
              with_copies(
                  keep_usable(
                      _read_chapters(paths, left_out),
                      left_out,
                      changed=changed,
                  ),
                  changed,
              ),
          )
          for speaker, paths in chapters.items()
      ),
      left_out=left_out,
      changed=changed,
      together=RECORDING,
  )


def read_npz(
    path: str, *, examples: str, lengths: str, label: str, person: str
) -> people_lib.ClientSource:
  """Reads features of utterances that follow each other in one array.

  Args:
    path: An `.npz` file.
    examples: Name of the array of features [frames of all utterances,
      features], with 100 frames per second. They are stored as 'features'.
    lengths: Name of the array of numbers of frames, integers [utterances].
    label: Name of the array of transcripts, text [utterances].
    person: Name of the array of speakers, integers or text [utterances].

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If the file is no archive, or an array is not as
      expected, naming the array.
  """
  arrays = npz.load(path, (examples, lengths, label, person))
  features = arrays[examples]
  for name, kinds, rank, words in (
      (examples, 'f', 2, 'floats [frames, features]'),
      (lengths, 'iu', 1, 'integers [utterances]'),
      (label, 'U', 1, 'text [utterances]'),
      (person, 'iuU', 1, 'integers or text [utterances]'),
  ):
    array = arrays[name]
    if array.dtype.kind not in kinds or array.ndim != rank:
      raise errors.DataError(
          f'Expected {words} in array {name!r}, found {array.dtype}'
          f' {list(array.shape)}.'
      )
    if rank == 1 and len(array) != arrays[lengths].size:
      raise errors.DataError(
          f'Expected as many values in {name!r} as in {lengths!r},'
          f' {arrays[lengths].size}, found {len(array)}.'
      )
  ends = np.cumsum(arrays[lengths])
  if arrays[lengths].min(initial=0) < 0 or ends[-1:].sum() != len(features):
    raise errors.DataError(
        f'Expected lengths in {lengths!r} that add up to {len(features)}, the'
        f' frames of {examples!r}, found a sum of {ends[-1:].sum()}.'
    )
  signals = np.split(features.astype(np.float32), ends[:-1])
  speakers = npz.names_of(arrays[person], person)
  left_out, changed = tally.Tally(), tally.Tally()

  def utterances(speaker):
    for i in np.flatnonzero(speakers == speaker):
      yield f'utterance {i} of {path}', signals[i], str(arrays[label][i])

  names = np.unique(speakers)
  return people_lib.ClientSource(
      features=collections.OrderedDict(
          features=tf.TensorSpec([None, features.shape[1]], tf.float32),
          transcript=tf.TensorSpec([], tf.string),
      ),
      num_people=len(names),
      examples=(
          (
              str(name),
              with_copies(
                  keep_usable(
                      utterances(name),
                      left_out,
                      stored='features',
                      changed=changed,
                  ),
                  changed,
                  stored='features',
              ),
          )
          for name in names
      ),
      left_out=left_out,
      changed=changed,
      together=RECORDING,
  )


def with_copies(
    examples: Mapping[str, Sequence],
    changed: tally.Tally,
    *,
    stored: str = 'audio',
) -> Mapping[str, Any]:
  """A speaker's utterances, with the number of the first equal recording.

  Args:
    examples: What `keep_usable` returns.
    changed: Counts the copies.
    stored: The name of the signals.
  """
  copies = people_lib.number_by_first(
      (signal.tobytes() for signal in examples[stored]),
      examples['transcript'],
      changed,
  )
  return {**examples, RECORDING: copies}


def keep_usable(
    utterances: Iterable[tuple[Any, ...]],
    left_out: tally.Tally,
    *,
    stored: str = 'audio',
    changed: Optional[tally.Tally] = None,
) -> Mapping[str, Sequence]:
  """Collects the utterances that a recognizer can be trained on.

  Args:
    utterances: What names an utterance, its signal (audio or features), its
      transcript, and then what was done to its recording, such as resampling:
      pairs of words and a file.
    left_out: Counts the utterances that are left out, by reason.
    stored: The name under which signals are stored, 'audio' or 'features'.
    changed: Counts what was done to the recordings that are kept, and the
      transcripts whose punctuation is replaced.

  Returns:
    The signals, and the transcripts by the rule of `transcripts`.
  """
  usable = {stored: [], 'transcript': []}
  for name, signal, transcript, *done in utterances:
    normalized = transcripts.normalize(transcript)
    reason = _why_unusable(signal, normalized, stored)
    if reason:
      left_out.add(reason, f'{name}: {transcript!r}')
      continue
    for words, file in done:
      assert changed is not None
      changed.add(words, file)
    if changed is not None and transcripts.has_punctuation(transcript):
      changed.add(
          'transcripts with punctuation, which became spaces',
          f'{name}: {transcript!r}',
      )
    usable[stored].append(signal)
    usable['transcript'].append(normalized)
  return usable


def _why_unusable(signal: Any, transcript: str, stored: str) -> str:
  """Says why an utterance cannot be used; empty if it can."""
  refused = transcripts.why_refused(transcript)
  if refused:
    return refused
  frames = len(signal)
  if stored == 'audio':
    frames = features_lib.num_frames(frames)
  elif not np.isfinite(signal).all():
    return 'utterances with features that are not finite'
  if encoder_lib.num_frames(frames) < ctc.min_frames(transcript):
    return 'utterances too short for their transcript'
  return ''


def read_or_count(
    file: str, left_out: tally.Tally
) -> Optional[tuple[np.ndarray, Sequence[tuple[str, str]]]]:
  """Reads a recording, and says what was done to it for `keep_usable`.

  Returns:
    `None`, counted, if it cannot be read.
  """
  done: list[tuple[str, str]] = []
  try:
    audio = audio_lib.read(file, note_fn=lambda note: done.append((note, file)))
    return audio, done
  except (errors.UserError, OSError) as e:
    left_out.add('utterances with audio that cannot be read', str(e))
    return None


def _read_chapters(
    paths: Sequence[pathlib.Path], left_out: tally.Tally
) -> Iterator[tuple[Any, ...]]:
  """Yields the utterances of files of transcripts; audio is next to them."""
  for path in paths:
    try:
      lines = path.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as e:
      raise errors.DataError(
          f'Expected UTF-8 text in {path}, found {e}.'
      ) from e
    for line in lines:
      if not line.strip():
        continue
      name, *words = line.strip().split(maxsplit=1)
      where = f'{path.parent}/{name}'
      file = audio_lib.find(where) if '/' not in name else None
      if file is None:
        left_out.add('utterances without an audio file', where)
        continue
      found = read_or_count(file, left_out)
      if found is not None:
        audio, done = found
        yield name, audio, ' '.join(words), *done
