# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What runs in each process of a cluster.

Ray starts a `Node` as an actor. It computes with TensorFlow in its own process
or in a TFF worker that belongs to it alone, as a run on one machine does.
"""

from collections.abc import Sequence
import contextlib
from importlib import metadata
import os
from typing import Any

import cachetools
import grpc
import numpy as np
import ray
import tensorflow as tf
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import computation_pb2

from tff_partial.runtime import arrays as arrays_lib
from tff_partial.runtime import runtimes

# Packages whose versions decide what is computed.
_PACKAGES = ('tensorflow-federated', 'tensorflow', 'numpy')
_MAX_PROGRAMS = 16  # They are megabytes each.

# The arrays of a value, by `arrays.flatten`.
Arrays = Sequence[np.ndarray]


def versions() -> dict[str, str]:
  """The versions of the packages that must be the same everywhere."""
  return {name: metadata.version(name) for name in _PACKAGES}


class Node:
  """Computes what it is asked."""

  def __init__(self, runtime: str, cores: int, max_concurrent_clients: int):
    """Starts the runtime.

    Args:
      runtime: One of `names.RUNTIMES`.
      cores: Number of cores that this process may keep busy.
      max_concurrent_clients: Number of clients that compute at the same time
        and share the cores.
    """
    self._stack = contextlib.ExitStack()
    self._stack.enter_context(
        runtimes.start(
            runtime,
            max_concurrent_clients=max_concurrent_clients,
            cores=cores,
            compiled=True,
        )
    )
    self._programs = cachetools.LRUCache(_MAX_PROGRAMS)

  def describe(self) -> dict[str, Any]:
    """The versions of packages, this process, and the machine that it is on."""
    return {
        'versions': versions(),
        'pid': os.getpid(),
        'node': ray.get_runtime_context().get_node_id(),
    }

  def compute(
      self,
      program: Sequence[ray.ObjectRef],
      num_clients: int,
      *values: Arrays,
  ) -> tuple[bool, Arrays, Arrays]:
    """Calls a computation whose result has two parts.

    Args:
      program: A reference to a serialized computation, in a list, so that Ray
        hands over the reference. It is fetched once.
      num_clients: Number of values that a value at clients has.
      *values: The arrays of some parameters each, one after the other.

    Returns:
      True, which says that the rest is there; and the arrays of the parts.
    """
    computation = self._load(program[0])
    result_type = computation.type_signature.result
    result = self._call(computation, num_clients, values)
    parts = tff.structure.from_container(result)
    part_types = tff.structure.iter_elements(result_type)
    first, second = (
        arrays_lib.flatten(part, part_type)
        for part, (_, part_type) in zip(parts, part_types, strict=True)
    )
    return True, first, second

  def compute_whole(
      self,
      program: Sequence[ray.ObjectRef],
      num_clients: int,
      *values: Arrays,
  ) -> tuple[bool, Arrays]:
    """Calls a computation; see `compute`."""
    computation = self._load(program[0])
    result = self._call(computation, num_clients, values)
    result_type = computation.type_signature.result
    return True, arrays_lib.flatten(result, result_type)

  def _load(self, reference: ray.ObjectRef) -> tff.Computation:
    key = reference.binary()
    if key not in self._programs:
      self._programs[key] = tff.framework.deserialize_computation(
          computation_pb2.Computation.FromString(ray.get(reference))
      )
    return self._programs[key]

  def _call(
      self,
      computation: tff.Computation,
      num_clients: int,
      values: Sequence[Arrays],
  ) -> Any:
    """Calls a computation with arrays.

    Raises:
      errors.WorkerError: If TFF's worker is lost, twice.
      RuntimeError: If the computation fails.
    """
    parameter_type = computation.type_signature.parameter
    parameter = arrays_lib.unflatten(
        [array for some in values for array in some],
        parameter_type,
        num_clients=num_clients,
        allow_programs=True,
    )
    arguments = [parameter]
    if isinstance(parameter_type, tff.StructType):
      arguments = tff.structure.from_container(parameter)
    try:
      return computation(*arguments)
    except grpc.RpcError as error:
      # A gRPC error cannot be sent.
      details = error.details() if hasattr(error, 'details') else str(error)
      raise RuntimeError(details) from None
    except tf.errors.OpError as error:  # From TensorFlow in this process.
      raise RuntimeError(error.message) from None
