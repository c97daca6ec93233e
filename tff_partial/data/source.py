# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The kinds of data that a task can be trained on, behind the flag `--data`."""

from collections.abc import Callable
import dataclasses
import os
from typing import NamedTuple, Optional

from tff_partial.data import client_data
from tff_partial.data import example_protos
from tff_partial.data import sql_clients


class OpenedData(NamedTuple):
  """The data that a user asked for.

  Attributes:
    train: Clients' training examples.
    test: Test examples of the same clients.
    folder: The folder that holds them, with any further files of the task.
    description: What reports call the data.
    demonstration: Whether the data were made up.
  """

  train: sql_clients.SqlClients
  test: sql_clients.SqlClients
  folder: str
  description: str
  demonstration: bool


@dataclasses.dataclass(frozen=True)
class Source:
  """Where the data of a task come from.

  Attributes:
    embedded_fn: Makes data for demonstration unless the cache holds them, and
      returns their folder, for `--data=embedded`.
    embedded_description: What reports call these data.
    tff_fn: Downloads the data of the paper unless they are there, and returns
      their folder, for `--data=tff`.
    tff_description: What reports call these data.
    open_tff_fn: Opens the folder that `tff_fn` returned; `None` means that it
      has the files of any other folder.
    features: The features to read; `None` means all that a folder has.
  """

  embedded_fn: Callable[[], str]
  embedded_description: str
  tff_fn: Callable[[], str]
  tff_description: str
  open_tff_fn: Optional[
      Callable[[str], tuple[sql_clients.SqlClients, sql_clients.SqlClients]]
  ] = None
  features: Optional[example_protos.Features] = None

  def open(self, data: str) -> OpenedData:
    """Opens data, after making or downloading them if need be.

    Args:
      data: 'embedded', 'tff', or a folder made by `tasks.import_client_data`.

    Raises:
      errors.DataError: If the files hold something other than expected.
      errors.FileError: If the data are missing and cannot be made or
        downloaded, saying which file to put where.
    """
    open_fn = lambda folder: client_data.open_folder(
        folder, features=self.features
    )
    if data == 'embedded':
      folder, description = self.embedded_fn(), self.embedded_description
    elif data == 'tff':
      folder, description = self.tff_fn(), self.tff_description
      open_fn = self.open_tff_fn or open_fn
    else:
      folder, description = os.path.expanduser(data), data
    train, test = open_fn(folder)
    return OpenedData(
        train, test, folder, description, demonstration=data == 'embedded'
    )
