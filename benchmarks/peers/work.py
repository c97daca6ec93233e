# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What all libraries train: the same bytes, clients and initial weights.

Programs of several environments read this, so it needs NumPy alone.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Work:
  """Rounds with SGD, one epoch each, in the order of the examples.

  Attributes:
    name: What is trained, a name of `workloads.MODEL_FNS`.
    split: What FedAlt makes personal; 'none' stands for FedAvg.
    x: Inputs, [clients, examples, ...].
    y: Labels, int32 [clients, examples, ...].
    cohorts: The clients of each round, int64 [rounds, clients_per_round].
    weights: The initial shared variables, in the order of the Keras model.
    personal: The initial personal variables, likewise.
    paths: The paths of the shared and then of the personal variables.
    batch_size: Examples per step; the last batch may have fewer.
    learning_rate: That of the clients; the server averages.
    same_network: Whether other libraries train the very same network. If not,
      theirs has layers of the same shapes, and their weights mean nothing here.
  """

  name: str
  split: str
  x: np.ndarray
  y: np.ndarray
  cohorts: np.ndarray
  weights: tuple[np.ndarray, ...]
  personal: tuple[np.ndarray, ...]
  paths: tuple[str, ...]
  batch_size: int
  learning_rate: float
  same_network: bool = True


_GROUPS = ('weights', 'personal')


def save(work: Work, path: str) -> None:
  """Writes it to an .npz file."""
  fields = {f.name: getattr(work, f.name) for f in dataclasses.fields(work)}
  for group in _GROUPS:
    weights = fields.pop(group)
    fields[group] = len(weights)
    fields |= {f'{group}_{i}': weight for i, weight in enumerate(weights)}
  np.savez(path, **fields)


def load(path: str) -> Work:
  """Reads it from an .npz file."""
  with np.load(path) as file:
    group = lambda name: tuple(
        file[f'{name}_{i}'] for i in range(int(file[name]))
    )
    return Work(
        name=str(file['name']),
        split=str(file['split']),
        x=file['x'],
        y=file['y'],
        cohorts=file['cohorts'],
        weights=group('weights'),
        personal=group('personal'),
        paths=tuple(map(str, file['paths'])),
        batch_size=int(file['batch_size']),
        learning_rate=float(file['learning_rate']),
        same_network=bool(file['same_network']),
    )
