# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""One round: shared variables broadcast, personal variables client-placed.

           SERVER                    |               CLIENTS
                                     |
  state.shared ---- broadcast -------|---> shared    personal   examples
                                     |        |         |          |
                                     |        +---------+----------+
                                     |                  |
                                     |             local_update
                                     |                  |
  finalizer <---- aggregator <-------|-- update, weight +---> personal
      |                              |   (of shared)          (stays here)
  state.shared                       |

Personal variables enter and leave a round as client-placed values and are used
only by `local_update`; the value that reaches the aggregator has the type of
the shared variables. TFF's clients are stateless, so the caller passes each
client its personal variables and keeps the new ones (`personal_store.py`).

A round is composed of parts (`round_parts.py`), like the processes of
`tff.learning.templates.compose_learning_process`. It is built twice from the
same parts: here as one computation, and in `round_pieces.py` in pieces, for
cohorts that are too large for one machine.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any, Optional, Union

from absl import logging
import numpy as np
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import algorithms
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import constants
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import round_metrics
from tff_partial.learning import round_parts
from tff_partial.learning import round_pieces
from tff_partial.learning import sharers_mean

AggregationFactory = Union[
    tff.aggregators.WeightedAggregationFactory,
    tff.aggregators.UnweightedAggregationFactory,
]
_BATCHES = examples_lib.Sequences()


class PartialProcess(tff.templates.IterativeProcess):
  """An iterative process whose clients keep personal variables.

  `next: (<state=S@SERVER, personal={P}@CLIENTS, examples={E}@CLIENTS> ->
  <S@SERVER, {P}@CLIENTS, M@SERVER>)`, with the clients always in the same
  order. It is not a `tff.learning.templates.LearningProcess`, whose `next` has
  no client-placed results. S is TFF's `LearningAlgorithmState`.
  """

  def __init__(
      self,
      initialize_fn: tff.Computation,
      next_fn: tff.Computation,
      *,
      build_initialize: Callable[..., tff.Computation],
      build_initialize_personal: Callable[[int], tff.Computation],
      seed: int,
      server_optimizer: tff.learning.optimizers.Optimizer,
      algorithm: algorithms.Algorithm,
      model_fn: partial_model.ModelFn,
      client_examples: examples_lib.ClientExamples,
      build_pieces: Callable[[], round_pieces.RoundPieces],
  ):
    """Takes the parts that `build_partial_process` makes.

    Args:
      initialize_fn: `( -> S@SERVER)`.
      next_fn: `next`, of the type above.
      build_initialize: Builds `initialize` for a seed, an optimizer of the
        server and an algorithm.
      build_initialize_personal: Builds `initialize_personal` for a seed.
      seed: That of `initialize_fn`.
      server_optimizer: That of `initialize_fn`.
      algorithm: The algorithm that clients run.
      model_fn: Makes the models that are trained.
      client_examples: The form in which `next` takes examples.
      build_pieces: Builds the round in pieces.
    """
    super().__init__(initialize_fn, next_fn)
    self._build_initialize = build_initialize
    self._build_initialize_personal = build_initialize_personal
    self._seed = seed
    self._server_optimizer = server_optimizer
    self._algorithm = algorithm
    self._model_fn = model_fn
    self._client_examples = client_examples
    self._build_pieces = build_pieces

  @functools.cached_property
  def pieces(self) -> round_pieces.RoundPieces:
    """The round in pieces, built on first use, which takes seconds.

    Raises:
      errors.SettingsError: If the aggregator cannot be divided.
    """
    return self._build_pieces()

  @functools.cached_property
  def initialize_personal(self) -> tff.Computation:
    """`( -> P)`: the personal variables that a new client starts from."""
    return self._build_initialize_personal(self._seed)

  def starting_with(
      self,
      *,
      seed: Optional[int] = None,
      algorithm: Optional[algorithms.Algorithm] = None,
      server_optimizer: Optional[tff.learning.optimizers.Optimizer] = None,
  ) -> 'PartialProcess':
    """Returns a process with another initial state and the same `next`.

    The state has the initial values of variables and all learning rates. This
    is faster than to build a round again, and a context does not compile `next`
    again.

    Args:
      seed: Seed of the initial values, as in `build_partial_process`; by
        default that of this process.
      algorithm: Has other learning rates, and is otherwise like that of this
        process, which is the default.
      server_optimizer: Likewise.

    Raises:
      errors.SettingsError: If the algorithm has other phases, with optimizers
        of the same kinds and settings, or the server's optimizer is of another
        kind or has another state.
    """
    seed = self._seed if seed is None else seed
    algorithm = algorithm or self._algorithm
    server_optimizer = server_optimizer or self._server_optimizer
    if (
        seed == self._seed
        and algorithm is self._algorithm
        and server_optimizer is self._server_optimizer
    ):
      return self
    phase_lib.check_optimizer('server_optimizer', server_optimizer)
    ours, theirs = (
        (phase_lib.without_learning_rates(a.phases), type(o))
        for a, o in (
            (self._algorithm, self._server_optimizer),
            (algorithm, server_optimizer),
        )
    )
    # Other settings of the server's optimizer are part of its state.
    initialize = self._build_initialize(seed, server_optimizer, algorithm)
    if ours != theirs or not self.state_type.is_assignable_from(
        initialize.type_signature.result
    ):
      raise errors.SettingsError(
          'Expected an algorithm and an optimizer that differ from those of'
          ' this process in their learning rates alone, found'
          f' {algorithm.name!r} and {server_optimizer!r}. Use'
          ' `build_partial_process` for others.'
      )
    return PartialProcess(
        initialize,
        self.next,
        build_initialize=self._build_initialize,
        build_initialize_personal=self._build_initialize_personal,
        seed=seed,
        server_optimizer=server_optimizer,
        algorithm=algorithm,
        model_fn=self._model_fn,
        client_examples=self._client_examples,
        build_pieces=lambda: self.pieces,
    )

  @property
  def algorithm(self) -> algorithms.Algorithm:
    """The algorithm that clients run."""
    return self._algorithm

  @property
  def model_fn(self) -> partial_model.ModelFn:
    """The models that are trained, wrapped as the algorithm requires."""
    return self._model_fn

  @property
  def client_examples(self) -> examples_lib.ClientExamples:
    """The form in which `next` takes the examples of clients."""
    return self._client_examples

  def get_model_weights(
      self, state: tff.learning.templates.LearningAlgorithmState
  ) -> tff.learning.models.ModelWeights:
    """The shared variables of a state, as in TFF's `LearningProcess`.

    Args:
      state: A state of this process, S.
    """
    return state.global_model_weights

  def start_from(
      self,
      state: tff.learning.templates.LearningAlgorithmState,
      shared: tff.learning.models.ModelWeights,
      personal: tff.learning.models.ModelWeights,
  ) -> tff.learning.templates.LearningAlgorithmState:
    """Replaces the shared and the initial personal variables of a state.

    Args:
      state: A state of this process, S.
      shared: The shared variables to start from, with or without the constants
        that the models of the process have themselves (`with_constants`).
      personal: The personal variables that clients start from.

    Returns:
      A state like `state`, with these variables.

    Raises:
      errors.SettingsError: If a constant has another value in the models.
    """
    shared = constants.without_constants(self.model_fn, shared)
    client_work = state.client_work
    if client_work.initial_personal:
      client_work = client_work._replace(initial_personal=personal)
    return state._replace(global_model_weights=shared, client_work=client_work)

  def set_learning_rates(
      self, state: tff.learning.templates.LearningAlgorithmState
  ) -> tff.learning.templates.LearningAlgorithmState:
    """Replaces the learning rates of clients in a state by this process's.

    Args:
      state: A state of this process, or of one with another algorithm whose
        state differs in nothing else.

    Returns:
      A state of this process.
    """
    rates = phase_lib.learning_rates(self.algorithm.phases)
    return state._replace(
        client_work=state.client_work._replace(learning_rates=rates)
    )


def build_partial_process(
    model_fn: partial_model.ModelFn,
    algorithm: algorithms.Algorithm,
    *,
    client_examples: examples_lib.ClientExamples = _BATCHES,
    server_optimizer: Optional[tff.learning.optimizers.Optimizer] = None,
    model_aggregator: Optional[AggregationFactory] = None,
    model_distributor: Optional[
        tff.learning.templates.DistributionProcess
    ] = None,
    client_weighting: tff.learning.ClientWeighting = (
        tff.learning.ClientWeighting.NUM_EXAMPLES
    ),
    metrics: bool = True,
    metrics_aggregation_factory: Optional[
        tff.aggregators.UnweightedAggregationFactory
    ] = None,
    seed: int = 0,
) -> PartialProcess:
  """Builds one round of training with shared and personal variables.

  Each client receives the shared variables, starts from its own personal
  variables, runs the phases of the algorithm, and returns an update of the
  shared variables only. With no personal variables and `algorithms.fed_avg`
  this is Federated Averaging [1]; with `algorithms.fed_alt` or
  `algorithms.fed_sim` it is the method of the same name [2, Algorithms 1 and
  2].

  Args:
    model_fn: Returns a new `PartialModel` on every call. For `ditto`, `pfedme`
      and `apfl`, which give each client a copy of the model, all of its
      variables must be shared; the process makes the copy. Constants, such as
      the weights of a frozen layer, are broadcast in each round unless the
      models have them themselves (`with_constants`).
    algorithm: What clients do.
    client_examples: The form in which the examples of clients are passed; by
      default a `tf.data.Dataset` of batches, as in `tff.learning`.
    server_optimizer: Applied to the mean update, which is the initial minus the
      final shared variables. By default SGD with learning rate 1, which
      replaces the shared variables by the average over clients. For
      `algorithms.fed_apm`, SGD whose learning rate is the number of clients
      per round divided by that of the population.
    model_aggregator: Aggregates the updates of the shared variables, weighted
      or not. By default the weighted mean. If no client has a positive weight,
      this mean is not a number, and the server keeps its variables.
    model_distributor: Sends the shared variables from the server to clients. By
      default a plain broadcast. A round in pieces executes it once per piece,
      so its result must depend only on its state and the variables.
    client_weighting: By number of examples, or uniform as in [2]. In both cases
      clients that fail or have no examples have weight 0. An unweighted
      aggregator ignores weights.
    metrics: Whether clients send metrics and counts. Without, nothing but the
      update and its weight leaves a client.
    metrics_aggregation_factory: Aggregates metrics and counts, such as
      `tff.aggregators.SecureSumFactory(upper_bound)`. It is given a structure
      of float32 scalars: `<metrics=<name=<total,weight>,...>, counts=...>`. By
      default they are summed exactly, whatever the `model_aggregator` is: noise
      and secure sums there do not cover them.
    seed: Seed of the initial values.

  Returns:
    A `PartialProcess`. Its metrics are `OrderedDict(train=..., counts=...,
    distributor=..., aggregator=..., finalizer=...)`: the model's metrics over
    all examples of the cohort, the sums of `local_update.ClientCounts`, and the
    measurements of the parts, also those of a `metrics_aggregation_factory`
    that is given. Without `metrics`, the first two are missing.

  Raises:
    errors.SettingsError: If an argument is of another type, if there is a
      `metrics_aggregation_factory` without `metrics`, if `algorithms.fed_apm`
      has no `server_optimizer`, if the split of the model cannot be trained
      (`partition.check`), if no variable is shared, or if the algorithm copies
      the model and some of its variables are personal.

  [1] McMahan et al. Communication-Efficient Learning of Deep Networks from
  Decentralized Data. AISTATS 2017. https://arxiv.org/abs/1602.05629
  [2] Pillutla et al. Federated Learning with Partial Model Personalization.
  ICML 2022. https://arxiv.org/abs/2204.03809
  """
  _check_arguments(
      model_fn,
      algorithm,
      server_optimizer=server_optimizer,
      model_aggregator=model_aggregator,
      client_weighting=client_weighting,
      metrics=metrics,
      metrics_aggregation_factory=metrics_aggregation_factory,
  )
  model_fn = algorithm.wrap(model_fn)
  types = _trainable_types(model_fn, client_examples)
  client_work = client_work_lib.build_client_work(
      model_fn,
      algorithm.phases,
      types=types,
      client_examples=client_examples,
      uniform_weight=client_weighting == tff.learning.ClientWeighting.UNIFORM,
  )
  work_type = client_work_lib.state_type(types, algorithm.phases)
  server_optimizer = server_optimizer or tff.learning.optimizers.build_sgdm(1.0)
  output_type = client_work.type_signature.result
  build_finalizer = functools.partial(
      tff.learning.templates.build_apply_optimizer_finalizer,
      model_weights_type=types.shared,
  )
  parts = round_parts.RoundParts(
      types=types,
      distributor=model_distributor
      or tff.learning.templates.build_broadcast_process(types.shared),
      client_work=client_work,
      next_client_work=client_work_lib.build_next_state(work_type),
      aggregator=_create_aggregation(
          model_aggregator, types.shared.trainable, output_type.update
      ),
      metrics=round_metrics.build_round_metrics(
          output_type, metrics_aggregation_factory
      )
      if metrics
      else None,
      finalizer=build_finalizer(server_optimizer),
  )

  def build_initialize(seed, optimizer, algorithm):
    finalizer = parts.finalizer
    if optimizer is not server_optimizer:
      finalizer = build_finalizer(optimizer)
    return _build_initialize(
        dataclasses.replace(parts, finalizer=finalizer),
        client_work_lib.build_initial_group(model_fn, 'shared', seed=seed),
        client_work_lib.build_initial_state(
            model_fn, algorithm.phases, seed=seed
        ),
    )

  initialize = build_initialize(seed, server_optimizer, algorithm)
  state_type = initialize.type_signature.result
  return PartialProcess(
      initialize,
      _build_next(parts, state_type),
      build_initialize=build_initialize,
      build_initialize_personal=lambda seed: (
          client_work_lib.build_initial_group(model_fn, 'personal', seed=seed)
      ),
      seed=seed,
      server_optimizer=server_optimizer,
      algorithm=algorithm,
      model_fn=model_fn,
      client_examples=client_examples,
      build_pieces=functools.partial(
          round_pieces.build_round_pieces, parts, state_type
      ),
  )


def _check_arguments(
    model_fn: Any,
    algorithm: algorithms.Algorithm,
    *,
    server_optimizer: Any,
    model_aggregator: Any,
    client_weighting: Any,
    metrics: bool,
    metrics_aggregation_factory: Any,
) -> None:
  """Refuses arguments of other types, or that do not go together."""
  if not callable(model_fn):
    raise errors.SettingsError(
        'Expected a function that makes a `PartialModel` as `model_fn`, found'
        f' {model_fn!r}. Use `lambda: ...`, which makes a new one in each call.'
    )
  if server_optimizer is not None:
    phase_lib.check_optimizer('server_optimizer', server_optimizer)
  if not isinstance(client_weighting, tff.learning.ClientWeighting):
    raise errors.SettingsError(
        'Expected a tff.learning.ClientWeighting as `client_weighting`, found'
        f' {client_weighting!r}.'
    )
  if algorithm.sends_population_change and server_optimizer is None:
    raise errors.SettingsError(
        f'Expected a `server_optimizer` with the algorithm {algorithm.name!r},'
        ' found none. Use SGD whose learning rate is clients per round /'
        ' population.'
    )
  if metrics_aggregation_factory is not None and not metrics:
    raise errors.SettingsError(
        'Expected `metrics` with a `metrics_aggregation_factory`, found none'
        ' to aggregate. Leave it out.'
    )
  if metrics and isinstance(
      model_aggregator, tff.aggregators.DifferentiallyPrivateFactory
  ):
    logging.warning(
        'Clients send exact metrics and counts next to private updates. Give'
        ' `metrics=False`, or a `metrics_aggregation_factory` that is private.'
    )


def _trainable_types(
    model_fn: partial_model.ModelFn,
    client_examples: examples_lib.ClientExamples,
) -> client_work_lib.ModelTypes:
  """The types of a model that has shared variables to train."""
  types = client_work_lib.model_types(model_fn, client_examples)
  if not types.shared.trainable:
    raise errors.SettingsError(
        'Expected at least one shared variable, found none, so that there is'
        ' nothing to average. Use another split. To train every client alone,'
        ' evaluate with the phases of algorithms.finetune instead.'
    )
  return types


def _create_aggregation(
    factory: Optional[AggregationFactory],
    shared_type: tff.Type,
    update_type: tff.Type,
) -> tff.templates.AggregationProcess:
  """Creates the weighted aggregation of updates of the shared variables."""
  factory = factory or tff.aggregators.MeanFactory()
  if isinstance(factory, tff.aggregators.UnweightedAggregationFactory):
    factory = tff.aggregators.as_weighted_aggregator(factory)
  if sharers_mean.sends_shares(update_type):
    factory = sharers_mean.SharersMeanFactory(factory)
    return factory.create(update_type, tff.TensorType(np.float32))
  return factory.create(shared_type, tff.TensorType(np.float32))


def _build_initialize(
    parts: round_parts.RoundParts,
    initial_shared: tff.Computation,
    initial_client_work: tff.Computation,
) -> tff.Computation:
  """Builds `( -> S@SERVER)`."""

  @tff.federated_computation
  def initialize():
    return tff.federated_zip(
        tff.learning.templates.LearningAlgorithmState(
            global_model_weights=tff.federated_eval(initial_shared, tff.SERVER),
            distributor=parts.distributor.initialize(),
            client_work=tff.federated_eval(initial_client_work, tff.SERVER),
            aggregator=parts.initialize_aggregators(),
            finalizer=parts.finalizer.initialize(),
        )
    )

  return initialize


def _build_next(
    parts: round_parts.RoundParts, state_type: tff.FederatedType
) -> tff.Computation:
  """Builds the whole round as one computation."""

  @tff.federated_computation(
      state_type,
      round_parts.at_clients(parts.types.personal),
      round_parts.at_clients(parts.types.examples),
  )
  def next_round(state, personal, examples):
    distributed = parts.distribute(state)
    output = parts.train_clients(state, distributed, personal, examples)
    aggregated = parts.aggregate(state.aggregator, *parts.sent(output))
    new_state, metrics = parts.update_server(state, distributed, aggregated)
    return new_state, output.personal, metrics

  return next_round
