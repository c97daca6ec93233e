# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where clients' examples come from: a folder, or what TFF downloads.

All of these satisfy `tff_partial.learning.clients.Clients`, once `Mapped` has
made a task's inputs and labels of the features they hold.
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

_LOOKED_UP = 1000  # Test clients, and up to twice as many, in the other file.
_EMNIST_FEATURES = collections.OrderedDict(
    pixels=tf.TensorSpec([28, 28], tf.float32),
    label=tf.TensorSpec([], tf.int32),
)


class Mapped:
  """Clients whose examples are made of the features that others hold."""

  def __init__(
      self,
      clients: clients_lib.Clients,
      map_fn: Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]],
  ):
    """Initializes the view.

    Args:
      clients: Where features are read.
      map_fn: All features of a client to its examples, as many as there were.
    """
    self._clients = clients
    self._map_fn = map_fn

  @property
  def client_ids(self) -> Sequence[str]:
    return self._clients.client_ids

  def num_examples(self, client_id: str) -> int:
    return self._clients.num_examples(client_id)

  def read(self, client_id: str) -> Mapping[str, np.ndarray]:
    features = self._clients.read(client_id)
    try:
      return self._map_fn(features)
    except KeyError as e:
      raise errors.DataError(
          f'Client {client_id!r}: expected feature {e}, found'
          f' {", ".join(features)}. Use data that were made for this task.'
      ) from e
    except ValueError as e:
      raise errors.DataError(f'Client {client_id!r}: {e}') from e


class TffClients:
  """Clients of any `tff.simulation.datasets.ClientData`.

  For data that have no file of their own; `sql_clients.SqlClients` reads those
  that do, without the 5 ms that starting a client's dataset takes.
  """

  def __init__(self, client_data: tff.simulation.datasets.ClientData):
    self._client_data = client_data
    self._known = frozenset(client_data.client_ids)

  @property
  def client_ids(self) -> Sequence[str]:
    return self._client_data.client_ids

  def num_examples(self, client_id: str) -> int:
    """How many examples a client has; goes through them."""
    return len(next(iter(self.read(client_id).values())))

  def read(self, client_id: str) -> collections.OrderedDict[str, np.ndarray]:
    """All examples of a client, as `sql_clients.SqlClients.read` returns them.

    Raises:
      ValueError: If there is no such client.
    """
    if client_id not in self._known:
      raise errors.DataError(
          f'Expected one of the {len(self._known)} clients, found'
          f' {client_id!r}.'
      )
    dataset = self._client_data.create_tf_dataset_for_client(client_id)
    examples = list(dataset.as_numpy_iterator())
    return collections.OrderedDict(
        (name, _stack([example[name] for example in examples], spec))
        for name, spec in dataset.element_spec.items()
    )


def open_folder(
    folder: str, *, features: Optional[example_protos.Features] = None
) -> tuple[sql_clients.SqlClients, sql_clients.SqlClients]:
  """Opens a folder's `train.sqlite` and `test.sqlite`.

  Args:
    folder: A folder made by `tasks.import_client_data` or `tasks.embedded`.
    features: The features to read; `None` is all there are.

  Returns:
    The clients' training and test examples.

  Raises:
    OSError: If a file is not there.
    ValueError: If a file is damaged, if the two do not hold the same features,
      or if most of the people to test have no training examples.
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
  # Of very many, some: opening should not take longer the more there are.
  every = max(1, len(test.client_ids) // _LOOKED_UP)
  some = test.client_ids[::every]
  known = sum(client_id in train.client_ids for client_id in some)
  if 2 * known < len(some):
    raise errors.DataError(
        f'Expected the same people in both files of {folder}, found {known} of'
        f' {len(some)} test clients among the training clients. A personal part'
        ' is tested on the person it was trained for: split the examples of'
        ' each person, not the people.'
    )
  if known < len(some):
    logging.warning(
        '%d of %d test clients of %s that were looked up have no training'
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
  """Views of the clients with at least so many examples for both.

  Args:
    train: Training examples.
    test: Test examples.
    min_train: The least number of training examples a client must have.
    min_test: The least number of its test examples.

  Returns:
    The same clients' training and test examples.

  Raises:
    ValueError: If no client has enough.
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


def load_emnist(
    *,
    min_train: int = 1,
    min_test: int = 1,
    cache_dir: Optional[str] = None,
) -> tuple[sql_clients.SqlClients, sql_clients.SqlClients]:
  """Opens TFF's federated EMNIST, 62 classes, after downloading it if needed.

  `tff.simulation.datasets.emnist.load_data` fetches the file, which is then
  read without a dataset for each client. Pixels are float32 [28, 28] with ink
  0.0 on 1.0; labels are int32, digits first, then capitals.

  Args:
    min_train: Leaves out writers with fewer training examples.
    min_test: Leaves out writers with fewer test examples.
    cache_dir: Where TFF keeps the file; `None` is TFF's own place.

  Raises:
    OSError: If it cannot be downloaded, saying which file to put where.
    ValueError: If the file is damaged.
  """
  cache_dir = cache_dir or os.path.join(os.path.expanduser('~'), '.tff')
  path = os.path.join(cache_dir, 'emnist_all.sqlite')
  if not os.path.exists(path):
    _download_emnist(path)
  train, test = (
      sql_clients.SqlClients(path, split_name=name, features=_EMNIST_FEATURES)
      for name in ('all_train', 'all_test')
  )
  return with_enough_examples(
      train, test, min_train=min_train, min_test=min_test
  )


def _download_emnist(path: str) -> None:
  """Has TFF download the file, all of it or nothing."""
  complete = False
  try:
    tff.simulation.datasets.emnist.load_data(
        only_digits=False, cache_dir=os.path.dirname(path)
    )
    complete = True
  except Exception as e:  # Whatever the network, LZMA and SQLite come up with.
    raise errors.FileError(
        f'Expected federated EMNIST in {path}, found no such file, and'
        f' downloading it failed: {e}. Put the unpacked emnist_all.sqlite'
        ' there, or use --data=embedded.'
    ) from e
  finally:
    # TFF would take half a file for the whole next time.
    if not complete and os.path.exists(path):
      os.remove(path)


def _stack(values: Sequence[Any], spec: tf.TensorSpec) -> np.ndarray:
  """Values of all examples as one array, of objects where shapes may differ."""
  if spec.dtype != tf.string and spec.shape.is_fully_defined():
    return np.array(values, spec.dtype.as_numpy_dtype).reshape(
        len(values), *spec.shape
    )
  result = np.empty(len(values), object)
  for i, value in enumerate(values):
    result[i] = value
  return result
