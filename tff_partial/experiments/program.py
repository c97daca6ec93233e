# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command: from flags to a finished experiment, comparison or export.

What takes seconds to import is imported where it is needed, after flags and
folder have been checked.
"""

from collections.abc import Mapping, Sequence
import functools
import os
import pathlib
import sys
from typing import Any

from absl import app
from absl import logging

from tff_partial import errors
from tff_partial.experiments import command
from tff_partial.experiments import commands
from tff_partial.experiments import flags
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import search_flags
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import task_choice
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
  comparison = flags.read(flags.Comparison)
  if comparison.tune:
    choice, _ = search_flags.read_task()
  else:
    choice = flags.read(task_choice.TaskChoice)
  todo = commands.Commands(tasks, choice, output)
  algorithms, splits = flags.algorithms_and_splits()
  regime = flags.read(config_groups.Regime)
  if regime.regime:
    _check_regime(comparison, output, algorithms)
  if comparison.tune_seeds is not None and not comparison.tune:
    raise errors.SettingsError('Expected `tune` with `tune_seeds`, found none.')
  if comparison.tune:
    return todo.tune(search_flags.read_search())
  one_run = comparison.seeds is None and len(algorithms) == len(splits) == 1
  changes: Mapping[str, Any] = {
      'algorithm': algorithms[0],
      'personal': splits[0],
  }
  if not (one_run or regime.regime):  # Not every algorithm takes every split.
    changes = combinations.schemes(algorithms, splits)[0].changes
  config = flags.read(config_lib.Config, **changes)
  if config.running.cluster is not None:
    cluster_address.check(config.running.cluster)
  if regime.regime:
    return todo.regime(config, splits, regime)
  if one_run:
    return todo.run(config)
  several = combinations.combinations(
      config,
      algorithms=algorithms,
      splits=splits,
      seeds=flags.seeds(comparison.seeds, config.seed),
      equal_steps=comparison.equal_steps,
  )
  return todo.compare(config, several)


def _check_regime(
    comparison: flags.Comparison,
    output: flags.Output,
    algorithms: Sequence[str],
) -> None:
  """Refuses what is done with runs, of which `regime` has none."""
  for name, value, is_refused in (
      ('tune', 'it', comparison.tune),
      ('seeds', 'them', comparison.seeds is not None),
      ('export_client', 'one', output.export_client is not None),
      ('algorithm', ','.join(algorithms), len(algorithms) > 1),
  ):
    if is_refused:
      expected = 'one' if name == 'algorithm' else 'no'
      raise errors.SettingsError(
          f'Expected {expected} `{name}` with `regime`, which rehearses fed_alt'
          f' and fed_sim and finishes no run, found {value}.'
      )


def _doctor(output: flags.Output) -> int:
  from tff_partial.runtime import doctor

  # In a checkout; an installed package has no lock file.
  root = pathlib.Path(__file__).absolute().parent.parent.parent
  requirements = str(root / 'requirements.txt')
  return 0 if doctor.report(requirements, output.output_dir) else 1
