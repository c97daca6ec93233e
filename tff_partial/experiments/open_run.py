# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A plan in its folder while the run's store is open."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import pathlib
from typing import Optional

from tff_partial.evaluation import client_table
from tff_partial.evaluation import evaluation
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import start as start_lib
from tff_partial.experiments import tested_models as tested_models_lib
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import earlier_clients
from tff_partial.training import stores


@dataclasses.dataclass(frozen=True)
class OpenRun:
  """A plan in its folder while its store is open."""

  plan: plan_lib.Plan
  folder: pathlib.Path
  start: start_lib.Start
  store: stores.AnyStore
  earlier: earlier_clients.EarlierClients
  models: tested_models_lib.TestedModels
  sharding: sharding_lib.Sharding
  progress: bool

  @property
  def population(self) -> evaluation.Population:
    return evaluation.Population(
        train=self.plan.train_clients,
        test=self.plan.test,
        participated=self.models.participated,
        trained_earlier=self.earlier.__contains__,
    )

  def evaluate(
      self,
      models: Mapping[str, evaluation.TestedModel],
      client_ids: Sequence[str],
      *,
      population: Optional[evaluation.Population] = None,
      progress: Optional[bool] = None,
  ) -> client_table.ClientTable:
    return evaluation.evaluate(
        models,
        population or self.population,
        client_ids,
        seed=self.plan.config.seed,
        sharding=self.sharding,
        progress=self.progress if progress is None else progress,
    )


@contextlib.contextmanager
def open_run(
    plan: plan_lib.Plan,
    folder: pathlib.Path,
    init_from: Optional[str],
    sharding: sharding_lib.Sharding,
    progress: bool,
    *,
    read_only: bool = False,
) -> Iterator[OpenRun]:
  """Loads what the run starts from, and opens its store.

  Args:
    plan: The run's plan.
    folder: Where the store is.
    init_from: A run's folder or a file with weights; `None` for seeded values.
    sharding: How many clients are computed at a time, and by whom.
    progress: Whether to show progress bars.
    read_only: Whether nothing will be written to the store.
  """
  start = start_lib.load(plan, init_from)
  plan = plan.with_constants(start.shared)
  with (
      stores.open_store(
          start.personal,
          str(folder),
          read_only=read_only,
          default_fn=plan.own_start(start.personal),
      ) as store,
      earlier_clients.EarlierClients(folder) as earlier,
  ):
    models = tested_models_lib.TestedModels(plan, start, store)
    yield OpenRun(
        plan, folder, start, store, earlier, models, sharding, progress
    )
