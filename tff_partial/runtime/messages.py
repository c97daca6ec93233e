# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes and reads the messages of TFF's worker, faster than TFF.

At every level of a structure, `tff.framework.serialize_value` creates the
messages of the parts and copies them into the message of the whole, so a model
of 49 MB is copied about ten times. Here every part is written in place. TFF
also checks and traces every part of a value, which takes most of the time of a
call for small models.

Nor does TFF check what a worker answers; see `read`.
"""

import functools
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import executor_pb2

from tff_partial import errors


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
    if len(tff.structure.from_container(value)) == len(type_spec):
      message.struct.SetInParent()  # Needed if there are no elements.
      for part, (name, part_type) in zip(
          parts(value, type_spec), tff.structure.iter_elements(type_spec)
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


def parts(value: Any, type_spec: tff.StructType) -> list[Any]:
  """The parts of a structure in the order of its type.

  TFF takes them by their order. A dictionary in another order would be taken
  for another value.

  Args:
    value: A structure that TFF accepts.
    type_spec: Its type.

  Returns:
    The parts, found by their names if all of them, and all of the type's, have
    one.

  Raises:
    TypeError: If the value has other parts.
  """
  found = tff.structure.from_container(value)
  names = tff.structure.name_list_with_nones(found)
  expected = tff.structure.name_list_with_nones(type_spec)
  has_names = None not in names + expected
  if names == expected or len(names) == len(expected) and not has_names:
    return list(found)
  if has_names and set(names) == set(expected):
    by_name = dict(zip(names, found))
    return [by_name[name] for name in expected]
  raise TypeError(
      f'Expected a value of type {type_spec.compact_representation()}, found'
      f' {len(names)} elements: {", ".join(map(str, names))}.'
  )


class UnexpectedAnswerError(errors.WorkerError, ValueError):
  """A worker sent something other than what it was asked for."""


def read(
    message: executor_pb2.Value,
    type_spec: tff.Type,
    *,
    num_clients: Optional[int] = None,
) -> Any:
  """Reads a value from a worker's answer, which may be hostile.

  TFF reads whatever kind of value a message has. One kind is a graph for a
  `tf.data.Dataset`, which TensorFlow executes, and which can read and write
  files. So here a message must have the kind, dtype and shape of its type, and
  no type is read as a dataset.

  Args:
    message: A worker's answer.
    type_spec: The type of the value.
    num_clients: Number of values that a value at clients has; `None` for any.

  Returns:
    The value, as `tff.framework.deserialize_value` returns it.

  Raises:
    UnexpectedAnswerError: If the message holds no value of the type.
  """
  kind = message.WhichOneof('value')
  if isinstance(type_spec, tff.StructType) and kind == 'struct':
    elements = message.struct.element
    _check(len(elements) == len(type_spec), message, type_spec)
    return tff.structure.Struct(
        [
            (
                _name(element, name),
                read(element.value, part, num_clients=num_clients),
            )
            for element, (name, part) in zip(
                elements, tff.structure.iter_elements(type_spec)
            )
        ]
    )
  if isinstance(type_spec, tff.FederatedType) and kind == 'federated':
    return _read_federated(message, type_spec, num_clients)
  _check(
      isinstance(type_spec, tff.TensorType) and kind == 'array',
      message,
      type_spec,
  )
  return _read_array(message, type_spec)


def _read_federated(
    message: executor_pb2.Value,
    type_spec: tff.FederatedType,
    num_clients: Optional[int],
) -> Any:
  values = message.federated.value
  placement = message.federated.type.placement.value.uri
  _check(placement == type_spec.placement.uri, message, type_spec)
  if not values and (type_spec.all_equal or num_clients != 0):
    raise UnexpectedAnswerError(
        f'Expected {type_spec} from the worker, found no data.'
    )
  if type_spec.all_equal:
    return read(values[0], type_spec.member, num_clients=num_clients)
  _check(num_clients in (None, len(values)), message, type_spec)
  return [read(v, type_spec.member, num_clients=num_clients) for v in values]


def _read_array(message: executor_pb2.Value, type_spec: tff.TensorType) -> Any:
  found = message.array
  shape = tuple(found.shape.dim)
  dtype = type_spec.dtype.type
  _check(
      found.dtype == _empty(dtype).array.dtype
      and not found.shape.unknown_rank
      and all(n >= 0 for n in shape)
      and has_shape(shape, type_spec),
      message,
      type_spec,
  )
  try:
    if _has_plain_bytes(type_spec):
      return np.frombuffer(found.content, dtype).reshape(shape)
    return tff.framework.deserialize_value(message, type_spec)[0]
  except ValueError as e:  # Too many or too few numbers.
    raise _unexpected(message, type_spec) from e


def _name(
    element: executor_pb2.Value.Struct.Element, expected: Optional[str]
) -> Optional[str]:
  """The name of a part, which a worker may have dropped."""
  found = element.name or None
  if found not in (None, expected):
    raise UnexpectedAnswerError(
        f'Expected a part named {expected!r} from the worker, found {found!r}.'
        ' Do not use this worker any more.'
    )
  return found


def _check(ok: bool, message: executor_pb2.Value, type_spec: tff.Type) -> None:
  if not ok:
    raise _unexpected(message, type_spec)


def _unexpected(
    message: executor_pb2.Value, type_spec: tff.Type
) -> UnexpectedAnswerError:
  kind = message.WhichOneof('value')
  details = ''
  if kind == 'array':
    details = f' of dtype {message.array.dtype} and shape'
    details += f' {list(message.array.shape.dim)[:10]}'
  return UnexpectedAnswerError(
      f'Expected {type_spec.compact_representation()[:200]} from the worker,'
      f' found {kind or "nothing"}{details}. Do not use this worker any more:'
      ' it is damaged, or somebody has replaced it.'
  )


def has_shape(shape: tuple[int, ...], type_spec: tff.TensorType) -> bool:
  """Whether an array of this shape can have this type."""
  if type_spec.shape is None:
    return True
  return len(type_spec.shape) == len(shape) and all(
      n in (None, m) for n, m in zip(type_spec.shape, shape)
  )


def _has_plain_bytes(type_spec: tff.Type) -> bool:
  """Whether TFF writes values of this type as the bytes of an array."""
  return (
      isinstance(type_spec, tff.TensorType)
      and bool(type_spec.shape)  # TFF writes scalars differently.
      and issubclass(type_spec.dtype.type, (np.number, np.bool_))
  )


def _is_plain(value: np.ndarray, type_spec: tff.TensorType) -> bool:
  """Whether the array has this type, and TFF writes its bytes."""
  return (
      _has_plain_bytes(type_spec)
      and value.dtype == np.dtype(type_spec.dtype.type)
      and has_shape(value.shape, type_spec)
  )


@functools.lru_cache
def _empty(dtype: type[np.generic]) -> executor_pb2.Value:
  """Returns TFF's message for an empty array."""
  type_spec = tff.TensorType(dtype, [0])
  zeros = np.zeros([0], object if dtype is np.str_ else dtype)
  return tff.framework.serialize_value(zeros, type_spec)[0]
