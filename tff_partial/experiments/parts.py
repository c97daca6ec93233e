# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the settings say, as the objects that algorithms are built from."""

from collections.abc import Callable
import dataclasses
import functools
import itertools
from typing import Optional

import tensorflow_federated as tff

from tff_partial.experiments import personal_budgets
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.learning import algorithms
from tff_partial.learning import client_work
from tff_partial.learning import compression
from tff_partial.learning import corrected_adam
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import nested_model
from tff_partial.learning import outlines
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process as process_lib
from tff_partial.learning import robust
from tff_partial.learning import schedules
from tff_partial.privacy import aggregation
from tff_partial.privacy import secret_key
from tff_partial.privacy import secure_sums

# Without differential privacy, the range of what is added securely: of a number
# of an update times its weight, and of a client's weight, metrics and counts.
# Steps are 2^31 times smaller.
_MOST_OF_AN_UPDATE = {'num_examples': 2.0**16, 'uniform': 2.0**6}
_MOST_OF_A_METRIC = 2.0**20


@dataclasses.dataclass(frozen=True)
class Parts:
  """The parts of algorithms that these settings describe.

  Attributes:
    config: The settings.
  """

  config: config_lib.Config

  @property
  def client(self) -> config_groups.ClientWork:
    return self.config.client

  @functools.cached_property
  def shared(self) -> phase_lib.GroupTraining:
    """How shared variables are trained."""
    return phase_lib.GroupTraining(
        tff.learning.optimizers.build_sgdm(self.client.learning_rate),
        schedule=self._schedule,
        penalty=self.client.shared_proximal,
    )

  @functools.cached_property
  def personal(self) -> phase_lib.GroupTraining:
    """How personal variables are trained."""
    return dataclasses.replace(
        self.unscheduled_personal, schedule=self._schedule
    )

  @functools.cached_property
  def unscheduled_personal(self) -> phase_lib.GroupTraining:
    """`personal` at the full learning rate, for training before evaluation."""
    return phase_lib.GroupTraining(
        tff.learning.optimizers.build_sgdm(self.config.personal_rate),
        penalty=self.config.penalty,
        penalty_total=self.config.penalty_total,
        anchor=self.config.method.penalty_anchor,
    )

  @property
  def steps(self) -> algorithms.Steps:
    """How long the shared phase lasts."""
    return self.steps_of(self.client.epochs)

  @property
  def personal_steps(self) -> algorithms.Steps:
    """How long the personal phase lasts."""
    return self.steps_of(self.config.num_personal_epochs)

  @property
  def finetune_steps(self) -> algorithms.Steps:
    """How long fine-tuning lasts."""
    return self.steps_of(self.config.num_finetune_epochs)

  def steps_of(self, epochs: int) -> algorithms.Steps:
    """Steps over this many epochs, with what all phases have in common."""
    return algorithms.Steps(
        epochs=epochs,
        max_steps=self.client.max_steps,
        clip_norm=self.client.clip_norm,
        adapter_dropout=self.client.personal_dropout,
    )

  @property
  def _schedule(self) -> Optional[phase_lib.Schedule]:
    if self.client.schedule == 'linear':
      return schedules.Linear(
          total_rounds=self.config.total_rounds,
          warmup_rounds=self.client.warmup_rounds,
      )
    if self.client.schedule == 'staircase':
      return schedules.Staircase(every=self.client.staircase_rounds)
    return None


def build_algorithm(config: config_lib.Config) -> algorithms.Algorithm:
  """The phases that the settings ask for."""
  return config.method.build(algorithms, Parts(config))


def split_model_fn(
    model_fn: Callable[[str], partial_model.ModelFn], config: config_lib.Config
) -> partial_model.ModelFn:
  """What makes a task's models, divided as the settings say.

  Args:
    model_fn: Split name to a `ModelFn`, as a task has it.
    config: Names the split.
  """
  whole = model_fn(config.split)
  if config.personal_by_budget is None:
    return whole
  groups: dict[str, int] = {}
  names = partition.joined(config.split)
  for number in range(len(names)):
    nested = model_fn('+'.join(names[: number + 1]))
    for v in outlines.describe(nested):
      if v.personal:
        groups.setdefault(v.path, number)
  return nested_model.NestedModelFn(whole, groups)


def build_model_fn(
    task_model_fn: Callable[[str], partial_model.ModelFn],
    config: config_lib.Config,
) -> partial_model.ModelFn:
  """What makes the models that the algorithm trains.

  Args:
    task_model_fn: Split name to a `ModelFn`, as a task has it.
    config: Names algorithm and split.
  """
  return build_algorithm(config).wrap(split_model_fn(task_model_fn, config))


def build_finetuning(
    config: config_lib.Config, epochs: int
) -> algorithms.Algorithm:
  """A personal phase before an evaluation, of the model that was trained."""
  parts = Parts(config)
  return algorithms.finetune(
      parts.unscheduled_personal,
      steps=parts.steps_of(epochs),
      wrapper=build_algorithm(config).wrapper,
  )


def build_server_optimizer(
    server: config_groups.Server, *, share: float = 1.0
) -> tff.learning.optimizers.Optimizer:
  """The optimizer that the server applies to the mean update.

  Args:
    server: The settings.
    share: What the learning rate is multiplied by.
  """
  optimizers = tff.learning.optimizers
  build = {
      'sgd': optimizers.build_sgdm,
      'momentum': functools.partial(optimizers.build_sgdm, momentum=0.9),
      'adam': optimizers.build_adam,
      'corrected_adam': corrected_adam.CorrectedAdam,
      'adagrad': optimizers.build_adagrad,
      'yogi': optimizers.build_yogi,
  }
  given = {}
  if server.server_epsilon is not None:
    given['epsilon'] = server.server_epsilon
  rate = share * server.server_learning_rate
  return build[server.server_optimizer](rate, **given)


def build_aggregator(
    config: config_lib.Config,
    noise_multiplier: Optional[float] = None,
    key: Optional[secret_key.SecretKey] = None,
    expected_clients: float = 0,
) -> process_lib.AggregationFactory:
  """What aggregates the updates of shared variables.

  Args:
    config: The settings.
    noise_multiplier: That of differential privacy; `None` without it.
    key: What the noise comes from, if there is any.
    expected_clients: The mean number of clients in a round with noise.
  """
  aggregator = _build_uncompressed(
      config, noise_multiplier, key, expected_clients
  )
  if config.server.compression != 'none':
    aggregator = compression.quantizing(
        aggregator,
        bits=config.server.compression_bits,
        measure=config.privacy.sends_metrics,
    )
  if config.server.attack == 'sign_flip':
    aggregator = robust.sign_flipping(aggregator, config.server.attackers)
  return aggregator


def build_distributor(
    config: config_lib.Config,
    model_fn: partial_model.ModelFn,
    client_examples: examples_lib.ClientExamples,
) -> Optional[tff.learning.templates.DistributionProcess]:
  """What sends shared variables to clients; `None` as they are.

  Args:
    config: The settings.
    model_fn: Makes the models that are trained.
    client_examples: The form of a client's examples.
  """
  if config.server.broadcast_bits == 32:
    return None
  types = client_work.model_types(model_fn, client_examples)
  return compression.build_float16_broadcast(types.shared)


def _build_uncompressed(
    config: config_lib.Config,
    noise_multiplier: Optional[float],
    key: Optional[secret_key.SecretKey],
    expected_clients: float,
) -> process_lib.AggregationFactory:
  is_secure = config.privacy.secure_aggregation
  if noise_multiplier is not None:
    assert key is not None
    clip = config.privacy.dp_clip
    sum_factory = None
    if is_secure:
      assert clip is not None
      sum_factory = secure_sums.BoundedSecureSumFactory(clip)
    return aggregation.build_private_aggregator(
        noise_multiplier=noise_multiplier,
        expected_clients=expected_clients,
        clip=clip,
        initial_clip=config.privacy.dp_initial_clip,
        quantile=config.privacy.dp_clip_quantile,
        key=key,
        tree=config.privacy.dp_mechanism == 'tree',
        sum_factory=sum_factory,
    )
  if is_secure:
    bound = _MOST_OF_AN_UPDATE[config.weighting]
    return tff.aggregators.MeanFactory(
        secure_sums.BoundedSecureSumFactory(bound),
        secure_sums.BoundedSecureSumFactory(_MOST_OF_A_METRIC),
    )
  build = {
      'mean': tff.aggregators.MeanFactory,
      'robust': tff.learning.robust_aggregator,
      'median': lambda: robust.TrimmedMeanFactory(None),
      'trimmed_mean': lambda: robust.TrimmedMeanFactory(config.server.trim),
  }
  return build[config.server.aggregator]()


def build_metrics_aggregator(
    config: config_lib.Config,
) -> Optional[tff.aggregators.UnweightedAggregationFactory]:
  """What sums metrics and counts; `None` for exact sums, or for none."""
  privacy = config.privacy
  if not privacy.secure_aggregation or not privacy.sends_metrics:
    return None
  return secure_sums.BoundedSecureSumFactory(_MOST_OF_A_METRIC)


def client_examples(
    task: task_lib.Task, config: config_lib.Config
) -> examples_lib.ClientExamples:
  """The form in which examples enter computations.

  Args:
    task: What is learned, and from whom.
    config: The run's settings.

  Raises:
    errors.SettingsError: If it does not have the microbatches of the settings.
  """
  size = config.client.microbatch_size
  form = task.client_examples
  return form if size is None else form.in_microbatches(size)


def budget_levels(
    task: task_lib.Task,
    config: config_lib.Config,
    model_fn: partial_model.ModelFn,
) -> Optional[personal_budgets.Levels]:
  """What the budgets of clients allow, if there are budgets.

  Args:
    task: What is learned, and from whom.
    config: The run's settings.
    model_fn: What `split_model_fn` makes.

  Raises:
    errors.UserError: If the file of budgets is missing, or is not one of these
      clients.
  """
  if config.personal_by_budget is None:
    return None
  assert isinstance(model_fn, nested_model.NestedModelFn)
  names = partition.joined(config.split)
  sizes = [0] * len(names)
  for v in outlines.describe(model_fn.model_fn):
    if v.personal:
      sizes[model_fn.groups[v.path]] += v.num_bytes
  return personal_budgets.build(
      config.personal_by_budget,
      names,
      sizes,
      itertools.chain(task.train.client_ids, task.test.client_ids),
  )
