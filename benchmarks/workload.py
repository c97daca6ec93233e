# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a benchmark trains in a round: model, clients and settings."""

import collections
from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff

from tff_partial.learning import algorithms
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process as process_lib
from tff_partial.training import sampler as sampler_lib


@dataclasses.dataclass(frozen=True)
class Workload:
  """What a benchmark trains in a round: model, clients and settings.

  All clients have the same number of examples.

  Attributes:
    name: Name in the table.
    model_fn: Function from the name of a split to a `ModelFn`, like a task's.
    split: What FedSim and FedAlt make personal.
    clients: Clients for `training.train`.
    client_examples: The form in which examples enter computations.
    arrays: The same clients, but their examples are read as arrays.
    tensors: How the arrays are divided into batches.
    clients_per_round: Size of a cohort.
    learning_rate: Learning rate of SGD, for both groups of variables.
    clip_norm: Bound on the global norm of a step's gradients.
  """

  name: str
  model_fn: Callable[[str], partial_model.ModelFn]
  split: str
  clients: clients_lib.Clients
  client_examples: examples_lib.ClientExamples
  arrays: clients_lib.Clients
  tensors: examples_lib.Tensors
  clients_per_round: int
  learning_rate: float = 0.01
  clip_norm: Optional[float] = None

  @property
  def sampler(self) -> sampler_lib.UniformSampler:
    """Samples the same cohorts for everything that is compared."""
    return sampler_lib.UniformSampler(self.clients, self.clients_per_round)

  def cohort(self, round_num: int) -> list[str]:
    """The clients of a round."""
    return self.sampler.cohort(round_num)

  def create_process(self, algorithm: str) -> process_lib.PartialProcess:
    """Builds a round of 'fed_avg', 'fed_sim' or 'fed_alt'."""
    sgd = phase_lib.GroupTraining(
        tff.learning.optimizers.build_sgdm(self.learning_rate)
    )
    steps = algorithms.Steps(clip_norm=self.clip_norm)
    split, phases = {
        'fed_avg': ('none', algorithms.fed_avg(sgd, steps=steps)),
        'fed_sim': (self.split, algorithms.fed_sim(sgd, sgd, steps=steps)),
        'fed_alt': (self.split, algorithms.fed_alt(sgd, sgd, steps=steps)),
    }[algorithm]
    return process_lib.build_partial_process(
        self.model_fn(split),
        phases,
        client_examples=self.client_examples,
        client_weighting=tff.learning.ClientWeighting.UNIFORM,
    )


class ClientsInMemory:
  """Clients whose examples are arrays in memory."""

  def __init__(self, examples: Mapping[str, Mapping[str, np.ndarray]]):
    self._examples = {
        client_id: collections.OrderedDict(arrays)
        for client_id, arrays in examples.items()
    }

  @property
  def client_ids(self) -> Sequence[str]:
    return list(self._examples)

  def num_examples(self, client_id: str) -> int:
    return len(next(iter(self._examples[client_id].values())))

  def read(self, client_id: str) -> Any:
    return self._examples[client_id]
