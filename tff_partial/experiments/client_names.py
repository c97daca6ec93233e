# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What reports call clients: their ids, or pseudonyms that a key makes.

A pseudonym is a keyed hash of the id. Without the key, nobody can find it by
hashing a list of ids. The key stays in the folder of the run, next to the
personal variables, and is in no report. The runs of a comparison have the same
key, because the comparison pairs their clients.
"""

from collections.abc import Iterable
import dataclasses
import hashlib
import hmac
import os
import pathlib
import re
import secrets

from tff_partial import errors
from tff_partial import files
from tff_partial.evaluation import client_table
from tff_partial.experiments import run_folder
from tff_partial.experiments.settings import config_groups

_DIGITS = 16  # 64 bits: no two of a million clients share a pseudonym.


@dataclasses.dataclass(frozen=True)
class ClientNames:
  """The names of clients in the reports of a run or comparison.

  Attributes:
    mode: One of `config_groups.REPORT_CLIENT_IDS`.
    key: The key of pseudonyms; empty if reports have the ids.
  """

  mode: str
  key: bytes = b''

  @property
  def listed(self) -> bool:
    """Whether reports list single clients."""
    return self.mode != config_groups.NO_CLIENT_IDS

  def of(self, client_ids: Iterable[str]) -> list[str]:
    """The names of these clients, in order."""
    if self.mode == config_groups.FULL_CLIENT_IDS:
      return list(client_ids)
    return [
        hmac.new(self.key, c.encode(), hashlib.sha256).hexdigest()[:_DIGITS]
        for c in client_ids
    ]

  def rename(self, table: client_table.ClientTable) -> client_table.ClientTable:
    """The table with names in place of ids.

    Rows of pseudonyms are in their order: that of ids would tell who is who.
    """
    if self.mode == config_groups.FULL_CLIENT_IDS:
      return table
    names = tuple(self.of(table.client_ids))
    return dataclasses.replace(table, client_ids=names).sorted_by_id()


def check_finished(folder: run_folder.RunFolder, mode: str) -> None:
  """Checks that a finished run calls clients as it is asked to.

  Args:
    folder: The run's.
    mode: One of `config_groups.REPORT_CLIENT_IDS`.

  Raises:
    errors.SettingsError: If its report was written with another mode.
    errors.DataError: If the report cannot be read.
  """
  with_pseudonyms = mode != config_groups.FULL_CLIENT_IDS
  has_pseudonyms = (folder.path / run_folder.REPORT_KEY).exists()
  lists_clients = mode != config_groups.NO_CLIENT_IDS
  if with_pseudonyms != has_pseudonyms or (
      with_pseudonyms and lists_clients != folder.lists_clients
  ):
    raise errors.SettingsError(
        'Expected the `report_client_ids` that the finished report in'
        f' {folder.path} was written with, found {mode}. Use the same, or'
        ' another `output_dir`.'
    )


def load(folder: str | os.PathLike[str], mode: str) -> ClientNames:
  """The names in the reports of a folder, with its key or a new one.

  Args:
    folder: Of a run or a comparison, claimed by this program.
    mode: One of `config_groups.REPORT_CLIENT_IDS`.

  Raises:
    errors.FileError: If the key is damaged.
    OSError: If the key cannot be read or written.
  """
  if mode == config_groups.FULL_CLIENT_IDS:
    return ClientNames(mode)
  path = pathlib.Path(folder) / run_folder.REPORT_KEY
  if not path.exists():
    files.replace_text(path, secrets.token_hex(32))
  key = path.read_bytes()
  if not re.fullmatch(rb'[0-9a-f]{64}', key):
    raise errors.FileError(
        f'Expected the key of pseudonyms in {path}, found a damaged file.'
        ' Restore it from a copy, or delete it, which gives clients other'
        ' pseudonyms in the next report.'
    )
  return ClientNames(mode, key)
