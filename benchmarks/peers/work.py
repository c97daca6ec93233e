# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What all libraries train: the same bytes, clients and initial weights.

Programs of several environments read this, so it needs NumPy alone.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Work:
  """Rounds of FedAvg with SGD, one epoch each, in the order of the examples.

  Attributes:
    name: 'LR' or 'CNN'.
    x: Inputs, float32 [clients, examples, ...].
    y: Labels, int32 [clients, examples].
    cohorts: The clients of each round, int64 [rounds, clients_per_round].
    weights: The initial variables, in the order of the Keras model.
    batch_size: Examples per step; the last batch may have fewer.
    learning_rate: That of the clients; the server averages.
  """

  name: str
  x: np.ndarray
  y: np.ndarray
  cohorts: np.ndarray
  weights: tuple[np.ndarray, ...]
  batch_size: int
  learning_rate: float


def save(work: Work, path: str) -> None:
  """Writes it to an .npz file."""
  fields = {f.name: getattr(work, f.name) for f in dataclasses.fields(work)}
  np.savez(path, **{**fields, 'weights': len(work.weights)}, **_named(work))


def _named(work: Work) -> dict[str, np.ndarray]:
  return {f'weight_{i}': weight for i, weight in enumerate(work.weights)}


def load(path: str) -> Work:
  """Reads it from an .npz file."""
  with np.load(path) as file:
    return Work(
        name=str(file['name']),
        x=file['x'],
        y=file['y'],
        cohorts=file['cohorts'],
        weights=tuple(file[f'weight_{i}'] for i in range(int(file['weights']))),
        batch_size=int(file['batch_size']),
        learning_rate=float(file['learning_rate']),
    )
