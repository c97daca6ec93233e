# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of an experiment by subject: the parts of a `Config`."""

import dataclasses
from typing import Optional

from tff_partial.experiments import setting

# What a client that never trained can start from.
ONBOARDING = ('initial', 'mean', 'reconstruct', 'finetune')
SCHEDULES = ('constant', 'linear', 'staircase')
SERVER_OPTIMIZERS = (
    'sgd',
    'momentum',
    'adam',
    'corrected_adam',
    'adagrad',
    'yogi',
)
AGGREGATORS = ('mean', 'robust')
WEIGHTINGS = ('num_examples', 'uniform')


@dataclasses.dataclass(frozen=True)
class ClientWork(setting.Settings):
  """Client work"""

  epochs: int = setting.field(
      1, "Passes over a client's examples in each phase.", least=1, common=True
  )
  personal_epochs: Optional[int] = setting.field(
      None,
      "Passes in FedAlt's personal phase. Default: --epochs, but 10 for"
      ' fed_rep.',
      least=1,
  )
  alternating_steps: bool = setting.field(
      False,
      'FedSim only: take as many gradient steps as FedAlt takes in its two'
      ' phases together.',
  )
  max_steps: Optional[int] = setting.field(
      None, 'Maximum number of gradient steps in each phase.', least=1
  )
  learning_rate: float = setting.field(
      0.1,
      'Learning rate of SGD on clients, for shared variables.',
      least=0,
      common=True,
  )
  personal_learning_rate: Optional[float] = setting.field(
      None,
      'Learning rate for personal variables. Default: --learning_rate.',
      least=0,
      common=True,
  )
  schedule: str = setting.field(
      'constant',
      'How the learning rates on clients change over the rounds.',
      choices=SCHEDULES,
  )
  warmup_rounds: int = setting.field(
      0,
      'Rounds in which the learning rate rises; for --schedule=linear.',
      least=0,
  )
  staircase_rounds: int = setting.field(
      500,
      'Rounds after which the learning rate is halved; for'
      ' --schedule=staircase.',
      least=1,
  )
  clip_norm: Optional[float] = setting.field(
      None,
      'Maximum norm of the gradients of the variables that are trained.',
      least=0,
  )
  personal_l2: Optional[float] = setting.field(
      None,
      'Weight lambda of the squared distance of personal variables from their'
      ' initial values; for ditto and pfedme, from the shared model. Default:'
      ' 0, but 1 for ditto and 15 for pfedme.',
      least=0,
  )
  personal_dropout: float = setting.field(
      0.0,
      'Fraction of the outputs of personal adapters that is dropped in'
      ' training.',
      least=0,
      below=1,
  )
  shared_proximal: float = setting.field(
      0.0,
      "Weight of the squared distance of shared variables from the server's"
      ' (FedProx).',
      least=0,
  )
  local_rounds: int = setting.field(
      5,
      'pFedMe only: number of times the shared model moves in a round.',
      least=1,
  )
  pull: Optional[float] = setting.field(
      None,
      'pFedMe only: fraction of the distance the shared model moves towards the'
      " personal one, the paper's eta * lambda. Default: 0.005 times"
      ' --personal_l2, so 0.075.',
      least=0,
      most=1,
  )


@dataclasses.dataclass(frozen=True)
class Server(setting.Settings):
  """Server"""

  server_optimizer: str = setting.field(
      'sgd',
      'Optimizer applied to the mean update; sgd with rate 1 averages. adam is'
      " TFF's, whose epsilon holds back the first rounds; corrected_adam adds"
      " it after bias correction, as Adam's paper and PyTorch do.",
      choices=SERVER_OPTIMIZERS,
  )
  server_epsilon: Optional[float] = setting.field(
      None,
      'Epsilon of adam, corrected_adam, adagrad or yogi. Default: 1e-7, 1e-8,'
      ' 1e-7, 1e-3.',
      least=0,
  )
  server_learning_rate: float = setting.field(
      1.0, 'Learning rate of the server.', least=0
  )
  client_weighting: str = setting.field(
      'num_examples',
      'How clients are weighted in the mean.',
      choices=WEIGHTINGS,
  )
  aggregator: str = setting.field(
      'mean',
      'mean, or robust, which zeroes and clips outliers.',
      choices=AGGREGATORS,
  )


@dataclasses.dataclass(frozen=True)
class Evaluation(setting.Settings):
  """Evaluation"""

  eval_clients: int = setting.field(
      0,
      'Number of clients to evaluate, sampled with --seed; 0 means all.',
      least=0,
      common=True,
  )
  unseen_clients: int = setting.field(
      0,
      'Number of clients that are kept out of training and evaluated'
      ' separately.',
      least=0,
      common=True,
  )
  onboarding: Optional[str] = setting.field(
      None,
      'What clients that never trained are evaluated with: one or more of'
      f' {",".join(ONBOARDING)}, or none. Default: initial,mean with'
      ' --unseen_clients. It has no effect for fed_avg, finetune and local.',
  )
  gate: float = setting.field(
      0.0,
      "Share of every client's training examples to hold out; each client keeps"
      ' the model without personalization unless these examples favor the'
      ' personalized one. 0 turns the gate off.',
      least=0,
      below=1,
  )
  rounds_per_evaluation: int = setting.field(
      10,
      'Rounds between evaluations of some clients, for the learning curves; 0'
      ' means never.',
      least=0,
  )


@dataclasses.dataclass(frozen=True)
class Running(setting.Settings):
  """Running

  None of these changes what is learned, except that `clients_per_shard` changes
  the order of floating-point sums.
  """

  seconds_per_checkpoint: float = setting.field(
      30.0,
      'Seconds of training between checkpoints; 0 means after every round. The'
      ' last round always has one.',
      least=0,
  )
  max_concurrent_clients: Optional[int] = setting.field(
      None,
      'Clients that compute at the same time and divide the cores among'
      ' themselves. Default: one per core, but no more than compute together.',
      least=1,
  )
  clients_per_shard: Optional[int] = setting.field(
      None,
      'Clients of a round or of an evaluation that are computed at a time,'
      ' which bounds memory. Default: a whole round, or an eighth of one with'
      ' --cluster.',
      least=1,
  )
  cluster: Optional[str] = setting.field(
      None,
      'Compute in several processes: local for this machine, auto for the Ray'
      ' cluster that it is part of, or ray://host:port for another one.',
  )
  actor_cores: Optional[int] = setting.field(
      None,
      'Cores for each process of --cluster. Default: 4, or all of a machine'
      ' with fewer.',
      least=1,
  )
  insecure_cluster: bool = setting.field(
      False,
      'Use a cluster that asks nobody for a token: whoever reaches it can run'
      ' programs there as you, and read all data.',
  )
