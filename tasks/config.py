# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of an experiment, checked before anything slow is imported."""

import dataclasses
from typing import Optional

# Those that keep a personal copy of the whole model beside the shared one.
FULL = ('ditto', 'pfedme', 'apfl')
# Those that divide it, and train both parts.
DIVIDED = ('fed_sim', 'fed_alt', 'fed_recon')
ALGORITHMS = (
    'fed_avg',
    *DIVIDED,
    'finetune',
    *FULL,
)
SCHEDULES = ('constant', 'linear', 'staircase')
SERVER_OPTIMIZERS = ('sgd', 'momentum', 'adam', 'adagrad', 'yogi')
AGGREGATORS = ('mean', 'robust')

_PRETRAIN_ROUNDS = 200


@dataclasses.dataclass(frozen=True)
class Config:
  """The settings of an experiment; the flags of the same names explain them."""

  algorithm: str = 'fed_alt'
  personal: str = 'output'
  total_rounds: int = 100
  clients_per_round: int = 10
  pretrain_rounds: Optional[int] = None
  finetune_epochs: Optional[int] = None
  epochs: int = 1
  personal_epochs: Optional[int] = None
  max_steps: Optional[int] = None
  learning_rate: float = 0.1
  personal_learning_rate: Optional[float] = None
  schedule: str = 'constant'
  warmup_rounds: int = 0
  staircase_rounds: int = 500
  clip_norm: Optional[float] = None
  personal_l2: float = 0.0
  shared_proximal: float = 0.0
  local_rounds: int = 5
  pull: float = 0.1
  server_optimizer: str = 'sgd'
  server_learning_rate: float = 1.0
  client_weighting: str = 'num_examples'
  aggregator: str = 'mean'
  unseen_clients: int = 0
  eval_clients: int = 0
  rounds_per_evaluation: int = 10
  seed: int = 0
  init_from: Optional[str] = None

  def __post_init__(self):
    """Checks what concerns several settings.

    Raises:
      ValueError: If a name is unknown, or settings exclude each other.
    """
    for name, allowed in (
        ('algorithm', ALGORITHMS),
        ('schedule', SCHEDULES),
        ('server_optimizer', SERVER_OPTIMIZERS),
        ('aggregator', AGGREGATORS),
        ('client_weighting', ('num_examples', 'uniform')),
    ):
      if getattr(self, name) not in allowed:
        raise ValueError(
            f'Expected {name} of {list(allowed)}, found'
            f' {getattr(self, name)!r}.'
        )
    if self.pretrain_rounds and self.init_from:
      raise ValueError(
          'Expected --pretrain_rounds or --init_from, found both. A run starts'
          ' from one model.'
      )
    if self.algorithm == 'finetune' and self.finetune_epochs == 0:
      raise ValueError(
          "Expected --finetune_epochs of at least 1 for algorithm 'finetune',"
          ' found 0.'
      )

    if self.algorithm == 'pfedme' and not self.pull:
      raise ValueError(
          "Expected --pull above 0 for algorithm 'pfedme', found 0: the shared"
          ' model would never move.'
      )

  @property
  def num_pretrain_rounds(self) -> int:
    """Rounds of FedAvg before: as said, or where nothing else gives a model."""
    if self.pretrain_rounds is not None:
      return self.pretrain_rounds
    personalizes = self.algorithm != 'fed_avg'
    return _PRETRAIN_ROUNDS if personalizes and self.init_from is None else 0

  @property
  def num_finetune_epochs(self) -> int:
    """Epochs of fine-tuning: as said, or the paper's 5 for that algorithm."""
    if self.finetune_epochs is not None:
      return self.finetune_epochs
    return 5 if self.algorithm == 'finetune' else 0

  @property
  def split(self) -> str:
    """How the model is divided: not, if all of it is shared or copied."""
    undivided = ('fed_avg', *FULL)
    return 'none' if self.algorithm in undivided else self.personal

  @property
  def split_in_words(self) -> str:
    return 'a copy of all' if self.algorithm in FULL else self.split

  @property
  def pretrain_rounds_together(self) -> int:
    """The same for runs that are compared: all of them, FedAvg too."""
    if self.pretrain_rounds is not None:
      return self.pretrain_rounds
    return _PRETRAIN_ROUNDS if self.init_from is None else 0

  def for_pretraining(self, rounds: int) -> 'Config':
    """FedAvg with the settings of the shared variables, and no others."""
    unused = (
        'personal_epochs',
        'personal_learning_rate',
        'personal_l2',
        'local_rounds',
        'pull',
        'eval_clients',
        'pretrain_rounds',
        'init_from',
    )
    defaults = {f.name: f.default for f in dataclasses.fields(self)}
    return dataclasses.replace(
        self,
        algorithm='fed_avg',
        personal='none',
        total_rounds=rounds,
        finetune_epochs=0,
        **{name: defaults[name] for name in unused},
    )
