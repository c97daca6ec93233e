# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a recording says, as everyone's and as one person's model hear it.

  python -m tasks.transcribe --run=out/experiment --client=voice_003 hello.wav

Reads the folder of a finished run of the task speech, and one WAV or FLAC file
of 16 kHz and one channel.
"""

from collections.abc import Sequence
import functools
import os
import sys
from typing import Optional

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

# pylint: disable=g-import-not-at-top
from absl import app  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from tff_partial import errors
from tff_partial.experiments import finished_run  # noqa: E402
from tff_partial.experiments import parts  # noqa: E402
from tff_partial.experiments import run_folder  # noqa: E402
from tff_partial.learning import weights  # noqa: E402
from tff_partial.runtime import local  # noqa: E402

from .speech import ctc  # noqa: E402
from .speech import features as features_lib  # noqa: E402
from .speech import import_speech  # noqa: E402
from .speech import task as speech  # noqa: E402

# pylint: enable=g-import-not-at-top

_FIRST_KERNEL = 'subsampling/conv1/kernel'  # [time, features, width].


class Recognizer:
  """The models of a run, to be asked what audio says."""

  def __init__(self, folder: str):
    """Reads a run.

    Raises:
      OSError: If a file is missing.
      ValueError: If the run is of another task, or of speech that was not
        stored as audio, or its files do not match.
    """
    settings = finished_run.read_settings(folder, 'speech')
    path = os.path.join(folder, run_folder.WEIGHTS)
    kernel = weights.load(path).get(_FIRST_KERNEL)
    if kernel is None or kernel.shape[1] != features_lib.NUM_BINS:
      raise errors.DataError(
          f'Expected a model that hears {features_lib.NUM_BINS} log-mel'
          f' energies in {path}, found one of'
          f' {"something else" if kernel is None else kernel.shape[1]} features'
          ' made elsewhere. Train on audio to transcribe audio.'
      )
    size, _ = speech.MODELS[settings['model'] or speech.DEFAULT_MODEL]
    self._run = finished_run.FinishedRun(
        folder,
        parts.build_model_fn(
            functools.partial(speech.create_model_fn, kernel.shape[1], size),
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
    """What is said, in capitals.

    Args:
      audio: Samples at 16 kHz, int16 [samples].
      client_id: Whose model; `None` is what all start from.
      beam_width: Of decoding; 1 is greedy.

    Raises:
      ValueError: If the client has no variables of its own, naming some that
        have.
    """
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


def _parse(argv: Sequence[str]):
  parser = finished_run.create_parser(
      'python -m tasks.transcribe',
      "What a recording says, as everyone's and as one person's model hear it.",
  )
  parser.add_argument('audio', help='WAV or FLAC, 16 kHz, one channel')
  parser.add_argument(
      '--beam_width', type=int, default=16, help='of decoding; 1 is greedy'
  )
  return parser.parse_args(argv[1:])


def main(args) -> int:
  local.remove_default_context()
  try:
    if args.beam_width < 1:
      raise errors.DataError(
          f'Expected a beam width of at least 1, found {args.beam_width}.'
      )
    audio = import_speech.read_audio(args.audio)
    recognizer = Recognizer(args.run)
    finished_run.print_answers(
        args.client,
        lambda client_id: recognizer.transcribe(
            audio, client_id, beam_width=args.beam_width
        ),
    )
  except (ValueError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    return 1
  return 0


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
