# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Values as messages to TFF's worker and back: TFF's messages, in less time.

`tff.framework.serialize_value` makes the message of a part and puts it into the
message of the whole, which copies it, at every level of a structure: a model of
49 MB is copied about ten times. Here every part is written where it belongs.
And TFF checks and traces every part of a value; for small models that is most
of what a call takes.
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


def read(message: executor_pb2.Value, type_spec: tff.Type) -> Any:
  """Reads a value.

  Args:
    message: As a worker answers.
    type_spec: The type of the value.

  Returns:
    What `tff.framework.deserialize_value` returns first.

  Raises:
    ValueError: If the message holds no value of the type.
  """
  kind = message.WhichOneof('value')
  if kind == 'struct' and isinstance(type_spec, tff.StructType):
    elements = message.struct.element
    return tff.structure.Struct(
        (element.name or None, read(element.value, part_type))
        for element, part_type in zip(elements, type_spec)
    )
  if kind == 'federated' and isinstance(type_spec, tff.FederatedType):
    if values := message.federated.value:
      if type_spec.all_equal:
        return read(values[0], type_spec.member)
      return [read(value, type_spec.member) for value in values]
  if kind == 'array' and _has_plain_bytes(type_spec):
    array = np.frombuffer(message.array.content, type_spec.dtype.type)
    return array.reshape(message.array.shape.dim)
  return tff.framework.deserialize_value(message, type_spec)[0]


def _has_plain_bytes(type_spec: tff.Type) -> bool:
  """Whether the message of a value is the bytes of an array."""
  return (
      isinstance(type_spec, tff.TensorType)
      and bool(type_spec.shape)  # TFF writes scalars in another way.
      and issubclass(type_spec.dtype.type, (np.number, np.bool_))
  )


def _is_plain(value: np.ndarray, type_spec: tff.TensorType) -> bool:
  """Whether the array is of the type, and its bytes are its message."""
  shape = type_spec.shape
  return (
      _has_plain_bytes(type_spec)
      and value.dtype == np.dtype(type_spec.dtype.type)
      and len(shape) == value.ndim
      and all(n in (None, m) for n, m in zip(shape, value.shape))
  )


@functools.lru_cache
def _empty(dtype: type[np.generic]) -> executor_pb2.Value:
  """TFF's message of no numbers."""
  type_spec = tff.TensorType(dtype, [0])
  return tff.framework.serialize_value(np.zeros([0], dtype), type_spec)[0]
