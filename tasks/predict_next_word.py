# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predicts the next word, with the shared model and with one person's.

  python -m tasks.predict_next_word --run=out/experiment --client=ann \
      "how do i"

It reads the folder of a finished run of the task stackoverflow: `config.json`,
`vocabulary.txt`, the model and the personal variables.
"""

from collections.abc import Sequence
import functools

import numpy as np

from tff_partial.experiments import command
from tff_partial.experiments import finished_run
from tff_partial.experiments import parts
from tff_partial.runtime import local

from .stackoverflow import task as stackoverflow
from .stackoverflow import text
from .stackoverflow import vocabulary as vocabulary_lib

# pylint: enable=g-import-not-at-top

PROG = 'python -m tasks.predict_next_word'
# Words and their probabilities, the likeliest first.
Prediction = Sequence[tuple[str, float]]


class NextWords:
  """Predicts next words with the models of a run."""

  def __init__(self, folder: str):
    """Reads a run.

    Args:
      folder: The folder of the run.

    Raises:
      errors.MissingFileError: If a file is missing.
      errors.DataError: If the run is of another task, or its files do not
        match.
    """
    self.vocabulary = vocabulary_lib.load(folder)
    settings = finished_run.read_settings(folder, 'stackoverflow')
    size = settings['model'] or stackoverflow.DEFAULT_MODEL
    self._run = finished_run.FinishedRun(
        folder,
        parts.build_model_fn(
            functools.partial(
                stackoverflow.create_model_fn,
                stackoverflow.SIZES[size],
                self.vocabulary,
                lora=finished_run.lora_of(settings),
            ),
            finished_run.config_of(settings),
        ),
    )

  def predict(
      self, sentence: str, client_id: str | None = None, *, count: int = 3
  ) -> Prediction:
    """Predicts the likeliest words after the start of a sentence.

    Args:
      sentence: The start, which may be empty. If it is long, only the last
      words
        are read.
      client_id: The client whose model to use; `None` means the shared one.
      count: The number of words to return.

    Raises:
      errors.SettingsError: If the client has no personal variables, naming
        some clients that have.
    """
    model = self._run.model(client_id)
    words = text.to_words(
        sentence, unspaced=text.unspaced_of(self.vocabulary.words)
    )[1 - stackoverflow.LENGTH :]
    number = self.vocabulary.encode([' '.join(words)], stackoverflow.LENGTH)
    x = number[:, : len(words) + 1]
    logits = model.outputs({'x': x}, training=False)[-1].numpy()
    odds = np.exp(logits - logits.max())
    odds /= odds.sum()
    # Without the numbers for other words and for the end of the sentence.
    odds = odds[1 : len(self.vocabulary.words) + 1]
    return [
        (self.vocabulary.words[i], float(odds[i]))
        for i in np.argsort(-odds, kind='stable')[:count]
    ]


def parse(argv: Sequence[str]):
  parser = finished_run.create_parser(
      PROG, "Predicts the next word with the shared model and with a client's."
  )
  parser.add_argument('sentence', help='start of a sentence, in quotes')
  return parser.parse_args(argv[1:])


def main(args) -> None:
  local.remove_default_context()
  models = NextWords(args.run)
  finished_run.print_answers(
      args.run,
      args.client,
      lambda client_id: '  '.join(
          f'{word} {chance:.1%}'
          for word, chance in models.predict(args.sentence, client_id)
      ),
  )


if __name__ == '__main__':
  command.start(main, parse, PROG)
