# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the program can be told to do: run, compare, tune, forecast, export.

What takes seconds to import is imported where it is needed, after flags and
folder have been checked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import contextlib
import dataclasses
import functools
import sys
from typing import Any, Optional

from tff_partial import errors
from tff_partial.experiments import computing
from tff_partial.experiments import flags
from tff_partial.experiments import personal_budgets
from tff_partial.experiments import run_folder
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import search as search_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import config_privacy
from tff_partial.experiments.settings import setting
from tff_partial.experiments.settings import task_choice
from tff_partial.privacy import secret_key
from tff_partial.runtime import cluster_address


@dataclasses.dataclass(frozen=True)
class Commands:
  """What the program can be told to do; each returns an exit status.

  Attributes:
    tasks: References by the names of registered tasks.
    choice: The task.
    output: Where everything is written.
  """

  tasks: Mapping[str, str]
  choice: task_choice.TaskChoice
  output: flags.Output

  @property
  def _choices(self) -> Mapping[str, Any]:
    return self.choice.settings(self.tasks)

  def tune(self, search: search_lib.Search) -> int:
    """Chooses settings and compares the chosen ones; the exit status."""
    config = search.config
    config_privacy.check_no_search(config)
    if config.running.cluster is not None:
      cluster_address.check(config.running.cluster)
    with self._several_runs(search.settings) as folder:
      from tff_partial.experiments.comparisons import tune

      print(
          f"Held out for the search: {search.validation:.0%} of every client's"
          ' training examples (--validation). It has'
          f' {tune.num_runs(search)} runs.',
          flush=True,
      )
      with computing.for_several(config, folder) as worker_fn:
        self._begin(
            folder,
            [c for grid in search.grids() for c in grid.configs],
            worker_fn,
        )
        failures = tune.run(
            self._task,
            search,
            str(folder.path),
            worker_fn=worker_fn,
            place=self._place(config, folder)
            if config.running.cluster is not None
            else None,
        )
      print(f'Search: {folder.path / "tuning.html"}')
    return _end_comparison(folder, failures)

  def run(self, config: config_lib.Config) -> int:
    """Runs one experiment, unless it is finished, and exports from it."""
    budgets = personal_budgets.settings(config.personal_by_budget)
    with self._claimed({**config.settings, **budgets}) as folder:
      if folder.finished:
        from tff_partial.experiments import client_names

        client_names.check_finished(folder, config.running.report_client_ids)
        secret_key.forget(folder.path)  # If it was stopped just before.
        print(
            f'Finished before: {folder.path}\n{folder.headline}\n'
            'Use --overwrite to run it again, or another --output_dir.'
        )
      else:
        self._train_and_report(config, folder)
      if self.output.export_client is not None:
        self._export(folder)
    return 0

  def _train_and_report(
      self, config: config_lib.Config, folder: run_folder.RunFolder
  ) -> None:
    from tff_partial.experiments import description
    from tff_partial.experiments import plan as plan_lib
    from tff_partial.experiments import run as run_lib
    from tff_partial.experiments.exports import reported_model

    reported_model.check(self.output.export_model, config)
    with computing.start(config, folder) as sharding:
      plan = plan_lib.build(self._task, config)
      print(description.describe(plan, str(folder.path)), flush=True)
      run_lib.run_in(folder, plan, sharding=sharding)
    print(folder.headline)
    print(folder.leaves_client)
    for title, text in folder.privacy.items():
      print(f'{title:<12}{text}')
    print(f'Report: {folder.path / run_folder.REPORT_PAGE}')

  def _export(self, folder: run_folder.RunFolder) -> None:
    """Writes a client's model, as `python -m tasks.export_client` does."""
    from tff_partial.experiments.exports import export
    from tff_partial.experiments.exports import reported_model
    from tff_partial.runtime import local
    from tff_partial.runtime import runtimes

    local.remove_default_context()
    computes = self.output.export_model != reported_model.STORED
    with runtimes.start() if computes else contextlib.nullcontext():
      missing = export.export(
          str(folder.path),
          self.output.export_client,
          str(self.output.export_dir),
          model=self.output.export_model,
          registered=self.tasks,
          trusted=self.choice.task,
      )
    export.say(missing, str(self.output.export_dir))

  def compare(
      self,
      config: config_lib.Config,
      todo: Sequence[combinations.Combination],
  ) -> int:
    """Runs all combinations; the exit status."""
    several = dict.fromkeys(('algorithm', 'personal', 'seed'), 'several')
    with self._several_runs({**config.settings, **several}) as folder:
      from tff_partial.experiments.comparisons import compare

      task = self._task
      with computing.for_several(config, folder) as worker_fn:
        self._begin(folder, [c.config for c in todo], worker_fn)
        if config.running.cluster is not None:
          from tff_partial.experiments.comparisons import spread

          compare.keep_origin(
              task, [c.config for c in todo], folder.path, worker_fn
          )
          # What fails there is tried again here.
          spread.compare_all(task, self._place(config, folder), todo)
        failures = compare.run(
            task, todo, str(folder.path), worker_fn=worker_fn
        )
    return _end_comparison(folder, failures)

  def _several_runs(
      self, settings: Mapping[str, Any]
  ) -> contextlib.AbstractContextManager[run_folder.RunFolder]:
    """The folder of several runs, to which later ones can be added."""
    if self.output.export_client is not None:
      raise errors.SettingsError(
          'Expected one run with `export_client`, found several. Export from'
          ' the folder of one: python -m tasks.export_client --help.'
      )
    return self._claimed(settings)

  def _claimed(
      self, settings: Mapping[str, Any]
  ) -> contextlib.AbstractContextManager[run_folder.RunFolder]:
    """The folder for these settings and those of the task."""
    return run_folder.claim(
        self.output.output_dir,
        {**self._choices, **settings},
        overwrite=self.output.overwrite,
    )

  def _begin(
      self,
      folder: run_folder.RunFolder,
      configs: Iterable[config_lib.Config],
      worker_fn: Callable[[], contextlib.AbstractContextManager[Any]],
      *,
      trained_by: bool = True,
  ) -> None:
    """Overwrites or changes the folder of several runs.

    Args:
      folder: The folder.
      configs: Of the runs, which refuse to overwrite anything if they do not go
        together with the data, or with the model that they start from.
      worker_fn: Starts what computes.
      trained_by: Whether it matters who trained that model.
    """
    from tff_partial.experiments import plan
    from tff_partial.experiments import run

    if self.output.overwrite:
      plans = [plan.build(self._task, config) for config in configs]
      starting = [p for p in plans if p.config.init_from is not None]
      if starting:
        with worker_fn():
          for one in starting:
            run.check_start(one, trained_by=trained_by)
    folder.start_over()
    folder.change_rounds()  # Those within have other settings of their own.

  def regime(
      self,
      config: config_lib.Config,
      splits: Sequence[Optional[str]],
      settings: config_groups.Regime,
  ) -> int:
    """Measures what decides between FedAlt and FedSim."""
    config_privacy.check_no_search(config)
    personal_budgets.check_several_runs(config.personal_by_budget)
    several = {'personal': ','.join(map(str, splits))}
    kept = {**config.settings, **several, **setting.flatten(settings)}
    with self._claimed(kept) as folder:
      from tff_partial.experiments.regime import regime
      from tff_partial.reporting import regime_report

      configs = regime.configs(config, splits)
      with computing.start(config, folder) as sharding:
        # Nothing is trained to the end, and no test example read.
        self._begin(folder, configs, contextlib.nullcontext, trained_by=False)
        contents = regime.run_in(
            folder,
            self._task,
            config,
            splits,
            settings,
            sharding=sharding,
        )
      print(regime_report.text(contents))
      print(f'Report: {folder.path / regime_report.PAGE}')
    return 0

  def _place(
      self, config: config_lib.Config, folder: run_folder.RunFolder
  ) -> Any:
    from tff_partial.experiments.comparisons import spread

    return spread.Place(
        self.choice, self.tasks, str(folder.path), config.running
    )

  @functools.cached_property
  def _task(self) -> Any:
    from tff_partial.experiments import task

    return task.create(self.choice, registered=self.tasks)


def _end_comparison(
    folder: run_folder.RunFolder, failures: Mapping[str, str]
) -> int:
  """Says how a comparison ended; the exit status."""
  print(f'Comparison: {folder.path / "comparison.html"}')
  if failures:
    print(
        f'{len(failures)} runs failed:'
        f' {", ".join(failures)}. The same command tries them again.',
        file=sys.stderr,
    )
  return 1 if failures else 0
