# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What personalization does to clients that keep different numbers of bytes."""

from collections.abc import Mapping, Sequence
import dataclasses

import numpy as np

from tff_partial.evaluation import client_table
from tff_partial.reporting import findings


@dataclasses.dataclass(frozen=True)
class Budgets:
  """How much of the model is personal for each client.

  Attributes:
    levels: The level of each client.
    names: For each level what is personal.
    num_bytes: For each level what a client stores.
  """

  levels: Mapping[str, int]
  names: Sequence[str]
  num_bytes: Sequence[int]

  def mean_bytes(self, table: client_table.ClientTable) -> float:
    """What a client of the table stores on average."""
    return float(
        np.mean([self.num_bytes[self.levels[c]] for c in table.client_ids])
    )


def numbers(
    table: client_table.ClientTable,
    query: findings.ReportQuery,
    budgets: Budgets,
) -> list[dict[str, object]]:
  """Every number about the clients of each level, the lowest level first.

  Args:
    table: The clients.
    query: What is compared.
    budgets: How much of the model is personal for each of them.

  Returns:
    Levels whose clients have no test examples are left out.
  """
  levels = np.array([budgets.levels[c] for c in table.client_ids])
  counted = table.weights(query.baseline, query.metric.name) > 0
  found = []
  for level, personal in enumerate(budgets.names):
    mask = levels == level
    if not counted[mask].any():
      continue
    members = table.select(mask)
    mean = lambda model: query.summarize(members, model).weighted_mean
    found.append(
        {
            'personal': personal,
            'bytes': budgets.num_bytes[level],
            'before': mean(query.baseline),
            'after': mean(query.candidate),
            'comparison': query.compare(members).to_dict(),
        }
    )
  return found
