# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of an experiment by subject: the parts of a `Config`."""

import dataclasses
from typing import Optional, Union

from tff_partial.experiments.settings import setting
from tff_partial.runtime import names

# What a client that never trained can start from.
ONBOARDING = ('initial', 'mean', 'reconstruct', 'finetune')
AUTO = 'auto'  # Of `personal_l2`: to be estimated before training.
SCHEDULES = ('constant', 'linear', 'staircase')
SCHEDULES_BY_TOTAL = ('linear',)  # Those that depend on `total_rounds`.
SERVER_OPTIMIZERS = (
    'sgd',
    'momentum',
    'adam',
    'corrected_adam',
    'adagrad',
    'yogi',
)
AGGREGATORS = ('mean', 'robust', 'median', 'trimmed_mean')
ORDERED = ('median', 'trimmed_mean')  # In which all clients count equally.
ATTACKS = ('sign_flip', 'label_flip', 'backdoor')
# What reports call clients: by pseudonyms and no list of single clients, by
# pseudonyms, or by their ids.
NO_CLIENT_IDS, HASHED_CLIENT_IDS, FULL_CLIENT_IDS = 'none', 'hashed', 'full'
REPORT_CLIENT_IDS = (NO_CLIENT_IDS, HASHED_CLIENT_IDS, FULL_CLIENT_IDS)
WEIGHTINGS = ('num_examples', 'uniform')
COMPRESSIONS = ('none', 'quantize')
FLOAT_BITS = (32, 16)


@dataclasses.dataclass(frozen=True)
class ClientWork(setting.Settings):
  """Client work"""

  epochs: int = setting.field(
      1, "Passes over a client's examples in each phase.", least=1, common=True
  )
  personal_epochs: Optional[int] = setting.field(
      None,
      "Passes in FedAlt's personal phase. Default: --epochs, but 10 for"
      ' fed_rep and ffgg.',
      least=1,
  )
  alternating_steps: bool = setting.field(
      False,
      'FedSim only: take as many gradient steps as FedAlt takes in its two'
      ' phases together.',
  )
  max_steps: Optional[int] = setting.field(
      None,
      'Maximum number of gradient steps in each phase; for pfedme, of batches,'
      ' with --inner_steps on each.',
      least=1,
  )
  microbatch_size: Optional[int] = setting.field(
      None,
      'Examples whose gradients are computed at a time in a step, which bounds'
      ' memory; the gradients are those of the whole batch (--batch_size) up to'
      ' rounding, but dropout draws other numbers. Not for batch normalization.'
      ' Default: the whole batch.',
      least=1,
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
  personal_l2: Union[float, str, None] = setting.field(
      None,
      'How strongly personal variables are held: the weight of their squared'
      ' distance from their initial values; for ditto and pfedme from the'
      ' shared model, and for fed_apm from their values when the round began.'
      ' Default: 0, but 1 for ditto, 15 for pfedme and 0.2 for fed_apm. "auto"'
      ' estimates a weight for --personal_l2_total before training.',
      least=0,
      words=(AUTO,),
  )
  personal_l2_total: Optional[float] = setting.field(
      None,
      'In place of --personal_l2: a weight s that each client divides by the'
      ' number of its examples, so that clients with few examples stay closer'
      ' to the initial values.',
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
  rho: float = setting.field(
      0.2,
      "FedAPM only: weight of the squared distance of a client's copy of shared"
      " variables from the server's; above 0.",
      least=1e-6,
  )
  tolerance: float = setting.field(
      0.0,
      'FFGG only: norm of the gradient of personal variables below which a'
      ' client stops training them in a round. It takes --personal_epochs steps'
      ' at most, by default 10, each on all of its examples.',
      least=0,
  )
  inner_steps: int = setting.field(
      5,
      'pFedMe only: steps of the personal model on each batch, after which the'
      ' shared model moves.',
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
  client_weighting: Optional[str] = setting.field(
      None,
      'How clients are weighted in the mean. Default: num_examples, or uniform'
      ' with differential privacy, median, trimmed_mean and fed_apm.',
      choices=WEIGHTINGS,
  )
  aggregator: str = setting.field(
      'mean',
      'mean; robust, which zeroes and clips outliers; or, against malicious'
      ' clients, the median or the trimmed_mean of each parameter.',
      choices=AGGREGATORS,
  )
  trim: float = setting.field(
      0.1,
      'Share of the clients that --aggregator=trimmed_mean leaves out at either'
      ' end.',
      least=0,
      below=0.5,
  )
  attack: Optional[str] = setting.field(
      None,
      'Simulate malicious clients: sign_flip, which send their update times'
      ' -10; label_flip, which train on wrong labels; or backdoor, which put a'
      ' small mark on half of their pictures and label these 0. The report'
      ' tells the success.',
      choices=ATTACKS,
  )
  attackers: float = setting.field(
      0.1,
      'Share of the clients that are malicious with --attack. For sign_flip the'
      ' probability that a client is, in each round again.',
      least=0,
      most=1,
  )
  compression: str = setting.field(
      'none',
      'How clients send updates: none, as float32; or quantize, as integers of'
      ' --compression_bits that are rounded at random, in a shorter code where'
      ' most are 0. The report has the bytes.',
      choices=COMPRESSIONS,
  )
  compression_bits: int = setting.field(
      8, 'Bits of a number with --compression=quantize.', least=2, most=16
  )
  broadcast_bits: int = setting.field(
      32,
      'Bits of a number that the server sends to clients: 32, or 16 for'
      ' float16.',
      choices=FLOAT_BITS,
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
      ' --unseen_clients, but only initial with differential privacy or'
      ' --personal_by_budget. No effect for fed_avg, fed_lora, rolora, knn_per,'
      ' finetune and local. For mean, the server averages the personal'
      ' variables of all clients that have some.',
  )
  min_clients_for_mean: int = setting.field(
      5,
      'Smallest number of clients whose personal variables may be averaged for'
      " --onboarding=mean; the mean of one is that client's own.",
      least=1,
  )
  validation: float = setting.field(
      0.0,
      "Share of every client's training examples to hold out; learning curves"
      ' come from them, and test examples are read once, at the end. 0 holds'
      ' out none, and curves come from test examples. --tune chooses by these'
      ' examples; its default is 0.2.',
      least=0,
      below=1,
      common=True,
  )
  gate: float = setting.field(
      0.0,
      "Share of every client's training examples to hold out; each client keeps"
      ' the model without personalization unless these examples favor the'
      ' personalized one. With --validation it has the same examples, and the'
      ' two must be equal. 0 turns the gate off.',
      least=0,
      below=1,
  )
  control: bool = setting.field(
      False,
      'Train the model that the run starts from by as many more rounds of'
      ' FedAvg too, on the same cohorts, and compare with it.',
      common=True,
  )
  auto_score: str = setting.field(
      'variance',
      'How --personal=auto ranks layers, always divided by their bytes:'
      ' variance, how much the gradients of clients disagree beyond noise;'
      ' sensitivity, how much the loss depends on the layer after an epoch of'
      ' training; moved, how far this epoch moved the layer.',
      choices=('variance', 'sensitivity', 'moved'),
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

  None of these changes what is learned, except that `clients_per_shard` and
  `runtime` change the rounding of floating-point numbers.
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
  runtime: str = setting.field(
      names.IN_PROCESS,
      'What computes clients: in_process, TensorFlow in the program itself, or'
      ' in each process of --cluster; worker, a process of TFF next to it,'
      ' which takes longer but is started again if it dies.',
      choices=names.RUNTIMES,
  )
  report_client_ids: str = setting.field(
      FULL_CLIENT_IDS,
      'What the report and clients.csv call clients: full, their ids; hashed,'
      ' pseudonyms whose key stays in the folder of the run; none,'
      ' pseudonyms, and without the list of clients that are hurt most.',
      choices=REPORT_CLIENT_IDS,
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
  store_parts: Optional[int] = setting.field(
      None,
      'Keep personal variables in this many files, by a hash of the client id.'
      ' Default: one file, or what the folder has. tasks.merge_store makes one'
      ' of them.',
      least=1,
  )
  store_folder: Optional[str] = setting.field(
      None,
      'With --cluster and --store_parts: a folder on the disks of its machines'
      ' that keeps the parts there, near the processes that compute.',
  )
  allow_overlap: bool = setting.field(
      False,
      'Start from a model (--init_from) even if clients that are unseen here'
      ' trained it, or if it was trained on other data of the same people. The'
      ' report says so.',
  )


@dataclasses.dataclass(frozen=True)
class Regime(setting.Settings):
  """FedAlt or FedSim"""

  regime: bool = setting.field(
      False,
      'Instead of training to the end, measure what decides between fed_alt and'
      ' fed_sim on this task, and forecast which of them ends with the smaller'
      ' loss, for each split of --personal. The forecast is of the loss on'
      ' training examples that are held out, and often makes no call'
      ' (docs/theory.md).',
      common=True,
  )
  regime_rounds: int = setting.field(
      8, 'Rounds of a rehearsal, on which the forecast is based.', least=2
  )
  regime_repeats: int = setting.field(
      4, 'Rehearsals of each algorithm, with other cohorts and seeds.', least=1
  )
  regime_clients: int = setting.field(
      50, 'Clients that measure and that rehearsals are evaluated on.', least=3
  )
  regime_held_out: float = setting.field(
      0.2,
      "Share of a client's training examples that rehearsals are evaluated on.",
      least=0.01,
      below=1,
  )
