# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of an experiment, checked before anything slow is imported."""

import dataclasses
from typing import Any, Optional

from tff_partial import errors

# Those that keep a personal copy of the whole model beside the shared one.
FULL = ('ditto', 'pfedme', 'apfl')
# Those that divide it, and train both parts.
DIVIDED = ('fed_sim', 'fed_alt', 'fed_recon')
ALGORITHMS = (
    'fed_avg',
    *DIVIDED,
    'finetune',
    'local',
    *FULL,
)
# Names that people know, as an algorithm and what is personal in it.
NAMES = {
    'fed_per': ('fed_sim', 'output'),  # Arivazhagan et al. 2019.
    'fed_rep': ('fed_alt', 'output'),  # Collins et al. ICML 2021.
    'lg_fed_avg': ('fed_sim', 'input'),  # Liang et al. 2020.
    'fed_bn': ('fed_sim', 'norm'),  # Li et al. ICLR 2021, of batch norms.
}
# What a client that never trained can start from.
ONBOARDING = ('initial', 'mean', 'reconstruct', 'finetune')
SCHEDULES = ('constant', 'linear', 'staircase')
SERVER_OPTIMIZERS = ('sgd', 'momentum', 'adam', 'adagrad', 'yogi')
AGGREGATORS = ('mean', 'robust')

_PRETRAIN_ROUNDS = 200


@dataclasses.dataclass(frozen=True)
class Config:
  """The settings of an experiment; the flags of the same names explain them.

  A name of `NAMES` becomes the algorithm and the split that it stands for, and
  no split the default one, 'output'.
  """

  algorithm: str = 'fed_alt'
  personal: Optional[str] = None
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
  personal_dropout: float = 0.0
  shared_proximal: float = 0.0
  local_rounds: int = 5
  pull: float = 0.1
  server_optimizer: str = 'sgd'
  server_learning_rate: float = 1.0
  client_weighting: str = 'num_examples'
  aggregator: str = 'mean'
  unseen_clients: int = 0
  onboarding: Optional[str] = None
  gate: float = 0.0
  eval_clients: int = 0
  rounds_per_evaluation: int = 10
  seconds_per_checkpoint: float = 30.0
  seed: int = 0
  init_from: Optional[str] = None

  def __post_init__(self):
    """Checks what concerns several settings.

    Raises:
      ValueError: If a name is unknown, or settings exclude each other.
    """
    self._expand_name()
    for name, allowed in (
        ('algorithm', (*ALGORITHMS, *NAMES)),
        ('schedule', SCHEDULES),
        ('server_optimizer', SERVER_OPTIMIZERS),
        ('aggregator', AGGREGATORS),
        ('client_weighting', ('num_examples', 'uniform')),
    ):
      if getattr(self, name) not in allowed:
        raise errors.SettingsError(
            f'Expected {name} of {list(allowed)}, found'
            f' {getattr(self, name)!r}.'
        )
    if self.pretrain_rounds and self.init_from:
      raise errors.SettingsError(
          'Expected --pretrain_rounds or --init_from, found both. A run starts'
          ' from one model.'
      )
    if self.trains_alone and self.finetune_epochs == 0:
      raise errors.SettingsError(
          'Expected --finetune_epochs of at least 1 for algorithm'
          f' {self.algorithm!r}, found 0.'
      )
    for name in ('gate', 'personal_dropout'):
      if not 0 <= getattr(self, name) < 1:
        raise errors.SettingsError(
            f'Expected --{name} of at least 0 and below 1, found'
            f' {getattr(self, name)}.'
        )
    if (
        self.personal_dropout
        and self.algorithm != 'fed_avg'
        and 'adapter' not in self.split
    ):
      raise errors.SettingsError(
          'Expected personal adapters with --personal_dropout, which is theirs,'
          f' found {self.split_in_words}. Use --personal=adapter.'
      )
    self._check_onboarding()
    if self.algorithm == 'pfedme' and not self.pull:
      raise errors.SettingsError(
          "Expected --pull above 0 for algorithm 'pfedme', found 0: the shared"
          ' model would never move.'
      )

  def _expand_name(self) -> None:
    """Replaces a name that people know by what it stands for."""
    algorithm, personal = NAMES.get(self.algorithm, (self.algorithm, None))
    if personal and self.personal not in (None, personal):
      raise errors.SettingsError(
          f'Expected no --personal, or {personal!r}, which is what makes'
          f' {self.algorithm!r} of {algorithm!r}, found {self.personal!r}. Use'
          f' --algorithm={algorithm}.'
      )
    # A frozen dataclass has no other way to derive a field.
    object.__setattr__(self, 'algorithm', algorithm)
    if personal or self.personal is None:
      object.__setattr__(self, 'personal', personal or 'output')

  def _check_onboarding(self) -> None:
    if self.onboarding in (None, 'none'):
      return
    unknown = set(self.onboarding.split(',')) - set(ONBOARDING)
    if unknown:
      raise errors.SettingsError(
          f'Expected --onboarding of {list(ONBOARDING)} or none, found'
          f' {sorted(unknown)[0]!r}.'
      )
    if not self.unseen_clients:
      raise errors.SettingsError(
          'Expected --unseen_clients above 0 with --onboarding, found 0: nobody'
          ' would be new.'
      )

  @property
  def onboarding_policies(self) -> tuple[str, ...]:
    """As said, or those that train nothing if there are unseen clients.

    None where a federation leaves a newcomer nothing personal to start from.
    """
    if self.algorithm == 'fed_avg' or self.trains_alone:
      return ()
    if self.onboarding is not None:
      asked_for = self.onboarding.split(',')
      return tuple(policy for policy in ONBOARDING if policy in asked_for)
    return ('initial', 'mean') if self.unseen_clients else ()

  @property
  def trains_alone(self) -> bool:
    """Whether clients train without a server."""
    return self.algorithm in ('finetune', 'local')

  @property
  def num_pretrain_rounds(self) -> int:
    """Rounds of FedAvg before: as said, or where nothing else gives a model."""
    if self.pretrain_rounds is not None:
      return self.pretrain_rounds
    personalizes = self.algorithm != 'fed_avg'
    return _PRETRAIN_ROUNDS if personalizes and self.init_from is None else 0

  @property
  def num_finetune_epochs(self) -> int:
    """Epochs of fine-tuning: as said, or the paper's 5 for that algorithm.

    A client that begins alone and from nothing needs more.
    """
    if self.finetune_epochs is not None:
      return self.finetune_epochs
    return {'finetune': 5, 'local': 50}.get(self.algorithm, 0)

  @property
  def finetuned_model(self) -> str:
    """What the report calls a client's model after its last epochs."""
    return 'trained_alone' if self.algorithm == 'local' else 'finetuned'

  @property
  def num_newcomer_epochs(self) -> int:
    """Epochs of fine-tuning a client that never trained, the paper's 5 too."""
    return self.finetune_epochs or 5

  @property
  def split(self) -> str:
    """How the model is divided: not, if all of it is shared or copied."""
    if self.algorithm == 'local':
      return 'all'
    undivided = ('fed_avg', *FULL)
    return 'none' if self.algorithm in undivided else self.personal or 'output'

  @property
  def split_in_words(self) -> str:
    return 'a copy of all' if self.algorithm in FULL else self.split

  @property
  def settings(self) -> dict[str, Any]:
    """What results depend on, which a run that goes on must have again."""
    settings = dataclasses.asdict(self)
    del settings['seconds_per_checkpoint']
    return settings

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
        'personal_dropout',
        'local_rounds',
        'pull',
        'onboarding',
        'eval_clients',
        'pretrain_rounds',
        'init_from',
    )
    defaults: dict[str, Any] = {
        f.name: f.default for f in dataclasses.fields(self)
    }
    return dataclasses.replace(
        self,
        algorithm='fed_avg',
        personal='none',
        total_rounds=rounds,
        finetune_epochs=0,
        **{name: defaults[name] for name in unused},
    )
