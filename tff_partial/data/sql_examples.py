# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Examples that computations read themselves, from the file that holds them.

A value that is passed to a computation is copied on its way to the worker. For
50 clients with 88 images [224, 224, 3] each, 0.66 GB, driver and worker held
7.2 GB, and a round spent half a minute on copies. Here a client's value is the
name of a file and a query, and a worker only holds the examples of the clients
that it is training.

Workers on other machines must have the file under the same name.
"""

import collections
from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import sqlite3
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.data import example_protos
from tff_partial.data import sql_clients
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib


class ClientLocations:
  """A view of clients that locates their examples, for `SqlExamples`.

  It satisfies `tff_partial.learning.clients.Clients`, except that `read`
  returns where the examples are.
  """

  def __init__(self, clients: sql_clients.SqlClients):
    self._clients = clients

  @property
  def fingerprint(self) -> Optional[str]:
    return clients_lib.fingerprint(self._clients)

  @property
  def client_ids(self) -> Sequence[str]:
    return self._clients.client_ids

  def num_examples(self, client_id: str) -> int:
    return self._clients.num_examples(client_id)

  def read(self, client_id: str) -> collections.OrderedDict[str, Any]:
    """Returns a file, a query for a client's protos, and their number.

    Raises:
      errors.SettingsError: If there is no such client.
      errors.DataError: If the examples are damaged.
    """
    # Here, since the graph that reads them computes no checksums.
    self._clients.check(client_id)
    num_examples = self.num_examples(client_id)
    quote = lambda text: "'" + text.replace("'", "''") + "'"
    return collections.OrderedDict(
        file=self._clients.path,
        query=(
            'SELECT serialized_example_proto FROM examples WHERE client_id ='
            f' {quote(client_id)} AND split_name ='
            f' {quote(self._clients.split_name)} ORDER BY rowid'
        ),
        num_examples=np.int64(num_examples),
    )


def read_integers(location: Mapping[str, Any], *, name: str) -> np.ndarray:
  """Reads a feature that is one integer, int64 [examples].

  Args:
    location: Where a client's examples are, as `ClientLocations.read` returns.
    name: The feature's name.
  """
  with contextlib.closing(sqlite3.connect(location['file'])) as connection:
    rows = connection.execute(location['query'])
    found = [
        tf.train.Example.FromString(proto).features.feature[name]
        for (proto,) in rows
    ]
  return np.array([f.int64_list.value[0] for f in found], np.int64)


@dataclasses.dataclass(frozen=True)
class SqlExamples(examples_lib.ClientExamples):
  """Reads all of a client's examples in the graph.

  Attributes:
    features: What an example in the file holds. Shapes must be fixed.
    tensors: Shuffles, batches and prepares the examples that were read.
  """

  features: example_protos.Features
  tensors: examples_lib.Tensors

  @property
  def batching(self) -> examples_lib.Tensors:
    return self.tensors

  def in_batches(self, size: int) -> 'SqlExamples':
    return dataclasses.replace(self, tensors=self.tensors.in_batches(size))

  @property
  def microbatch_size(self) -> Optional[int]:
    return self.tensors.microbatch_size

  def in_microbatches(self, size: int) -> 'SqlExamples':
    return dataclasses.replace(self, tensors=self.tensors.in_microbatches(size))

  def type(self, input_spec: Any) -> tff.Type:
    del input_spec  # The type is the same for every model.
    return tff.types.to_type(
        collections.OrderedDict(
            examples=collections.OrderedDict(
                file=tff.TensorType(np.str_),
                query=tff.TensorType(np.str_),
                num_examples=tff.TensorType(np.int64),
            ),
            seed=tff.TensorType(np.int32, (2,)),
        )
    )

  def check(self, examples: Any, input_spec: Any) -> None:
    expected = ['file', 'query', 'num_examples']
    found = list(examples) if isinstance(examples, Mapping) else type(examples)
    if found != expected:
      raise errors.SettingsError(
          f'Expected the location of examples, {expected}, found {found}. Wrap'
          ' the clients in ClientLocations.'
      )

  def value(self, examples: Any, seed: np.ndarray) -> Any:
    # TFF would encode text as ASCII; TensorFlow's strings are bytes anyway.
    located = collections.OrderedDict(
        examples,
        file=examples['file'].encode(),
        query=examples['query'].encode(),
    )
    return self.tensors.value(located, seed)

  def take(self, examples: Any, positions: np.ndarray) -> Any:
    chosen = ', '.join(str(position) for position in positions)
    return collections.OrderedDict(
        file=examples['file'],
        query=(
            'SELECT serialized_example_proto FROM (SELECT *, ROW_NUMBER() OVER'
            f' () - 1 AS position FROM ({examples["query"]})) WHERE position IN'
            f' ({chosen}) ORDER BY position'
        ),
        num_examples=np.int64(len(positions)),
    )

  def count(self, examples: Any) -> Any:
    return self.tensors.used(examples['examples']['num_examples'])

  def reduce(
      self,
      examples: Any,
      state: Any,
      step_fn: examples_lib.StepFn,
      passes: examples_lib.Pass = examples_lib.ONE_EPOCH,
  ) -> Any:
    return self.tensors.reduce(
        self.tensors.value(self._read(examples['examples']), examples['seed']),
        state,
        step_fn,
        passes,
    )

  def _read(self, located: Any) -> collections.OrderedDict[str, tf.Tensor]:
    protos = tf.data.experimental.SqlDataset(
        'sqlite', located['file'], located['query'], (tf.string,)
    )
    parse = example_protos.parse_fn(self.features)
    # One batch of all examples, for which a dataset allocates memory once; no
    # batch if there are no examples.
    batches = protos.map(lambda proto: parse(proto)).batch(
        tf.maximum(located['num_examples'], 1)
    )
    nothing = collections.OrderedDict(
        (name, tf.zeros([0, *spec.shape], spec.dtype))
        for name, spec in self.features.items()
    )
    return batches.reduce(nothing, lambda _, batch: batch)
