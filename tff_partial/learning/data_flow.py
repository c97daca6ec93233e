# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What leaves clients in a round, read from the computation itself.

TFF brings a computation into call-dominant form: a list of calls, in which
everything federated is visible and only the local computations are opaque. The
flow of data between the calls is followed from the result of a client's work
to each value that is not kept at clients. This does not depend on types: a
personal variable is found even if a shared one has the same type, or if a
function of it is a scalar like any metric.

Inside a client's work the flow is not followed. That its update and its metrics
depend on personal variables through the model's outputs only is for tests to
show (`tests/learning/data_flow_test.py`).
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, Union

import tensorflow_federated as tff

from tff_partial.learning import local_update

# Intrinsics that take values of clients and keep them there. Any other one is
# taken for one that sends them, also if it comes with a later TFF.
_STAYS_AT_CLIENTS = frozenset(
    [
        tff.framework.FEDERATED_APPLY.uri,
        tff.framework.FEDERATED_MAP.uri,
        tff.framework.FEDERATED_MAP_ALL_EQUAL.uri,
        tff.framework.FEDERATED_ZIP_AT_CLIENTS.uri,
    ]
)
_MAPS = _STAYS_AT_CLIENTS - {tff.framework.FEDERATED_ZIP_AT_CLIENTS.uri}
_WORK_FIELDS = local_update.ClientOutput._fields

# Which values of clients a value is computed from, by name, for each part of a
# structure. Values of the server come from none.
_Origins = Union[frozenset[str], '_Parts', '_Function']


@dataclasses.dataclass(frozen=True)
class SentValue:
  """A value that each client sends to the server.

  Attributes:
    uri: TFF's name of the intrinsic that takes it, such as 'federated_sum'.
    type_spec: The type of one client's value.
    origins: What it is computed from: parts of the result of a client's work,
      such as 'update/0' or 'metrics/loss/1'; or, with 'argument' in front, what
      reaches the server without passing through the work, such as
      'argument/personal/trainable/0'.
  """

  uri: str
  type_spec: tff.Type
  origins: frozenset[str]

  @property
  def fields(self) -> frozenset[str]:
    """The first parts of the origins: 'update', 'weight', 'metrics', ..."""
    return frozenset(origin.split('/')[0] for origin in self.origins)

  @property
  def is_secure(self) -> bool:
    """Whether the server learns no more than the sum over clients."""
    return 'secure' in self.uri


def leaves_clients(computation: tff.Computation) -> list[SentValue]:
  """Finds every value that leaves the clients in a computation.

  Args:
    computation: `PartialProcess.next`, a part of `PartialProcess.pieces`, or
      another federated computation. A client's work is recognized by the names
      of its results, those of `local_update.ClientOutput`.

  Returns:
    The values in the order of the computation. An argument that is computed
    from several is one value. Values that do not depend on a client, such as
    constants, are left out.
  """
  block = tff.framework.to_call_dominant(computation.to_building_block())
  analysis = _Analysis()
  function = analysis.visit(block, {})
  if isinstance(function, _Function):
    analysis.call(function, _origins_of_arguments(function.parameter_type))
  return analysis.found


@dataclasses.dataclass(frozen=True)
class _Parts:
  """The origins of the parts of a structure, in order."""

  parts: tuple[_Origins, ...]


@dataclasses.dataclass(frozen=True)
class _Function:
  """A function of TFF's language with the values that its body refers to."""

  parameter_name: Any
  parameter_type: Any
  body: tff.framework.ComputationBuildingBlock
  scope: Mapping[str, _Origins]


def _union(origins: _Origins) -> frozenset[str]:
  """The origins of a structure as a whole."""
  if isinstance(origins, _Parts):
    return frozenset().union(*map(_union, origins.parts))
  return frozenset() if isinstance(origins, _Function) else origins


def _labelled(type_spec: tff.Type, path: Sequence[str]) -> _Origins:
  """Each part of a value has itself as its origin, by its path."""
  if isinstance(type_spec, tff.StructType):
    return _Parts(
        tuple(
            _labelled(part, [*path, name or str(i)])
            for i, (name, part) in enumerate(
                tff.structure.iter_elements(type_spec)
            )
        )
    )
  return frozenset(['/'.join(path)])


def _origins_of_arguments(type_spec: Any) -> _Origins:
  """The origins of what a round is called with."""

  def visit(part, path):
    if isinstance(part, tff.FederatedType):
      if part.placement is tff.CLIENTS:
        return _labelled(part.member, path)
      return frozenset()
    if isinstance(part, tff.StructType):
      return _Parts(
          tuple(
              visit(member, [*path, name or str(i)])
              for i, (name, member) in enumerate(
                  tff.structure.iter_elements(part)
              )
          )
      )
    return frozenset()

  return visit(type_spec, ['argument'])


def _is_work(type_spec: tff.Type) -> bool:
  """Whether this is the type of the result of a client's work."""
  if not isinstance(type_spec, tff.StructType):
    return False
  names = [name for name, _ in tff.structure.iter_elements(type_spec)]
  return tuple(names) == _WORK_FIELDS


class _Analysis:
  """Follows values through the blocks of a computation.

  Attributes:
    found: What leaves clients.
  """

  def __init__(self):
    self.found: list[SentValue] = []

  def visit(
      self,
      block: tff.framework.ComputationBuildingBlock,
      scope: Mapping[str, _Origins],
  ) -> _Origins:
    """Returns the origins of a block's value.

    Args:
      block: The block.
      scope: The origins of the values that are in scope, by name.
    """
    framework = tff.framework
    if isinstance(block, framework.Reference):
      return scope[block.name]
    if isinstance(block, framework.Selection):
      source = self.visit(block.source, scope)
      if isinstance(source, _Parts):
        return source.parts[block.as_index()]
      return source
    if isinstance(block, framework.Struct):
      return _Parts(
          tuple(
              self.visit(part, scope)
              for _, part in tff.structure.iter_elements(block)
          )
      )
    if isinstance(block, framework.Block):
      for name, value in block.locals:
        scope = {**scope, name: self.visit(value, scope)}
      return self.visit(block.result, scope)
    if isinstance(block, framework.Lambda):
      return _Function(
          block.parameter_name, block.parameter_type, block.result, scope
      )
    if isinstance(block, framework.Call):
      argument: _Origins = frozenset()
      if block.argument is not None:
        argument = self.visit(block.argument, scope)
      if isinstance(block.function, framework.Intrinsic):
        return self._intrinsic(block, argument)
      return self.call(self.visit(block.function, scope), argument)
    return frozenset()  # Literals, and local computations by themselves.

  def call(self, function: _Origins, argument: _Origins) -> _Origins:
    """The origins of a result; an opaque function mixes all arguments."""
    if isinstance(function, _Function):
      return self.visit(
          function.body, {**function.scope, function.parameter_name: argument}
      )
    return _union(argument)

  def _intrinsic(
      self, block: tff.framework.Call, argument: _Origins
  ) -> _Origins:
    uri = block.function.uri
    if uri in _MAPS:
      assert isinstance(argument, _Parts)
      function, value = argument.parts
      member = block.type_signature.member
      if _union(value) and _is_work(member):
        return _labelled(member, [])
      return self.call(function, value)
    if uri in _STAYS_AT_CLIENTS:
      return argument
    origins = _union(argument)
    if origins:
      self.found.append(SentValue(uri, _sent_type(block), origins))
    return frozenset()


def _sent_type(block: tff.framework.Call) -> tff.Type:
  """The type of a client's value among the arguments of an intrinsic."""
  parameter = block.function.type_signature.parameter
  candidates = [parameter]
  if isinstance(parameter, tff.StructType):
    candidates = [part for _, part in tff.structure.iter_elements(parameter)]
  [sent] = [
      candidate.member
      for candidate in candidates
      if isinstance(candidate, tff.FederatedType)
      and candidate.placement is tff.CLIENTS
  ]
  return sent
