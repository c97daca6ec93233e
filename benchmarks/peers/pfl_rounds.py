# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds of pfl-research's FederatedAveraging, with PyTorch.

All users' tensors are made, and divided into batches, before the first round.
"""

from collections.abc import Sequence

import numpy as np
from pfl.aggregate import simulate
from pfl.algorithm import base
from pfl.algorithm import federated_averaging
from pfl.data import dataset as dataset_lib
from pfl.data import federated_dataset
from pfl.hyperparam import base as hyperparam
from pfl.model import pytorch
import torch

from benchmarks.peers import turns
from benchmarks.peers import work as work_lib

_NEVER = 10**9  # Rounds between evaluations, and rounds that there may be.


class _Model(torch.nn.Module):
  """A classifier with the methods that pfl calls."""

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return self.network(x)

  def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(self(x), y)

  def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    del x, y  # Only the training is measured.
    return {}


class _Linear(_Model):

  def __init__(self, kernel: np.ndarray):
    super().__init__()
    self.network = torch.nn.Linear(*kernel.shape)


class _Cnn(_Model):
  """The EMNIST CNN, for images [batch, 1, height, width]."""

  def __init__(self, weights: Sequence[np.ndarray]):
    super().__init__()
    layers: list[torch.nn.Module] = []
    for kernel in (weights[0], weights[3]):
      *_, inputs, outputs = kernel.shape
      layers += [
          torch.nn.Conv2d(inputs, outputs, 3, bias=False),
          torch.nn.GroupNorm(8, outputs, eps=1e-5),
          torch.nn.ReLU(),
          torch.nn.MaxPool2d(2),
      ]
    self.network = torch.nn.Sequential(
        *layers,
        torch.nn.Flatten(),
        torch.nn.Linear(*weights[6].shape),
        torch.nn.ReLU(),
        torch.nn.Linear(*weights[8].shape),
    )


def _to_torch(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
  """Keras's weights in PyTorch's layout."""
  channels = weights[3].shape[-1] if len(weights) > 2 else 0
  found = []
  for i, weight in enumerate(weights):
    if weight.ndim == 4:
      weight = weight.transpose([3, 2, 0, 1])
    elif weight.ndim == 2 and i == 6:  # After the images were made flat.
      size = round((len(weight) // channels) ** 0.5)
      weight = weight.reshape([size, size, channels, -1])
      weight = weight.transpose([3, 2, 0, 1]).reshape([weight.shape[-1], -1])
    elif weight.ndim == 2:
      weight = weight.T
    found.append(weight)
  return found


def _from_torch(
    found: Sequence[np.ndarray], like: Sequence[np.ndarray]
) -> list[np.ndarray]:
  """The inverse of `_to_torch`, by the positions of the numbers."""
  positions = [np.arange(w.size).reshape(w.shape) for w in like]
  weights = []
  for values, order in zip(found, _to_torch(positions)):
    weight = np.empty(values.size, values.dtype)
    weight[order.ravel()] = values.ravel()
    weights.append(weight)
  return [w.reshape(shaped.shape) for w, shaped in zip(weights, like)]


def create(work: work_lib.Work, options: Sequence[str]) -> turns.Rounds:
  """Prepares the rounds, as `turns.CreateFn`."""
  del options  # There are none.
  network = _Cnn(work.weights) if work.x.ndim > 3 else _Linear(work.weights[0])
  with torch.no_grad():
    for parameter, value in zip(
        network.parameters(), _to_torch(work.weights), strict=True
    ):
      parameter.copy_(torch.tensor(np.ascontiguousarray(value)))
  x = work.x if work.x.ndim == 3 else np.moveaxis(work.x, -1, 2)
  users = [
      dataset_lib.Dataset(
          (torch.tensor(np.ascontiguousarray(images)), torch.tensor(labels)),
          user_id=str(i),
      )
      for i, (images, labels) in enumerate(zip(x, work.y.astype(np.int64)))
  ]
  order = iter(work.cohorts.ravel().tolist())
  data = federated_dataset.FederatedDataset(
      lambda user: users[user], lambda: next(order)
  )
  model = pytorch.PyTorchModel(
      network,
      torch.optim.SGD,
      torch.optim.SGD(network.parameters(), lr=1.0),
  )
  backend = simulate.SimulatedBackend(training_data=data, val_data=data)
  algorithm = federated_averaging.FederatedAveraging()
  train_params = hyperparam.NNTrainHyperParams(
      local_num_epochs=1,
      local_learning_rate=work.learning_rate,
      local_batch_size=work.batch_size,
  )

  def run_round(round_num):
    # It goes on after the last round that it has run.
    algorithm.run(
        base.NNAlgorithmParams(
            central_num_iterations=round_num + 1,
            evaluation_frequency=_NEVER,
            train_cohort_size=work.cohorts.shape[1],
            val_cohort_size=0,
        ),
        backend,
        model,
        train_params,
        send_metrics_to_platform=False,  # Which prints them.
    )

  def weights():
    found = [p.detach().numpy() for p in network.parameters()]
    return _from_torch(found, work.weights)

  return run_round, weights


if __name__ == '__main__':
  turns.serve(create)
