# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Speech from the eSpeak NG engine that the package espeakng-loader ships.

The engine has more state than its random numbers, so the same text does not
sound the same twice in a process. Only the same requests in the same order do,
from the start of a process. Therefore each list of requests gets a process of
its own, which runs this file as a program.
"""

from collections.abc import Iterable, Iterator
import contextlib
import ctypes
import json
import os
import subprocess
import sys
from typing import BinaryIO, NamedTuple

import espeakng_loader
import numpy as np

SAMPLE_RATE = 22_050  # Hz.

# Constants of speak_lib.h.
_SYNCHRONOUS, _UTF8, _CHARACTERS = 2, 1, 1
_RATE, _PITCH = 1, 3


class Utterance(NamedTuple):
  """What to say, and how.

  Attributes:
    voice: A language and a variant, such as `en-us+f2`.
    rate: Words per minute, from 80 to 450.
    pitch: The pitch, from 0 to 99.
    text: The text to say.
  """

  voice: str
  rate: int
  pitch: int
  text: str


def synthesize(utterances: Iterable[Utterance]) -> Iterator[np.ndarray]:
  """Speaks one utterance after the other.

  Args:
    utterances: What to say.

  Yields:
    The samples of each utterance, int16 [samples], without the silence around
    it.

  Raises:
    errors.WorkerError: If the engine fails, for example because it lacks the
      voice.
  """
  # Imported here because the program that this file is too may not find it.
  from tff_partial import errors  # pylint: disable=g-import-not-at-top

  with subprocess.Popen(
      [sys.executable, os.path.abspath(__file__)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
  ) as process:
    try:
      for utterance in utterances:
        with contextlib.suppress(BrokenPipeError):  # Noticed when reading.
          process.stdin.write(json.dumps(utterance).encode() + b'\n')
          process.stdin.flush()
        size = process.stdout.read(4)
        if len(size) < 4:
          raise errors.WorkerError(
              'Expected speech from eSpeak NG, found that it failed to say'
              f' {utterance}. It may have printed why.'
          )
        audio = process.stdout.read(int.from_bytes(size, 'little'))
        yield np.trim_zeros(np.frombuffer(audio, '<i2'))
    finally:
      with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
  """Answers each utterance with its number of bytes and its samples."""
  engine = ctypes.CDLL(espeakng_loader.get_library_path())
  chunks = []

  @ctypes.CFUNCTYPE(
      ctypes.c_int,
      ctypes.POINTER(ctypes.c_short),
      ctypes.c_int,
      ctypes.c_void_p,
  )
  def keep(samples, count, unused_events):
    if samples and count:
      chunks.append(np.ctypeslib.as_array(samples, (count,)).astype('<i2'))
    return 0  # Go on.

  data_folder = espeakng_loader.get_data_path().encode()
  if engine.espeak_Initialize(_SYNCHRONOUS, 0, data_folder, 0) != SAMPLE_RATE:
    sys.exit('eSpeak NG does not start.')
  engine.espeak_SetSynthCallback(keep)
  engine.espeak_ng_SetRandSeed(ctypes.c_long(1))
  for line in requests:
    utterance = Utterance(*json.loads(line))
    if engine.espeak_SetVoiceByName(utterance.voice.encode()):
      sys.exit(f'eSpeak NG has no voice {utterance.voice!r}.')
    engine.espeak_SetParameter(_RATE, utterance.rate, 0)
    engine.espeak_SetParameter(_PITCH, utterance.pitch, 0)
    text = utterance.text.encode() + b'\0'
    chunks.clear()
    engine.espeak_Synth(text, len(text), 0, _CHARACTERS, 0, _UTF8, None, None)
    audio = b''.join(chunk.tobytes() for chunk in chunks)
    replies.write(len(audio).to_bytes(4, 'little') + audio)
    replies.flush()


if __name__ == '__main__':
  _serve(sys.stdin.buffer, sys.stdout.buffer)
