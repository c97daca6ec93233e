# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Values as messages to TFF's worker: TFF's own bytes, with fewer copies.

`tff.framework.serialize_value` makes the message of a part and puts it into the
message of the whole, which copies it, at every level of a structure: a model of
49 MB is copied about ten times. Here every part is written where it belongs.
"""

import functools
from typing import Any

import numpy as np
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import executor_pb2


def write(message: executor_pb2.Value, value: Any, type_spec: tff.Type) -> None:
  """Writes a value into an empty message, wherever that is.

  Args:
    message: Becomes what `tff.framework.serialize_value` returns.
    value: As TFF takes it.
    type_spec: Its type.

  Raises:
    TypeError: If the value is not of the type.
  """
  if isinstance(type_spec, tff.StructType):
    structure = tff.structure.from_container(value)
    if len(structure) == len(type_spec):
      message.struct.SetInParent()  # Also if it has no elements.
      for part, (name, part_type) in zip(
          structure, tff.structure.iter_elements(type_spec)
      ):
        element = message.struct.element.add()
        if name:
          element.name = name
        write(element.value, part, part_type)
      return
  elif isinstance(type_spec, tff.FederatedType):
    if type_spec.all_equal or isinstance(value, list):
      # TFF's message of no clients, for the type.
      no_clients = tff.FederatedType(
          type_spec.member, type_spec.placement, all_equal=False
      )
      message.CopyFrom(tff.framework.serialize_value([], no_clients)[0])
      message.federated.type.all_equal = type_spec.all_equal
      for member in [value] if type_spec.all_equal else value:
        write(message.federated.value.add(), member, type_spec.member)
      return
  elif isinstance(value, np.ndarray) and _is_plain(value, type_spec):
    message.CopyFrom(_empty(value.dtype.type))
    message.array.shape.dim[:] = value.shape
    message.array.content = value.tobytes()
    return
  # Scalars, strings, data sets, and what is wrong.
  message.CopyFrom(tff.framework.serialize_value(value, type_spec)[0])


def _is_plain(value: np.ndarray, type_spec: tff.TensorType) -> bool:
  """Whether the array is of the type, and its message is its bytes."""
  shape = type_spec.shape
  return (
      bool(shape)
      and value.dtype == np.dtype(type_spec.dtype.type)
      and issubclass(value.dtype.type, (np.number, np.bool_))
      and len(shape) == value.ndim
      and all(n in (None, m) for n, m in zip(shape, value.shape))
  )


@functools.lru_cache
def _empty(dtype: type[np.generic]) -> executor_pb2.Value:
  """TFF's message of no numbers."""
  type_spec = tff.TensorType(dtype, [0])
  return tff.framework.serialize_value(np.zeros([0], dtype), type_spec)[0]
