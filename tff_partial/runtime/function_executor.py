# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A TFF executor that executes whole computations by functions in Python.

Like `executor.py` and `messages.py`, it needs private parts of TFF.
"""

from collections.abc import Callable, Mapping
from typing import Any, Optional

import tensorflow_federated as tff
from tensorflow_federated.python.core.impl.executors import executor_base
from tensorflow_federated.python.core.impl.executors import executor_value_base

# Takes the argument of a computation and the number of clients.
Program = Callable[[Any, int], Any]


class Executor(executor_base.Executor):
  """Calls one function for a computation."""

  def __init__(
      self,
      create_program: Callable[[Any], Program],
      cardinalities: Mapping[Any, int],
  ):
    """Takes what executes computations.

    Args:
      create_program: Maps a computation to a function that executes it.
      cardinalities: By placement, the number of participants.
    """
    self._create_program = create_program
    self._num_clients = cardinalities.get(tff.CLIENTS, 0)

  def close(self) -> None:
    pass

  async def create_value(self, value, type_spec=None):
    return _Value(value, type_spec)

  async def create_struct(self, elements):
    parts = list(
        tff.structure.iter_elements(tff.structure.from_container(elements))
    )
    return _Value(
        tff.structure.Struct([(name, part.reference) for name, part in parts]),
        tff.StructType([(name, part.type_signature) for name, part in parts]),
    )

  async def create_selection(self, source, index):
    return _Value(source.reference[index], source.type_signature[index])

  async def create_call(self, comp, arg=None):
    program = self._create_program(comp.reference)
    return _Value(
        program(None if arg is None else arg.reference, self._num_clients),
        comp.type_signature.result,
    )


class _Value(executor_value_base.ExecutorValue):
  """A value in this process."""

  def __init__(self, value: Any, type_spec: Optional[tff.Type]):
    self._value = value
    self._type = type_spec

  @property
  def type_signature(self):
    return self._type

  @property
  def reference(self):
    return self._value

  async def compute(self):
    return self._value
