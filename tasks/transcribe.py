# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Transcribes a recording, with the shared model and with one person's.

  python -m tasks.transcribe --run=out/experiment --client=voice_003 hello.wav

It reads the folder of a finished run of the task speech, and a WAV, MP3 or FLAC
file of any rate and number of channels.
"""

from collections.abc import Sequence
import functools
import os
from typing import Optional

import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.experiments import command
from tff_partial.experiments import finished_run
from tff_partial.experiments import parts
from tff_partial.experiments import run_folder
from tff_partial.learning import weights
from tff_partial.runtime import local

from .speech import audio as audio_lib
from .speech import ctc
from .speech import features as features_lib
from .speech import task as speech

# pylint: enable=g-import-not-at-top

PROG = 'python -m tasks.transcribe'
_FIRST_KERNEL = 'subsampling/conv1/kernel'  # [time, features, width].


class Recognizer:
  """Transcribes audio with the models of a run."""

  def __init__(self, folder: str):
    """Reads a run.

    Args:
      folder: The folder of the run.

    Raises:
      errors.MissingFileError: If a file is missing.
      errors.DataError: If the run is of another task, if it was not trained on
        audio, or if its files do not match.
    """
    settings = finished_run.read_settings(folder, 'speech')
    path = os.path.join(folder, run_folder.WEIGHTS)
    kernel = weights.load(path).get(_FIRST_KERNEL)
    if kernel is None or kernel.shape[1] != features_lib.NUM_BINS:
      found = 'other inputs'
      if kernel is not None:
        found = f'{kernel.shape[1]} ready-made features'
      raise errors.DataError(
          f'Expected a model of {features_lib.NUM_BINS} log-mel energies in'
          f' {path}, found one of {found}. Train on audio to transcribe audio.'
      )
    size, _ = speech.MODELS[settings['model'] or speech.DEFAULT_MODEL]
    self._run = finished_run.FinishedRun(
        folder,
        parts.build_model_fn(
            functools.partial(
                speech.create_model_fn,
                kernel.shape[1],
                size,
                lora=finished_run.lora_of(settings),
            ),
            finished_run.config_of(settings),
        ),
    )

  def transcribe(
      self,
      audio: np.ndarray,
      client_id: Optional[str] = None,
      *,
      beam_width: int = 16,
  ) -> str:
    """Transcribes audio in capitals.

    Args:
      audio: Samples at 16 kHz, int16 [samples].
      client_id: The client whose model to use; `None` means the shared one.
      beam_width: Beam width of decoding; 1 means greedy decoding.

    Raises:
      errors.SettingsError: If `beam_width` is below 1, or the client has no
        personal variables, naming some clients that have.
    """
    if beam_width < 1:
      raise errors.SettingsError(
          f'Expected `beam_width` of at least 1, found {beam_width}.'
      )
    model = self._run.model(client_id)
    features, num_frames = features_lib.log_mel(
        tf.constant(audio[np.newaxis]), tf.constant([len(audio)])
    )
    features = features_lib.normalize(features, num_frames)
    outputs = model.outputs(
        {'x': {'features': features, 'num_frames': num_frames}}, training=False
    )
    texts = ctc.decode(
        outputs['logits'], outputs['num_frames'], beam_width=beam_width
    )
    return texts.numpy()[0].decode()


def parse(argv: Sequence[str]):
  parser = finished_run.create_parser(
      PROG, "Transcribes audio with the shared model and with a client's."
  )
  parser.add_argument(
      'audio',
      type=os.path.expanduser,
      help='WAV, MP3 or FLAC file',
  )
  parser.add_argument(
      '--beam_width',
      type=int,
      default=16,
      help='beam width of decoding; 1 means greedy; default: %(default)s',
  )
  return parser.parse_args(argv[1:])


def main(args) -> None:
  local.remove_default_context()
  audio = audio_lib.read(args.audio)
  recognizer = Recognizer(args.run)
  finished_run.print_answers(
      args.run,
      args.client,
      lambda client_id: recognizer.transcribe(
          audio, client_id, beam_width=args.beam_width
      ),
  )


if __name__ == '__main__':
  command.start(main, parse, PROG)
