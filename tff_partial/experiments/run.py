# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""An experiment: a task trained, tested and reported, in one folder.

  pretrain (FedAvg) -> personalize -> fine-tune -> test every client -> report

Flags do not reach this far: a `config.Config` holds plain values, so that a
notebook cell and `run_experiment.py` read alike.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import pathlib
import time
from typing import Optional

from absl import logging
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.evaluation import client_table
from tff_partial.evaluation import evaluation
from tff_partial.evaluation import gate
from tff_partial.evaluation import summary
from tff_partial.experiments import config as config_lib
from tff_partial.experiments import pretrained
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.learning import algorithms
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import local_update
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.learning import process as process_lib
from tff_partial.learning import schedules
from tff_partial.learning import weights
from tff_partial.reporting import formatting
from tff_partial.reporting import report
from tff_partial.training import history
from tff_partial.training import personal_store
from tff_partial.training import sharded_round
from tff_partial.training import training

METRICS_FILE = 'metrics.csv'
WEIGHTS_FILE = 'model.safetensors'
GATED_INIT_NOTE = (
    'The model that training started from may have seen the examples held out'
    ' for the gate, which speaks for it there, unless it was trained with the'
    ' same gate and seed.'
)
_CURVE_CLIENTS = 100  # Tested while training, for the learning curves.
_TEST_COHORT = 50  # Clients tested at a time.


def run(
    task: task_lib.Task,
    config: config_lib.Config,
    output_dir: str,
    *,
    sharding: Optional[sharded_round.Sharding] = None,
    progress: bool = True,
) -> client_table.ClientTable:
  """Runs an experiment, or the rest of it, and writes its report.

  Args:
    task: What is learnt, and from whom.
    config: How.
    output_dir: Gets `personal_store.sqlite` (checkpoint and personal
      variables), `metrics.csv`, `tensorboard/`, `model.safetensors` (the
      trained shared and the initial personal variables), `report.html`,
      `report.json`, `clients.csv`, and `pretrain/` with the like.
    sharding: How many clients are computed at a time, and by whom; by default
      a whole cohort, by this thread's context.
    progress: Whether to show progress bars.

  Returns:
    The test results of every client.

  Raises:
    ValueError: If settings, data and model do not go together.
    OSError: If a file cannot be read or written.
  """
  # What raises here does so before anything is trained.
  tested_clients(task, config)
  _create_algorithm(config)
  _create_reconstruction(config)
  folder = pathlib.Path(output_dir)
  folder.mkdir(parents=True, exist_ok=True)
  run_folder.keep_texts(folder, task.texts)
  init_from = config.init_from
  if init_from is not None:
    run_folder.check_texts(init_from, task.texts)
  sharding = sharding or sharded_round.Sharding()
  if config.num_pretrain_rounds:
    init_from = str(folder / 'pretrain')
    rounds = config.num_pretrain_rounds
    pretrain(
        task,
        config.for_pretraining(rounds),
        init_from,
        sharding=sharding,
        progress=progress,
    )
  with _Run(task, config, folder, init_from, sharding) as current:
    current.train(progress)
    table = current.test(progress)
    current.report(table)
  return table


def pretrain(
    task: task_lib.Task,
    config: config_lib.Config,
    output_dir: str,
    *,
    sharding: Optional[sharded_round.Sharding] = None,
    progress: bool = True,
) -> None:
  """Trains a model for others to start from, or the rest of it.

  Args:
    task: What is learnt, and from whom.
    config: How: that of `Config.for_pretraining`.
    output_dir: Gets what `run` writes, but for a report; once it has
      `model.safetensors`, the model is trained.
    sharding: As in `run`.
    progress: Whether to show a progress bar.
  """
  folder = pathlib.Path(output_dir)
  if not (folder / WEIGHTS_FILE).exists():
    sharding = sharding or sharded_round.Sharding()
    with _Run(task, config, folder, None, sharding) as pretraining:
      run_folder.keep_texts(folder, task.texts)
      pretraining.train(progress)


def unseen_clients(
    task: task_lib.Task, config: config_lib.Config
) -> frozenset[str]:
  """The clients that are kept out of training."""
  return frozenset(
      _sample(task.train.client_ids, config.unseen_clients, config, 'unseen')
  )


def tested_clients(
    task: task_lib.Task, config: config_lib.Config
) -> Sequence[str]:
  """The clients that are tested: all, or some and those never seen."""
  everyone = task.test.client_ids
  if not config.eval_clients:
    return everyone
  client_ids = _sample(everyone, config.eval_clients, config, 'test')
  unseen = unseen_clients(task, config) - set(client_ids)
  return client_ids + sorted(c for c in unseen if c in everyone)


class _Run:
  """One process from its start to its report."""

  def __init__(
      self,
      task: task_lib.Task,
      config: config_lib.Config,
      folder: str | pathlib.Path,
      init_from: Optional[str],
      sharding: sharded_round.Sharding,
  ):
    self._task = task
    self._sharding = sharding
    self._config = config
    self._folder = pathlib.Path(folder)
    self._pretrained = init_from is not None
    self._unseen = unseen_clients(task, config)
    self._tested = tested_clients(task, config)
    self._train_clients, self._held_out = task.train, None
    if config.gate:
      part = functools.partial(
          gate.Part,
          task.train,
          task.client_examples.take,
          share=config.gate,
          seed=config.seed,
      )
      self._train_clients = part(held_out=False)
      self._held_out = part(held_out=True)
    self._clients = clients_lib.ExcludingClients(
        self._train_clients, self._unseen
    )
    self._algorithm = _create_algorithm(config)
    self._model_fn = create_model_fn(task.model_fn, config)
    self._variables = partial_model.describe(self._model_fn)
    # What the shared variables are before round 1, and the personal variables
    # of a client never seen.
    self._initial_shared, self._initial_personal = _initial_weights(
        self._model_fn, self._variables, config.seed, init_from
    )
    self._baseline_personal = self._initial_personal
    if config.algorithm == 'local':
      _, self._initial_personal = _initial_weights(
          self._model_fn, self._variables, config.seed, None
      )
    self._shared = self._initial_shared
    if self._algorithm.trains_shared:
      # Raises if there are too few, while nothing is there to be lost.
      clients_lib.sample(
          self._clients.client_ids,
          config.clients_per_round,
          seed=config.seed,
          round_num=0,
      )
    self._reconstruction = _create_reconstruction(config)
    self._finetuning = None
    if config.num_finetune_epochs:
      self._finetuning = _create_finetuning(config, config.num_finetune_epochs)
    self._finetuning_steps = self._finetuning_examples = 0
    self._gate: Optional[dict[str, float]] = None
    self._evaluations = {}
    self._store = personal_store.PersonalStore(
        self._initial_personal, str(self._folder)
    )

  def __enter__(self) -> '_Run':
    return self

  def __exit__(self, *unused_exception):
    self._store.close()

  def train(self, progress: bool) -> None:
    """Trains to the last round, and saves the weights."""
    config = self._config
    if self._algorithm.trains_shared:
      process = process_lib.build_partial_process(
          self._task.model_fn(config.split),
          self._algorithm,
          client_examples=self._task.client_examples,
          server_optimizer=_create_server_optimizer(config),
          aggregator=_create_aggregator(config),
          client_weighting=tff.learning.ClientWeighting[
              config.client_weighting.upper()
          ],
          seed=config.seed,
      )
      metrics_file = self._folder / METRICS_FILE
      history.trim(metrics_file, self._store.version)
      state = training.train(
          process,
          self._clients,
          self._store,
          training.Settings(
              total_rounds=config.total_rounds,
              clients_per_round=config.clients_per_round,
              seed=config.seed,
              rounds_per_evaluation=config.rounds_per_evaluation,
              seconds_per_checkpoint=config.seconds_per_checkpoint,
              clients_per_shard=self._sharding.clients_per_shard,
          ),
          client_examples=self._task.client_examples,
          initial_state=process.start_from(
              process.initialize(), self._initial_shared, self._initial_personal
          ),
          initial_personal=self._initial_personal,
          dispatcher=self._sharding.dispatcher,
          release_managers=[
              tff.program.CSVFileReleaseManager(
                  metrics_file, key_fieldname=history.KEY
              ),
              tff.program.TensorBoardReleaseManager(
                  str(self._folder / 'tensorboard')
              ),
          ],
          evaluation_fn=self._create_evaluation_fn(),
          progress=progress,
      )
      self._shared = state.global_model_weights
    weights.save(
        self._folder / WEIGHTS_FILE,
        self._variables,
        self._shared,
        self._initial_personal,
    )

  def test(self, progress: bool) -> client_table.ClientTable:
    """Tests clients under all models that the report speaks of."""
    started_at = time.monotonic()
    models = self._models(self._shared)
    table = self._evaluate(
        {**models, **self._newcomers_models(self._shared)},
        self._tested,
        progress,
    )
    if self._held_out is not None and self._config.algorithm != 'fed_avg':
      table = self._pass_gate(models, table, progress)
    self._test_seconds = time.monotonic() - started_at
    if not self._algorithm.trains_shared:
      self._store.commit(self._store.version + 1)
    return table

  def report(self, table: client_table.ClientTable) -> None:
    """Writes the report."""
    baseline, candidate = self._baseline_and_candidate()
    report.write_report(
        str(self._folder),
        title=f'{self._task.name}: {self._config.algorithm},'
        f' {self._config.split_in_words} personal',
        settings={
            'task': self._task.name,
            'data': self._task.data,
            'model': self._task.model,
            **self._config.settings,
        },
        split=self._variables,
        table=table,
        metric=self._task.metric,
        higher_is_better=self._task.higher_is_better,
        baseline=baseline,
        candidate=candidate,
        history=history.read(self._folder / METRICS_FILE),
        cost=self._cost(table),
        notes=[*self._notes(), *self._sample_notes(table)],
        gate=self._gate,
    )

  def _baseline_and_candidate(self) -> tuple[str, str]:
    if self._config.algorithm == 'fed_avg':
      return 'initial', 'non_personalized'
    baseline = 'non_personalized' if self._pretrained else 'shared'
    if self._config.trains_alone:
      return baseline, self._config.finetuned_model
    return baseline, 'personalized'

  def _models(
      self, shared: tff.learning.models.ModelWeights
  ) -> dict[str, evaluation.TestedModel]:
    """The models that clients are tested under, by name."""
    everyones = lambda client_ids: [self._initial_personal] * len(client_ids)
    test = self._tested_model
    start = test(
        self._initial_shared,
        lambda client_ids: [self._baseline_personal] * len(client_ids),
    )
    if self._config.algorithm == 'fed_avg':
      return {'initial': start, 'non_personalized': test(shared, everyones)}
    models = {}
    if self._pretrained:
      models['non_personalized'] = start
    if self._algorithm.trains_shared or not self._pretrained:
      models['shared'] = test(
          shared,
          lambda client_ids: [
              self._algorithm.shared_only(shared, self._initial_personal)
          ]
          * len(client_ids),
      )
    if self._algorithm.trains_shared:
      if self._algorithm.stateful:
        models['personalized'] = test(shared, self._store.read)
      else:
        # What a stateless client would have: made anew from its data.
        models['personalized'] = test(
            shared, everyones, phases=self._reconstruction.phases
        )
    if self._finetuning:
      # Fine-tuning alone begins anew, also where a stopped run stored some.
      kept = self._algorithm.stateful and self._algorithm.trains_shared
      models[self._config.finetuned_model] = test(
          shared,
          self._store.read if kept else everyones,
          phases=self._finetuning.phases,
          keep_fn=self._after_finetuning,
      )
    return models

  def _newcomers_models(
      self, shared: tff.learning.models.ModelWeights
  ) -> dict[str, evaluation.TestedModel]:
    """What a client that never trained can have, tested by those that did not.

    'initial' is what every client starts from, a copy of the shared model if
    clients have one; 'mean' the mean of what clients have by now; 'reconstruct'
    starts from the initial values and runs one personal phase on the client's
    training examples, 'finetune' the epochs of fine-tuning.
    """
    start = self._algorithm.shared_only(shared, self._initial_personal)
    models = {}
    for policy in self._config.onboarding_policies:
      personal = start
      phases: Sequence[local_update.Phase] = ()
      if policy == 'mean':
        personal = self._store.mean()
      elif policy == 'reconstruct':
        phases = self._reconstruction.phases
      elif policy == 'finetune':
        phases = _create_finetuning(
            self._config, self._config.num_newcomer_epochs
        ).phases
      models[f'new_{policy}'] = dataclasses.replace(
          self._tested_model(
              shared,
              lambda client_ids, personal=personal: [personal]
              * len(client_ids),
              phases=phases,
              initial_personal=start,
          ),
          tests_fn=lambda client_id: not self._participated(client_id),
      )
    return models

  def _pass_gate(
      self,
      models: Mapping[str, evaluation.TestedModel],
      table: client_table.ClientTable,
      progress: bool,
  ) -> client_table.ClientTable:
    """Adds the model of clients that choose by what they held out."""
    baseline, candidate = self._baseline_and_candidate()
    names = {'baseline': baseline, 'candidate': candidate}
    takes = frozenset()
    deciding = [
        c
        for c in table.client_ids
        if c in self._held_out.client_ids and self._held_out.num_examples(c)
    ]
    if deciding:
      takes = gate.helped(
          self._evaluate(
              {
                  # What is kept and counted is of the test alone.
                  name: dataclasses.replace(models[name], keep_fn=None)
                  for name in (baseline, candidate)
              },
              deciding,
              progress,
              test_clients=self._held_out,
          ),
          self._task.metric,
          higher_is_better=self._task.higher_is_better,
          **names,
      )
    self._gate = {
        'share_held_out': self._config.gate,
        'clients': len(table.client_ids),
        'kept_shared': len(table.client_ids) - len(takes),
        'kept_shared_share': 1 - len(takes) / len(table.client_ids),
    }
    return gate.add(table, takes, **names)

  def _evaluation(self, phases) -> tff.Computation:
    """The test after these phases, which takes seconds to build: once."""
    if phases not in self._evaluations:
      self._evaluations[phases] = evaluation.build_evaluation(
          self._model_fn,
          client_examples=self._task.client_examples,
          phases=phases,
      )
    return self._evaluations[phases]

  def _after_finetuning(self, client_ids, outputs) -> None:
    self._finetuning_steps += sum(int(o['steps']) for o in outputs)
    self._finetuning_examples += sum(int(o['examples']) for o in outputs)
    if not self._algorithm.trains_shared:
      # Fine-tuning alone keeps what it trained, to be exported.
      self._store.write(client_ids, [o['personal'] for o in outputs])

  def _tested_model(
      self,
      shared,
      personal_fn,
      *,
      phases=(),
      keep_fn=None,
      initial_personal=None,
  ) -> evaluation.TestedModel:
    anchored = local_update.needs_initial_personal(phases)
    return evaluation.TestedModel(
        self._evaluation(phases),
        shared,
        personal_fn,
        phases=phases,
        round_num=self._config.total_rounds,
        initial_personal=(initial_personal or self._initial_personal)
        if anchored
        else (),
        keep_fn=keep_fn,
    )

  def _participated(self, client_id: str) -> bool:
    """Whether a client had a part in training."""
    if self._algorithm.trains_shared:
      return self._store.contains(client_id)
    return client_id not in self._unseen

  def _evaluate(self, models, client_ids, progress, *, test_clients=None):
    return evaluation.evaluate(
        models,
        client_ids=client_ids,
        train_clients=self._train_clients,
        test_clients=test_clients or self._task.test,
        client_examples=self._task.client_examples,
        participated=self._participated,
        seed=self._config.seed,
        cohort_size=self._sharding.clients_per_shard or _TEST_COHORT,
        dispatcher=self._sharding.dispatcher,
        progress=progress,
    )

  def _create_evaluation_fn(self) -> training.EvaluationFn:
    """Tests some clients while training, for the learning curves."""
    everyone = self._task.test.client_ids
    client_ids = _sample(
        everyone, min(_CURVE_CLIENTS, len(everyone)), self._config, 'curve'
    )
    _, shown = self._baseline_and_candidate()

    def evaluate(unused_round_num, state):
      models = self._models(state.global_model_weights)
      names = [n for n in ('shared', shown) if n in models]
      table = self._evaluate(
          {name: models[name] for name in names}, client_ids, progress=False
      )
      return {
          f'eval/{name}/{metric}': summary.summarize(
              table, name, metric
          ).weighted_mean
          for name in names
          for metric in table.scores[name]
      }

    return evaluate

  def _cost(self, table: client_table.ClientTable) -> summary.Cost:
    """What the run took, by what its rounds counted."""
    sizes = lambda personal: [
        v for v in self._variables if v.personal == personal
    ]
    num_bytes = lambda variables: sum(v.num_bytes for v in variables)
    down = num_bytes(sizes(False))
    if local_update.needs_initial_personal(self._algorithm.phases):
      down += num_bytes(sizes(True))
    if self._algorithm.trains_shared:
      rounds = history.read(self._folder / METRICS_FILE)
      total = lambda name: sum(row.get(name, 0) for row in rounds)
      steps, examples = total('counts/steps'), total('counts/examples')
      seconds = total('seconds')
      visits = len(rounds) * self._config.clients_per_round
      up = num_bytes(v for v in sizes(False) if v.trainable)
    else:  # Every client was visited once, in the test.
      steps, examples = self._finetuning_steps, self._finetuning_examples
      seconds = self._test_seconds
      visits = len(table.client_ids)
      up = 0
    return summary.Cost(
        gradient_steps=int(steps),
        examples_processed=int(examples),
        bytes_down_per_client=down,
        bytes_up_per_client=up,
        bytes_down=down * visits,
        bytes_up=up * visits,
        bytes_stored=self._store.num_bytes,
        seconds=seconds,
        personal_parameters=sum(v.size for v in sizes(True)),
        shared_parameters=sum(v.size for v in sizes(False)),
    )

  def _sample_notes(self, table: client_table.ClientTable) -> list[str]:
    """How far the numbers are off because not everyone was tested."""
    if not self._config.eval_clients:
      return []
    metric = self._task.metric
    error = lambda name: summary.summarize(table, name, metric).weighted_error
    words = ', '.join(
        f'{error(name):.2g} ({name.replace("_", "-")})' for name in table.scores
    )
    return [
        f'{len(table.client_ids):,} of {len(self._task.test.client_ids):,}'
        f' clients were tested, drawn by the seed. The standard error of their'
        f' {metric} is {words}.'
    ]

  def _notes(self) -> list[str]:
    notes = []
    if self._task.demonstration:
      notes.append(
          'The data were made for demonstration. They show what the program'
          ' does; they say nothing about people.'
      )
    if self._config.algorithm != 'fed_avg' and not self._pretrained:
      notes.append(
          'This run did not start from a trained model, so the baseline is its'
          ' own shared part with the personal part that every client starts'
          ' from. Compare with FedAvg by --pretrain_rounds or --init_from.'
      )
    pretrain_rounds = self._config.num_pretrain_rounds
    if pretrain_rounds:
      notes.append(
          f'Cost is that of personalization; the {pretrain_rounds} rounds of'
          ' FedAvg before it are in the folder pretrain.'
      )
    if self._config.num_finetune_epochs and self._algorithm.trains_shared:
      notes.append(
          f'Fine-tuning is {self._config.num_finetune_epochs} epochs at every'
          f' client tested, {self._finetuning_steps:,} steps that are not among'
          " the cost's."
      )
    if self._config.algorithm == 'local':
      notes.append(
          'Clients train alone and from the seeded initial model; the model'
          ' that they are compared with has no part in it.'
      )
    if 'finetune' in self._config.onboarding_policies:
      notes.append(
          'New clients are fine-tuned for'
          f' {self._config.num_newcomer_epochs} epochs.'
      )
    if self._config.gate:
      notes.append(
          f'{formatting.share(self._config.gate)} of every client’s training'
          ' examples were held out of all training, the pretraining included.'
      )
    if self._gate:
      baseline, candidate = map(
          formatting.model, self._baseline_and_candidate()
      )
      notes.append(
          f'The gate: {formatting.model(gate.GATED).lower()}. On their held-out'
          f' examples {self._gate["kept_shared"]:,} of'
          f' {formatting.quantity(self._gate["clients"], "client")}'
          f' ({formatting.share(self._gate["kept_shared_share"])}) found'
          f' “{candidate.lower()}” no better than “{baseline.lower()}” and kept'
          ' the latter.'
      )
      if self._config.init_from:
        notes.append(GATED_INIT_NOTE)
    return notes


def _sample(
    client_ids: Sequence[str],
    size: int,
    config: config_lib.Config,
    purpose: str,
) -> list[str]:
  """Some clients, by a stream of random numbers of their own."""
  if not size:
    return []
  if size > len(client_ids):
    raise errors.SettingsError(
        f'Expected at most {len(client_ids)} clients ({purpose}), all there'
        f' are, found {size}.'
    )
  stream = abs(int(clients_lib.seed_for(config.seed, purpose)[0]))
  return clients_lib.sample(client_ids, size, seed=stream, round_num=0)


def _initial_weights(
    model_fn: partial_model.ModelFn,
    variables: Sequence[partition.VariableInfo],
    seed: int,
    init_from: Optional[str],
) -> tuple[tff.learning.models.ModelWeights, tff.learning.models.ModelWeights]:
  """Seeded (shared, personal) variables, or a file's or another run's."""
  build = client_work_lib.build_initial_weights
  shared, personal = build(model_fn, seed=seed)()
  if init_from is None:
    return shared, personal
  path = pathlib.Path(init_from)
  if path.is_dir():
    path /= WEIGHTS_FILE
    values = weights.load(path)
  else:
    values = pretrained.load(str(path), variables)
  filled = weights.fill(values, variables, shared, personal)
  for what, paths in (
      ('keep their initial values', filled.missing),
      ('are not used', filled.unused),
  ):
    if paths:
      logging.warning(
          'Of %s, %d variables %s: %s', path, len(paths), what, ', '.join(paths)
      )
  return filled.shared, filled.personal


def create_model_fn(
    split_model_fn: Callable[[str], partial_model.ModelFn],
    config: config_lib.Config,
) -> partial_model.ModelFn:
  """What makes the model that the algorithm trains.

  Args:
    split_model_fn: Split name to a `ModelFn`, as a task has it.
    config: Names algorithm and split.
  """
  return _create_algorithm(config).wrap(split_model_fn(config.split))


def _create_algorithm(config: config_lib.Config) -> algorithms.Algorithm:
  """The phases that the settings ask for."""
  optimizer = tff.learning.optimizers.build_sgdm(config.learning_rate)
  shared = local_update.GroupTraining(
      optimizer,
      schedule=_create_schedule(config, config.learning_rate),
      penalty=config.shared_proximal,
  )
  personal = _personal_training(config, scheduled=True)
  steps = _create_steps(config, config.epochs)
  personal_steps = _create_steps(
      config, config.personal_epochs or config.epochs
  )
  if config.algorithm == 'fed_avg':
    return algorithms.fed_avg(shared, steps=steps)
  if config.algorithm == 'fed_sim':
    return algorithms.fed_sim(shared, personal, steps=steps)
  if config.trains_alone:
    return _create_finetuning(config, config.num_finetune_epochs)
  if config.algorithm == 'apfl':
    return algorithms.apfl(shared, personal, steps=steps)
  if config.algorithm == 'pfedme':
    return algorithms.pfedme(
        personal,
        penalty=config.personal_l2,
        pull=config.pull,
        local_rounds=config.local_rounds,
        clip_norm=config.clip_norm,
    )
  if config.algorithm == 'ditto':
    return algorithms.ditto(
        shared,
        personal,
        penalty=config.personal_l2,
        steps=steps,
        personal_steps=personal_steps,
    )
  create = {'fed_alt': algorithms.fed_alt, 'fed_recon': algorithms.fed_recon}
  return create[config.algorithm](
      shared, personal, steps=steps, personal_steps=personal_steps
  )


def _create_finetuning(
    config: config_lib.Config, epochs: int
) -> algorithms.Algorithm:
  """A personal phase before a test, at its full learning rate."""
  return algorithms.finetune(
      _personal_training(config, scheduled=False),
      steps=_create_steps(config, epochs),
  )


def _create_reconstruction(config: config_lib.Config) -> algorithms.Algorithm:
  """The personal phase of FedRecon, for a test."""
  return _create_finetuning(config, config.personal_epochs or config.epochs)


def _personal_training(
    config: config_lib.Config, *, scheduled: bool
) -> local_update.GroupTraining:
  rate = config.personal_learning_rate
  if rate is None:
    rate = config.learning_rate
  return local_update.GroupTraining(
      tff.learning.optimizers.build_sgdm(rate),
      schedule=_create_schedule(config, rate) if scheduled else None,
      penalty=config.personal_l2,
      anchor=local_update.INITIAL,
  )


def _create_steps(config: config_lib.Config, epochs: int) -> algorithms.Steps:
  return algorithms.Steps(
      epochs=epochs,
      max_steps=config.max_steps,
      clip_norm=config.clip_norm,
      adapter_dropout=config.personal_dropout,
  )


def _create_schedule(
    config: config_lib.Config, rate: float
) -> local_update.Schedule:
  if config.schedule == 'linear':
    return schedules.linear(
        rate,
        total_rounds=config.total_rounds,
        warmup_rounds=config.warmup_rounds,
    )
  if config.schedule == 'staircase':
    return schedules.staircase(rate, every=config.staircase_rounds)
  return schedules.constant(rate)


def _create_server_optimizer(
    config: config_lib.Config,
) -> tff.learning.optimizers.Optimizer:
  rate = config.server_learning_rate
  build = {
      'sgd': lambda: tff.learning.optimizers.build_sgdm(rate),
      'momentum': lambda: tff.learning.optimizers.build_sgdm(rate, 0.9),
      'adam': lambda: tff.learning.optimizers.build_adam(rate),
      'adagrad': lambda: tff.learning.optimizers.build_adagrad(rate),
      'yogi': lambda: tff.learning.optimizers.build_yogi(rate),
  }
  return build[config.server_optimizer]()


def _create_aggregator(
    config: config_lib.Config,
) -> process_lib.AggregationFactory:
  build = {
      'mean': tff.aggregators.MeanFactory,
      'robust': tff.learning.robust_aggregator,
  }
  return build[config.aggregator]()


def describe(
    task: task_lib.Task, config: config_lib.Config, output_dir: str
) -> str:
  """What a run is going to do, in five lines."""
  variables = partial_model.describe(create_model_fn(task.model_fn, config))
  total = sum(v.size for v in variables)
  personal = sum(v.size for v in variables if v.personal)
  rounds = f'{config.total_rounds} rounds of {config.clients_per_round} clients'
  if config.num_pretrain_rounds:
    rounds = f'{config.num_pretrain_rounds} rounds of fed_avg, then {rounds}'
  if config.trains_alone:
    rounds = f'{config.num_finetune_epochs} epochs at every client'
  return '\n'.join(
      [
          f'task       {task.name}: {task.model}',
          f'data       {task.data}; {len(task.train.client_ids):,} clients',
          f'split      {config.split_in_words}: {personal:,} of {total:,}'
          f' parameters personal ({personal / total:.2%})',
          f'algorithm  {config.algorithm}: {rounds}',
          f'output     {output_dir}',
      ]
  )
