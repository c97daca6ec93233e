# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Commands of `tasks`, called here rather than in a process of their own."""

import contextlib
import io

from tff_partial.experiments import command


def call(module, *arguments):
  """Exit status, stdout and stderr of a command."""
  args = module.parse([module.__name__, *arguments])
  with (
      contextlib.redirect_stdout(io.StringIO()) as stdout,
      contextlib.redirect_stderr(io.StringIO()) as stderr,
  ):
    status = command.run(
        lambda: module.main(args), module.PROG, flag_names=vars(args)
    )
  # Progress bars are drawn on stderr too, and blanked out at their end.
  said = [
      line
      for line in stderr.getvalue().splitlines()
      if line.strip() and '%|' not in line
  ]
  return status, stdout.getvalue(), '\n'.join(said)
