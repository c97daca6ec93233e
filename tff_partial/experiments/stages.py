# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training in a folder of its own, which a run does up to three times."""

import dataclasses
import pathlib
from typing import Optional

import tensorflow_federated as tff

from tff_partial.evaluation import summary
from tff_partial.experiments import open_run
from tff_partial.experiments import origin
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run_folder
from tff_partial.learning import weights
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import history
from tff_partial.training import metrics_file
from tff_partial.training import training


def train_only(
    plan: plan_lib.Plan,
    folder: pathlib.Path,
    init_from: Optional[str],
    sharding: sharding_lib.Sharding,
    progress: bool,
) -> None:
  """Trains a model in a folder of its own, or the rest of it."""
  folder.mkdir(parents=True, exist_ok=True)
  keep_origin(folder, plan, init_from)
  if (folder / run_folder.WEIGHTS).exists():
    return
  with open_run.open_run(
      plan, folder, init_from, sharding, progress
  ) as current:
    run_folder.keep_texts(folder, plan.task.texts)
    train(current)


def keep_origin(
    folder: pathlib.Path, plan: plan_lib.Plan, init_from: Optional[str]
) -> None:
  """Checks that a run has the same data and start as before, if it goes on."""
  origin.keep(folder, _origin(plan, init_from), data=plan.task.data)


def check_origin(
    folder: pathlib.Path, plan: plan_lib.Plan, init_from: Optional[str]
) -> None:
  """Checks the same of a run that is only read."""
  found = _origin(plan, init_from)
  # Nothing is trained, so that the runs before may be gone.
  found = dataclasses.replace(found, generation=None)
  origin.check(folder, found, data=plan.task.data)


def _origin(plan: plan_lib.Plan, init_from: Optional[str]) -> origin.Origin:
  """What there is now for a run to be made from."""
  start = None
  if init_from is not None:
    start = origin.digest(origin.weights_of(init_from))
  return origin.Origin(
      data=plan.task.fingerprint, start=start, generation=plan.generation
  )


def train(current: open_run.OpenRun) -> tff.learning.models.ModelWeights:
  """Trains to the last round and saves the weights; the shared variables."""
  plan, start = current.plan, current.start
  metrics = current.folder / run_folder.METRICS
  shared = start.shared
  if plan.sampler is not None:
    process = plan.process
    history.trim(metrics, current.store.version)
    state = training.train(
        process,
        plan.sampler,
        current.store,
        training.Settings(
            total_rounds=plan.config.total_rounds,
            rounds_per_evaluation=plan.config.evaluation.rounds_per_evaluation,
            seconds_per_checkpoint=plan.config.running.seconds_per_checkpoint,
        ),
        initial_state=process.start_from(
            process.initialize(), start.shared, start.personal
        ),
        past_metrics={
            int(row[history.KEY]): row for row in history.read(metrics)
        },
        sharding=current.sharding,
        release_managers=[
            metrics_file.MetricsFile(metrics),
            tff.program.TensorBoardReleaseManager(
                str(current.folder / 'tensorboard')
            ),
        ],
        evaluation_fn=_create_evaluation_fn(current),
        progress=current.progress,
    )
    shared = plan.with_all_shared(state.global_model_weights)
  weights.save(
      current.folder / run_folder.WEIGHTS,
      plan.variables,
      shared,
      start.personal,
  )
  return shared


def _create_evaluation_fn(current: open_run.OpenRun) -> training.EvaluationFn:
  """Evaluates some clients while training, for the learning curves."""

  def evaluate(unused_round_num, state):
    models = current.models.of_everyone(
        current.plan.with_all_shared(state.global_model_weights)
    )
    names = [n for n in ('shared', current.plan.candidate) if n in models]
    table = current.evaluate(
        # What is kept and counted belongs to the last evaluation.
        {n: dataclasses.replace(models[n], keep_fn=None) for n in names},
        current.plan.curve_clients,
        population=dataclasses.replace(
            current.population, test=current.plan.curve_examples
        ),
        progress=False,
    )
    return {
        f'eval/{name}/{metric}': summary.summarize(
            table, name, metric
        ).weighted_mean
        for name in names
        for metric in table.scores[name]
        # A metric may have no weight yet, such as precision without positives.
        if table.weights(name, metric).any()
    }

  return evaluate
