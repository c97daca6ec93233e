# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The gate: a client keeps the shared model unless its own data say otherwise.

Personalization hurts some clients [1, Section 5], and which ones is not known
before they are tested. With the gate each client leaves a share of its training
examples out of all training, its own and the shared model's, and then tries two
models on them: the one without personalization and its personalized one. It
takes the personalized model if that is strictly better there, and otherwise,
with a tie or nothing held out too, stays with the other. Test examples have no
part in it. The decision is local: nothing more is sent.

The cost: training on that much less, for clients with few examples a coarse
measurement, and two more passes over what is held out.

[1] Pillutla et al. Federated Learning with Partial Model Personalization.
ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from tff_partial.evaluation import client_table
from tff_partial.learning import clients as clients_lib

GATED = 'gated'  # The model's name in a table.

# (examples, positions) -> some of the examples.
TakeFn = Callable[[Any, np.ndarray], Any]


class Part:
  """Clients with a part of their examples: for training, or held out.

  Which ones is a function of the seed and the client's id. Of two examples or
  more at least one is held out and at least one is not; a single one is for
  training.
  """

  def __init__(
      self,
      clients: clients_lib.Clients,
      take_fn: TakeFn,
      *,
      share: float,
      seed: int,
      held_out: bool,
  ):
    """Makes the view.

    Args:
      clients: Whose examples.
      take_fn: Takes examples by position: `ClientExamples.take`.
      share: Of a client's examples to hold out, above 0 and below 1.
      seed: What the choice depends on, beside the client.
      held_out: Whether this is the part that is held out, or the other.
    """
    self._clients = clients
    self._take = take_fn
    self._share = share
    self._seed = seed
    self._held_out = held_out

  @property
  def client_ids(self) -> Sequence[str]:
    return self._clients.client_ids

  def num_examples(self, client_id: str) -> int:
    total = self._clients.num_examples(client_id)
    held_out = self._num_held_out(total)
    return held_out if self._held_out else total - held_out

  def read(self, client_id: str) -> Mapping[str, np.ndarray]:
    total = self._clients.num_examples(client_id)
    seed = clients_lib.seed_for(self._seed, 'gate', client_id)
    order = np.random.default_rng(seed.view(np.uint32)).permutation(total)
    count = self._num_held_out(total)
    chosen = order[:count] if self._held_out else order[count:]
    return self._take(self._clients.read(client_id), np.sort(chosen))

  def _num_held_out(self, total: int) -> int:
    return min(max(round(self._share * total), 1), max(total - 1, 0))


def helped(
    held_out: client_table.ClientTable,
    metric: str,
    *,
    baseline: str,
    candidate: str,
    higher_is_better: bool,
) -> frozenset[str]:
  """The clients whose held-out examples say that the candidate is better."""
  sign = 1 if higher_is_better else -1
  gain = sign * (
      held_out.values(candidate, metric) - held_out.values(baseline, metric)
  )
  # What is not a number is no gain.
  return frozenset(np.array(held_out.client_ids, object)[gain > 0])


def add(
    table: client_table.ClientTable,
    client_ids: frozenset[str],
    *,
    baseline: str,
    candidate: str,
) -> client_table.ClientTable:
  """The table with one more model: the candidate where it is taken.

  Args:
    table: Test results.
    client_ids: The clients that take the candidate; others have the baseline.
    baseline: The model without personalization.
    candidate: The personalized model.
  """
  takes = np.array([c in client_ids for c in table.client_ids], bool)
  takes = takes[table.client_of_example]
  gated = {
      metric: client_table.Scores(
          np.where(takes, scores.total, table.scores[baseline][metric].total),
          np.where(takes, scores.weight, table.scores[baseline][metric].weight),
      )
      for metric, scores in table.scores[candidate].items()
  }
  return dataclasses.replace(table, scores={**table.scores, GATED: gated})
