# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can do something about.

A program prints a `UserError` as one line that says what was expected, what was
found and what to do. Any other exception is a bug of this package, and keeps
its traceback. Each kind is also the built-in exception that callers of a Python
library expect, such as `ValueError` for an argument.
"""

import errno
from typing import Optional


class UserError(Exception):
  """The base of all errors that are reported as one line."""


class SettingsError(UserError, ValueError):
  """An argument or flag has a value that cannot be used."""


class DataError(UserError, ValueError):
  """A file holds something other than what was expected."""


class FileError(UserError, OSError):
  """A file or folder cannot be read or written."""


class MissingFileError(FileError, FileNotFoundError):
  """A file or folder is not there."""


class StoreError(UserError, ValueError):
  """The personal variables or a checkpoint cannot be read or written."""


class DivergedError(UserError, ArithmeticError):
  """Training gives no finite numbers any more."""


class WorkerError(UserError, RuntimeError):
  """A process that computes cannot be started or reached, or has ended."""


def mistake(error: Exception) -> Optional[UserError]:
  """What a user can do something about in an error; `None` for a bug.

  Args:
    error: Any error.

  Returns:
    The error itself if it is a `UserError`, or what `from_os` makes of it.
  """
  if isinstance(error, UserError):
    return error
  return from_os(error) if isinstance(error, OSError) else None


# What the machine refuses, whatever the program does.
_REFUSALS = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
)


def from_os(error: OSError) -> Optional[FileError]:
  """The `FileError` for an operating system's refusal, such as a full disk.

  Args:
    error: Any error of the operating system.

  Returns:
    An error with a message for users, or `None` if the program itself is more
    likely to be wrong than the machine.
  """
  if isinstance(error, UserError) or error.errno not in _REFUSALS:
    return None
  where = f' {error.filename}' if error.filename else ''
  return FileError(
      f'Expected to be able to use{where or " the disk"}, found:'
      f' {error.strerror}. Check permissions and free space.'
  )
