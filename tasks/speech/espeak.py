# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Speech from the eSpeak NG engine that the package espeakng-loader ships.

The engine keeps a state beside its random numbers, so that the same text does
not sound the same twice in a process. The same requests in the same order do,
if they are a process's first: each list of requests gets a process of its own,
which is this file run as a program.
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

_SYNCHRONOUS, _UTF8, _CHARACTERS = 2, 1, 1  # Of speak_lib.h, as those below.
_RATE, _PITCH = 1, 3


class Utterance(NamedTuple):
  """What to say, and how.

  Attributes:
    voice: A language and a variant, such as `en-us+f2`.
    rate: Words a minute, from 80 to 450.
    pitch: From 0 to 99.
    text: What to say.
  """

  voice: str
  rate: int
  pitch: int
  text: str


def synthesize(utterances: Iterable[Utterance]) -> Iterator[np.ndarray]:
  """Speaks one utterance after the other.

  Yields:
    Samples of each, int16 [samples], without the silence around it.

  Raises:
    OSError: If the engine fails, for instance for lack of a voice.
  """
  with subprocess.Popen(
      [sys.executable, os.path.abspath(__file__)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
  ) as process:
    try:
      for utterance in utterances:
        with contextlib.suppress(BrokenPipeError):  # Seen in what it says.
          process.stdin.write(json.dumps(utterance).encode() + b'\n')
          process.stdin.flush()
        size = process.stdout.read(4)
        if len(size) < 4:
          raise OSError(f'eSpeak NG failed to say {utterance}.')
        audio = process.stdout.read(int.from_bytes(size, 'little'))
        yield np.trim_zeros(np.frombuffer(audio, '<i2'))
    finally:
      with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
  """Answers each utterance by its number of bytes and its samples."""
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
    raise OSError('eSpeak NG does not start.')
  engine.espeak_SetSynthCallback(keep)
  engine.espeak_ng_SetRandSeed(ctypes.c_long(1))
  for line in requests:
    utterance = Utterance(*json.loads(line))
    if engine.espeak_SetVoiceByName(utterance.voice.encode()):
      raise OSError(f'eSpeak NG has no voice {utterance.voice!r}.')
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
