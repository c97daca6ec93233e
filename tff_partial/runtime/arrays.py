# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Values of TFF types as flat lists of arrays, which is how they are sent.

Processes of a cluster send each other lists of arrays and nothing else. Whoever
receives one knows the type that it must have, and checks the number, the dtypes
and the shapes of the arrays. So an answer stands for numbers and strings only.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Optional

from google.protobuf import message as protobuf_message
import numpy as np
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import executor_pb2

from tff_partial.runtime import messages


def flatten(value: Any, type_spec: tff.Type) -> list[np.ndarray]:
  """Returns the arrays of a value, in the order of its type.

  Args:
    value: A value that TFF accepts.
    type_spec: Its type.

  Returns:
    An array for every tensor of numbers. Strings and data sets become the bytes
    of TFF's message, uint8.
  """
  return list(_leaves(value, type_spec))


def _leaves(value: Any, type_spec: tff.Type) -> Iterator[np.ndarray]:
  if isinstance(type_spec, tff.FederatedType):
    members = [value] if type_spec.all_equal else value
    for member in members:
      yield from _leaves(member, type_spec.member)
  elif isinstance(type_spec, tff.StructType):
    parts = tff.structure.from_container(value)
    part_types = tff.structure.iter_elements(type_spec)
    for part, (_, part_type) in zip(parts, part_types, strict=True):
      yield from _leaves(part, part_type)
  elif _is_numeric(type_spec):
    yield np.asarray(value, type_spec.dtype.type)
  else:
    message, _ = tff.framework.serialize_value(value, type_spec)
    yield np.frombuffer(message.SerializeToString(), np.uint8)


def unflatten(
    arrays: Any,
    type_spec: tff.Type,
    *,
    num_clients: Optional[int] = None,
    allow_programs: bool = False,
) -> Any:
  """Makes a value from the arrays that `flatten` returned.

  Args:
    arrays: What was received.
    type_spec: The type that it must have.
    num_clients: Number of values that a value at clients has.
    allow_programs: Whether the sender may send data sets, which are programs.

  Returns:
    The value, in the containers of the type.

  Raises:
    messages.UnexpectedAnswerError: If the arrays are not those of the type.
  """
  reader = _Reader(arrays, num_clients, allow_programs)
  value = reader.read(type_spec)
  reader.check_end()
  return tff.types.type_to_py_container(value, type_spec)


class _Reader:
  """Takes one array after the other."""

  def __init__(
      self, arrays: Any, num_clients: Optional[int], allow_programs: bool
  ):
    if not isinstance(arrays, (list, tuple)):
      raise _unexpected('a list of arrays', type(arrays).__name__)
    self._arrays: Sequence[Any] = arrays
    self._num_read = 0
    self._num_clients = num_clients
    self._allow_programs = allow_programs

  def read(self, type_spec: tff.Type) -> Any:
    """Reads a value of this type."""
    if isinstance(type_spec, tff.FederatedType):
      if type_spec.all_equal:
        return self.read(type_spec.member)
      assert self._num_clients is not None
      return [self.read(type_spec.member) for _ in range(self._num_clients)]
    if isinstance(type_spec, tff.StructType):
      return tff.structure.Struct(
          [
              (name, self.read(part))
              for name, part in tff.structure.iter_elements(type_spec)
          ]
      )
    array = self._next(type_spec)
    if _is_numeric(type_spec):
      return array[()]  # A scalar is a number, as in TFF's own results.
    return self._read_message(array, type_spec)

  def check_end(self) -> None:
    """Checks that all arrays have been read."""
    if self._num_read != len(self._arrays):
      raise _unexpected(
          f'{self._num_read} arrays', f'{len(self._arrays)} of them'
      )

  def _next(self, type_spec: tff.Type) -> np.ndarray:
    """The next array, which must have this type."""
    if self._num_read == len(self._arrays):
      raise _unexpected(f'an array for {type_spec}', 'none')
    array = self._arrays[self._num_read]
    self._num_read += 1
    if not isinstance(array, np.ndarray):
      raise _unexpected(f'an array for {type_spec}', type(array).__name__)
    if _is_numeric(type_spec):
      ok = array.dtype == np.dtype(type_spec.dtype.type) and messages.has_shape(
          array.shape, type_spec
      )
    else:
      ok = array.dtype == np.uint8 and array.ndim == 1
    if not ok:
      raise _unexpected(str(type_spec), f'{array.dtype}{list(array.shape)}')
    return array

  def _read_message(self, array: np.ndarray, type_spec: tff.Type) -> Any:
    try:
      message = executor_pb2.Value.FromString(array.tobytes())
    except protobuf_message.DecodeError as error:
      raise _unexpected(str(type_spec), 'damaged bytes') from error
    if self._allow_programs:
      return tff.framework.deserialize_value(message, type_spec)[0]
    return messages.read(message, type_spec)


def _is_numeric(type_spec: tff.Type) -> bool:
  return isinstance(type_spec, tff.TensorType) and issubclass(
      type_spec.dtype.type, (np.number, np.bool_)
  )


def _unexpected(expected: str, found: str) -> messages.UnexpectedAnswerError:
  return messages.UnexpectedAnswerError(
      f'Expected {expected[:200]} from a process of the cluster, found {found}.'
      ' Do not use this cluster any more: a process is damaged, or somebody has'
      ' replaced it.'
  )
