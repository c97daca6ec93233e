# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Testing every client, each with its own variables.

One computation serves all questions: it gives each client some shared and some
personal variables, lets it train by some phases or by none, and scores each of
its test examples. What varies is what goes in:

| model            | shared       | personal                  | phases      |
| ---------------- | ------------ | ------------------------- | ----------- |
| non-personalized | pretrained's | pretrained's              | none        |
| shared           | trained      | what everyone starts from | none        |
| personalized     | trained      | the client's own          | none        |
| fine-tuned       | trained      | the client's own          | fine-tuning |

Scores are client-placed values: nothing is averaged before the per-client
table is made. Clients are taken in cohorts, which bound memory.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tqdm

from tff_partial import errors
from tff_partial.evaluation import client_table
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import local_update
from tff_partial.learning import partial_model
from tff_partial.runtime import dispatcher as dispatcher_lib


def build_evaluation(
    model_fn: partial_model.ModelFn,
    *,
    client_examples: examples_lib.ClientExamples,
    phases: Sequence[local_update.Phase] = (),
) -> tff.Computation:
  """Builds the computation that tests clients, after `phases` of training.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    client_examples: The form in which clients' examples are handed over.
    phases: Local training before the test. It stays with the client.

  Returns:
    A computation `(<shared=U@SERVER, client_work=W@SERVER,
    personal={P}@CLIENTS, train={E}@CLIENTS, test={E}@CLIENTS> ->
    {<scores=..., personal=P, steps=int64, examples=int64>}@CLIENTS)`. `W` is
    the type of a `client_work.ClientWorkState`; `train` and the resulting
    `personal` are empty structures without phases. `scores` has each metric's
    two terms for each test example in the order given, float32 [examples];
    `steps` and `examples` count the steps of the phases and their examples.
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
        scores=_score(model, test, client_examples),
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

  return test_cohort


def _score(
    model: partial_model.PartialModel,
    examples: Any,
    client_examples: examples_lib.ClientExamples,
) -> Any:
  """Each metric's terms for every example, in order."""

  def step(scores, batch):
    outputs = model.outputs(batch, training=False)
    return tf.nest.map_structure(
        lambda all_terms, terms: tf.concat([all_terms, terms], axis=0),
        scores,
        model.metrics(batch, outputs),
    )

  # Of unknown length to the loop, which would insist on length 0 otherwise.
  nothing = lambda: tf.compat.v1.placeholder_with_default(tf.zeros([0]), [None])
  scores = collections.OrderedDict(
      (name, (nothing(), nothing())) for name in model.metric_names
  )
  return client_examples.reduce(
      examples, scores, step, examples_lib.Pass(training=False)
  )


@dataclasses.dataclass(frozen=True)
class TestedModel:
  """One of the models that clients are tested under.

  Attributes:
    evaluation: Made by `build_evaluation`.
    shared: The shared variables.
    personal_fn: Client ids to their personal variables, one structure each.
    phases: The phases that `evaluation` was built with.
    round_num: Where in the phases' learning-rate schedules we are.
    initial_personal: The anchor, if the phases need one.
    keep_fn: Receives client ids and the computation's results for them, such
      as the personal variables that the phases trained.
    tests_fn: Whether a client is tested under this model; `None` is all are.
      Another client's scores under it have weight 0, which is no test.
  """

  __test__ = False  # Not a test case, whatever its name makes pytest think.

  evaluation: tff.Computation
  shared: tff.learning.models.ModelWeights
  personal_fn: Callable[[Sequence[str]], Sequence[Any]]
  phases: Sequence[local_update.Phase] = ()
  round_num: int = 0
  initial_personal: Any = ()
  keep_fn: Optional[Callable[[Sequence[str], Sequence[Any]], None]] = None
  tests_fn: Optional[Callable[[str], bool]] = None


def evaluate(
    models: Mapping[str, TestedModel],
    *,
    client_ids: Sequence[str],
    train_clients: clients_lib.Clients,
    test_clients: clients_lib.Clients,
    client_examples: examples_lib.ClientExamples,
    participated: Callable[[str], bool],
    seed: int = 0,
    cohort_size: int = 50,
    dispatcher: Optional[dispatcher_lib.Dispatcher] = None,
    progress: bool = True,
) -> client_table.ClientTable:
  """Tests clients under several models, on the same examples.

  Args:
    models: By name; all clients are tested under the first.
    client_ids: Who is tested.
    train_clients: Their training examples, for the phases.
    test_clients: Their test examples.
    client_examples: The form in which computations take examples.
    participated: Whether a client took part in training.
    seed: Of the order of training examples.
    cohort_size: Clients in memory at a time.
    dispatcher: Computes the cohorts; by default this thread's context does.
    progress: Whether to show a progress bar.

  Returns:
    A table with one row a client and scores for every model.

  Raises:
    ValueError: If there are no clients.
  """
  if not client_ids:
    raise errors.SettingsError(
        'Expected at least one client to test, found none.'
    )
  cohorts = [
      list(client_ids[start : start + cohort_size])
      for start in range(0, len(client_ids), cohort_size)
  ]
  jobs = [
      _Job(i, name, tested)
      for i, cohort in enumerate(cohorts)
      for name, model in models.items()
      if (tested := _positions_of_tested(model, cohort))
  ]
  value = lambda examples, client_id: client_examples.value(
      examples, clients_lib.seed_for(seed, 'test', client_id)
  )

  # A cohort's models come one after the other, and read it once.
  @functools.lru_cache(maxsize=1)
  def read(cohort_number):
    cohort = cohorts[cohort_number]
    train = None
    if any(model.phases for model in models.values()):
      train = [
          value(_train_examples(train_clients, test_clients, c), c)
          for c in cohort
      ]
    return train, [value(test_clients.read(c), c) for c in cohort]

  def members(job):
    return [cohorts[job.cohort][i] for i in job.positions]

  def task(i):
    job = jobs[i]
    model = models[job.model]
    train, test = read(job.cohort)
    client_work = client_work_lib.ClientWorkState(
        np.int32(model.round_num), model.initial_personal
    )
    return model.evaluation, (
        model.shared,
        client_work,
        list(model.personal_fn(members(job))),
        [train[i] if model.phases else () for i in job.positions],
        [test[i] for i in job.positions],
    )

  bar = tqdm.tqdm(
      total=len(client_ids), desc='test', unit='client', disable=not progress
  )
  results = (dispatcher or dispatcher_lib.Dispatcher()).compute(len(jobs), task)
  last_of_cohort = {job.cohort: job for job in jobs}
  scores = {name: {} for name in models}
  with bar:
    for job, outputs in zip(jobs, results):
      keep = models[job.model].keep_fn
      if keep is not None:
        keep(members(job), outputs)
      for client_id, output in zip(members(job), outputs):
        scores[job.model][client_id] = output['scores']
      if job is last_of_cohort[job.cohort]:
        bar.update(len(cohorts[job.cohort]))
  first = next(iter(scores.values()))
  terms = {name: collections.defaultdict(list) for name in models}
  for name, by_client in scores.items():
    for client_id in client_ids:
      untested = tf.nest.map_structure(np.zeros_like, first[client_id])
      for metric, pair in by_client.get(client_id, untested).items():
        terms[name][metric].append(pair)
  metric = next(iter(terms[next(iter(models))]))
  test_examples = [len(first[c][metric][0]) for c in client_ids]
  join = lambda pairs, i: np.concatenate([np.atleast_1d(p[i]) for p in pairs])
  return client_table.ClientTable(
      client_ids=tuple(client_ids),
      train_examples=np.array(
          [_count(train_clients, c) for c in client_ids], np.int64
      ),
      test_examples=np.array(test_examples, np.int64),
      participated=np.array([participated(c) for c in client_ids], bool),
      scores={
          name: {
              metric: client_table.Scores(
                  join(pairs, 0).astype(np.float64),
                  join(pairs, 1).astype(np.float64),
              )
              for metric, pairs in metrics.items()
          }
          for name, metrics in terms.items()
      },
  )


class _Job(NamedTuple):
  """A cohort, by its number, under a model: some of its clients."""

  cohort: int
  model: str
  positions: list[int]


def _positions_of_tested(
    model: TestedModel, cohort: Sequence[str]
) -> list[int]:
  return [
      i
      for i, client_id in enumerate(cohort)
      if model.tests_fn is None or model.tests_fn(client_id)
  ]


def _count(clients: clients_lib.Clients, client_id: str) -> int:
  return (
      clients.num_examples(client_id) if client_id in clients.client_ids else 0
  )


def _train_examples(
    train_clients: clients_lib.Clients,
    test_clients: clients_lib.Clients,
    client_id: str,
) -> Mapping[str, np.ndarray]:
  """A client's training examples; it may have some for testing only."""
  if client_id in train_clients.client_ids:
    return train_clients.read(client_id)
  return tf.nest.map_structure(lambda a: a[:0], test_clients.read(client_id))
