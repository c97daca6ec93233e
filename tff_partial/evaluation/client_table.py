# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every client got: the record that evaluation makes and the report reads.

A metric is a ratio of sums, and each test example gives its two terms: right
answers over examples, right tokens over tokens, word errors over reference
words, summed loss over examples. Keeping the terms of every example makes all
that is asked later a matter of adding up: a client's value, the mean over
clients weighted by test data or uniform, and a paired test of two models on the
same examples. No TensorFlow here.
"""

from collections.abc import Mapping
import dataclasses

import numpy as np

from tff_partial import errors


@dataclasses.dataclass(frozen=True)
class Scores:
  """A metric's two terms for each test example under one model.

  Attributes:
    total: What is counted, float64 [examples]: 1 if right, else 0; word errors.
    weight: Out of how much, float64 [examples]: 1; reference words.
  """

  total: np.ndarray
  weight: np.ndarray


@dataclasses.dataclass(frozen=True)
class ClientTable:
  """Test results of some clients under one or more models.

  Attributes:
    client_ids: The clients, in the order of every array below.
    train_examples: Examples each client has for training, int64 [clients].
    test_examples: Examples each client is tested on, int64 [clients]; the
      scores' examples stand client after client in this order.
    participated: Whether the client took part in training, bool [clients].
    scores: By model name ('non_personalized', 'personalized', 'shared',
      'finetuned'), then by metric name.
  """

  client_ids: tuple[str, ...]
  train_examples: np.ndarray
  test_examples: np.ndarray
  participated: np.ndarray
  scores: Mapping[str, Mapping[str, Scores]]

  def __post_init__(self):
    clients, examples = len(self.client_ids), int(self.test_examples.sum())
    for name in ('train_examples', 'test_examples', 'participated'):
      found = getattr(self, name).shape
      if found != (clients,):
        raise errors.SettingsError(
            f'Expected {name} of shape ({clients},), found {found}.'
        )
    for model, metrics in self.scores.items():
      for metric, scores in metrics.items():
        if scores.total.shape != (examples,) or scores.weight.shape != (
            examples,
        ):
          raise errors.SettingsError(
              f'Expected {examples} examples in scores of {metric!r} under'
              f' {model!r}, found {scores.total.shape} and'
              f' {scores.weight.shape}.'
          )

  @property
  def client_of_example(self) -> np.ndarray:
    """The row each example belongs to, int64 [examples]."""
    return np.repeat(np.arange(len(self.client_ids)), self.test_examples)

  def totals(self, model: str, metric: str) -> np.ndarray:
    """A metric's summed total for each client, float64 [clients]."""
    return self._sum(self.scores[model][metric].total)

  def weights(self, model: str, metric: str) -> np.ndarray:
    """A metric's summed weight for each client, float64 [clients]."""
    return self._sum(self.scores[model][metric].weight)

  def values(self, model: str, metric: str) -> np.ndarray:
    """A metric for each client, float64 [clients]; NaN without test data."""
    weights = self.weights(model, metric)
    with np.errstate(invalid='ignore', divide='ignore'):
      return np.where(weights > 0, self.totals(model, metric) / weights, np.nan)

  def select(self, mask: np.ndarray) -> 'ClientTable':
    """The table of some of the clients, chosen by a mask, bool [clients]."""
    examples = mask[self.client_of_example]
    return ClientTable(
        client_ids=tuple(np.array(self.client_ids, object)[mask]),
        train_examples=self.train_examples[mask],
        test_examples=self.test_examples[mask],
        participated=self.participated[mask],
        scores={
            model: {
                metric: Scores(s.total[examples], s.weight[examples])
                for metric, s in metrics.items()
            }
            for model, metrics in self.scores.items()
        },
    )

  def _sum(self, terms: np.ndarray) -> np.ndarray:
    return np.bincount(
        self.client_of_example, terms, minlength=len(self.client_ids)
    )
