# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""An experiment: a plan carried out in one folder.

  pretrain (FedAvg) -> train -> evaluate every client -> report

    config = config_lib.create(algorithm='fed_alt', total_rounds=20)
    run.run(plan.build(task, config), 'out/mine')

The same call goes on where an earlier one stopped.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
import tempfile
import time
from typing import Optional

from tff_partial.evaluation import client_table
from tff_partial.evaluation import evaluation
from tff_partial.experiments import account
from tff_partial.experiments import attack_success
from tff_partial.experiments import budget
from tff_partial.experiments import checkpoint
from tff_partial.experiments import client_names
from tff_partial.experiments import final_evaluation
from tff_partial.experiments import leaves
from tff_partial.experiments import lineage
from tff_partial.experiments import notes as notes_lib
from tff_partial.experiments import open_run
from tff_partial.experiments import origin
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import privacy_in_words
from tff_partial.experiments import run_folder
from tff_partial.experiments import stages
from tff_partial.experiments import start as start_lib
from tff_partial.experiments.estimates import auto_penalty
from tff_partial.experiments.estimates import auto_split
from tff_partial.experiments.estimates import feature_mean
from tff_partial.experiments.estimates import penalty_estimate
from tff_partial.experiments.settings import split_choice
from tff_partial.experiments.settings import used_settings
from tff_partial.privacy import secret_key
from tff_partial.reporting import by_budget
from tff_partial.reporting import findings
from tff_partial.reporting import report
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import history
from tff_partial.training import store_layout
from tff_partial.training import store_summary


def run(
    plan: plan_lib.Plan,
    output_dir: str,
    *,
    sharding: Optional[sharding_lib.Sharding] = None,
    overwrite: bool = False,
    progress: bool = True,
) -> client_table.ClientTable:
  """Runs an experiment, or the rest of it, and writes its report.

  Args:
    plan: What is trained, how, and who is evaluated.
    output_dir: Gets `config.json`, `personal_store.sqlite` (checkpoint and
      personal variables), `metrics.csv`, `tensorboard/`, `model.safetensors`
      (the trained shared and the initial personal variables), `report.html`,
      `report.json`, `clients.csv`, and the like in `pretrain/` and `control/`.
    sharding: How many clients are computed at a time, and by whom; by default
      a whole cohort, by this thread's context.
    overwrite: Whether to remove what an earlier run left in `output_dir`.
    progress: Whether to show progress bars.

  Returns:
    The results of every client that was evaluated.

  Raises:
    errors.SettingsError: If the folder belongs to a run with other settings,
      other data or another model to start from, or to one that is going on.
    errors.FileError: If a file cannot be read or written.
    errors.StoreError: If a checkpoint is damaged.
    errors.WorkerError: If no process that computes is left.
  """
  with run_folder.claim(
      output_dir, plan.settings, overwrite=overwrite
  ) as claimed:
    return run_in(claimed, plan, sharding=sharding, progress=progress)


def run_in(
    claimed: run_folder.RunFolder,
    plan: plan_lib.Plan,
    *,
    sharding: Optional[sharding_lib.Sharding] = None,
    progress: bool = True,
    pretrained: Optional[str] = None,
) -> client_table.ClientTable:
  """Runs an experiment in a folder that is claimed already, as `run` does.

  Args:
    claimed: The folder.
    plan: As for `run`.
    sharding: As for `run`.
    progress: As for `run`.
    pretrained: The folder of the pretraining, if a comparison made it.

  Returns:
    As `run` does.
  """
  sharding = sharding or sharding_lib.Sharding()
  if claimed.overwritten_by is not None:
    check_start(plan)
    claimed.start_over()
  plan = _with_generation(claimed, plan)
  is_trained = _is_trained(claimed, plan)
  plan = _with_secret(claimed, plan, is_trained=is_trained)
  if plan.budget is not None:
    plan = dataclasses.replace(
        plan,
        budget=budget.keep(claimed.path, plan.budget, is_trained=is_trained),
    )
  run_folder.check_texts(claimed.path, plan.task.kept)
  checkpoint.keep_start(claimed.path, plan.task, plan.config.init_from)
  init_from = checkpoint.start_of(claimed.path, plan)
  if plan.pretraining is not None:
    stages.keep_origin(claimed.path, plan, None)
    pretrain(
        plan.pretraining,
        str(claimed.path / run_folder.PRETRAINING),
        sharding=sharding,
        progress=progress,
    )
  else:
    stages.keep_origin(claimed.path, plan, init_from)
  pretraining_rounds = history.read(
      pathlib.Path(pretrained or claimed.path / run_folder.PRETRAINING)
      / run_folder.METRICS
  )
  lineage.keep(claimed.path, plan)
  # From here on, the folder takes no other settings.
  run_folder.keep_texts(claimed.path, plan.task.kept)
  plan = auto_split.resolve(
      plan,
      claimed.path,
      init_from,
      sharding=sharding,
      progress=progress,
      pretraining_rounds=pretraining_rounds,
  )
  plan = auto_penalty.resolve(
      plan, claimed.path, init_from, sharding=sharding, progress=progress
  )
  plan = feature_mean.resolve(plan, claimed.path, init_from, sharding=sharding)
  plan = _with_secret(claimed, plan, is_trained=is_trained)
  running = plan.config.running
  if running.store_parts is not None and plan.algorithm.stateful:
    store_layout.create(
        claimed.path,
        running.store_parts,
        machines_folder=running.store_folder,
    )
  with open_run.open_run(
      plan, claimed.path, init_from, sharding, progress
  ) as current:
    claimed.change_rounds()
    shared = stages.train(current)
    control = _control(current, init_from)
    started_at = time.monotonic()
    table, gated = final_evaluation.evaluate(current, shared, control)
    seconds = time.monotonic() - started_at
    if plan.sampler is None:  # Training did not make a checkpoint.
      current.store.commit(current.store.version + 1)
    success = attack_success.notes(current, shared)
    _report(current, table, gated, seconds, success, pretraining_rounds)
  secret_key.forget(claimed.path)
  return table


def check_start(plan: plan_lib.Plan, *, trained_by: bool = True) -> None:
  """Checks that a run can begin, before it takes the place of another one.

  Call it where computations run. It does in a folder of its own what a run does
  before it trains.

  Args:
    plan: The run's.
    trained_by: Whether to check who trained the model that it starts from.

  Raises:
    errors.UserError: As `run` does.
  """
  if plan.config.init_from is None:
    return
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    checkpoint.keep_start(folder, plan.task, plan.config.init_from)
    if trained_by:
      lineage.keep(folder, plan)
    start_lib.load(plan, checkpoint.start_of(folder, plan))


def _with_generation(
    claimed: run_folder.RunFolder, plan: plan_lib.Plan
) -> plan_lib.Plan:
  """The plan with the cohorts that the run began with.

  They depend on the runs before this one, whose folders may be gone. A private
  run does not go on without them, since its releases are counted from theirs.
  """
  kept = origin.read(claimed.path).generation
  if kept is None or plan.budget is not None:
    return plan
  return plan.with_generation(kept)


def _is_trained(claimed: run_folder.RunFolder, plan: plan_lib.Plan) -> bool:
  """Whether all rounds of a run, and of its pretraining, are done.

  A report alone does not say so: without the store, all rounds are run again.
  """
  if plan.pretraining is not None:
    path = claimed.path / run_folder.PRETRAINING / run_folder.WEIGHTS
    if not path.exists():
      return False
  if plan.sampler is None:
    return claimed.finished or plan.pretraining is not None
  return store_summary.num_rounds(claimed.path) >= plan.config.total_rounds


def _with_secret(
    claimed: run_folder.RunFolder, plan: plan_lib.Plan, *, is_trained: bool
) -> plan_lib.Plan:
  """The plan with the folder's key, if it has a secret one."""
  if not plan.config.privacy.has_secret:
    return plan
  if is_trained and not (claimed.path / secret_key.FILE).exists():
    return plan  # The key was deleted after the run, and draws nothing more.
  # A private run has released something even if its store was deleted.
  goes_on = claimed.has_begun or (claimed.path / budget.FILE).exists()
  return plan.with_key(secret_key.open_in(claimed.path, goes_on=goes_on))


def pretrain(
    plan: plan_lib.Plan,
    output_dir: str,
    *,
    sharding: Optional[sharding_lib.Sharding] = None,
    progress: bool = True,
) -> None:
  """Trains a model for others to start from, or the rest of it.

  Args:
    plan: The pretraining's, such as `plan.pretraining` of another.
    output_dir: Gets what `run` writes, except for a report; once it has
      `model.safetensors`, the model is trained.
    sharding: As in `run`.
    progress: Whether to show a progress bar.
  """
  folder = pathlib.Path(output_dir).expanduser()
  stages.train_only(
      plan, folder, None, sharding or sharding_lib.Sharding(), progress
  )


def _control(
    current: open_run.OpenRun, init_from: Optional[str]
) -> dict[str, evaluation.TestedModel]:
  """Trains the model that the run is compared with in addition, if any."""
  control = current.plan.control
  if control is None:
    return {}
  folder = current.folder / run_folder.CONTROL
  stages.train_only(
      control, folder, init_from, current.sharding, current.progress
  )
  trained = start_lib.load(current.plan, str(folder))
  return {findings.CONTROL: current.models.of_control(trained)}


def _report(
    current: open_run.OpenRun,
    table: client_table.ClientTable,
    gated: Optional[Mapping[str, float]],
    evaluation_seconds: float,
    more_notes: Sequence[str],
    pretraining_rounds: Sequence[Mapping[str, float]],
) -> None:
  """Writes the report."""
  plan = current.plan
  choice = split_choice.read(current.folder)
  rounds = history.read(current.folder / run_folder.METRICS)
  names = client_names.load(
      current.folder, plan.config.running.report_client_ids
  )
  shown = names.rename(table)
  cost = account.cost(
      plan,
      current.models,
      rounds=rounds,
      num_evaluated=len(table.client_ids),
      evaluation_seconds=evaluation_seconds,
      bytes_stored=current.store.num_bytes,
      choice_seconds=choice['seconds'] if choice else 0.0,
      pretraining_seconds=sum(
          row.get('seconds', 0.0) for row in pretraining_rounds
      ),
  )
  rest_seconds = cost.pretraining_seconds + cost.seconds
  if choice and current.progress:
    print(split_choice.time_in_words(cost.choice_seconds, rest_seconds))
  report.write(
      str(current.folder),
      report.RunReport(
          title=f'{plan.task.name}: {plan.config.algorithm},'
          f' {plan.config.split_in_words} personal',
          settings=used_settings.used_settings(plan.task, plan.config)
          | plan.evaluated_on,
          variables=plan.variables,
          table=shown,
          lists_clients=names.listed,
          metric=plan.task.metric,
          baseline=plan.baseline,
          candidate=plan.candidate,
          history=rounds,
          cost=cost,
          leaves_client=leaves.in_words(plan, current.folder),
          notes=[
              *notes_lib.notes(
                  plan,
                  current.models,
                  table,
                  gated,
                  rounds=rounds,
                  pretraining_rounds=pretraining_rounds,
                  new_variables=current.start.new,
                  control_rounds=history.read(
                      current.folder / run_folder.CONTROL / run_folder.METRICS
                  ),
              ),
              *split_choice.notes(current.folder, rest_seconds),
              *penalty_estimate.notes(current.folder),
              *more_notes,
          ],
          notes_for_comparisons=[
              *notes_lib.notes_for_comparisons(
                  plan, table, rounds=rounds, new_variables=current.start.new
              ),
              *more_notes,
          ],
          gate=gated,
          curves_on_validation=bool(plan.config.evaluation.validation),
          privacy=privacy_in_words.rows(plan, rounds),
          budgets=_budgets(plan, table, shown),
      ),
  )


def _budgets(
    plan: plan_lib.Plan,
    table: client_table.ClientTable,
    shown: client_table.ClientTable,
) -> Optional[by_budget.Budgets]:
  """What the report says of budgets, by the names that it has for clients."""
  levels = plan.levels
  if levels is None:
    return None
  return by_budget.Budgets(
      levels={
          name: levels.of[client_id]
          for client_id, name in zip(table.client_ids, shown.client_ids)
      },
      names=[levels.in_words(i) for i in range(len(levels.num_bytes))],
      num_bytes=levels.num_bytes,
  )
