# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls commands of `tasks` in this process."""

import contextlib
import io

from tff_partial.experiments import command


def call(module, *arguments):
  """Runs a command; returns its exit status, stdout and stderr."""
  args = module.parse([module.__name__, *arguments])
  with (
      contextlib.redirect_stdout(io.StringIO()) as stdout,
      contextlib.redirect_stderr(io.StringIO()) as stderr,
  ):
    status = command.run(
        lambda: module.main(args), module.PROG, flag_names=vars(args)
    )
  # Progress bars are drawn on stderr too, and cleared at the end.
  said = [
      line
      for line in stderr.getvalue().splitlines()
      if line.strip() and '%|' not in line
  ]
  return status, stdout.getvalue(), '\n'.join(said)
