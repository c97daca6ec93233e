# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Populations of clients: in a folder, in TFF's own format, or downloaded.

Each class satisfies `tff_partial.learning.clients.Clients`. `MappedClients`
turns the stored features of a client into the inputs and labels of a task.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
import os
from typing import Any, Optional

from absl import logging
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.data import example_protos
from tff_partial.data import sql_clients
from tff_partial.learning import clients as clients_lib

# About how many test clients are looked up among the training clients when a
# folder is opened: from this many to twice as many.
_LOOKED_UP = 1000
_EMNIST_FILE = 'emnist_all.sqlite'
_EMNIST_FEATURES = collections.OrderedDict(
    pixels=tf.TensorSpec([28, 28], tf.float32),
    label=tf.TensorSpec([], tf.int32),
)


class MappedClients:
  """A view of other clients that converts their features to examples."""

  def __init__(
      self,
      clients: clients_lib.Clients,
      map_fn: Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]],
  ):
    """Initializes the view.

    Args:
      clients: The clients whose features are read.
      map_fn: Converts all features of a client, arrays [examples, ...], to
        examples. Their number must stay the same.
    """
    self._clients = clients
    self._map_fn = map_fn

  @property
  def fingerprint(self) -> Optional[str]:
    return clients_lib.fingerprint(self._clients)

  @property
  def client_ids(self) -> Sequence[str]:
    return self._clients.client_ids

  def num_examples(self, client_id: str) -> int:
    """The number of a client's examples, which `map_fn` does not change."""
    return self._clients.num_examples(client_id)

  def read(self, client_id: str) -> Mapping[str, np.ndarray]:
    """Reads and converts a client's examples.

    Raises:
      errors.DataError: If `map_fn` finds no such feature or raises ValueError,
        naming the client.
    """
    features = self._clients.read(client_id)
    try:
      return self._map_fn(features)
    except KeyError as e:
      raise errors.DataError(
          f'Client {client_id!r}: expected feature {e}, found'
          f' {", ".join(features)}. Use data that were imported for this task.'
      ) from e
    except ValueError as e:
      raise errors.DataError(f'Client {client_id!r}: {e}') from e


class TffClients:
  """Clients of any `tff.simulation.datasets.ClientData`.

  Use it for data without an SQLite file. `sql_clients.SqlClients` reads such
  files directly, without the 5 ms that it takes to start a client's dataset.
  Elements must be features by name, without structures in them.
  """

  def __init__(self, client_data: tff.simulation.datasets.ClientData):
    """Takes the data set, which is read client by client."""
    self._client_data = client_data
    self._known = frozenset(client_data.client_ids)

  @property
  def client_ids(self) -> Sequence[str]:
    return self._client_data.client_ids

  def num_examples(self, client_id: str) -> int:
    """The number of a client's examples, which are read to count them."""
    return len(next(iter(self.read(client_id).values())))

  def read(self, client_id: str) -> collections.OrderedDict[str, np.ndarray]:
    """Reads all examples of a client, as `sql_clients.SqlClients.read` does.

    Raises:
      errors.SettingsError: If there is no such client, or if elements are not
        features by name.
    """
    if client_id not in self._known:
      raise errors.SettingsError(
          f'Expected one of the {len(self._known)} clients, found'
          f' {client_id!r}.'
      )
    dataset = self._client_data.create_tf_dataset_for_client(client_id)
    features = dataset.element_spec
    if not isinstance(features, Mapping) or not all(
        isinstance(spec, tf.TensorSpec) for spec in features.values()
    ):
      raise errors.SettingsError(
          'Expected client data whose elements are dictionaries of tensors,'
          f' found {features}. Change them by `preprocess`, for example to'
          ' OrderedDict(x=..., y=...).'
      )
    examples = list(dataset.as_numpy_iterator())
    return collections.OrderedDict(
        (name, _stack([example[name] for example in examples], spec))
        for name, spec in features.items()
    )


def open_folder(
    folder: str, *, features: Optional[example_protos.Features] = None
) -> tuple[sql_clients.SqlClients, sql_clients.SqlClients]:
  """Opens a folder's `train.sqlite` and `test.sqlite`.

  Args:
    folder: A folder made by `tasks.import_client_data`, or by a task from
      embedded or downloaded data.
    features: The features to read; `None` means all.

  Returns:
    The clients' training examples and their test examples.

  Raises:
    errors.MissingFileError: If a file is not there.
    errors.DataError: If a file is damaged, if the two files hold different
      features, or if most test clients have no training examples.
  """
  train, test = (
      sql_clients.SqlClients(os.path.join(folder, name), features=features)
      for name in ('train.sqlite', 'test.sqlite')
  )
  if train.features != test.features:
    raise errors.DataError(
        f'Expected the same features in both files of {folder}, found'
        f' {example_protos.format_features(train.features)} in train.sqlite and'
        f' {example_protos.format_features(test.features)} in test.sqlite.'
        ' Import them together.'
    )
  # A sample: the time to open a folder should not grow with the population.
  every = max(1, len(test.client_ids) // _LOOKED_UP)
  some = test.client_ids[::every]
  known = sum(client_id in train.client_ids for client_id in some)
  if 2 * known < len(some):
    raise errors.DataError(
        f'Expected the same people in both files of {folder}, found {known} of'
        f' {len(some)} test clients among the training clients. Personal'
        ' variables are evaluated on the person they were trained for, so split'
        ' the examples of each person, not the people.'
    )
  if known < len(some):
    logging.warning(
        '%d of the %d test clients of %s that were checked have no training'
        ' examples.',
        len(some) - known,
        len(some),
        folder,
    )
  return train, test


def with_enough_examples(
    train: sql_clients.SqlClients,
    test: sql_clients.SqlClients,
    *,
    min_train: int,
    min_test: int,
) -> tuple[sql_clients.SqlClients, sql_clients.SqlClients]:
  """Selects the clients that have enough training and test examples.

  Args:
    train: Training examples.
    test: Test examples.
    min_train: Minimum number of a client's training examples.
    min_test: Minimum number of a client's test examples.

  Returns:
    Views of the training and the test examples of these clients.

  Raises:
    errors.DataError: If no client has enough.
  """
  rows = train.rows_shared_with(
      test, min_examples=min_train, min_other_examples=min_test
  )
  if not len(rows):
    raise errors.DataError(
        f'Expected clients with at least {min_train} training examples in'
        f' {train.path} and {min_test} test examples in {test.path}, found'
        ' none.'
    )
  return train.select(rows[:, 0]), test.select(rows[:, 1])


def download_emnist(cache_dir: Optional[str] = None) -> str:
  """Downloads TFF's federated EMNIST, 62 classes, unless it is there.

  Args:
    cache_dir: Where TFF keeps the file; `None` means TFF's own cache, `~/.tff`.

  Returns:
    The folder of the file, for `open_emnist`.

  Raises:
    errors.FileError: If it cannot be downloaded, saying which file to put
      where.
  """
  cache_dir = cache_dir or os.path.join(os.path.expanduser('~'), '.tff')
  path = os.path.join(cache_dir, _EMNIST_FILE)
  if os.path.exists(path):
    return cache_dir
  complete = False
  try:
    tff.simulation.datasets.emnist.load_data(
        only_digits=False, cache_dir=cache_dir
    )
    complete = True
  except Exception as e:  # The network, LZMA and SQLite all raise their own.
    raise errors.FileError(
        f'Expected federated EMNIST in {path}, found no such file, and'
        f' downloading it failed: {e}. Put the unpacked {_EMNIST_FILE} there,'
        ' or use the embedded data.'
    ) from e
  finally:
    # The next time, TFF would take half a file for a complete one.
    if not complete and os.path.exists(path):
      os.remove(path)
  return cache_dir


def open_emnist(
    folder: str, *, min_train: int = 1, min_test: int = 1
) -> tuple[sql_clients.SqlClients, sql_clients.SqlClients]:
  """Opens federated EMNIST, without a dataset for each client.

  Pixels are float32 [28, 28] with ink 0.0 on background 1.0. Labels are int32:
  digits, then capitals, then small letters.

  Args:
    folder: The folder that `download_emnist` returned.
    min_train: Writers with fewer training examples are left out.
    min_test: Writers with fewer test examples are left out.

  Returns:
    The writers' training examples and their test examples.

  Raises:
    errors.DataError: If the file is damaged, or no writer has enough examples.
    errors.MissingFileError: If the file is not there.
  """
  path = os.path.join(folder, _EMNIST_FILE)
  train, test = (
      sql_clients.SqlClients(path, split_name=name, features=_EMNIST_FEATURES)
      for name in ('all_train', 'all_test')
  )
  return with_enough_examples(
      train, test, min_train=min_train, min_test=min_test
  )


def _stack(values: Sequence[Any], spec: tf.TensorSpec) -> np.ndarray:
  """Stacks values of all examples; an array of objects if shapes may vary."""
  if spec.dtype != tf.string and spec.shape.is_fully_defined():
    return np.array(values, spec.dtype.as_numpy_dtype).reshape(
        len(values), *spec.shape
    )
  result = np.empty(len(values), object)
  for i, value in enumerate(values):
    result[i] = value
  return result
