# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exports one client's model of a finished run, for use without this package.

  python -m tasks.export_client --run=out/experiment --client=ann \
      --export_dir=out/ann

Works for every task; `tffp.export_client` describes the files.
Without `--client` it exports the shared variables with the initial personal
ones.
"""

from collections.abc import Sequence
import contextlib
import os

from absl import logging

from tff_partial.experiments import command
from tff_partial.experiments import finished_run
from tff_partial.experiments.exports import export
from tff_partial.experiments.exports import reported_model
from tff_partial.runtime import local
from tff_partial.runtime import runtimes

from . import TASKS

# pylint: enable=g-import-not-at-top

PROG = 'python -m tasks.export_client'


def parse(argv: Sequence[str]):
  parser = finished_run.create_parser(
      PROG, "Writes one client's model for Keras and TensorFlow Lite."
  )
  parser.add_argument(
      '--export_dir',
      type=os.path.expanduser,
      required=True,
      help='folder to write; must be missing or empty',
  )
  parser.add_argument(
      '--model',
      choices=reported_model.CHOICES,
      default=reported_model.STORED,
      help=(
          "what the report calls the client's model; finetuned and gated are"
          " computed again from the client's examples"
      ),
  )
  finished_run.add_task(parser)
  return parser.parse_args(argv[1:])


def main(args) -> None:
  logging.set_verbosity(logging.WARNING)
  local.remove_default_context()
  computing = args.model != reported_model.STORED
  with runtimes.start() if computing else contextlib.nullcontext():
    missing = export.export(
        args.run,
        args.client,
        args.export_dir,
        model=args.model,
        registered=TASKS,
        trusted=args.task,
    )
  export.say(missing, args.export_dir)


if __name__ == '__main__':
  command.start(main, parse, PROG)
