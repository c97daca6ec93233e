# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Federated learning with partial model personalization, on TFF.

Some variables of a model are *shared*: the server broadcasts them and averages
what clients make of them. The others are *personal*: each client has its own,
and they never leave it [1]. The names below are the public API; everything else
may change. A tour, from a model to a report:

*Model and split.* A `PartialModel` is a Keras model whose variables are divided
by a rule of `partition`, such as `partition.layers('head')`. `adapters` and
`GroupNorm` are layers that make small personal parts. A function without
arguments that makes one, a `ModelFn`, is what everything below takes.

*Data.* `Clients` is what a population must offer: client ids, and one client's
examples at a time. `Tensors` and `Sequences` are two forms in which examples
enter computations.

*Algorithm.* `algorithms` has FedAvg, FedSim, FedAlt, FedRecon, fine-tuning,
Ditto, pFedMe and APFL, each a list of `Phase`s, in which a `GroupTraining` says
how shared or personal variables are trained; `schedules` has learning rates.

*Process.* `build_partial_process` makes a round in the manner of
`tff.learning`: a `PartialProcess` whose `next` takes and returns the server's
state and the clients' personal variables.

*Store and training.* A `PersonalStore` keeps the personal variables of all
clients, and checkpoints. `train` runs rounds with the cohorts of a
`UniformSampler`, from the last checkpoint to `TrainingSettings.total_rounds`.

*Evaluation.* `evaluate` tries each `TestedModel`, with a computation made by
`build_evaluation`, on clients of a `Population` and returns a `ClientTable`,
from which a `Metric` says who gains and who is hurt.

*Report.* `write_report` writes a `RunReport` as a page, a JSON file and a
table.

*Runtime.* `local_worker` computes on this machine in a process of its own,
`connect` in several, here or on a Ray cluster. `Sharding` says how many clients
are computed at a time, and where.

*Experiments.* All of that in one call: a `Task` is a model that can be split
with people's data, `create_config` takes settings by the names of the flags of
run_experiment.py, `build_plan` checks that they go together, and `run` trains,
evaluates and reports in a folder, or goes on where it stopped there.

    with tfp.local_worker():
      plan = tfp.build_plan(task, tfp.create_config(algorithm='fed_alt'))
      table = tfp.run(plan, 'out/mine')

*Errors.* What a user can do something about is a `UserError`, of a kind in
`errors`.

[1] Pillutla et al. Federated Learning with Partial Model Personalization. ICML
2022. https://arxiv.org/abs/2204.03809
"""

import importlib
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
  from tff_partial import errors
  from tff_partial.errors import UserError
  from tff_partial.evaluation.client_table import ClientTable
  from tff_partial.evaluation.evaluation import build_evaluation
  from tff_partial.evaluation.evaluation import evaluate
  from tff_partial.evaluation.evaluation import Population
  from tff_partial.evaluation.evaluation import TestedModel
  from tff_partial.evaluation.metric import Metric
  from tff_partial.experiments.config import create as create_config
  from tff_partial.experiments.plan import build as build_plan
  from tff_partial.experiments.run import run
  from tff_partial.experiments.task import Task
  from tff_partial.learning import adapters
  from tff_partial.learning import algorithms
  from tff_partial.learning import partition
  from tff_partial.learning import schedules
  from tff_partial.learning.clients import Clients
  from tff_partial.learning.examples import Sequences
  from tff_partial.learning.examples import Tensors
  from tff_partial.learning.group_norm import GroupNorm
  from tff_partial.learning.local_update import GroupTraining
  from tff_partial.learning.local_update import Phase
  from tff_partial.learning.partial_model import ModelFn
  from tff_partial.learning.partial_model import PartialModel
  from tff_partial.learning.process import build_partial_process
  from tff_partial.learning.process import PartialProcess
  from tff_partial.reporting.report import RunReport
  from tff_partial.reporting.report import write as write_report
  from tff_partial.runtime.cluster import connect
  from tff_partial.runtime.local import local_worker
  from tff_partial.runtime.sharding import Sharding
  from tff_partial.training.personal_store import PersonalStore
  from tff_partial.training.sampler import UniformSampler
  from tff_partial.training.training import Settings as TrainingSettings
  from tff_partial.training.training import train

# The public names: where each is, and what it is called there. They are
# imported when they are first used, because TensorFlow takes seconds to import
# and an error about a flag should not wait for it.
_WHERE = {
    'adapters': 'learning.adapters',
    'algorithms': 'learning.algorithms',
    'build_evaluation': 'evaluation.evaluation:build_evaluation',
    'build_partial_process': 'learning.process:build_partial_process',
    'build_plan': 'experiments.plan:build',
    'Clients': 'learning.clients:Clients',
    'ClientTable': 'evaluation.client_table:ClientTable',
    'connect': 'runtime.cluster:connect',
    'create_config': 'experiments.config:create',
    'errors': 'errors',
    'evaluate': 'evaluation.evaluation:evaluate',
    'GroupNorm': 'learning.group_norm:GroupNorm',
    'GroupTraining': 'learning.local_update:GroupTraining',
    'local_worker': 'runtime.local:local_worker',
    'Metric': 'evaluation.metric:Metric',
    'ModelFn': 'learning.partial_model:ModelFn',
    'PartialModel': 'learning.partial_model:PartialModel',
    'PartialProcess': 'learning.process:PartialProcess',
    'partition': 'learning.partition',
    'PersonalStore': 'training.personal_store:PersonalStore',
    'Phase': 'learning.local_update:Phase',
    'Population': 'evaluation.evaluation:Population',
    'run': 'experiments.run:run',
    'RunReport': 'reporting.report:RunReport',
    'schedules': 'learning.schedules',
    'Sequences': 'learning.examples:Sequences',
    'Sharding': 'runtime.sharding:Sharding',
    'Task': 'experiments.task:Task',
    'Tensors': 'learning.examples:Tensors',
    'TestedModel': 'evaluation.evaluation:TestedModel',
    'train': 'training.training:train',
    'TrainingSettings': 'training.training:Settings',
    'UniformSampler': 'training.sampler:UniformSampler',
    'UserError': 'errors:UserError',
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
