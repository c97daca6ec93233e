# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads recordings in any usual form as samples at 16 kHz."""

from collections.abc import Callable
import os
from typing import Optional

import numpy as np
import soundfile
import soxr

from tff_partial import errors

from . import features as features_lib

_BLOCK = 2**20  # Samples.
SUFFIXES = ('.flac', '.wav', '.mp3', '.ogg', '.opus')


def find(path: str) -> Optional[str]:
  """Returns the file with this name, or with it and one of `SUFFIXES`."""
  for suffix in ('', *SUFFIXES):
    if os.path.isfile(path + suffix):
      return path + suffix
  return None


def read(
    path: str, *, note_fn: Callable[[str], None] = lambda note: None
) -> np.ndarray:
  """Reads a FLAC, WAV, MP3 or Ogg file, int16 [samples] at 16 kHz.

  Channels are averaged, and other rates are resampled by libsoxr in high
  quality.

  Args:
    path: The file.
    note_fn: Called with each of these things that was done to the recording.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If it is no audio.
  """
  if not os.path.isfile(path):
    raise errors.MissingFileError(f'Expected a file {path}, found none.')
  try:
    with soundfile.SoundFile(path) as file:
      rate, channels = file.samplerate, file.channels
      if (
          rate == features_lib.SAMPLE_RATE
          and channels == 1
          and file.subtype.startswith('PCM_')
      ):
        return _read_all(file, path, dtype='int16')
      # Read as integers, samples stored as floats would become 0.
      samples = _read_all(file, path, dtype='float64', always_2d=True)
  except soundfile.LibsndfileError as e:
    raise errors.DataError(
        f'Expected audio in {path}, found a file that cannot be read: {e}'
    ) from e
  if channels > 1:
    note_fn(f'recordings with {channels} channels, averaged')
  signal = samples.mean(1)
  if rate != features_lib.SAMPLE_RATE:
    note_fn(f'recordings at {rate:,} Hz, resampled')
    signal = soxr.resample(signal, rate, features_lib.SAMPLE_RATE)
  return np.clip(np.round(2**15 * signal), -(2**15), 2**15 - 1).astype(np.int16)


def _read_all(file: soundfile.SoundFile, path: str, **kwargs) -> np.ndarray:
  """Reads all samples; takes no more memory than there are, whatever is said.

  Raises:
    errors.DataError: If there are fewer samples than the file says.
  """
  blocks = [file.read(0, **kwargs)]
  while len(block := file.read(_BLOCK, **kwargs)):
    blocks.append(block)
  found = sum(map(len, blocks))
  if found < file.frames and file.format != 'MPEG':  # Which has an estimate.
    raise errors.DataError(
        f'Expected {file.frames:,} samples in {path}, as its header says, found'
        f' {found:,}.'
    )
  return np.concatenate(blocks)
