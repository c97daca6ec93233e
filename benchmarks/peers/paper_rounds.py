# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds of FedAlt of the paper's own code, with PyTorch.

Its argument is a clone of FL_partial_personalization by facebookresearch on
GitHub, whose models and whose loop over clients and steps are used as they are.
All clients' tensors are made, and divided into batches, before the first round.

Three things are not the clone's. Its modules for data and metrics are not
imported, since they need TFF 0.19, so batches come from a list. Its server
calls a function of PyTorch 1.9 that later versions changed, so the server's
step, a plain one with rate 1, is here. And nothing is clipped.
"""

from collections.abc import Mapping, Sequence
import functools
import re
import sys
import types
from typing import Any

import numpy as np
import torch

from benchmarks.peers import turns
from benchmarks.peers import work as work_lib

# By network, how the clone calls the part that is personal.
_SPLITS = {
    'ConvNet': 'out_layer',
    'transformer': 'tr_layer',
    'ResNet-18': 'adapter',
}
_LAST_BLOCK = 3  # Of the transformer.
# Names of the transformer's parts in this project, and there.
_TRANSFORMER = {
    r'^words/embedding$': 'word_embedding.weight',
    r'^words/position$': 'positional_embedding.weight',
    r'^words/bias$': 'bias',
    r'^block_': 'transformer.',
    r'/attention/query/': '.wq.',
    r'/attention/key/': '.wk.',
    r'/attention/value/': '.wv.',
    r'/attention/out/': '.wc.',
    r'/feedforward_in/': '.w1.',
    r'/feedforward_out/': '.w2.',
    r'/norm(\d)/': r'.layernorm\1.',
    r'\.gamma$': '.weight',
    r'\.beta$': '.bias',
    r'\.kernel$': '.weight',
}
_CONV_NET = {
    r'^conv1/': 'convnet.c1.',
    r'^conv2/': 'convnet.c3.',
    r'^head/': 'fc.',
    r'\.kernel$': '.weight',
}


def _create_model(work: work_lib.Work) -> Any:
  """One of the clone's models, with the work's initial values if it can."""
  from pfl import models  # Of the clone.

  if work.name == 'ConvNet':
    model = models.EmnistConvNet()
  elif work.name == 'transformer':
    model = models.WordLMTransformer(
        seq_len=work.x.shape[2],
        vocab_size=len(work.weights[work.paths.index('words/embedding')]),
        input_dim=256,
        attn_hidden_dim=64,
        fc_hidden_dim=1024,
        num_attn_heads=4,
        num_layers=4,
        tied_weights=True,
    )
  else:
    from pfl.models import resnet_utils

    model = resnet_utils.ResNetGN(
        num_classes=len(work.weights[work.paths.index('head/bias')]),
        original_size=True,
    )
  if work.same_network:
    model.load_state_dict(
        {
            _name(work, path): torch.tensor(
                np.ascontiguousarray(_to_torch(path, value))
            )
            for path, value in zip(work.paths, (*work.weights, *work.personal))
        }
    )
  model.split_server_and_client_params(
      _SPLITS[work.name], [_LAST_BLOCK], adapter_hidden_dim=-1
  )
  return model


def _name(work: work_lib.Work, path: str) -> str:
  """What a variable is called there."""
  table = _CONV_NET if work.name == 'ConvNet' else _TRANSFORMER
  for pattern, name in table.items():
    path = re.sub(pattern, name, path)
  return path


def _to_torch(path: str, value: np.ndarray) -> np.ndarray:
  """Keras's layout in PyTorch's."""
  if value.ndim == 4:
    return value.transpose([3, 2, 0, 1])
  if path == 'head/kernel':  # After the images were made flat.
    value = value.reshape([4, 4, 64, -1])
    return value.transpose([3, 2, 0, 1]).reshape([value.shape[-1], -1])
  return value.T if path.endswith('/kernel') else value


def _from_torch(path: str, value: np.ndarray, like: np.ndarray) -> np.ndarray:
  """The inverse, by the positions of the numbers."""
  order = _to_torch(path, np.arange(like.size).reshape(like.shape))
  found = np.empty(like.size, like.dtype)
  found[order.ravel()] = value.ravel()
  return found.reshape(like.shape)


class _Clients:
  """What its algorithms call their loader of clients."""

  def __init__(self, work: work_lib.Work):
    self.batches = [
        [
            (_inputs(work, xs), _labels(work, ys))
            for xs, ys in zip(_divided(work, x), _divided(work, y))
        ]
        for x, y in zip(work.x, work.y)
    ]

  def get_client_dataloader(self, client_id: int) -> Sequence[Any]:
    return self.batches[client_id]

  def get_loss_and_metrics_fn(self) -> tuple[Any, None]:
    return _loss, None


def _divided(work: work_lib.Work, values: np.ndarray) -> list[np.ndarray]:
  cuts = range(work.batch_size, len(values), work.batch_size)
  return np.split(values, list(cuts))


def _inputs(work: work_lib.Work, x: np.ndarray) -> torch.Tensor:
  """Words are [time, batch] there, and pictures [batch, channels, ...]."""
  if work.name == 'transformer':
    return torch.tensor(np.ascontiguousarray(x.T), dtype=torch.long)
  return torch.tensor(np.moveaxis(x, -1, 1).copy())


def _labels(work: work_lib.Work, y: np.ndarray) -> torch.Tensor:
  return torch.tensor(np.ascontiguousarray(y.T), dtype=torch.long)


def _loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
  return torch.nn.functional.cross_entropy(
      outputs.flatten(0, -2), labels.flatten()
  )


class _Server:
  """The server's step with rate 1."""

  def __init__(self, variables: dict[str, torch.Tensor]):
    self._variables = variables

  @torch.no_grad()
  def step(self, differences: Mapping[str, torch.Tensor]) -> None:
    for name, difference in differences.items():
      self._variables[name] -= difference


def _import_clone(folder: str) -> None:
  """Lets `pfl` be the clone's, without what needs old packages."""
  sys.path.insert(0, folder)
  modules = {
      name: types.ModuleType(name)
      for name in (
          'pfl.metrics',
          'torchinfo',
          'torchvision',
          'torchvision.models',
      )
  }
  vars(modules['torchinfo'])['summary'] = None
  vars(modules['torchvision'])['models'] = modules['torchvision.models']
  sys.modules.update(modules)


def create(work: work_lib.Work, options: Sequence[str]) -> turns.Rounds:
  """Prepares the rounds, as `turns.CreateFn`."""
  (folder,) = options
  _import_clone(folder)
  from pfl.optim import fedalt

  model = _create_model(work)
  clients = list(range(len(work.x)))
  algorithm = fedalt.FedAlt(
      _Clients(work),
      clients,
      None,
      model,
      server_optimizer='sgd',
      server_lr=1.0,
      server_momentum=0.0,
      max_grad_norm=0.0,
      clip_grad_norm=False,
      save_dir='',
      seed=0,
  )
  algorithm.server_optimizer = _Server(model.server_state_dict())
  run_round = functools.partial(
      algorithm.run_one_round,
      len(clients),
      1,
      'sgd',
      types.SimpleNamespace(
          client_lr=work.learning_rate, client_momentum=0.0, scheduler='const'
      ),
  )

  def weights():
    if not work.same_network:
      return []
    found = model.state_dict()
    return [
        _from_torch(path, found[_name(work, path)].numpy(), like)
        for path, like in zip(work.paths, work.weights)
    ]

  return lambda round_num: run_round(), weights


if __name__ == '__main__':
  turns.serve(create)
