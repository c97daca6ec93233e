# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Adds one person to a run after training.

  python -m tasks.import_client_data npz ann.npz --output_dir=out/ann
  python -m tasks.add_client --run=out/experiment --data=out/ann

The person's personal variables are trained on the person's training examples
and kept in the run's store, and a report compares them with the shared model on
the test examples. Nobody else's variables change.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import os
import pathlib
import tempfile
from typing import Any

from absl import logging

from tff_partial import errors
from tff_partial.data import sql_clients
from tff_partial.experiments import command
from tff_partial.experiments import finished_run
from tff_partial.experiments import onboard
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.exports import export
from tff_partial.runtime import runtimes

from . import TASKS
from .landmarks import photo_folder
from .tabular import columns as columns_lib

# pylint: enable=g-import-not-at-top

PROG = 'python -m tasks.add_client'
_EXAMPLES = ('train.sqlite', 'test.sqlite')


def _columns(folder: str) -> Any:
  found = columns_lib.load(folder)
  return found.features, found.classes


# Files that say what stored numbers mean, and what must be the same in both.
_MEANINGS: Mapping[str, Callable[[str], Any]] = {
    columns_lib.FILE: _columns,
    photo_folder.CLASSES: photo_folder.read_classes,
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
      allow_abbrev=False,
      conflict_handler='resolve',
      prog=PROG,
      description='Adds one person to a run after training.',
  )
  parser.add_argument(
      '--run', type=os.path.expanduser, required=True, help='folder of a run'
  )
  parser.add_argument(
      '--data',
      type=os.path.expanduser,
      required=True,
      help="folder of the person's examples, made by tasks.import_client_data",
  )
  parser.add_argument(
      '--client', help='whom to add; needed if --data has several people'
  )
  parser.add_argument(
      '--onboarding',
      default=onboard.STARTS[0],
      help='personal variables to start from: initial, or the mean of those in'
      ' the store, which the server averages; default: %(default)s',
  )
  parser.add_argument(
      '--epochs',
      type=int,
      help="passes over the person's training examples; 0 trains nothing;"
      " default: the run's --finetune_epochs, or 5",
  )
  parser.add_argument(
      '--export_dir',
      type=os.path.expanduser,
      help="folder for the person's model, as tasks.export_client writes it",
  )
  finished_run.add_task(parser)
  return parser.parse_args(argv[1:])


def main(args: argparse.Namespace) -> None:
  logging.set_verbosity(logging.WARNING)
  settings = finished_run.read_settings(args.run)
  client = args.client or _only_client(args.data)
  options = onboard.Options(args.onboarding, args.epochs)
  with _like_the_run(args.data, args.run, settings) as folder:
    choice = dataclasses.replace(
        finished_run.task_choice_of(settings, TASKS, args.task), data=folder
    )
    with runtimes.start():
      task = task_lib.create(choice, registered=TASKS)
      report = onboard.add(args.run, client, task, options)
      print(f'{client}: {report.headline}')
      for note in report.notes:
        print(note)
      print(f'Report: {onboard.path_of(args.run, client)}')
    if args.export_dir is not None:
      missing = export.export(
          args.run,
          client,
          args.export_dir,
          registered=TASKS,
          trusted=args.task,
      )
      export.say(missing, args.export_dir)


def _only_client(data: str) -> str:
  clients = sql_clients.SqlClients(os.path.join(data, _EXAMPLES[0]))
  if len(clients.client_ids) != 1:
    raise errors.SettingsError(
        f'Expected `client` with a folder of {len(clients.client_ids)} people,'
        f' such as {clients.client_ids[0]!r}, found none.'
    )
  return clients.client_ids[0]


@contextlib.contextmanager
def _like_the_run(
    data: str, run: str, settings: Mapping[str, Any]
) -> Iterator[str]:
  """A folder with the person's examples, and the run's other files.

  What is next to the examples, such as a vocabulary, was made from the run's
  data, and says what the model's numbers mean.
  """
  its_data = os.path.expanduser(str(settings['data']))
  for name, read in _MEANINGS.items():
    # A run keeps its own; those of earlier versions are where the data are.
    its = [p for p in (run, its_data) if os.path.exists(os.path.join(p, name))]
    if its and os.path.exists(os.path.join(data, name)):
      if read(data) != read(its[0]):
        raise errors.DataError(
            f'Expected {name} of {data} to say the same as that of {its[0]},'
            ' which the run was trained on, found other features or classes.'
            ' Import the person with the same columns and classes.'
        )
  with tempfile.TemporaryDirectory() as folder:
    for name in _EXAMPLES:
      os.symlink(os.path.abspath(os.path.join(data, name)), f'{folder}/{name}')
    for place in (run, its_data):
      for path in sorted(pathlib.Path(place).glob('*.*')):
        target = pathlib.Path(folder, path.name)
        if path.suffix in ('.txt', '.json') and not target.exists():
          os.symlink(path.absolute(), target)
    yield folder


if __name__ == '__main__':
  command.start(main, parse, PROG)
