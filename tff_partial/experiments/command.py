# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""How every command ends: mistakes of users are one line, bugs a traceback."""

import argparse
from collections.abc import Callable, Collection, Iterator, Sequence
import contextlib
import os
import re
import resource
import signal
import sys
import threading
import traceback
from typing import Optional

from absl import flags
from absl import logging

from tff_partial import errors

BUG = 'This is a bug in tff-partial; please report it with the lines above.'
INTERRUPTED = 130  # The exit status that shells expect after Ctrl-C.


def run(
    main_fn: Callable[[], Optional[int]],
    prog: str,
    *,
    flag_names: Collection[str] = (),
    debug: bool = False,
    prefix: str = 'Error',
) -> int:
  """Calls a command's main function and reports how it fails.

  An `errors.UserError`, or an error of the operating system for which
  `errors.from_os` has a message, becomes one line on stderr. Any other
  exception is a bug and is reported with its traceback. After Ctrl-C there is
  one line.

  Args:
    main_fn: Does the work and returns an exit status; `None` means 0.
    prog: The name of the command, such as 'python -m tasks.transcribe'.
    flag_names: The command's flags. Where a message has the name of one in
      backticks, it is printed as a flag.
    debug: Whether users' mistakes are reported with their traceback too.
    prefix: What the line about a mistake begins with.

  Returns:
    The exit status: that of `main_fn`, 1 after an error, 130 after Ctrl-C.
  """
  try:
    with _in_private():
      return main_fn() or 0
  except KeyboardInterrupt:
    print(f'\n{prog}: interrupted.', file=sys.stderr)
    return INTERRUPTED
  except Exception as e:  # pylint: disable=broad-except
    mistake = errors.mistake(e)
    if mistake is None:
      print_bug()
    else:
      if debug:
        traceback.print_exc()
      text = ' '.join(str(mistake).split()) or type(mistake).__name__
      print(f'{prefix}: {with_flags(text, flag_names)}', file=sys.stderr)
    return 1


def print_bug() -> None:
  """Prints the traceback of the exception that is handled, and what it is."""
  traceback.print_exc()
  print(BUG, file=sys.stderr)


@contextlib.contextmanager
def _in_private() -> Iterator[None]:
  """Keeps what a command writes for this user, and lets it clean up.

  New files are readable by this user alone, a crash leaves no core with
  people's data, and SIGTERM ends the command as an exception does.
  """
  umask = os.umask(0o077)
  _, most = resource.getrlimit(resource.RLIMIT_CORE)
  resource.setrlimit(resource.RLIMIT_CORE, (0, most))
  in_main_thread = threading.current_thread() is threading.main_thread()

  def exit_command(number, unused_frame):
    sys.exit(128 + number)

  if in_main_thread:  # Only there does Python handle signals.
    previous = signal.signal(signal.SIGTERM, exit_command)
  try:
    with _stopped_for_certain():
      yield
  finally:
    os.umask(umask)
    if in_main_thread:
      signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _stopped_for_certain() -> Iterator[None]:
  """Sends a signal again if what it raised was ignored.

  A signal may arrive while Python collects garbage or finalizes an object, for
  example in JAX's callback. What its handler raises there is printed and
  ignored, and the program would go on.
  """
  hook = sys.unraisablehook

  def send_again(unraisable):
    number = {SystemExit: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}.get(
        unraisable.exc_type
    )
    if number is None:
      hook(unraisable)
      return
    # Not at once: here too it would be ignored.
    timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()

  sys.unraisablehook = send_again
  try:
    yield
  finally:
    sys.unraisablehook = hook


def with_flags(text: str, flag_names: Collection[str]) -> str:
  """Replaces names of arguments in backticks by the flags of these names."""
  return re.sub(
      r'`(\w+)`',
      lambda match: f'--{match[1]}' if match[1] in flag_names else match[0],
      text,
  )


def start(
    main_fn: Callable[[argparse.Namespace], Optional[int]],
    parse_fn: Callable[[Sequence[str]], argparse.Namespace],
    prog: str,
) -> None:
  """Starts a command that reads its arguments with argparse, and exits.

  Args:
    main_fn: Called with the arguments; see `run`.
    parse_fn: Called with `sys.argv`; returns the arguments.
    prog: The name of the command.
  """
  args = parse_fn(sys.argv)
  flags.FLAGS(sys.argv[:1])  # Flags of imported packages keep their defaults.
  logging.use_absl_handler()
  sys.exit(run(lambda: main_fn(args), prog, flag_names=vars(args)))
