# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes and reads the messages of TFF's worker, faster than TFF.

At every level of a structure, `tff.framework.serialize_value` creates the
messages of the parts and copies them into the message of the whole, so a model
of 49 MB is copied about ten times. Here every part is written in place. TFF
also checks and traces every part of a value, which takes most of the time of a
call for small models.
"""

import functools
from typing import Any

import numpy as np
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import executor_pb2


def write(message: executor_pb2.Value, value: Any, type_spec: tff.Type) -> None:
  """Writes a value into an empty message, which may be part of another one.

  Args:
    message: Becomes equal to what `tff.framework.serialize_value` returns.
    value: A value that TFF accepts.
    type_spec: Its type.

  Raises:
    TypeError: If the value is not of the type.
  """
  if isinstance(type_spec, tff.StructType):
    structure = tff.structure.from_container(value)
    if len(structure) == len(type_spec):
      message.struct.SetInParent()  # Needed if there are no elements.
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
      # TFF's message for no clients has the right type.
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
  # Scalars, strings, data sets, and values of the wrong type.
  message.CopyFrom(tff.framework.serialize_value(value, type_spec)[0])


def read(message: executor_pb2.Value, type_spec: tff.Type) -> Any:
  """Reads a value from a message.

  Args:
    message: A worker's answer.
    type_spec: The type of the value.

  Returns:
    The value, as `tff.framework.deserialize_value` returns it.

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
  """Whether TFF writes values of this type as the bytes of an array."""
  return (
      isinstance(type_spec, tff.TensorType)
      and bool(type_spec.shape)  # TFF writes scalars differently.
      and issubclass(type_spec.dtype.type, (np.number, np.bool_))
  )


def _is_plain(value: np.ndarray, type_spec: tff.TensorType) -> bool:
  """Whether the array has this type, and TFF writes its bytes."""
  shape = type_spec.shape
  return (
      _has_plain_bytes(type_spec)
      and value.dtype == np.dtype(type_spec.dtype.type)
      and len(shape) == value.ndim
      and all(n in (None, m) for n, m in zip(shape, value.shape))
  )


@functools.lru_cache
def _empty(dtype: type[np.generic]) -> executor_pb2.Value:
  """Returns TFF's message for an empty array."""
  type_spec = tff.TensorType(dtype, [0])
  return tff.framework.serialize_value(np.zeros([0], dtype), type_spec)[0]
