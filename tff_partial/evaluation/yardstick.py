# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A yardstick that needs no training: the client's most frequent label.

Personalization gains most where people have different labels. Then a client's
labels alone say much: whoever always answers with the most frequent label of
the client's training examples may be right more often than a trained model.
A gain from personalization that does not exceed this says little about the
model. For text the labels are the following words, so the yardstick is the
most likely word of the client's unigrams.
"""

from collections.abc import Callable
import dataclasses
import math
from typing import Any

import numpy as np

from tff_partial import errors
from tff_partial.evaluation import client_table
from tff_partial.learning import clients as clients_lib

MOST_FREQUENT = 'most_frequent'  # The name of this model in a table.

# Returns the labels of what `Clients.read` returns, an int array [examples] or
# [examples, positions]. Negative labels are not counted by the metric.
LabelsFn = Callable[[Any], np.ndarray]


def add(
    table: client_table.ClientTable,
    metric: str,
    *,
    train: clients_lib.Clients,
    test: clients_lib.Clients,
    labels_fn: LabelsFn,
    baseline: str,
) -> client_table.ClientTable:
  """Adds the model `most_frequent` to the results of clients.

  Where several labels are the most frequent, it takes the smallest. Clients
  without training examples are always wrong.

  Args:
    table: Results on test examples.
    metric: The metric, whose total is the number of right labels of an example
      and whose weight is the number of labels.
    train: The clients' training examples.
    test: The test examples that the table is about.
    labels_fn: Returns the labels of a client's examples.
    baseline: The name of a model that all clients were evaluated under.

  Returns:
    The table with the scores of one more model, under this metric only.

  Raises:
    errors.SettingsError: If the metric counts other labels than `labels_fn`.
  """
  right, counted = [np.zeros(0)], [np.zeros(0)]
  for client_id in table.client_ids:
    guess = -1
    if client_id in train.client_ids:
      guess = _most_frequent(labels_fn(train.read(client_id)))
    labels = np.asarray(labels_fn(test.read(client_id)))
    # Not -1, which NumPy cannot tell for a client without test examples.
    labels = labels.reshape([len(labels), math.prod(labels.shape[1:])])
    right.append(((labels == guess) & (labels >= 0)).sum(axis=1))
    counted.append((labels >= 0).sum(axis=1))
  scores = client_table.Scores(
      np.concatenate(right).astype(float), np.concatenate(counted).astype(float)
  )
  expected = table.scores[baseline][metric].weight
  if not np.array_equal(scores.weight, expected):
    raise errors.SettingsError(
        f'Expected `labels_fn` to return the labels that {metric!r} counts,'
        f' {expected.sum():,.0f} in all, found {scores.weight.sum():,.0f}.'
        ' Return a negative number for labels that are not counted.'
    )
  return dataclasses.replace(
      table, scores={**table.scores, MOST_FREQUENT: {metric: scores}}
  )


def _most_frequent(labels: np.ndarray) -> int:
  labels = np.asarray(labels)
  found, counts = np.unique(labels[labels >= 0], return_counts=True)
  return int(found[counts.argmax()]) if len(found) else -1
