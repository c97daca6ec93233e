# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the columns of imported tables mean, in a file next to the examples."""

import dataclasses
import json
import os

import numpy as np

from tff_partial import errors
from tff_partial import files
from tff_partial.data import sql_clients

FILE = 'columns.json'


@dataclasses.dataclass(frozen=True)
class Columns:
  """The inputs and the classes of a table.

  Attributes:
    features: Names of the inputs. A column of text has an input for each of its
      values, `column=value`.
    classes: The values of the label, by class.
    mean: The mean of each input over all training examples.
    deviation: Its standard deviation; 1 where all values are equal.
  """

  features: tuple[str, ...]
  classes: tuple[str, ...]
  mean: tuple[float, ...]
  deviation: tuple[float, ...]


def load(folder: str) -> Columns:
  """Reads the columns of a folder.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If it cannot be read.
  """
  path = os.path.join(folder, FILE)
  if not os.path.isfile(path):
    raise errors.MissingFileError(
        f'Expected the columns of a table in {path}, found no such file. Import'
        ' the table with "python -m tasks.import_client_data table".'
    )
  try:
    with open(path, encoding='utf-8') as f:
      columns = Columns(**{k: tuple(v) for k, v in json.load(f).items()})
  except (ValueError, TypeError, AttributeError) as e:
    raise errors.DataError(
        f'Expected the columns of a table in {path}, found {e}. Import the'
        ' table again.'
    ) from e
  sizes = {len(columns.features), len(columns.mean), len(columns.deviation)}
  if len(sizes) != 1 or len(columns.classes) < 2:
    raise errors.DataError(
        f'Expected as many means and deviations as features in {path}, and two'
        ' classes, found others. Import the table again.'
    )
  return columns


def write(
    folder: str, features: tuple[str, ...], classes: tuple[str, ...]
) -> None:
  """Measures the training examples of a folder and writes its columns.

  Args:
    folder: A folder with `train.sqlite`.
    features: Names of the inputs.
    classes: The values of the label.
  """
  clients = sql_clients.SqlClients(os.path.join(folder, 'train.sqlite'))
  count, total = 0, np.zeros(len(features))
  for client_id in clients.client_ids:
    inputs = clients.read(client_id)['features'].astype(np.float64)
    count, total = count + len(inputs), total + inputs.sum(0)
  mean, squares = total / count, np.zeros(len(features))
  for client_id in clients.client_ids:
    inputs = clients.read(client_id)['features'].astype(np.float64)
    squares += np.square(inputs - mean).sum(0)
  deviation = np.sqrt(squares / count)
  found = Columns(
      features,
      classes,
      tuple(mean.tolist()),
      tuple(np.where(deviation > 0, deviation, 1).tolist()),
  )
  files.replace_text(
      os.path.join(folder, FILE),
      json.dumps(dataclasses.asdict(found), ensure_ascii=False, indent=1),
  )
