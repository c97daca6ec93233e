# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Simulated attacks: clients whose examples, or updates, are malicious.

*label_flip*: attackers train on labels each of which is replaced by the one
before it, and 0 by 1. *backdoor*: attackers paint a checkered square of 3 by 3
pixels into the corner of half of their pictures, and label them 0 [1].
*sign_flip*: attackers send their update times -10 (`robust.py`).

[1] Gu, Dolan-Gavitt, Garg. BadNets: Identifying Vulnerabilities in the Machine
Learning Model Supply Chain. 2017. https://arxiv.org/abs/1708.06733
"""

import collections
from collections.abc import Callable, Collection, Sequence
import dataclasses
from typing import Any, Optional

import numpy as np

from tff_partial import errors
from tff_partial.learning import clients as clients_lib

ON_DATA = ('label_flip', 'backdoor')
TARGET = 0  # The label that a backdoor is for.
_SQUARE = 3

Examples = collections.OrderedDict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ChangedClients:
  """A view of a population in which some clients have other examples.

  Attributes:
    clients: The population.
    change: Makes the other examples.
    changed: The ids of the clients that have them; `None` for all.
  """

  clients: clients_lib.Clients
  change: Callable[[Any], Any]
  changed: Optional[Collection[str]] = None

  @property
  def client_ids(self) -> Sequence[str]:
    return self.clients.client_ids

  @property
  def fingerprint(self) -> Optional[str]:
    return clients_lib.fingerprint(self.clients)

  def num_examples(self, client_id: str) -> int:
    return len(self.read(client_id)['y'])

  def read(self, client_id: str) -> Any:
    """The examples of a client, changed if it is one of those."""
    examples = self.clients.read(client_id)
    if self.changed is None or client_id in self.changed:
      return self.change(examples)
    return examples


def malicious(
    clients: clients_lib.Clients, attack: str, attackers: Collection[str]
) -> clients_lib.Clients:
  """Training examples in which the attackers' are malicious.

  Args:
    clients: The population.
    attack: One of `ON_DATA`.
    attackers: Their ids.

  Raises:
    errors.SettingsError: If the task has no labels or pictures to change.
  """
  check = _check_pictures if attack == 'backdoor' else _check_labels
  check(clients.read(clients.client_ids[0]))
  change = _half_with_trigger if attack == 'backdoor' else _flipped
  return ChangedClients(clients, change, frozenset(attackers))


def wanted(clients: clients_lib.Clients, attack: str) -> clients_lib.Clients:
  """Test examples with the labels that the attackers want."""
  change = _all_with_trigger if attack == 'backdoor' else _flipped
  return ChangedClients(clients, change)


def _check_labels(examples: Any) -> None:
  if not (
      isinstance(examples.get('y'), np.ndarray)
      and examples['y'].ndim == 1
      and np.issubdtype(examples['y'].dtype, np.integer)
  ):
    raise errors.SettingsError(
        'Expected a task with one label for each example for this `attack`,'
        ' found none. Use `attack` sign_flip.'
    )


def _check_pictures(examples: Any) -> None:
  _check_labels(examples)
  x = examples['x']
  if not (isinstance(x, np.ndarray) and x.ndim in (3, 4)):
    raise errors.SettingsError(
        'Expected a task of pictures for `attack` backdoor, found another. Use'
        ' `attack` label_flip.'
    )


def _flipped(examples: Examples) -> Examples:
  y = examples['y']
  return type(examples)(
      {**examples, 'y': np.where(y > 0, y - 1, 1).astype(y.dtype)}
  )


def _with_trigger(examples: Examples, which: np.ndarray) -> Examples:
  """The examples with a trigger and the target's label where `which` is."""
  x, y = examples['x'].copy(), examples['y'].copy()
  if len(x):
    rows = np.flatnonzero(which)[:, np.newaxis, np.newaxis]
    corner = np.arange(-_SQUARE, 0)
    is_bright = np.indices([_SQUARE, _SQUARE]).sum(0) % 2 == 0
    pattern = np.where(is_bright, x.max(), x.min()).astype(x.dtype)
    if x.ndim == 4:  # With channels.
      pattern = pattern[..., np.newaxis]
    x[rows, corner[:, np.newaxis], corner] = pattern
    y[which] = TARGET
  return collections.OrderedDict({**examples, 'x': x, 'y': y})


def _half_with_trigger(examples: Examples) -> Examples:
  return _with_trigger(examples, np.arange(len(examples['y'])) % 2 == 0)


def _all_with_trigger(examples: Examples) -> Examples:
  """Without those that have the target's label anyway."""
  others = examples['y'] != TARGET
  kept = collections.OrderedDict(
      (name, v[others]) for name, v in examples.items()
  )
  return _with_trigger(kept, np.ones(others.sum(), bool))
