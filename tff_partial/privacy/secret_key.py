# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The secret that cohorts and noise are drawn from.

Whoever knows who was in a round, or which noise was added, has no less than the
exact sum of that round's updates. So both come from a key that only the run
knows, and not from its public seed. All random numbers are functions of the key
and the round: a round that is computed again after a crash has the same cohort
and the same noise, and releases nothing new.
"""

import dataclasses
import hashlib
import os
import pathlib
import secrets

import numpy as np

from tff_partial import errors
from tff_partial import files

FILE = 'private.key'
# Of what is made from a key and how updates are clipped before. It goes up when
# a round that is computed again would not release the same: a run does not go
# on with another version.
NOISE_VERSION = 1
_NUM_BYTES = 32


@dataclasses.dataclass(frozen=True)
class SecretKey:
  """A key, which does not show itself.

  Attributes:
    value: 32 bytes.
  """

  value: bytes = dataclasses.field(repr=False)

  def __post_init__(self):
    if len(self.value) != _NUM_BYTES:
      raise errors.SettingsError(
          f'Expected a key of {_NUM_BYTES} bytes, found {len(self.value)}.'
      )

  def for_purpose(self, purpose: str) -> 'SecretKey':
    """Returns another key, from which this one cannot be found.

    Args:
      purpose: Keys of different purposes are independent.
    """
    return SecretKey(self._digest(purpose))

  def generator(self, purpose: str, round_num: int) -> np.random.Generator:
    """Returns random numbers for a purpose in a round.

    Args:
      purpose: Those of different purposes are independent.
      round_num: Number of rounds before this one.
    """
    digest = self._digest(f'{purpose} {round_num}')
    return np.random.default_rng(int.from_bytes(digest, 'little'))

  def _digest(self, purpose: str) -> bytes:
    return hashlib.blake2b(
        purpose.encode(), key=self.value, digest_size=_NUM_BYTES
    ).digest()


def new() -> SecretKey:
  """Returns a key from the operating system's random numbers."""
  return SecretKey(secrets.token_bytes(_NUM_BYTES))


def from_seed(seed: int) -> SecretKey:
  """Returns a key that everyone knows, for experiments that others repeat."""
  text = f'tff_partial public key {seed}'
  digest = hashlib.blake2b(text.encode(), digest_size=_NUM_BYTES).digest()
  return SecretKey(digest)


def open_in(folder: str | os.PathLike[str], *, goes_on: bool) -> SecretKey:
  """Returns the key of the run in a folder; makes it before the first round.

  Args:
    folder: The run's folder. The key is on disk when this returns.
    goes_on: Whether the run has begun, so that it must have a key.

  Raises:
    errors.MissingFileError: If a run that has begun has no key.
    errors.FileError: If the key is damaged.
  """
  path = pathlib.Path(folder) / FILE
  if path.exists():
    value = path.read_bytes()
    if len(value) != _NUM_BYTES:
      raise errors.FileError(
          f'Expected {_NUM_BYTES} bytes in {path}, found {len(value)}. Restore'
          ' the file from a copy, or start again, which adds to what this run'
          ' has released.'
      )
    return SecretKey(value)
  if goes_on:
    raise errors.MissingFileError(
        f'Expected {FILE} of the run that goes on in {folder}, found none.'
        ' Restore it from a copy: with another key, a round would be released'
        ' twice. A run in another folder adds to what this one has released.'
    )
  key = new()
  with files.replace(path) as partial:
    partial.write_bytes(key.value)
  return key


def forget(folder: str | os.PathLike[str]) -> None:
  """Deletes the key of a finished run, which has no more use for it."""
  path = pathlib.Path(folder) / FILE
  if path.exists():
    path.unlink()
    files.sync(folder)
