# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command: from flags to a finished experiment, comparison or export.

What takes seconds to import is imported where it is needed, after flags and
folder have been checked.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
import os
import pathlib
import sys
from typing import Any, Optional

from absl import app
from absl import logging

from tff_partial import errors
from tff_partial.experiments import combinations
from tff_partial.experiments import command
from tff_partial.experiments import computing
from tff_partial.experiments import config as config_lib
from tff_partial.experiments import config_groups
from tff_partial.experiments import flags
from tff_partial.experiments import run_folder
from tff_partial.experiments import search as search_lib
from tff_partial.experiments import search_flags
from tff_partial.experiments import setting
from tff_partial.experiments import task_choice
from tff_partial.runtime import cluster_address

_NAME = 'run_experiment'


def run(tasks: Mapping[str, str]) -> None:
  """Parses the flags, runs the command and exits.

  Args:
    tasks: References by the names of registered tasks.
  """
  flags.define()
  # Not `app.run`: TensorFlow, which is imported later, would then call back
  # into itself in the middle of its import, and Keras could not build models.
  app.define_help_flags()
  logging.use_absl_handler()
  main(flags.parse(sys.argv), tasks=tasks)


def main(argv: Sequence[str], *, tasks: Mapping[str, str]) -> None:
  """Does what the flags say, and exits with a status.

  Args:
    argv: What is left of the command line.
    tasks: References by the names of registered tasks.
  """
  if len(argv) > 1:
    sys.exit(f'{_NAME}: Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)
  status = command.run(
      functools.partial(_run_or_stop, tasks),
      _NAME,
      flag_names=flags.names(),
      debug=flags.FLAGS.debug,
      prefix=_NAME,
  )
  sys.exit(status)


def _run_or_stop(tasks: Mapping[str, str]) -> int:
  try:
    return _run(tasks)
  except (KeyboardInterrupt, SystemExit) as e:  # Ctrl-C or SIGTERM.
    print(
        f'\n{_NAME}: stopped. The same command goes on from the last'
        ' checkpoint.',
        file=sys.stderr,
    )
    # Everything is closed by now, but TFF's threads may be in the middle of a
    # call, and an interpreter that ends under them aborts.
    sys.stdout.flush()
    sys.stderr.flush()
    code = command.INTERRUPTED if isinstance(e, KeyboardInterrupt) else e.code
    os._exit(code if isinstance(code, int) else 1)


def _run(tasks: Mapping[str, str]) -> int:
  """Does what the flags say; the exit status."""
  output = flags.read(flags.Output)
  if output.doctor:
    return _doctor(output)
  if (output.export_client is None) != (output.export_dir is None):
    raise errors.SettingsError(
        'Expected `export_client` and `export_dir`, found only one of them.'
    )
  choice = flags.read(task_choice.TaskChoice)
  comparison = flags.read(flags.Comparison)
  if comparison.tune_seeds is not None and not comparison.tune:
    raise errors.SettingsError('Expected `tune` with `tune_seeds`, found none.')
  if comparison.tune:
    return _tune(tasks, choice, output, search_flags.read_search())
  algorithms, splits = flags.algorithms_and_splits()
  config = flags.read(
      config_lib.Config, algorithm=algorithms[0], personal=splits[0]
  )
  if config.running.cluster is not None:
    cluster_address.check(config.running.cluster)
  regime = flags.read(config_groups.Regime)
  if regime.regime:
    return _regime(tasks, choice, output, config, splits, regime)
  if comparison.seeds is None and len(algorithms) == len(splits) == 1:
    return _run_one(tasks, choice, output, config)
  todo = combinations.combinations(
      config,
      algorithms=algorithms,
      splits=splits,
      seeds=flags.seeds(comparison.seeds, config.seed),
      equal_steps=comparison.equal_steps,
  )
  return _compare(tasks, choice, output, config, todo)


def _doctor(output: flags.Output) -> int:
  from tff_partial.runtime import doctor

  # In a checkout; an installed package has no lock file.
  root = pathlib.Path(__file__).absolute().parent.parent.parent
  requirements = str(root / 'requirements.txt')
  return 0 if doctor.report(requirements, output.output_dir) else 1


def _tune(
    tasks: Mapping[str, str],
    choice: task_choice.TaskChoice,
    output: flags.Output,
    search: search_lib.Search,
) -> int:
  """Chooses settings and compares the chosen ones; the exit status."""
  config = search.config
  if config.running.cluster is not None:
    cluster_address.check(config.running.cluster)
  varied = dict.fromkeys(
      ('algorithm', 'personal', 'seed', *search.lists), 'several'
  )
  with _several_runs(
      tasks,
      choice,
      output,
      {**config.settings, **varied, 'validation': search.validation},
  ) as folder:
    from tff_partial.experiments import tune

    print(
        f"Held out for the search: {search.validation:.0%} of every client's"
        ' training examples (--validation). It has'
        f' {tune.num_runs(search)} runs.',
        flush=True,
    )
    failures = tune.run(
        _task(choice, tasks),
        search,
        str(folder.path),
        worker_fn=lambda: computing.start(config, folder),
    )
    print(f'Search: {folder.path / "tuning.html"}')
  return _end_comparison(folder, failures)


def _run_one(
    tasks: Mapping[str, str],
    choice: task_choice.TaskChoice,
    output: flags.Output,
    config: config_lib.Config,
) -> int:
  """Runs one experiment, unless it is finished, and exports from it."""
  choices = choice.settings(tasks)
  with run_folder.claim(
      output.output_dir,
      {**choices, **config.settings},
      overwrite=output.overwrite,
  ) as folder:
    if folder.finished:
      print(
          f'Finished before: {folder.path}\n{folder.headline}\n'
          'Use --overwrite to run it again, or another --output_dir.'
      )
    else:
      _train_and_report(tasks, choice, config, folder)
    if output.export_client is not None:
      _export(tasks, folder, output)
  return 0


def _train_and_report(
    tasks: Mapping[str, str],
    choice: task_choice.TaskChoice,
    config: config_lib.Config,
    folder: run_folder.RunFolder,
) -> None:
  from tff_partial.experiments import plan as plan_lib
  from tff_partial.experiments import run as run_lib

  with computing.start(config, folder) as sharding:
    plan = plan_lib.build(_task(choice, tasks), config)
    print(plan_lib.describe(plan, str(folder.path)), flush=True)
    run_lib.run_in(folder, plan, sharding=sharding)
  print(folder.headline)
  print(f'Report: {folder.path / run_folder.REPORT_PAGE}')


def _export(
    tasks: Mapping[str, str],
    folder: run_folder.RunFolder,
    output: flags.Output,
) -> None:
  """Writes a client's model, as `python -m tasks.export_client` does."""
  from tff_partial.experiments import export
  from tff_partial.runtime import local

  local.remove_default_context()
  missing = export.export(
      str(folder.path),
      output.export_client,
      str(output.export_dir),
      registered=tasks,
  )
  export.say(missing, str(output.export_dir))


def _compare(
    tasks: Mapping[str, str],
    choice: task_choice.TaskChoice,
    output: flags.Output,
    config: config_lib.Config,
    todo: Sequence[combinations.Combination],
) -> int:
  """Runs all combinations; the exit status."""
  several = dict.fromkeys(('algorithm', 'personal', 'seed'), 'several')
  with _several_runs(
      tasks, choice, output, {**config.settings, **several}
  ) as folder:
    from tff_partial.experiments import compare

    task = _task(choice, tasks)
    if config.running.cluster is not None:
      from tff_partial.experiments import spread

      # What fails there is tried again here.
      spread.run(task, choice, tasks, todo, str(folder.path), config.running)
    failures = compare.run(
        task,
        todo,
        str(folder.path),
        worker_fn=lambda: computing.start(config, folder),
    )
  return _end_comparison(folder, failures)


@contextlib.contextmanager
def _several_runs(
    tasks: Mapping[str, str],
    choice: task_choice.TaskChoice,
    output: flags.Output,
    settings: Mapping[str, Any],
) -> Iterator[run_folder.RunFolder]:
  """The folder of several runs, to which later ones can be added."""
  if output.export_client is not None:
    raise errors.SettingsError(
        'Expected one run with `export_client`, found several. Export from the'
        ' folder of one: python -m tasks.export_client --help.'
    )
  with run_folder.claim(
      output.output_dir,
      {**choice.settings(tasks), **settings},
      overwrite=output.overwrite,
  ) as folder:
    yield folder


def _end_comparison(
    folder: run_folder.RunFolder, failures: Mapping[str, str]
) -> int:
  """Says how a comparison ended; the exit status."""
  print(f'Comparison: {folder.path / "comparison.html"}')
  if failures:
    print(
        f'{_NAME}: {len(failures)} runs failed:'
        f' {", ".join(failures)}. The same command tries them again.',
        file=sys.stderr,
    )
  return 1 if failures else 0


def _regime(
    tasks: Mapping[str, str],
    choice: task_choice.TaskChoice,
    output: flags.Output,
    config: config_lib.Config,
    splits: Sequence[Optional[str]],
    settings: config_groups.Regime,
) -> int:
  """Measures what decides between FedAlt and FedSim."""
  several = {'personal': ','.join(map(str, splits))}
  kept = {**config.settings, **several, **setting.flatten(settings)}
  with run_folder.claim(
      output.output_dir,
      {**choice.settings(tasks), **kept},
      overwrite=output.overwrite,
  ) as folder:
    from tff_partial.experiments import regime
    from tff_partial.reporting import regime_report

    regime.check(config)
    with computing.start(config, folder) as sharding:
      contents = regime.run_in(
          folder,
          _task(choice, tasks),
          config,
          splits,
          settings,
          sharding=sharding,
      )
    print(regime_report.text(contents))
    print(f'Report: {folder.path / regime_report.PAGE}')
  return 0


def _task(choice: task_choice.TaskChoice, tasks: Mapping[str, str]) -> Any:
  from tff_partial.experiments import task

  return task.create(choice, registered=tasks)
