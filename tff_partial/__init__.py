# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Federated learning with partial model personalization, on TFF.

Some variables of a model are *shared*: the server broadcasts them and averages
what clients make of them. The others are *personal*: each client has its own,
and a round does not send them to the server [1]. (The mean that newcomers may
start from, `PersonalStore.mean`, is made of them.) The names below are the
public API; everything else may change. A tour, from a model to a report:

*Model and split.* A `PartialModel` is a Keras model whose variables are divided
by a rule of `partition`, such as `partition.layers('head')`. `adapters` and
`GroupNorm` are layers that make small personal parts, and layers that draw
random numbers take seeds from `next_seed`. A function without arguments that
makes such a model, a `ModelFn`, is what everything below takes;
`describe_variables` lists what is shared and what is personal in it.

*Data.* `Clients` is what a population must offer: client ids, and one client's
examples at a time. `people` writes examples by person to a folder, and
`client_data` opens such a folder or takes one of TFF's data sets. `Tensors` and
`Sequences` are `ClientExamples`: forms in which examples enter computations.

*Algorithm.* `algorithms` has FedAvg, FedSim, FedAlt, FedRecon, fine-tuning,
Ditto, pFedMe and APFL, each a list of `Phase`s, in which a `GroupTraining` says
how shared or personal variables are trained; `schedules` has learning rates.

*Process.* `build_partial_process` makes a round in the manner of
`tff.learning`: a `PartialProcess` whose `next` takes and returns the server's
state and the clients' personal variables. `leaves_clients` lists the values
that such a computation sends from clients to the server, without looking inside
a client's own work.

*Store and training.* A `PersonalStore` keeps the personal variables of all
clients, and checkpoints. `train` runs rounds with the cohorts of a
`UniformSampler`, from the last checkpoint to `TrainingSettings.total_rounds`.
`read_metrics` reads the file of a `tff.program.CSVFileReleaseManager` among its
`release_managers`, if that has `key_fieldname='round'`.

*Privacy.* A `PoissonSampler` or `CyclicSampler`, noise from a key of
`secret_key` by `build_private_aggregator`, and what that guarantees by
`accounting`.

*Evaluation.* `evaluate` tries each `TestedModel`, with a computation made by
`build_evaluation`, on clients of a `Population` and returns a `ClientTable`,
from which a `Metric` and `summary` say who gains and who is hurt.

*Report.* `write_report` writes a `RunReport` as a page, a JSON file and a
table. `plots` has its figures.

*Runtime.* `in_process` computes in this process, `local_worker` in a worker of
TFF's next to it, `connect` in several processes, here or on a Ray cluster.
`Sharding` says how many clients are computed at a time, and where.

*Experiments.* All of that in one call: a `Task` is a model that can be split
with people's data, `create_config` takes settings by the names of the flags of
run_experiment.py, `build_plan` checks that they go together, and `run` trains,
evaluates and reports in a folder, or goes on where it stopped there. A
`FinishedRun` has the models of its clients, and `export_client` writes one for
Keras and TensorFlow Lite; with a `Usage`, a task says how such a model is used.
`methods.register` adds an algorithm of yours.

    with tffp.in_process():
      plan = tffp.build_plan(task, tffp.create_config(algorithm='fed_alt'))
      table = tffp.run(plan, 'out/mine')

*Errors.* What a user can do something about is a `UserError`, of a kind in
`errors`.

The names, in one line each; `help(tffp.run)`, for example, says more:

  accounting: What a sequence of noisy releases guarantees, and the noise for a
      guarantee.
  adapters: Residual adapters: small layers that are initially the identity.
  algorithms: Algorithms as lists of phases.
  build_evaluation: Builds the computation that evaluates clients after `phases`
      of training.
  build_partial_process: Builds one round of training with shared and personal
      variables.
  build_plan: Makes a plan, and by that checks that everything goes together.
  build_private_aggregator: Builds the mean of clipped updates with noise.
  client_data: Populations of clients: in a folder, in TFF's own format, or
      downloaded.
  ClientExamples: How a client's examples enter a computation and are cut into
      batches.
  Clients: A population of clients and their examples.
  ClientTable: Test results of clients under one or more models.
  connect: Starts processes that compute, and ends them when the block ends.
  create_config: Makes a `Config` from settings by the names that flags have
      too.
  CyclicSampler: Takes one group of clients after the other, in a fixed order.
  describe_variables: Describes the variables of the models that `model_fn`
      returns.
  errors: Errors that a user can do something about.
  evaluate: Evaluates clients under several models, on the same test examples.
  export_client: Writes a client's model, all of it or nothing.
  FinishedRun: A run's model, to be filled with the variables of any client.
  GroupNorm: `tf.keras.layers.GroupNormalization` for images with channels last.
  GroupTraining: How a phase trains one group of variables.
  in_process: Runs this thread's TFF computations in this process.
  leaves_clients: Finds every value that leaves the clients in a computation.
  local_worker: Runs this thread's TFF computations in a worker that this
      program owns.
  methods: Everything that the package knows about each algorithm, in one table.
  Metric: A metric's name, and which of its values are better.
  ModelFn: A function without arguments that makes a `PartialModel`.
  next_seed: Returns a seed for a random function of TensorFlow, in a layer's
      `call`.
  PartialModel: A Keras model divided into shared and personal variables.
  PartialProcess: An iterative process whose clients keep personal variables.
  partition: Split rules: which variables of a model are personal, by their
      paths.
  people: Examples by person, and the folder of training and test data made of
      them.
  PersonalStore: Personal variables of every client that took part, by client
      id.
  Phase: Some epochs of training one group of variables, or both at once.
  plots: Figures of a run: learning curves, and who gained or lost.
  PoissonSampler: Samples every client independently, with the same probability.
  Population: Clients and their examples.
  read_metrics: Returns the rows of a metrics file as dictionaries, without
      empty values.
  run: Runs an experiment, or the rest of it, and writes its report.
  RunReport: Everything that the report of a run is made from.
  schedules: Learning rates of clients as functions of the round.
  secret_key: The secret that cohorts and noise are drawn from.
  Sequences: A `tf.data.Dataset` of batches, as everywhere in `tff.learning`.
  Sharding: How many clients are computed at a time, and where.
  summary: Numbers about many clients: how well they do, who is hurt, what it
      costs.
  Task: A model that can be split, and people's data to train it on.
  Tensors: All examples as tensors `[examples, ...]`, batches cut in the graph.
  TestedModel: One of the models under which clients are evaluated.
  train: Trains from the store's last checkpoint, if any, until `total_rounds`.
  TrainingSettings: How long to train, and how often to evaluate and to save.
  UniformSampler: Samples a fixed number of clients, uniformly without
      replacement.
  Usage: How people use an exported model.
  UserError: The base of all errors that are reported as one line.
  with_constants: Makes a model's constants part of the computations that use
      the model.
  write_report: Writes `report.json`, `clients.csv` and, at the end,
      `report.html`.

[1] Pillutla et al. Federated Learning with Partial Model Personalization. ICML
2022. https://arxiv.org/abs/2204.03809
"""

import atexit
import gc
import importlib
import signal
import sys
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
  from tff_partial import errors
  from tff_partial.data import client_data
  from tff_partial.data import people
  from tff_partial.errors import UserError
  from tff_partial.evaluation import summary
  from tff_partial.evaluation.client_table import ClientTable
  from tff_partial.evaluation.evaluation import build_evaluation
  from tff_partial.evaluation.evaluation import evaluate
  from tff_partial.evaluation.evaluation import Population
  from tff_partial.evaluation.evaluation import TestedModel
  from tff_partial.evaluation.metric import Metric
  from tff_partial.experiments.exports.export import export as export_client
  from tff_partial.experiments.finished_run import FinishedRun
  from tff_partial.experiments.plan import build as build_plan
  from tff_partial.experiments.run import run
  from tff_partial.experiments.settings import methods
  from tff_partial.experiments.settings.config import create as create_config
  from tff_partial.experiments.task import Task
  from tff_partial.experiments.usage import Usage
  from tff_partial.learning import adapters
  from tff_partial.learning import algorithms
  from tff_partial.learning import partition
  from tff_partial.learning import schedules
  from tff_partial.learning.clients import Clients
  from tff_partial.learning.constants import with_constants
  from tff_partial.learning.data_flow import leaves_clients
  from tff_partial.learning.examples import ClientExamples
  from tff_partial.learning.examples import Sequences
  from tff_partial.learning.examples import Tensors
  from tff_partial.learning.group_norm import GroupNorm
  from tff_partial.learning.outlines import describe as describe_variables
  from tff_partial.learning.partial_model import ModelFn
  from tff_partial.learning.partial_model import PartialModel
  from tff_partial.learning.phase import GroupTraining
  from tff_partial.learning.phase import Phase
  from tff_partial.learning.process import build_partial_process
  from tff_partial.learning.process import PartialProcess
  from tff_partial.learning.randomness import next_seed
  from tff_partial.privacy import accounting
  from tff_partial.privacy import secret_key
  from tff_partial.privacy.aggregation import build_private_aggregator
  from tff_partial.reporting import plots
  from tff_partial.reporting.report import RunReport
  from tff_partial.reporting.report import write as write_report
  from tff_partial.runtime.cluster import connect
  from tff_partial.runtime.in_process import in_process
  from tff_partial.runtime.local import local_worker
  from tff_partial.runtime.sharding import Sharding
  from tff_partial.training.history import read as read_metrics
  from tff_partial.training.personal_store import PersonalStore
  from tff_partial.training.sampler import CyclicSampler
  from tff_partial.training.sampler import PoissonSampler
  from tff_partial.training.sampler import UniformSampler
  from tff_partial.training.training import Settings as TrainingSettings
  from tff_partial.training.training import train

# The public names: where each is, and what it is called there. They are
# imported when they are first used, because TensorFlow takes seconds to import
# and an error about a flag should not wait for it.
_WHERE = {
    'accounting': 'privacy.accounting',
    'adapters': 'learning.adapters',
    'algorithms': 'learning.algorithms',
    'build_evaluation': 'evaluation.evaluation:build_evaluation',
    'build_partial_process': 'learning.process:build_partial_process',
    'build_plan': 'experiments.plan:build',
    'build_private_aggregator': 'privacy.aggregation:build_private_aggregator',
    'client_data': 'data.client_data',
    'ClientExamples': 'learning.examples:ClientExamples',
    'Clients': 'learning.clients:Clients',
    'ClientTable': 'evaluation.client_table:ClientTable',
    'connect': 'runtime.cluster:connect',
    'create_config': 'experiments.settings.config:create',
    'CyclicSampler': 'training.sampler:CyclicSampler',
    'describe_variables': 'learning.outlines:describe',
    'errors': 'errors',
    'evaluate': 'evaluation.evaluation:evaluate',
    'export_client': 'experiments.exports.export:export',
    'FinishedRun': 'experiments.finished_run:FinishedRun',
    'GroupNorm': 'learning.group_norm:GroupNorm',
    'GroupTraining': 'learning.phase:GroupTraining',
    'in_process': 'runtime.in_process:in_process',
    'leaves_clients': 'learning.data_flow:leaves_clients',
    'local_worker': 'runtime.local:local_worker',
    'methods': 'experiments.settings.methods',
    'Metric': 'evaluation.metric:Metric',
    'ModelFn': 'learning.partial_model:ModelFn',
    'next_seed': 'learning.randomness:next_seed',
    'PartialModel': 'learning.partial_model:PartialModel',
    'PartialProcess': 'learning.process:PartialProcess',
    'partition': 'learning.partition',
    'people': 'data.people',
    'PersonalStore': 'training.personal_store:PersonalStore',
    'Phase': 'learning.phase:Phase',
    'plots': 'reporting.plots',
    'PoissonSampler': 'training.sampler:PoissonSampler',
    'Population': 'evaluation.evaluation:Population',
    'read_metrics': 'training.history:read',
    'run': 'experiments.run:run',
    'RunReport': 'reporting.report:RunReport',
    'schedules': 'learning.schedules',
    'secret_key': 'privacy.secret_key',
    'Sequences': 'learning.examples:Sequences',
    'Sharding': 'runtime.sharding:Sharding',
    'summary': 'evaluation.summary',
    'Task': 'experiments.task:Task',
    'Tensors': 'learning.examples:Tensors',
    'TestedModel': 'evaluation.evaluation:TestedModel',
    'train': 'training.training:train',
    'TrainingSettings': 'training.training:Settings',
    'UniformSampler': 'training.sampler:UniformSampler',
    'Usage': 'experiments.usage:Usage',
    'UserError': 'errors:UserError',
    'with_constants': 'learning.constants:with_constants',
    'write_report': 'reporting.report:write',
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
  if name not in _WHERE:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module_name, _, attribute = _WHERE[name].partition(':')
  module = importlib.import_module(f'{__name__}.{module_name}')
  value = getattr(module, attribute) if attribute else module
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  return sorted(_WHERE)


def _end_workers() -> None:
  """Ends TFF's workers where they do not obey TFF.

  TFF asks its worker to end by SIGINT and waits. A program that a shell has
  started in the background ignores SIGINT, and so does its worker.
  """
  import psutil

  for child in psutil.Process().children():
    if child.name() == 'worker_binary':
      child.terminate()


@atexit.register
def _release_context() -> None:
  """Ends TFF's own worker while Python still can.

  The context that importing TFF sets holds a worker, or what would start one.
  Python destroys it after the modules that its destructor needs: the program
  would end with "Exception ignored", and the worker would stay.
  """
  tff = sys.modules.get('tensorflow_federated')
  # Without `framework`, the import of TFF has failed.
  if tff is not None and hasattr(tff, 'framework'):
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
      _end_workers()
    tff.framework.set_default_context(tff.test.create_runtime_error_context())
    gc.collect()  # The context is part of a cycle.
