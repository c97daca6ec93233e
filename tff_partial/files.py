# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes files completely or not at all, and locks folders."""

from collections.abc import Iterator
import contextlib
import errno
import glob
import os
import pathlib
import secrets
import tempfile

import filelock

from tff_partial import errors

# Modes: what people wrote, said, drew and photographed is for this user alone.
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
# Marks the name of a file that is being written.
PARTIAL = '.partial-'


class ExistsError(errors.FileError):
  """A folder with other content is in the place of a new one."""


class LockedError(errors.FileError):
  """Another process, or another part of this process, holds the lock."""


@contextlib.contextmanager
def replace(
    path: str | os.PathLike[str], *, may_be_empty: bool = False
) -> Iterator[pathlib.Path]:
  """Replaces a file in one step, once all of its new content is on disk.

  Only this user can read the new file.

  A reader of `path` sees either the old content or the new, also after a power
  failure. When the block ends, both the content and the name are on disk: a
  file whose presence means "finished" must be written after the others.

  Args:
    path: The file, in a folder that exists.
    may_be_empty: Whether the new content may be nothing.

  Yields:
    The path of a file in the same folder, to be written in the block. If the
    block raises, that file is removed and `path` is as before.

  Raises:
    OSError: If the file cannot be written, or the block writes nothing; it
      names a file.
  """
  target = pathlib.Path(path)
  partial = target.with_name(
      f'.{target.name}{PARTIAL}{secrets.token_hex(4)}{target.suffix}'
  )
  try:
    partial.touch(PRIVATE_FILE)  # Before it has content.
    yield partial
    if not (may_be_empty or partial.stat().st_size):
      raise FileNotFoundError(
          errno.ENOENT, 'Nothing was written', os.fspath(target)
      )
    os.chmod(partial, PRIVATE_FILE)
    sync(partial)
    os.replace(partial, target)
    sync(target.parent)
  except OSError as e:
    # As of a write to a full disk. This package's own errors have no number.
    if e.errno is not None and e.filename is None:
      e.filename = os.fspath(target)
    raise
  finally:
    partial.unlink(missing_ok=True)


def is_inside(path: str | os.PathLike[str], folder: str) -> bool:
  """Whether a path leads into a folder; links are followed by neither.

  A table from somebody else may name other files of this machine, by `..` or by
  an absolute path.

  Args:
    path: The path, which may begin with that of the folder.
    folder: The folder.
  """
  return pathlib.Path(os.path.abspath(path)).is_relative_to(
      os.path.abspath(folder)
  )


def sync(path: str | os.PathLike[str]) -> None:
  """Waits until a file's content, or a folder's list of files, is on disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def remove_partial(path: str | os.PathLike[str]) -> None:
  """Removes what calls of `replace` left behind when their program was killed.

  Nobody may be in such a call: hold the lock of the file's folder.
  """
  target = pathlib.Path(path)
  for partial in target.parent.glob(f'.{glob.escape(target.name)}{PARTIAL}*'):
    partial.unlink(missing_ok=True)


def replace_text(path: str | os.PathLike[str], text: str) -> None:
  """Replaces a file by one with this text in UTF-8, as `replace` does."""
  with replace(path, may_be_empty=True) as partial:
    # No translation of line ends: the bytes are those of the text.
    partial.write_text(text, encoding='utf-8', newline='')


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
  """Makes a folder in one step, once all of its files are written.

  Args:
    path: The folder. Parents are made as needed.

  Yields:
    The path of an empty folder, to be filled in the block. If the block
    raises, that folder is removed.

  Raises:
    ExistsError: If `path` is there by the end of the block and not empty.
    OSError: If a folder cannot be made.
  """
  target = pathlib.Path(path).absolute()
  make_folder(target.parent)
  with tempfile.TemporaryDirectory(
      prefix=f'.{target.name}{PARTIAL}', dir=target.parent
  ) as scratch:
    partial = pathlib.Path(scratch, target.name)
    partial.mkdir(PRIVATE_FOLDER)
    yield partial
    try:
      partial.rename(target)
    except OSError as e:
      if not target.exists():
        raise
      raise ExistsError(
          f'Expected no folder {target}, or an empty one, found other content.'
      ) from e


def make_folder(path: str | os.PathLike[str]) -> None:
  """Makes a folder for this user alone, with its parents, unless it is there.

  Raises:
    errors.FileError: If a file is in its place.
    OSError: If the folder cannot be made.
  """
  try:
    os.makedirs(path, PRIVATE_FOLDER, exist_ok=True)
  except (FileExistsError, NotADirectoryError) as e:
    raise errors.FileError(
        f'Expected to be able to make the folder {os.fspath(path)}, found that'
        f' {e.filename} or a folder above it is a file.'
    ) from e


@contextlib.contextmanager
def lock(path: str | os.PathLike[str]) -> Iterator[None]:
  """Holds a lock that only one holder can have; does not wait for it.

  The operating system releases it when the process ends, however it ends.

  Args:
    path: The lock's file. It is created, in its folder, and stays when the
      lock is released.

  Raises:
    LockedError: If somebody holds the lock already.
    OSError: If the file cannot be created.
  """
  held = filelock.FileLock(
      path,
      timeout=0,
      # A store that was opened in one thread may be closed in another.
      thread_local=False,
      # A file that merely exists would outlive a program that is killed.
      fallback_to_soft=False,
  )
  try:
    held.acquire()
  except filelock.Timeout as e:
    raise LockedError(
        f'Expected nobody to hold {os.fspath(path)}, found that another process'
        ' does. Wait for it to end.'
    ) from e
  try:
    yield
  finally:
    held.release()
