# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What decides between FedAlt and FedSim, measured for one split of a model.

A study knows the plans of both algorithms, the clients that measure, and the
model that training starts from. It rehearses both (`rehearsal`); what else is
measured is in `split_constants.py` and `split_lookahead.py`.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.evaluation import evaluation
from tff_partial.evaluation import one_round
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import start as start_lib
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import methods
from tff_partial.experiments.settings import setting
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import hold_out
from tff_partial.learning import mean_regularizer
from tff_partial.learning import outlines
from tff_partial.learning import phase as phase_lib
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import rehearsal as rehearsal_lib
from tff_partial.training import sampler as sampler_lib

_LOSS = 'loss'


class Point:
  """Where a rehearsal ended: the server's state and personal variables."""

  def __init__(self, state: Any, personal: rehearsal_lib.ScratchVariables):
    self.state = state
    self.personal = personal

  @property
  def shared(self) -> tff.learning.models.ModelWeights:
    return self.state.global_model_weights


@dataclasses.dataclass(frozen=True)
class SplitStudy:
  """One split of a task's model, and the model that training starts from.

  Attributes:
    plans: By name, the plans of FedAlt, FedSim, and FedSim with FedAlt's steps.
    settings: How much to measure.
    init_from: What training starts from; `None` for seeded values.
    sharding: How many clients are computed at a time, and by whom.
  """

  plans: Mapping[str, plan_lib.Plan]
  settings: config_groups.Regime
  init_from: Optional[str]
  sharding: sharding_lib.Sharding

  @property
  def plan(self) -> plan_lib.Plan:
    """FedAlt's."""
    return self.plans[methods.ALTERNATING]

  @property
  def config(self) -> config_lib.Config:
    return self.plan.config

  @functools.cached_property
  def start(self) -> start_lib.Start:
    """The variables before round 1."""
    return start_lib.load(self.plan, self.init_from)

  @property
  def examples(self) -> examples_lib.ClientExamples:
    """The form of examples."""
    return self.plan.client_examples

  @property
  def batching(self) -> examples_lib.Tensors:
    """What cuts batches, which have a size."""
    found = self.examples.batching
    if found is None:
      raise errors.SettingsError(
          'Expected a task with examples.Tensors for `regime`, found'
          f' {type(self.examples).__name__}, which hides the size of batches.'
      )
    return found

  @functools.cached_property
  def metric(self) -> str:
    """The name of the metric that is the loss."""
    with tf.Graph().as_default():
      names = self.plan.model_fn().metric_names
    if _LOSS not in names:
      raise errors.SettingsError(
          f'Expected a metric named {_LOSS!r} for `regime`, which forecasts the'
          f" loss, found {list(names)}. Add it to the model's `metric_fns`."
      )
    return _LOSS

  def _held_out(self, held_out: bool) -> clients_lib.Clients:
    """Training examples that rehearsals do not see, or all others."""
    return hold_out.HoldOutView(
        clients_lib.ExcludingClients(self.plan.train_clients, self.plan.unseen),
        self.examples.take,
        share=self.settings.regime_held_out,
        seed=self.config.seed,
        held_out=held_out,
    )

  @functools.cached_property
  def training(self) -> clients_lib.Clients:
    """The clients, with the examples that rehearsals train on."""
    return self._held_out(False)

  @functools.cached_property
  def held_out(self) -> clients_lib.Clients:
    """The clients, with the examples that rehearsals are evaluated on."""
    return self._held_out(True)

  @functools.cached_property
  def sample(self) -> Sequence[str]:
    """The clients that are evaluated."""
    client_ids = self.training.client_ids
    return clients_lib.sample(
        client_ids,
        min(self.settings.regime_clients, len(client_ids)),
        seed=clients_lib.stream(self.config.seed, 'regime'),
        round_num=0,
    )

  @functools.cached_property
  def measured(self) -> Sequence[str]:
    """Those of the sample that have two batches of the probe or more."""
    least = 2 * self.probe_batch_size
    chosen = [c for c in self.sample if self.training.num_examples(c) >= least]
    if len(chosen) < 3:
      raise errors.SettingsError(
          'Expected at least 3 clients with two training examples for'
          f' `regime`, found {len(chosen)}. Use more `regime_clients`.'
      )
    return chosen

  @functools.cached_property
  def probe_batch_size(self) -> int:
    """So small that nine of ten clients have two batches."""
    sizes = [self.training.num_examples(c) for c in self.sample]
    return max(
        1, min(self.batching.batch_size, int(np.quantile(sizes, 0.1)) // 2)
    )

  def steps(
      self, client_ids: Sequence[str], *, epochs: Optional[int] = None
  ) -> np.ndarray:
    """Gradient steps of each client in a phase, by default the shared one.

    Args:
      client_ids: The clients.
      epochs: Passes over a client's examples in the phase.
    """
    client = self.config.client
    sizes = np.array([self.training.num_examples(c) for c in client_ids])
    if self.batching.max_examples is not None:
      sizes = np.minimum(sizes, self.batching.max_examples)
    steps = (epochs or client.epochs) * -(-sizes // self.batching.batch_size)
    if client.max_steps is not None:
      steps = np.minimum(steps, client.max_steps)
    return np.maximum(steps, 1)

  @functools.cached_property
  def rates(self) -> one_round.Rates:
    """Learning rates of the first round."""
    first, second = self.plan.algorithm.phases
    return one_round.Rates(
        shared=_first_rate(second.shared), personal=_first_rate(first.personal)
    )

  def at_start(self) -> Point:
    """The server's state before round 1."""
    process = self.plan.process
    state = process.start_from(
        process.initialize(), self.start.shared, self.start.personal
    )
    return Point(state, rehearsal_lib.ScratchVariables(self.start.personal))

  @property
  def weighted(self) -> bool:
    """Whether the mean update weights clients by their examples."""
    return self.config.weighting == 'num_examples'

  def rehearsal(
      self,
      name: str,
      repeat: int,
      after_round: Callable[[], Any] = lambda: None,
  ) -> tuple[dict[str, Any], Point]:
    """Rehearses an algorithm from the start.

    Args:
      name: Of one of `plans`.
      repeat: Determines cohorts and the order of examples, for all algorithms.
      after_round: Called after each round.

    Returns:
      Losses on held-out examples in the middle and at the end, the loss on
      training examples at the end, gradient steps and seconds; and where it
      ended.
    """
    begin = self.at_start()
    process = self.plans[name].process
    sampler = sampler_lib.UniformSampler(
        self.training,
        self.config.clients_per_round,
        seed=self.config.seed,
        stream=f'rehearsal {repeat}',
    )
    rounds = self.settings.regime_rounds
    end, losses, steps, seconds = begin, [], 0, 0.0
    for first, last in ((0, rounds // 2), (rounds // 2, rounds)):
      done = rehearsal_lib.rehearse(
          process,
          sampler,
          state=end.state,
          personal=end.personal,
          first_round=first,
          rounds=last - first,
          sharding=self.sharding,
          after_round=after_round,
      )
      end = Point(done.state, done.personal)
      losses.append(self.loss(end, self.held_out))
      steps += done.gradient_steps
      seconds += done.seconds
    return {
        'half_way': losses[0],
        'held_out': losses[1],
        'training': self.loss(end, self.training),
        'gradient_steps': steps,
        'seconds': seconds,
    }, end

  def loss(
      self,
      point: Point,
      examples: clients_lib.Clients,
      *,
      shared: Optional[tff.learning.models.ModelWeights] = None,
  ) -> float:
    """The mean loss over the examples of the sample.

    Args:
      point: The variables.
      examples: `training` or `held_out`.
      shared: Shared variables in place of the point's.
    """
    return float(np.divide(*map(np.sum, self.losses(point, examples, shared))))

  def losses(
      self,
      point: Point,
      examples: clients_lib.Clients,
      shared: Optional[tff.learning.models.ModelWeights] = None,
  ) -> tuple[np.ndarray, np.ndarray]:
    """The sum of losses and its weight at each client of the sample.

    Args:
      point: The variables.
      examples: `training` or `held_out`.
      shared: Shared variables in place of the point's.

    Returns:
      Two arrays, float64 [clients], in the order of `sample`.
    """
    table = evaluation.evaluate(
        {
            'here': evaluation.TestedModel(
                self.plan.build_evaluation(),
                shared or point.shared,
                point.personal.read,
            )
        },
        evaluation.Population(
            train=self.training, test=examples, participated=lambda _: True
        ),
        self.sample,
        seed=self.config.seed,
        sharding=self.sharding,
        progress=False,
    )
    return (
        table.totals('here', self.metric),
        table.weights('here', self.metric),
    )


def build(
    task: task_lib.Task,
    config: config_lib.Config,
    settings: config_groups.Regime,
    *,
    init_from: Optional[str],
    sharding: sharding_lib.Sharding,
) -> SplitStudy:
  """Prepares the study of the split that the settings name.

  Args:
    task: What is learned, and from whom.
    config: Settings of training, of which the algorithm does not matter.
    settings: How much to measure.
    init_from: What training starts from, which need not be there yet; `None`
      for seeded values.
    sharding: How many clients are computed at a time, and by whom.

  Raises:
    errors.SettingsError: If the settings cannot be used with the algorithms
      that are rehearsed, or if there are too few clients.
  """
  common = {
      'init_from': init_from,
      'pretrain_rounds': 0 if not init_from else None,
  }
  create = lambda algorithm, **others: plan_lib.build(
      task, setting.replace(config, algorithm=algorithm, **common, **others)
  )
  plans = {
      methods.ALTERNATING: create(methods.ALTERNATING),
      methods.SIMULTANEOUS: create(methods.SIMULTANEOUS),
      methods.SIMULTANEOUS_EQUAL_STEPS: create(
          methods.SIMULTANEOUS, alternating_steps=True
      ),
  }
  study = SplitStudy(
      plans=plans,
      settings=settings,
      init_from=init_from,
      sharding=sharding,
  )
  # Raise for what is missing before anything is computed.
  _ = study.batching, study.metric, study.measured
  return study


def _first_rate(training: Optional[phase_lib.GroupTraining]) -> float:
  """The learning rate of the first round."""
  assert training is not None and training.learning_rate is not None
  if training.schedule is None:
    return training.learning_rate
  return training.learning_rate * float(training.schedule(tf.constant(0)))


def check_model(task: task_lib.Task, config: config_lib.Config) -> None:
  """Checks that theory and rehearsals are about the loss of a model.

  Args:
    task: What is learned.
    config: Settings, with the split.

  Raises:
    errors.SettingsError: If the loss has a mean regularization.
  """
  variables = outlines.describe(task.model_fn(config.split))
  if mean_regularizer.is_in(variables):
    raise errors.SettingsError(
        'Expected `mean_regularization` 0 with `regime`, found more: theory and'
        ' rehearsals are about the loss without it.'
    )
