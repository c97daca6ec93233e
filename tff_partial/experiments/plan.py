# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""All that a run needs, made once.

Building a plan is the check before anything is trained: whatever does not go
together, of settings, data and model, raises there.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.evaluation import evaluation
from tff_partial.evaluation import neighbors as neighbors_lib
from tff_partial.experiments import budget as budget_lib
from tff_partial.experiments import origin
from tff_partial.experiments import participants
from tff_partial.experiments import parts
from tff_partial.experiments import personal_budgets
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import setting
from tff_partial.learning import algorithms
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import constants as constants_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import mean_regularizer
from tff_partial.learning import microbatches
from tff_partial.learning import nested_model
from tff_partial.learning import outlines
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process as process_lib
from tff_partial.privacy import aggregation
from tff_partial.privacy import secret_key
from tff_partial.training import sampler as sampler_lib

# TFF's compiler takes 2.5 GB of memory for 100 MB of constants.
MAX_CONSTANTS_BYTES = 2**26
# Settings that computations do not depend on: arguments of theirs, which are in
# the state of the server, and what is decided outside of them.
_ARGUMENTS = frozenset(
    (
        'seed',
        'learning_rate',
        'personal_learning_rate',
        'server_learning_rate',
    )
)
_OUTSIDE = frozenset(
    (
        'allow_overlap',
        'clients_per_round',
        'control',
        'eval_clients',
        'finetune_epochs',
        'gate',
        'init_from',
        'min_clients_for_mean',
        'onboarding',
        'pretrain_rounds',
        'report_client_ids',
        'rounds_per_evaluation',
        'seconds_per_checkpoint',
        'unseen_clients',
        'validation',
    )
)


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is trained, by whom, and who is evaluated under which phases.

  Attributes:
    task: What is learned, and from whom.
    config: How.
    algorithm: What clients do in a round.
    split_model_fn: Makes models with the split.
    model_fn: Makes the models that the algorithm trains of them.
    variables: Those of the model, labelled by the split.
    train_clients: All clients with the examples that may train a model.
    held_out: The same clients with the examples that are kept back for
      validation or the gate, if any are.
    test: The examples that models are evaluated on at the end: test examples,
      or those held out for validation if the run is one of a search.
    unseen: The clients that are kept out of training.
    sampler: Draws the cohorts; `None` if clients train without a server.
    evaluated: The clients that are evaluated at the end.
    curve_clients: Those that are evaluated while training.
    on_validation: Whether `test` has the examples held out for validation.
    finetuning: Phases before the last evaluation, if there are any.
    reconstruction: Phases that make personal variables from a client's data.
    newcomer_finetuning: Fine-tuning of a client that never trained.
    pretraining: The plan of the run that this one starts from, if any.
    control: The plan of more rounds of FedAvg to compare with, if asked for.
    generation: How many times models were trained in rounds before this run,
      one starting from the other.
    key: The key of secret cohorts and of noise; `None` if there are none. A
      secret one is replaced by that of the run's folder (`with_key`).
    budget: What differential privacy allows; `None` without it.
    constants: The values of the model's constants if clients are sent them
      once, with the computation; none if there are no constants, or if they are
      too large for that and broadcast in each round.
    feature_mean: The common mean of representations, float32 [features], of a
      model with mean regularization, once it is known.
    levels: How much of the model is personal for each client; `None` if it is
      the same for all.
    built: The computations that were built for this plan and for others like
      it, of which some take seconds.
  """

  task: task_lib.Task
  config: config_lib.Config
  algorithm: algorithms.Algorithm
  split_model_fn: partial_model.ModelFn
  model_fn: partial_model.ModelFn
  variables: Sequence[partition.VariableInfo]
  train_clients: clients_lib.Clients
  held_out: Optional[clients_lib.Clients]
  test: clients_lib.Clients
  unseen: frozenset[str]
  sampler: Optional[sampler_lib.Sampler]
  evaluated: Sequence[str]
  curve_clients: Sequence[str]
  finetuning: Optional[algorithms.Algorithm]
  reconstruction: algorithms.Algorithm
  newcomer_finetuning: algorithms.Algorithm
  pretraining: Optional['Plan']
  control: Optional['Plan'] = None
  generation: int = 0
  on_validation: bool = False
  key: Optional[secret_key.SecretKey] = None
  budget: Optional[budget_lib.Budget] = None
  constants: Sequence[np.ndarray] = ()
  feature_mean: Optional[np.ndarray] = None
  levels: Optional[personal_budgets.Levels] = None
  built: dict[Any, Any] = dataclasses.field(
      default_factory=dict, repr=False, compare=False
  )

  def with_constants(self, shared: tff.learning.models.ModelWeights) -> 'Plan':
    """Returns this plan with the constants of the model that it starts from.

    Args:
      shared: The shared variables of that model.
    """
    values = shared.non_trainable
    if not 0 < sum(v.nbytes for v in values) <= MAX_CONSTANTS_BYTES:
      return self  # Keeps the process that it has built.
    return dataclasses.replace(self, constants=tuple(values))

  def with_all_shared(
      self, shared: tff.learning.models.ModelWeights
  ) -> tff.learning.models.ModelWeights:
    """All shared variables, from those in the state of `process`."""
    return shared._replace(
        non_trainable=[*shared.non_trainable, *self.constants]
    )

  def own_start(
      self, personal: tff.learning.models.ModelWeights
  ) -> Optional[Callable[[str], tff.learning.models.ModelWeights]]:
    """What each client starts from; `None` if that is the same for all.

    Args:
      personal: The initial personal variables, without a client's level.
    """
    if self.levels is None:
      return None
    of = self.levels.of
    return lambda client_id: nested_model.with_level(personal, of[client_id])

  def with_key(self, key: secret_key.SecretKey) -> 'Plan':
    """Returns this plan, and the plans in it, with another key."""
    if key == self.key:
      return self  # Keeps the process that it has built.
    sampler = self.sampler
    if isinstance(sampler, sampler_lib.PoissonSampler):
      sampler = dataclasses.replace(sampler, key=key)
    return dataclasses.replace(
        self,
        key=key,
        sampler=sampler,
        pretraining=self.pretraining and self.pretraining.with_key(key),
        control=self.control and self.control.with_key(key),
    )

  def with_generation(self, generation: int) -> 'Plan':
    """Returns this plan, and the control in it, with another `generation`."""
    if generation == self.generation:
      return self  # Keeps the process that it has built.
    sampler = self.sampler
    if sampler is not None:
      sampler = participants.build_sampler(
          sampler.clients, self.config, self.key, stream=_stream(generation)
      )
    return dataclasses.replace(
        self,
        generation=generation,
        sampler=sampler,
        control=self.control and self.control.with_generation(generation),
    )

  @property
  def settings(self) -> dict[str, Any]:
    """What results depend on, by the names of the flags."""
    found = {**self.task.settings, **self.config.settings}
    if self.levels is not None:
      found[personal_budgets.DIGEST] = self.levels.digest
    return {**found, **self.evaluated_on}

  @property
  def evaluated_on(self) -> dict[str, str]:
    """A setting that says so if `test` has no test examples."""
    return {'evaluated_on': 'validation'} if self.on_validation else {}

  @property
  def curve_examples(self) -> clients_lib.Clients:
    """The examples that learning curves come from."""
    if self.config.evaluation.validation:
      assert self.held_out is not None
      return self.held_out
    return self.test

  @property
  def client_examples(self) -> examples_lib.ClientExamples:
    """The form in which examples enter computations."""
    return parts.client_examples(self.task, self.config)

  @property
  def starts_from_model(self) -> bool:
    """Whether there is a trained model to start from."""
    return self.pretraining is not None or self.config.init_from is not None

  @property
  def baseline(self) -> str:
    """The model that the report compares with."""
    if self.config.method.baseline is not None:
      return self.config.method.baseline
    return 'non_personalized' if self.starts_from_model else 'shared'

  @property
  def candidate(self) -> str:
    """The model that the report is about."""
    return self.config.method.candidate

  @functools.cached_property
  def process(self) -> process_lib.PartialProcess:
    """A round; takes seconds to build, unless a plan like this has built it."""
    share = 1.0
    if self.algorithm.sends_population_change:
      assert self.sampler is not None
      population = len(self.sampler.clients.client_ids)
      share = min(1.0, self.config.clients_per_round / population)
    server_optimizer = parts.build_server_optimizer(
        self.config.server, share=share
    )
    # The noise of a budget comes from the run's own key.
    if self.budget is not None:
      return self._process(server_optimizer)
    process = self.once('process', lambda: self._process(server_optimizer))
    settings = setting.flatten(self.config)
    arguments = tuple(settings[name] for name in sorted(_ARGUMENTS))
    return self.once(
        ('process', arguments, share),
        lambda: process.starting_with(
            seed=self.config.seed,
            algorithm=self.algorithm,
            server_optimizer=server_optimizer,
        ),
    )

  def once(self, key: Any, build_fn: Callable[[], Any]) -> Any:
    """What is built for a key, once for this plan and others like it.

    Args:
      key: Names it, with everything that it depends on but the plan's settings,
        and with learning rates unless it takes them as arguments.
      build_fn: Builds it.
    """
    built = self.built if self.is_like_others else self._built_alone
    if key not in built:
      built[key] = build_fn()
    return built[key]

  @functools.cached_property
  def _built_alone(self) -> dict[Any, Any]:
    return {}

  @property
  def is_like_others(self) -> bool:
    """Whether computations depend on nothing that a run decides for itself."""
    return (
        self.feature_mean is None and self.levels is None and not self.constants
    )

  def _process(
      self, server_optimizer: tff.learning.optimizers.Optimizer
  ) -> process_lib.PartialProcess:
    return process_lib.build_partial_process(
        constants_lib.with_constants(self.split_model_fn, self.constants),
        self.algorithm,
        client_examples=self.client_examples,
        server_optimizer=server_optimizer,
        model_aggregator=self._build_aggregator(),
        model_distributor=parts.build_distributor(
            self.config, self.model_fn, self.client_examples
        ),
        client_weighting=tff.learning.ClientWeighting[
            self.config.weighting.upper()
        ],
        metrics=self.config.privacy.sends_metrics,
        metrics_aggregation_factory=parts.build_metrics_aggregator(self.config),
        seed=self.config.seed,
    )

  def _build_aggregator(self) -> process_lib.AggregationFactory:
    if self.budget is None:
      return parts.build_aggregator(self.config)
    assert self.key is not None
    # Pretraining and training draw from one key.
    return parts.build_aggregator(
        self.config,
        self.budget.noise_multiplier,
        self.key.for_purpose(f'noise {self.generation}'),
        self.expected_clients,
    )

  @property
  def expected_clients(self) -> float:
    """The mean number of clients in a round."""
    if isinstance(self.sampler, sampler_lib.CyclicSampler):
      return len(self.sampler.clients.client_ids) / self.sampler.num_groups
    return self.config.clients_per_round

  def build_evaluation(
      self, phases: Sequence[phase_lib.Phase] = ()
  ) -> evaluation.Evaluation:
    """The evaluation after some phases; each takes seconds to build, once."""
    found = self.once(
        ('evaluation', phase_lib.without_learning_rates(phases)),
        lambda: evaluation.build_evaluation(
            self.model_fn,
            client_examples=self.client_examples,
            phases=phases,
        ),
    )
    return dataclasses.replace(found, phases=phases)

  @property
  def neighbors(self) -> evaluation.Evaluation:
    """The evaluation of the shared model with neighbours, of kNN-Per."""
    head = self.task.head
    assert head is not None
    return self.once(
        'neighbors',
        lambda: neighbors_lib.build_evaluation(
            self.model_fn, head, client_examples=self.client_examples
        ),
    )


def build(
    task: task_lib.Task,
    config: config_lib.Config,
    *,
    on_validation: bool = False,
) -> Plan:
  """Makes a plan, and by that checks that everything goes together.

  Plans of one task share their computations if they have the same settings, but
  for the seed, learning rates, the model to start from, and those of who takes
  part and is evaluated when.

  Args:
    task: What is learned, and from whom.
    config: How.
    on_validation: Whether models are evaluated on the examples held out for
      validation also at the end, so that no test example is read. Clients that
      are kept out of training are then not evaluated.

  Returns:
    The plan, with that of the pretraining in it.

  Raises:
    errors.SettingsError: If settings, data and model do not go together.
  """
  task = task.variant(config.task_numbers)
  generation = _generation(config)
  algorithm = parts.build_algorithm(config)
  likeness = _likeness(config)
  if likeness not in task.built:
    task.built[likeness] = _to_compute(task, config, algorithm)
  computed = task.built[likeness]
  _check_model(task, config, computed['model_fn'])
  variables = computed['variables']
  people = participants.choose(task, config, on_validation=on_validation)
  key = _key(config)
  sampler = None
  if algorithm.trains_shared:
    sampler = participants.build_sampler(
        people.in_training, config, key, stream=_stream(generation)
    )
  budget = _budget(config, len(people.in_training.client_ids))
  if algorithm.trains_shared:
    _check_shared(variables, config)
  return Plan(
      **computed,
      task=task,
      config=config,
      algorithm=algorithm,
      finetuning=parts.build_finetuning(config, config.num_finetune_epochs)
      if config.num_finetune_epochs
      else None,
      reconstruction=parts.build_finetuning(config, config.num_personal_epochs),
      newcomer_finetuning=parts.build_finetuning(
          config, config.num_newcomer_epochs
      ),
      train_clients=people.train_clients,
      held_out=people.held_out,
      test=people.test,
      unseen=people.unseen,
      sampler=sampler,
      evaluated=people.evaluated,
      curve_clients=people.curve_clients,
      pretraining=_pretraining(task, config, budget, variables),
      control=build(task, config.for_control())
      if config.evaluation.control
      else None,
      generation=generation,
      on_validation=on_validation,
      key=key,
      budget=budget,
      levels=parts.budget_levels(
          task, config, computed['split_model_fn'].model_fn
      ),
  )


def _to_compute(
    task: task_lib.Task,
    config: config_lib.Config,
    algorithm: algorithms.Algorithm,
) -> dict[str, Any]:
  """The fields of a plan of which its computations are built."""
  # All of the run's computations need to know what a model is like.
  split_model_fn = outlines.OutlinedModelFn(
      parts.split_model_fn(task.model_fn, config)
  )
  model_fn: partial_model.ModelFn = split_model_fn
  if algorithm.wrapper is not None:
    model_fn = outlines.OutlinedModelFn(algorithm.wrap(split_model_fn))
  return dict(
      split_model_fn=split_model_fn,
      model_fn=model_fn,
      variables=outlines.describe(model_fn),
      built={},
  )


def _likeness(config: config_lib.Config) -> str:
  """The settings that computations depend on."""
  independent = _ARGUMENTS | _OUTSIDE
  if config.client.schedule != 'linear':
    independent |= {'total_rounds'}
  depends_on = {
      name: value
      for name, value in setting.flatten(config).items()
      if name not in independent
  }
  return repr(depends_on)


def _check_model(
    task: task_lib.Task,
    config: config_lib.Config,
    model_fn: partial_model.ModelFn,
) -> None:
  """Refuses settings that do not go together with the model."""
  variables = outlines.describe(model_fn)
  if parts.client_examples(task, config).microbatch_size is not None:
    microbatches.check(outlines.outline(model_fn).batch_layers)
  if config.method.neighbors and task.head is None:
    raise errors.SettingsError(
        f'Expected a task with a `head` for algorithm {config.algorithm!r},'
        f' found {task.name}, which has none. Use a task that classifies.'
    )
  by_name = config.method.split is None and not config.chooses_split
  if by_name and not any(v.personal for v in variables):
    raise errors.SettingsError(
        f'Expected personal variables for algorithm {config.algorithm!r}, found'
        f' none with `personal` {config.split}.'
    )
  if mean_regularizer.is_in(variables):
    _check_sends_means(task, config)


def _pretraining(
    task: task_lib.Task,
    config: config_lib.Config,
    budget: Optional[budget_lib.Budget],
    variables: Sequence[partition.VariableInfo],
) -> Optional[Plan]:
  """The plan of the pretraining, if there is one."""
  if not config.num_pretrain_rounds:
    return None
  before = config.for_pretraining(config.num_pretrain_rounds)
  if budget is not None:
    before = setting.replace(
        before,
        noise_multiplier=budget.noise_multiplier,
        target_epsilon=None,
    )
  plan = build(task, before)
  partition.check_pretrained(
      plan.variables, variables, rule_name=config.split_in_words
  )
  return plan


def _check_sends_means(task: task_lib.Task, config: config_lib.Config) -> None:
  """Refuses what does not go together with mean regularization."""
  privacy = config.privacy
  if mean_regularizer.is_in(outlines.describe(task.model_fn('none'))):
    raise errors.SettingsError(
        'Expected a `MeanRegularizer` only in the models of splits with a'
        " personal bias, found it in that of `personal` none. FedAvg's model,"
        ' too, would be drawn to a mean.'
    )
  if config.server.aggregator != 'mean':
    raise errors.SettingsError(
        'Expected `mean_regularization` 0 with `aggregator`'
        f' {config.server.aggregator!r}, found more: one client alone can move'
        ' the common mean of representations.'
    )
  if privacy.is_private or privacy.secure_aggregation:
    raise errors.SettingsError(
        'Expected `mean_regularization` 0 with differential privacy or secure'
        ' sums, found more: clients send the means of their representations,'
        ' which neither of them protects.'
    )
  if config.personal_by_budget is not None:
    raise errors.SettingsError(
        'Expected `mean_regularization` 0 with `personal_by_budget`, found'
        ' more: clients without the bias would be drawn to the common mean.'
    )
  if config.estimates_penalty:
    raise errors.SettingsError(
        'Expected a number as `personal_l2` with `mean_regularization`, found'
        f' {config.client.personal_l2!r}, which is estimated for the loss'
        ' without regularization.'
    )


def _check_shared(
    variables: Sequence[partition.VariableInfo], config: config_lib.Config
) -> None:
  """Refuses before pretraining what a round refuses when it is built."""
  if not any(v.trainable and not v.personal for v in variables):
    raise errors.SettingsError(
        'Expected shared variables to train with `algorithm`'
        f' {config.algorithm}, found none with `personal`'
        f' {config.split_in_words}. Use another split, or `algorithm` finetune,'
        ' which trains every client alone.'
    )


def _budget(
    config: config_lib.Config, num_clients: int
) -> Optional[budget_lib.Budget]:
  if not config.privacy.is_private:
    return None
  budget = budget_lib.build(config, num_clients)
  if config.privacy.dp_clip is None:  # Refuse too few clients before training.
    aggregation.sum_noise_multiplier(
        budget.noise_multiplier, config.clients_per_round
    )
  return budget


def _key(config: config_lib.Config) -> Optional[secret_key.SecretKey]:
  if not config.privacy.needs_key:
    return None
  if config.privacy.has_secret:
    return secret_key.new()
  return secret_key.from_seed(config.seed)


def _generation(config: config_lib.Config) -> int:
  """How many times models were trained in rounds before this run."""
  if config.num_pretrain_rounds:
    return 1
  if config.init_from is not None:
    return origin.generation_after(config.init_from)
  return 0


def _stream(generation: int) -> Optional[str]:
  """The stream of a run's cohorts, which none of its ancestors had."""
  if generation < 2:
    return 'continued' if generation else None
  return f'continued {generation}'
