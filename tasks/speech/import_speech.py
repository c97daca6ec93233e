# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports speech: LibriSpeech's folders, and arrays of features.

Utterances that a recognizer cannot be trained on are left out and counted:
those without words, those with characters other than letters and apostrophes,
those that are too short for their transcript, and those whose audio cannot be
read.
"""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
import pathlib
from typing import Any, Optional

import numpy as np
import soundfile
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import npz
from tff_partial.data import people as people_lib
from tff_partial.data import tally

from . import ctc
from . import encoder as encoder_lib
from . import features as features_lib

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
    folder: A part of the corpus, such as `LibriSpeech/test-other`, at 16 kHz.

  Raises:
    errors.MissingFileError: If there is no such folder.
    errors.DataError: If the folder has another layout.
  """
  root = pathlib.Path(folder)
  if not root.is_dir():
    raise errors.MissingFileError(f'Expected a folder {folder}, found none.')
  transcripts = collections.defaultdict(list)
  for path in sorted(root.glob('*/*/*.trans.txt')):
    transcripts[path.parts[-3]].append(path)
  if not transcripts:
    raise errors.DataError(
        f'Expected <speaker>/<chapter>/*.trans.txt in {folder}, found none.'
        ' Give the folder whose subfolders are speakers.'
    )
  left_out = tally.Tally()
  return people_lib.ClientSource(
      features=AUDIO_FEATURES,
      num_people=len(transcripts),
      examples=(
          (speaker, keep_usable(_read_chapters(paths, left_out), left_out))
          for speaker, paths in transcripts.items()
      ),
      left_out=left_out,
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
  features, ends = arrays[examples], np.cumsum(arrays[lengths])
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
    if rank == 1 and len(array) != len(ends):
      raise errors.DataError(
          f'Expected as many values in {name!r} as in {lengths!r},'
          f' {len(ends)}, found {len(array)}.'
      )
  if arrays[lengths].min(initial=0) < 0 or ends[-1:].sum() != len(features):
    raise errors.DataError(
        f'Expected lengths in {lengths!r} that add up to {len(features)}, the'
        f' frames of {examples!r}, found a sum of {ends[-1:].sum()}.'
    )
  signals = np.split(features.astype(np.float32), ends[:-1])
  speakers = npz.names_of(arrays[person], person)
  left_out = tally.Tally()

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
              keep_usable(utterances(name), left_out, stored='features'),
          )
          for name in names
      ),
      left_out=left_out,
  )


def keep_usable(
    utterances: Iterable[tuple[str, Any, str]],
    left_out: tally.Tally,
    *,
    stored: str = 'audio',
) -> Mapping[str, Sequence]:
  """Collects the utterances that a recognizer can be trained on.

  Args:
    utterances: What names an utterance, its signal (audio or features) and its
      transcript.
    left_out: Counts the utterances that are left out, by reason.
    stored: The name under which signals are stored, 'audio' or 'features'.

  Returns:
    The signals, and the transcripts in capitals.
  """
  usable = {stored: [], 'transcript': []}
  for name, signal, transcript in utterances:
    transcript = ctc.normalize(transcript)
    reason = _why_unusable(signal, transcript, stored)
    if reason:
      left_out.add(reason, f'{name}: {transcript!r}')
      continue
    usable[stored].append(signal)
    usable['transcript'].append(transcript)
  return usable


def _why_unusable(signal: Any, transcript: str, stored: str) -> Optional[str]:
  """Says why an utterance cannot be used; `None` if it can."""
  if not transcript:
    return 'utterances without words'
  if ctc.unknown_characters(transcript):
    return 'utterances with characters other than letters and apostrophes'
  frames = len(signal)
  if stored == 'audio':
    frames = features_lib.num_frames(frames)
  elif not np.isfinite(signal).all():
    return 'utterances with features that are not finite'
  if encoder_lib.num_frames(frames) < ctc.min_frames(transcript):
    return 'utterances too short for their transcript'
  return None


def _read_chapters(
    paths: Sequence[pathlib.Path], left_out: tally.Tally
) -> Iterator[tuple[str, np.ndarray, str]]:
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
      name, _, transcript = line.strip().partition(' ')
      file = str(path.with_name(name + '.flac'))
      try:
        audio = read_audio(file)
      except errors.MissingFileError:
        left_out.add('utterances without an audio file', file)
      except (errors.UserError, OSError) as e:
        left_out.add('utterances with audio that cannot be read', str(e))
      else:
        yield name, audio, transcript


def read_audio(path: str) -> np.ndarray:
  """Reads the samples of a FLAC or WAV file, int16 [samples].

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If it is no audio, or not of 16 kHz and one channel.
  """
  if not pathlib.Path(path).is_file():
    raise errors.MissingFileError(f'Expected a file {path}, found none.')
  try:
    audio, rate = soundfile.read(path, dtype='int16', always_2d=True)
  except soundfile.LibsndfileError as e:
    raise errors.DataError(
        f'Expected audio in {path}, found a file that cannot be read: {e}'
    ) from e
  if rate != features_lib.SAMPLE_RATE or audio.shape[1] != 1:
    raise errors.DataError(
        f'Expected {features_lib.SAMPLE_RATE} Hz and one channel in {path},'
        f' found {rate} Hz and {audio.shape[1]}. Convert the file first.'
    )
  return audio[:, 0]
