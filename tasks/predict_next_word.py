# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The likeliest next words after a sentence, for everyone and for one person.

  python -m tasks.predict_next_word --run=out/experiment --client=ann \
      "how do i"

Reads the folder of a finished run of the task stackoverflow: `config.json`,
`vocabulary.txt`, the model and the personal variables.
"""

from collections.abc import Sequence
import functools
import os
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

# pylint: disable=g-import-not-at-top
from absl import app  # noqa: E402
import numpy as np  # noqa: E402

from tff_partial.experiments import finished_run  # noqa: E402
from tff_partial.experiments import parts  # noqa: E402
from tff_partial.runtime import local  # noqa: E402

from .stackoverflow import task as stackoverflow  # noqa: E402
from .stackoverflow import text  # noqa: E402
from .stackoverflow import vocabulary as vocabulary_lib  # noqa: E402

# pylint: enable=g-import-not-at-top

# Words and their probabilities, the likeliest first.
Prediction = Sequence[tuple[str, float]]


class NextWords:
  """The models of a run, to be asked for next words."""

  def __init__(self, folder: str):
    """Reads a run.

    Args:
      folder: The run's.

    Raises:
      OSError: If a file is missing.
      ValueError: If the run is of another task, or its files do not match.
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
            ),
            finished_run.config_of(settings),
        ),
    )

  def predict(
      self, sentence: str, client_id: str | None = None, *, count: int = 3
  ) -> Prediction:
    """The likeliest words after a sentence.

    Args:
      sentence: How it begins; may be empty. Of a long one the last words count.
      client_id: Whose model; `None` is what all start from.
      count: How many words.

    Raises:
      ValueError: If the client has no variables of its own, naming some that
        have.
    """
    model = self._run.model(client_id)
    words = text.to_words(sentence)[1 - stackoverflow.LENGTH :]
    number = self.vocabulary.encode([' '.join(words)], stackoverflow.LENGTH)
    x = number[:, : len(words) + 1]
    logits = model.outputs({'x': x}, training=False)[-1].numpy()
    odds = np.exp(logits - logits.max())
    odds /= odds.sum()
    # Of words alone: neither other words nor the end of the sentence.
    odds = odds[1 : len(self.vocabulary.words) + 1]
    return [
        (self.vocabulary.words[i], float(odds[i]))
        for i in np.argsort(-odds, kind='stable')[:count]
    ]


def _parse(argv: Sequence[str]):
  parser = finished_run.create_parser(
      'python -m tasks.predict_next_word',
      "The likeliest next words by everyone's and by one person's model.",
  )
  parser.add_argument('sentence', help='in quotes')
  return parser.parse_args(argv[1:])


def main(args) -> int:
  local.remove_default_context()
  try:
    models = NextWords(args.run)
    finished_run.print_answers(
        args.client,
        lambda client_id: '  '.join(
            f'{word} {chance:.1%}'
            for word, chance in models.predict(args.sentence, client_id)
        ),
    )
  except (ValueError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    return 1
  return 0


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
