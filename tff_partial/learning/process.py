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

This is the only file that knows `tff.SERVER` and `tff.CLIENTS`. Personal
variables go into a round and come out of it as client-placed values and enter
nothing but `local_update`; what reaches an aggregator has the shared variables'
type. TFF's clients have no memory, so the caller hands each client its personal
variables and keeps what comes back (`personal_store.py`).

A round also comes in pieces, for cohorts that are too large for one machine:
`partial_round` of any part of the cohort, `merge`, `finalize`
(`sharded_round.py`). Client work is done in the first piece and only there.
"""

import collections
from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import partial_model

AggregationFactory = Union[
    tff.aggregators.WeightedAggregationFactory,
    tff.aggregators.UnweightedAggregationFactory,
]


class ClientWorkState(NamedTuple):
  """What the server tells clients beside the shared variables.

  Attributes:
    round_num: Rounds finished so far, int32; learning-rate schedules read it.
    initial_personal: What every client's personal variables started from, if a
      penalty is anchored there, else `()`. It is the same for all clients and
      known to the server, who seeded or pretrained it.
  """

  round_num: Any
  initial_personal: Any


class RoundPieces:
  """A round that is done part by part of the cohort, wherever each is done.

  `next` is `partial_round` of the whole cohort, then `finalize`. The order of
  floating-point sums is that of the parts.

  Attributes:
    partial_round: `(<state=S'@SERVER, personal={P}@CLIENTS,
      examples={E}@CLIENTS> -> <{P}@CLIENTS, A@SERVER>)`, the work of some
      clients. S' is `for_clients` of the state; A is what the aggregator and
      the metrics sum up of clients.
  """

  def __init__(
      self,
      partial_round: tff.Computation,
      build_merge: Callable[[int], tff.Computation],
      build_last_step: Callable[[int], tff.Computation],
  ):
    self.partial_round = partial_round
    # By how many values of A they take.
    self._merge = functools.lru_cache(build_merge)
    self._last_step = functools.lru_cache(build_last_step)

  def for_clients(
      self, state: tff.learning.templates.LearningAlgorithmState
  ) -> tff.learning.templates.LearningAlgorithmState:
    """The state without the server's optimizer's, which may be large."""
    return state._replace(finalizer=())

  def merge(self, sums: Sequence[Any]) -> Any:
    """Of the values of A of several parts of a cohort one, from the left."""
    return self._merge(len(sums))(*sums)

  def finalize(
      self,
      state: tff.learning.templates.LearningAlgorithmState,
      sums: Sequence[Any],
  ) -> tuple[tff.learning.templates.LearningAlgorithmState, Any]:
    """The server's new state, and the metrics, after merging what is left."""
    last_step = self._last_step(len(sums))
    # TFF keeps the parameters that the sums were made of; no client is left.
    num_unused = len(last_step.type_signature.parameter) - 1 - len(sums)
    return last_step(state, *sums, *([] for _ in range(num_unused)))


class PartialProcess(tff.templates.IterativeProcess):
  """An iterative process whose clients keep personal variables.

  `next: (<state=S@SERVER, personal={P}@CLIENTS, examples={E}@CLIENTS> ->
  <S@SERVER, {P}@CLIENTS, M@SERVER>)`, with clients in one order throughout. It
  cannot be a `tff.learning.templates.LearningProcess`, whose `next` has no
  client-placed results. S is TFF's `LearningAlgorithmState`.
  """

  def __init__(
      self,
      initialize_fn: tff.Computation,
      next_fn: tff.Computation,
      *,
      initialize_personal: tff.Computation,
      algorithm: algorithms.Algorithm,
      client_examples: examples_lib.ClientExamples,
      build_pieces: Callable[[], RoundPieces],
  ):
    super().__init__(initialize_fn, next_fn)
    self._initialize_personal = initialize_personal
    self._algorithm = algorithm
    self._client_examples = client_examples
    self._build_pieces = build_pieces

  @functools.cached_property
  def pieces(self) -> RoundPieces:
    """The round in pieces; made when first asked for, which takes seconds.

    Raises:
      ValueError: If the aggregator cannot be divided.
    """
    return self._build_pieces()

  @property
  def initialize_personal(self) -> tff.Computation:
    """`( -> P)`: the personal variables an unseen client starts from."""
    return self._initialize_personal

  @property
  def algorithm(self) -> algorithms.Algorithm:
    return self._algorithm

  @property
  def client_examples(self) -> examples_lib.ClientExamples:
    """The form in which the process takes clients' examples."""
    return self._client_examples

  def start_from(
      self,
      state: tff.learning.templates.LearningAlgorithmState,
      shared: tff.learning.models.ModelWeights,
      personal: tff.learning.models.ModelWeights,
  ) -> tff.learning.templates.LearningAlgorithmState:
    """A state with these shared and initial personal variables."""
    client_work = state.client_work
    if client_work.initial_personal:
      client_work = client_work._replace(initial_personal=personal)
    return tff.learning.templates.LearningAlgorithmState(
        global_model_weights=shared,
        distributor=state.distributor,
        client_work=client_work,
        aggregator=state.aggregator,
        finalizer=state.finalizer,
    )


class ModelTypes(NamedTuple):
  """The TFF types that a model's computations are about."""

  shared: tff.Type
  personal: tff.Type
  examples: tff.Type


def model_types(
    model_fn: partial_model.ModelFn,
    client_examples: examples_lib.ClientExamples,
) -> ModelTypes:
  """Derives the types from a model made for the purpose."""
  with tf.Graph().as_default():
    model = model_fn()
  weights_type = lambda weights: tff.types.to_type(
      tf.nest.map_structure(
          lambda v: tff.TensorType(v.dtype.as_numpy_dtype, v.shape.as_list()),
          weights,
      )
  )
  return ModelTypes(
      shared=weights_type(model.shared),
      personal=weights_type(model.personal),
      examples=client_examples.type(model.input_spec),
  )


def build_initial_weights(
    model_fn: partial_model.ModelFn, *, seed: int
) -> tff.Computation:
  """Builds `( -> <U,P>)`, the seeded initial shared and personal variables."""
  return tff.tensorflow.computation(
      lambda: (
          _initial(model_fn, seed, 'shared'),
          _initial(model_fn, seed, 'personal'),
      )
  )


def _initial(
    model_fn: partial_model.ModelFn, seed: int, group: str
) -> tff.learning.models.ModelWeights:
  """The initial variables of a group, inside a computation."""
  with partial_model.seeded(seed):
    model = model_fn()
  return model.initial(group)


def client_work_type(
    types: ModelTypes, phases: Sequence[local_update.Phase]
) -> tff.Type:
  """The type of the `ClientWorkState` that these phases need."""
  anchored = local_update.needs_initial_personal(phases)
  return tff.types.to_type(
      ClientWorkState(
          round_num=tff.TensorType(np.int32),
          initial_personal=types.personal if anchored else (),
      )
  )


def build_partial_process(
    model_fn: partial_model.ModelFn,
    algorithm: algorithms.Algorithm,
    *,
    client_examples: examples_lib.ClientExamples,
    server_optimizer: Optional[tff.learning.optimizers.Optimizer] = None,
    aggregator: Optional[AggregationFactory] = None,
    distributor: Optional[tff.learning.templates.DistributionProcess] = None,
    client_weighting: tff.learning.ClientWeighting = (
        tff.learning.ClientWeighting.NUM_EXAMPLES
    ),
    seed: int = 0,
) -> PartialProcess:
  """Builds one round of training with shared and personal variables.

  Each client receives the shared variables, starts from its own personal
  variables, runs the algorithm's phases, and returns an update of the shared
  variables only. With nothing personal and `algorithms.fed_avg` this is
  Federated Averaging [1]; with `algorithms.fed_alt` or `algorithms.fed_sim` it
  is the method of the same name [2, Algorithms 1 and 2].

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    algorithm: The phases a client runs.
    client_examples: The form in which clients' examples are handed over.
    server_optimizer: Applied to the mean update, which is the initial minus
      the final shared variables. By default SGD with learning rate 1, which
      replaces the shared variables by the clients' average.
    aggregator: Aggregates updates of the shared variables, weighted or not. By
      default the weighted mean; when no client has a weight the mean is not a
      number, and the server keeps what it had.
    distributor: Takes the shared variables from the server to clients. By
      default a plain broadcast. A round in pieces executes it for every piece,
      so it must depend on its state and the variables alone.
    client_weighting: By examples, or uniform as in [2]; clients that fail or
      have no examples have weight 0 either way. An unweighted aggregator
      ignores it.
    seed: What initial values depend on.

  Returns:
    A `PartialProcess`. Its metrics are `OrderedDict(train=..., counts=...,
    distributor=..., aggregator=..., finalizer=...)`: the model's metrics over
    all examples of the cohort, and summed `local_update.ClientCounts`.

  Raises:
    ValueError: If the model cannot be divided (`partition.check`), or if the
      algorithm trains shared variables and there are none.

  [1] McMahan et al. Communication-Efficient Learning of Deep Networks from
  Decentralized Data. AISTATS 2017. https://arxiv.org/abs/1602.05629
  [2] Pillutla et al. Federated Learning with Partial Model Personalization.
  ICML 2022. https://arxiv.org/abs/2204.03809
  """
  types = model_types(model_fn, client_examples)
  if not types.shared.trainable:
    raise errors.SettingsError(
        'Expected at least one shared variable, found none: nothing would be'
        ' averaged. Use another split, or evaluate with fine-tuning phases to'
        ' train every client alone.'
    )
  server_optimizer = server_optimizer or tff.learning.optimizers.build_sgdm(1.0)
  factory = aggregator or tff.aggregators.MeanFactory()
  if isinstance(factory, tff.aggregators.UnweightedAggregationFactory):
    factory = tff.aggregators.as_weighted_aggregator(factory)
  aggregation = factory.create(
      types.shared.trainable, tff.TensorType(np.float32)
  )
  distribution = distributor or (
      tff.learning.templates.build_broadcast_process(types.shared)
  )
  finalizer = tff.learning.templates.build_apply_optimizer_finalizer(
      server_optimizer, types.shared
  )
  anchored = local_update.needs_initial_personal(algorithm.phases)

  initial_shared = tff.tensorflow.computation(
      lambda: _initial(model_fn, seed, 'shared')
  )
  initial_personal = tff.tensorflow.computation(
      lambda: _initial(model_fn, seed, 'personal')
  )

  @tff.tensorflow.computation
  def initial_client_work():
    return ClientWorkState(
        round_num=tf.constant(0),
        initial_personal=_initial(model_fn, seed, 'personal')
        if anchored
        else (),
    )

  work_type = client_work_type(types, algorithm.phases)

  @tff.tensorflow.computation(work_type)
  def next_client_work(client_work):
    return client_work._replace(round_num=client_work.round_num + 1)

  client_work = _build_client_work(
      model_fn,
      algorithm,
      types,
      client_examples,
      uniform=client_weighting == tff.learning.ClientWeighting.UNIFORM,
  )

  @tff.tensorflow.computation(client_work.type_signature.result.metrics)
  def ratios(metrics):
    return collections.OrderedDict(
        (name, tf.math.divide_no_nan(total, weight))
        for name, (total, weight) in metrics.items()
    )

  @tff.federated_computation
  def initialize():
    return tff.federated_zip(
        tff.learning.templates.LearningAlgorithmState(
            global_model_weights=tff.federated_eval(initial_shared, tff.SERVER),
            distributor=distribution.initialize(),
            client_work=tff.federated_eval(initial_client_work, tff.SERVER),
            aggregator=aggregation.initialize(),
            finalizer=finalizer.initialize(),
        )
    )

  state_type = initialize.type_signature.result
  at_clients = lambda member: tff.FederatedType(member, tff.CLIENTS)

  def distribute(state):
    return distribution.next(state.distributor, state.global_model_weights)

  def train_clients(state, distributed, personal, examples):
    return tff.federated_map(
        client_work,
        (
            distributed.result,
            tff.federated_broadcast(state.client_work),
            personal,
            examples,
        ),
    )

  def aggregate(aggregator_state, update, weight, metrics, counts):
    aggregated = aggregation.next(aggregator_state, update, weight)
    return (
        aggregated.state,
        aggregated.result,
        aggregated.measurements,
        tff.federated_sum(metrics),
        tff.federated_sum(counts),
    )

  def update_server(state, distributed, aggregate_output):
    aggregator_state, update, measurements, totals, counts = aggregate_output
    finalized = finalizer.next(
        state.finalizer, state.global_model_weights, update
    )
    new_state = tff.federated_zip(
        tff.learning.templates.LearningAlgorithmState(
            global_model_weights=finalized.result,
            distributor=distributed.state,
            client_work=tff.federated_map(next_client_work, state.client_work),
            aggregator=aggregator_state,
            finalizer=finalized.state,
        )
    )
    metrics = tff.federated_zip(
        collections.OrderedDict(
            train=tff.federated_map(ratios, totals),
            counts=counts,
            distributor=distributed.measurements,
            aggregator=measurements,
            finalizer=finalized.measurements,
        )
    )
    return new_state, metrics

  @tff.federated_computation(
      state_type, at_clients(types.personal), at_clients(types.examples)
  )
  def next_round(state, personal, examples):
    distributed = distribute(state)
    output = train_clients(state, distributed, personal, examples)
    aggregated = aggregate(state.aggregator, *_to_be_summed(output))
    new_state, metrics = update_server(state, distributed, aggregated)
    return new_state, output.personal, metrics

  def build_pieces():
    sent_types = [
        at_clients(part)
        for part in _to_be_summed(client_work.type_signature.result)
    ]
    divided = _divide(
        tff.federated_computation(
            aggregate, aggregation.state_type, *sent_types
        )
    )
    whole = state_type.member
    state_for_clients = tff.learning.templates.LearningAlgorithmState(
        global_model_weights=whole.global_model_weights,
        distributor=whole.distributor,
        client_work=whole.client_work,
        aggregator=whole.aggregator,
        finalizer=(),
    )

    @tff.federated_computation(
        tff.FederatedType(state_for_clients, tff.SERVER),
        at_clients(types.personal),
        at_clients(types.examples),
    )
    def partial_round(state, personal, examples):
      output = train_clients(state, distribute(state), personal, examples)
      return output.personal, divided.up_to_merge(
          state.aggregator, *_to_be_summed(output)
      )

    sums_type = partial_round.type_signature.result[1]

    # TFF takes no function of any number of parameters, but the parts of one
    # that is a tuple may be given one by one.
    def build_merge(count):
      return tff.federated_computation(
          lambda sums: functools.reduce(divided.merge, list(sums)),
          tff.StructType([sums_type.member] * count),
      )

    def build_last_step(count):
      @tff.federated_computation(
          tff.StructType([state_type, *[sums_type] * count, *sent_types])
      )
      def last_step(arguments):
        state, *others = arguments
        sums, of_no_client = others[:count], others[count:]
        merged = sums[0]
        if count > 1:
          merged = tff.federated_map(build_merge(count), sums)
        # To have the distributor's next state. Its broadcast went out with each
        # part of the cohort, from this same state.
        return update_server(
            state,
            distribute(state),
            divided.after_merge((state.aggregator, *of_no_client), merged),
        )

      return last_step

    return RoundPieces(partial_round, build_merge, build_last_step)

  return PartialProcess(
      initialize,
      next_round,
      initialize_personal=initial_personal,
      algorithm=algorithm,
      client_examples=client_examples,
      build_pieces=build_pieces,
  )


def _to_be_summed(output: Any) -> tuple[Any, Any, Any, Any]:
  """Of a `ClientOutput`, what goes to the server: not personal variables."""
  return output.update, output.weight, output.metrics, output.counts


def _divide(server_step: tff.Computation) -> Any:
  """Splits a computation where it sums: TFF's `MergeableCompForm`."""
  try:
    return tff.backends.native.compile_to_mergeable_comp_form(server_step)
  except ValueError as e:
    raise errors.SettingsError(
        'Expected an aggregator whose sums over clients do not depend on one'
        ' another, found one of another kind, so a round cannot be done in'
        " parts. Use TFF's MeanFactory or robust_aggregator, or do it in one."
    ) from e


def _build_client_work(
    model_fn: partial_model.ModelFn,
    algorithm: algorithms.Algorithm,
    types: ModelTypes,
    client_examples: examples_lib.ClientExamples,
    *,
    uniform: bool,
) -> tff.Computation:
  """Builds `(<U,W,P,E> -> ClientOutput)`, one client's `local_update`."""

  @tff.tensorflow.computation(
      types.shared,
      client_work_type(types, algorithm.phases),
      types.personal,
      types.examples,
  )
  def client_work(shared, state, personal, examples):
    with partial_model.without_initial_values():
      model = model_fn()

    # A `tf.function` orders the assignments to the model's variables.
    @functools.partial(tf.function, autograph=False)
    def run(shared, state, personal, examples):
      return local_update.local_update(
          model,
          algorithm.phases,
          shared,
          personal,
          examples,
          client_examples=client_examples,
          round_num=state.round_num,
          initial_personal=state.initial_personal or None,
          uniform_weight=uniform,
      )

    return run(shared, state, personal, examples)

  return client_work
