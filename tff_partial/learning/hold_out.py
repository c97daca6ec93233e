# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training examples that are held out of training, for validation or a gate."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tff_partial.learning import clients as clients_lib

# Returns the examples at the given positions.
TakeFn = Callable[[Any, np.ndarray], Any]


class HoldOutView:
  """A view of clients that shows the held-out examples, or all the others.

  The seed and the client's id determine which examples are held out. A client
  with two examples or more has at least one on each side; a single example is
  for training.
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
      clients: The clients and all of their examples.
      take_fn: Takes examples by position, as `ClientExamples.take` does.
      share: The share of a client's examples to hold out, above 0 and below 1.
      seed: Determines, together with the client's id, what is held out.
      held_out: Whether to show the held-out examples or all the others.
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
