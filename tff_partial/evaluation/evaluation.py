# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluates clients, each with its own personal variables.

The same computation evaluates every model of a report. It gives each client
shared and personal variables, runs training phases if there are any, and scores
each of the client's test examples. The models differ in what goes in:

| model            | shared     | personal         | phases      |
| ---------------- | ---------- | ---------------- | ----------- |
| non-personalized | pretrained | pretrained       | none        |
| shared           | trained    | initial          | none        |
| personalized     | trained    | the client's own | none        |
| fine-tuned       | trained    | the client's own | fine-tuning |

Scores are placed at the clients: nothing is averaged before the table of
clients is made. Clients are evaluated in cohorts, which bounds memory.
"""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import functools
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tqdm

from tff_partial import errors
from tff_partial.evaluation import client_table
from tff_partial.learning import client_faults
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import partial_model
from tff_partial.learning import phase as phase_lib
from tff_partial.runtime import sharding as sharding_lib

_COHORT_SIZE = 50  # Clients evaluated at a time, unless the caller says.


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """A computation that evaluates clients, made by `build_evaluation`.

  Attributes:
    computation: Of type `(<shared=U@SERVER, client_work=W@SERVER,
      personal={P}@CLIENTS, train={E}@CLIENTS, test={E}@CLIENTS> ->
      {<scores=..., personal=P, steps=int64, examples=int64>}@CLIENTS)`. `W` is
      a `client_work.ClientWorkState`. Without phases, `train` and the resulting
      `personal` are empty structures. `scores` holds the two terms of each
      metric for each test example, float32 [examples], in the order given.
      `steps` and `examples` count the work of the phases.
    client_examples: The form in which the computation takes examples.
    model_fn: Makes the models that are evaluated.
    phases: The local training before the test.
    takes_train: Whether training examples go in although there are no phases.
  """

  computation: tff.Computation
  client_examples: examples_lib.ClientExamples
  model_fn: partial_model.ModelFn
  phases: Sequence[phase_lib.Phase] = ()
  takes_train: bool = False

  @property
  def reads_train(self) -> bool:
    """Whether training examples go in."""
    return self.takes_train or bool(self.phases)


def build_evaluation(
    model_fn: partial_model.ModelFn,
    *,
    client_examples: examples_lib.ClientExamples,
    phases: Sequence[phase_lib.Phase] = (),
) -> Evaluation:
  """Builds the computation that evaluates clients after `phases` of training.

  Building takes seconds, so keep the result for all models with these phases.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    client_examples: The form in which the computation takes examples.
    phases: Local training before the test. Its result stays with the client.
  """
  types = client_work_lib.model_types(model_fn, client_examples)
  work_type = client_work_lib.state_type(types, phases)
  train_type = types.examples if phases else tff.types.to_type(())

  def run(model, shared, client_work, personal, train, test):
    progress = local_update.run_phases(
        model,
        phases,
        client_work.inputs(shared, personal, train),
        client_examples=client_examples,
    )
    trained = model.values('personal')
    return collections.OrderedDict(
        scores=score(model, test, client_examples),
        personal=trained if phases else (),
        steps=sum((p.steps for p in progress), tf.constant(0, tf.int64)),
        examples=sum((p.examples for p in progress), tf.constant(0, tf.int64)),
    )

  @tff.tensorflow.computation(
      types.shared, work_type, types.personal, train_type, types.examples
  )
  def test_client(shared, client_work, personal, train, test):
    return partial_model.run(
        model_fn, run, shared, client_work, personal, train, test
    )

  @tff.federated_computation(
      tff.FederatedType(types.shared, tff.SERVER),
      tff.FederatedType(work_type, tff.SERVER),
      tff.FederatedType(types.personal, tff.CLIENTS),
      tff.FederatedType(train_type, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def test_cohort(shared, client_work, personal, train, test):
    return tff.federated_map(
        test_client,
        (
            tff.federated_broadcast(shared),
            tff.federated_broadcast(client_work),
            personal,
            train,
            test,
        ),
    )

  return Evaluation(test_cohort, client_examples, model_fn, phases)


def score(
    model: partial_model.PartialModel,
    examples: Any,
    client_examples: examples_lib.ClientExamples,
    *,
    outputs_fn: Optional[Callable[[Any], Any]] = None,
) -> Any:
  """The terms of each metric for every example, in order.

  Args:
    model: Has the metrics.
    examples: A client's examples.
    client_examples: Their form.
    outputs_fn: Maps a batch to outputs; by default the model.

  Returns:
    By metric, its two terms, float32 [examples].
  """
  default_fn = functools.partial(model.outputs, training=False)

  def step(scores, batch):
    outputs = (outputs_fn or default_fn)(batch)
    return tf.nest.map_structure(
        lambda all_terms, terms: tf.concat([all_terms, terms], axis=0),
        scores,
        model.metrics(batch, outputs),
    )

  # The loop must see an unknown length, or it would insist on length 0.
  nothing = lambda: tf.compat.v1.placeholder_with_default(tf.zeros([0]), [None])
  scores = collections.OrderedDict(
      (name, (nothing(), nothing())) for name in model.metric_names
  )
  return client_examples.reduce(
      examples, scores, step, examples_lib.Pass(training=False)
  )


@dataclasses.dataclass(frozen=True)
class TestedModel:
  """One of the models under which clients are evaluated.

  Attributes:
    evaluation: What is run, made by `build_evaluation`.
    shared: The shared variables.
    personal_fn: Maps client ids to their personal variables, one structure for
      each client.
    round_num: The round at which the phases' learning rate schedules stand.
    initial_personal: The anchor of the phases' penalty, if they have one.
    keep_fn: Receives client ids and the computation's results for them, such
      as the personal variables that the phases trained.
    tests_fn: Whether a client is evaluated under this model; `None` means that
      all are. Where a client is not, its scores have weight 0, as without test
      data.
  """

  __test__ = False  # Tells pytest that this is not a test case.

  evaluation: Evaluation
  shared: tff.learning.models.ModelWeights
  personal_fn: Callable[[Sequence[str]], Sequence[Any]]
  round_num: int = 0
  initial_personal: Any = ()
  keep_fn: Optional[Callable[[Sequence[str], Sequence[Any]], None]] = None
  tests_fn: Optional[Callable[[str], bool]] = None

  def tests(self, client_id: str) -> bool:
    """Whether the client is evaluated under this model."""
    return self.tests_fn is None or self.tests_fn(client_id)


def _nobody(client_id: str) -> bool:
  """The default of `trained_earlier`: no client trained earlier."""
  del client_id  # Unused.
  return False


@dataclasses.dataclass(frozen=True)
class Population:
  """Clients and their examples.

  Attributes:
    train: Training examples, for the phases.
    test: Test examples.
    participated: Maps a client id to whether the client took part in training,
      as `PersonalStore.contains` does.
    trained_earlier: Whether a client trained the model that training started
      from.
  """

  train: clients_lib.Clients
  test: clients_lib.Clients
  participated: Callable[[str], bool]
  trained_earlier: Callable[[str], bool] = _nobody

  def num_train_examples(self, client_id: str) -> int:
    """The number of training examples; a client may have only test examples."""
    if client_id in self.train.client_ids:
      return self.train.num_examples(client_id)
    return 0

  def read_train(
      self, client_id: str, form: examples_lib.ClientExamples
  ) -> Any:
    """The training examples; none where a client has only test examples.

    Args:
      client_id: The client.
      form: The form of the examples.
    """
    if client_id in self.train.client_ids:
      return self.train.read(client_id)
    return form.take(self.test.read(client_id), np.arange(0))


def evaluate(
    models: Mapping[str, TestedModel],
    population: Population,
    client_ids: Sequence[str],
    *,
    seed: int = 0,
    sharding: Optional[sharding_lib.Sharding] = None,
    progress: bool = True,
) -> client_table.ClientTable:
  """Evaluates clients under several models, on the same test examples.

  Args:
    models: The models by name. Every client must be evaluated under the first.
    population: The clients' examples.
    client_ids: The clients to evaluate.
    seed: Determines the order of the training examples.
    sharding: How many clients are in memory at a time, 50 by default, and where
      they are computed, by default in this thread's TFF context.
    progress: Whether to show a progress bar.

  Returns:
    A table with a row for each client and scores for every model.

  Raises:
    errors.SettingsError: If there are no clients, or if the models take
      examples in different forms.
    errors.DataError: If the model cannot compute a client's examples.
  """
  if not client_ids:
    raise errors.SettingsError(
        'Expected at least one client to evaluate, found none.'
    )
  sharding = sharding or sharding_lib.Sharding()
  size = sharding.clients_per_shard or _COHORT_SIZE
  cohorts = [
      list(client_ids[start : start + size])
      for start in range(0, len(client_ids), size)
  ]
  # The models of a cohort follow one another, so that it is read only once.
  jobs = [
      _Job(name, cohort, tested)
      for cohort in cohorts
      for name, model in models.items()
      if (tested := [c for c in cohort if model.tests(c)])
  ]
  reader = _CohortReader(models, population, seed)

  steps = {name: _step(model) for name, model in models.items()}

  def task(i):
    job = jobs[i]
    train, test = reader.read(job)
    personal = list(models[job.model].personal_fn(job.client_ids))
    return steps[job.model], (personal, train, test)

  results = sharding.engine.compute(len(jobs), task)
  scores = {name: {} for name in models}
  with tqdm.tqdm(
      total=sum(len(job.client_ids) for job in jobs),
      desc='evaluate',
      unit='test',
      disable=not progress,
  ) as bar:
    for job, outputs in zip(jobs, _finding_faults(results, jobs, reader)):
      keep = models[job.model].keep_fn
      if keep is not None:
        keep(job.client_ids, outputs)
      for client_id, output in zip(job.client_ids, outputs):
        scores[job.model][client_id] = output['scores']
      bar.update(len(job.client_ids))
  return client_table.from_scores(
      scores,
      client_ids=client_ids,
      train_examples=[population.num_train_examples(c) for c in client_ids],
      participated=[population.participated(c) for c in client_ids],
      trained_earlier=[population.trained_earlier(c) for c in client_ids],
  )


def _step(model: TestedModel) -> sharding_lib.Step:
  work = client_work_lib.ClientWorkState(
      np.int32(model.round_num),
      model.initial_personal,
      phase_lib.learning_rates(model.evaluation.phases),
  )
  return sharding_lib.Step(model.evaluation.computation, [model.shared, work])


class _Job(NamedTuple):
  """Some clients of a cohort under one model, which are computed together."""

  model: str
  cohort: Sequence[str]
  client_ids: Sequence[str]


def _finding_faults(
    results: Iterator[Any], jobs: Sequence[_Job], reader: '_CohortReader'
) -> Iterator[Any]:
  """Passes results on; names the client whose examples make a job fail."""
  done = 0
  try:
    for result in results:
      yield result
      done += 1
  except (errors.UserError, GeneratorExit):
    raise
  except Exception:
    for job in jobs[done:]:
      reader.find_fault(job)
    raise


class _CohortReader:
  """Reads the examples of jobs, and keeps those of the latest cohort."""

  def __init__(
      self,
      models: Mapping[str, TestedModel],
      population: Population,
      seed: int,
  ):
    forms = [model.evaluation.client_examples for model in models.values()]
    if any(form != forms[0] for form in forms):
      raise errors.SettingsError(
          'Expected models that take examples in the same form, found different'
          f' `client_examples` for {", ".join(models)}. Build all evaluations'
          ' with the same `client_examples`.'
      )
    self._models = models
    self._population = population
    self._seed = seed
    self._form = forms[0]
    self._some_train = any(m.evaluation.reads_train for m in models.values())
    self._cohort: Sequence[str] = ()
    self._train: dict[str, Any] = {}
    self._test: dict[str, Any] = {}

  def read(self, job: _Job) -> tuple[list[Any], list[Any]]:
    """Training and test examples, one structure for each client."""
    if job.cohort is not self._cohort:
      # Releases the examples of one cohort before it reads those of another.
      self._train, self._test = {}, {}
      if self._some_train:
        self._train = {
            c: self._value(self._population.read_train(c, self._form), c)
            for c in job.cohort
        }
      self._test = {
          c: self._value(self._population.test.read(c), c) for c in job.cohort
      }
      self._cohort = job.cohort
    trains = self._models[job.model].evaluation.reads_train
    return (
        [self._train[c] if trains else () for c in job.client_ids],
        [self._test[c] for c in job.client_ids],
    )

  def find_fault(self, job: _Job) -> None:
    """Raises an `errors.DataError` if the model cannot compute a client."""
    evaluation = self._models[job.model].evaluation
    check = functools.partial(
        client_faults.check, evaluation.model_fn, self._form
    )
    if evaluation.reads_train:
      check(
          (c, self._population.read_train(c, self._form))
          for c in job.client_ids
      )
    check((c, self._population.test.read(c)) for c in job.client_ids)
    for examples in self.read(job):
      known = (pair for pair in zip(job.client_ids, examples) if pair[1])
      client_faults.find(evaluation.model_fn, self._form, known)

  def _value(self, examples: Any, client_id: str) -> Any:
    return self._form.value(
        examples, clients_lib.seed_for(self._seed, 'test', client_id)
    )
