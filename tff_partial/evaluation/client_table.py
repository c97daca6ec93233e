# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The results of an evaluation: a table of clients and their test examples.

A metric is a ratio of sums, and each test example contributes two terms: right
answers and examples, right tokens and tokens, word errors and reference words,
or loss and examples. The table keeps the terms of every example, so that all
later questions are answered by adding up: a client's value, the mean over
clients, weighted by test data or not, and a paired test of two models on the
same examples. This module does not import TensorFlow.
"""

import collections
from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, Optional

import numpy as np

from tff_partial import errors


@dataclasses.dataclass(frozen=True)
class Scores:
  """The two terms of a metric for each test example, under one model.

  Attributes:
    total: The numerator's terms, float64 [examples], such as 1 for a right
      answer and 0 for a wrong one, or a number of word errors.
    weight: The denominator's terms, float64 [examples], such as 1, or a number
      of reference words.
  """

  total: np.ndarray
  weight: np.ndarray


@dataclasses.dataclass(frozen=True)
class ClientTable:
  """Test results of clients under one or more models.

  Attributes:
    client_ids: The clients, in the order of all arrays below.
    train_examples: The number of each client's training examples, int64
      [clients].
    test_examples: The number of each client's test examples, int64 [clients].
      Scores hold the examples of the first client, then those of the second,
      and so on.
    participated: Whether the client took part in training, bool [clients].
    scores: Scores by model name, such as `personalized`, and by metric name.
    trained_earlier: Whether the client trained the model that training started
      from, bool [clients]; by default none did.

  Raises:
    errors.SettingsError: If the arrays' shapes do not fit together.
  """

  client_ids: tuple[str, ...]
  train_examples: np.ndarray
  test_examples: np.ndarray
  participated: np.ndarray
  scores: Mapping[str, Mapping[str, Scores]]
  trained_earlier: Optional[np.ndarray] = None

  def __post_init__(self):
    clients, examples = len(self.client_ids), int(self.test_examples.sum())
    names = ['train_examples', 'test_examples', 'participated']
    if self.trained_earlier is not None:
      names.append('trained_earlier')
    for name in names:
      found = getattr(self, name).shape
      if found != (clients,):
        raise errors.SettingsError(
            f'Expected `{name}` of shape ({clients},), found {found}. Give a'
            ' value for each client.'
        )
    for model, metrics in self.scores.items():
      for metric, scores in metrics.items():
        if scores.total.shape != (examples,) or scores.weight.shape != (
            examples,
        ):
          raise errors.SettingsError(
              f'Expected scores of shape ({examples},) for {metric!r} under'
              f' {model!r}, found {scores.total.shape} and'
              f' {scores.weight.shape}. Give a score for each test example.'
          )

  @property
  def earlier(self) -> np.ndarray:
    """`trained_earlier`, bool [clients], also where it was not given."""
    if self.trained_earlier is None:
      return np.zeros(len(self.client_ids), bool)
    return self.trained_earlier

  @property
  def client_of_example(self) -> np.ndarray:
    """The row that each example belongs to, int64 [examples]."""
    return np.repeat(np.arange(len(self.client_ids)), self.test_examples)

  def totals(self, model: str, metric: str) -> np.ndarray:
    """Each client's sum of a metric's totals, float64 [clients].

    Args:
      model: The name of a model in `scores`.
      metric: The name of a metric.
    """
    return self._sum(self.scores[model][metric].total)

  def weights(self, model: str, metric: str) -> np.ndarray:
    """Each client's sum of a metric's weights, float64 [clients].

    Args:
      model: The name of a model in `scores`.
      metric: The name of a metric.
    """
    return self._sum(self.scores[model][metric].weight)

  def values(self, model: str, metric: str) -> np.ndarray:
    """Each client's value of a metric, float64 [clients].

    The value is NaN for a client without test data.

    Args:
      model: The name of a model in `scores`.
      metric: The name of a metric.
    """
    weights = self.weights(model, metric)
    with np.errstate(invalid='ignore', divide='ignore'):
      return np.where(weights > 0, self.totals(model, metric) / weights, np.nan)

  def select(self, mask: np.ndarray) -> 'ClientTable':
    """The table of the clients where `mask`, bool [clients], is true."""
    examples = mask[self.client_of_example]
    return ClientTable(
        client_ids=tuple(np.array(self.client_ids, object)[mask]),
        train_examples=self.train_examples[mask],
        test_examples=self.test_examples[mask],
        participated=self.participated[mask],
        trained_earlier=self.earlier[mask],
        scores={
            model: {
                metric: Scores(s.total[examples], s.weight[examples])
                for metric, s in metrics.items()
            }
            for model, metrics in self.scores.items()
        },
    )

  def sorted_by_id(self) -> 'ClientTable':
    """The table with its clients in the order of their ids."""
    ids = np.array(self.client_ids, object)
    order = np.argsort(ids, kind='stable')
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    examples = np.argsort(place[self.client_of_example], kind='stable')
    return ClientTable(
        client_ids=tuple(ids[order]),
        train_examples=self.train_examples[order],
        test_examples=self.test_examples[order],
        participated=self.participated[order],
        trained_earlier=self.earlier[order],
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


def from_scores(
    scores: Mapping[str, Mapping[str, Mapping[str, Sequence[Any]]]],
    *,
    client_ids: Sequence[str],
    train_examples: Sequence[int],
    participated: Sequence[bool],
    trained_earlier: Optional[Sequence[bool]] = None,
) -> ClientTable:
  """Makes a table of scores that were computed client by client.

  Args:
    scores: By model name, client id and metric name, the metric's (total,
      weight) for each of the client's test examples, float [examples] each.
      Every client must be there under the first model. Under another model a
      missing client gets weight 0, as if it had no test data.
    client_ids: The clients, in the order of the table.
    train_examples: The number of each client's training examples.
    participated: Whether each client took part in training.
    trained_earlier: Whether each trained the model that training started from;
      by default none did.

  Raises:
    errors.SettingsError: If a weight is negative or not finite.
  """
  first = next(iter(scores.values()))
  found = {}
  for model, by_client in scores.items():
    terms = collections.defaultdict(list)
    for client_id in client_ids:
      pairs = by_client.get(client_id) or _zeros(first[client_id])
      for metric, pair in pairs.items():
        _check_weights(pair[1], metric, client_id)
        terms[metric].append(pair)
    found[model] = {
        metric: Scores(*map(_join, zip(*pairs)))
        for metric, pairs in terms.items()
    }
  sizes = [len(next(iter(first[c].values()))[0]) for c in client_ids]
  return ClientTable(
      client_ids=tuple(client_ids),
      train_examples=np.array(train_examples, np.int64),
      test_examples=np.array(sizes, np.int64),
      participated=np.array(participated, bool),
      trained_earlier=(
          None if trained_earlier is None else np.array(trained_earlier, bool)
      ),
      scores=found,
  )


def _check_weights(weights: Any, metric: str, client_id: str) -> None:
  weights = np.asarray(weights)
  wrong = weights[~(np.isfinite(weights) & (weights >= 0))]
  if wrong.size:
    raise errors.SettingsError(
        f'Expected weights of metric {metric!r} that are 0 or more for each'
        f' example, found {wrong[0]:g} at client {client_id!r}. Return 1, or 0'
        ' for an example that does not count.'
    )


def _zeros(
    pairs: Mapping[str, Sequence[Any]],
) -> dict[str, tuple[np.ndarray, ...]]:
  return {
      metric: tuple(np.zeros_like(terms) for terms in pair)
      for metric, pair in pairs.items()
  }


def _join(terms: Sequence[Any]) -> np.ndarray:
  """The terms of all clients in one array, float64 [examples]."""
  return np.concatenate([np.atleast_1d(t) for t in terms]).astype(np.float64)
