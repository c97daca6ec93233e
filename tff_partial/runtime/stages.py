# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Divides a compiled computation into a few TensorFlow graphs, its stages.

TFF compiles a round to a program of about eighty small calls: most of them
select parts of structures, and the others run TensorFlow at the server, at
every client, or to add a client's value to a sum. Here this program is executed
once, with symbols in place of values, and every call of TensorFlow becomes part
of the graph of its stage:

  server 0 -> clients 0 -> sums 0 -> server 1 -> clients 1 -> ...

A stage is executed once, or once for each client. It needs nothing but what the
stages before it have computed, and what it computes is what later ones need.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import functools
from typing import Any, Optional, Union

import tensorflow as tf
import tensorflow_federated as tff

SERVER, CLIENTS, SUMS = range(3)  # In the order of execution.


class UnknownProgramError(Exception):
  """A computation has something that cannot be executed in stages."""


@dataclasses.dataclass(frozen=True, eq=False)
class Leaf:
  """A tensor that a stage computes.

  Attributes:
    stage: Which stage; `None` for the computation's arguments.
    tensor: In the stage's graph; for an argument its type.
    at_clients: Whether each client has a value of its own.
  """

  stage: Optional['Stage']
  tensor: Union[tf.Tensor, tff.TensorType]
  at_clients: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
  """A number in the program."""

  value: Any
  type_spec: tff.TensorType


@dataclasses.dataclass(frozen=True)
class Placed:
  """A value at the server or at clients."""

  member: Any


# Leaves in structures, or functions.
Symbol = Any


class Stage:
  """A graph, with what goes in and what comes out.

  Attributes:
    level: Number of aggregations before it.
    kind: `SERVER`, `CLIENTS` or `SUMS`.
    graph: The graph.
    inputs: Placeholders, by the leaf whose value they take.
    outputs: The leaves of this stage that others need, in order.
    sums: What is added up: the initial value, its placeholder, and the new sum.
  """

  def __init__(self, level: int, kind: int):
    self.level, self.kind = level, kind
    self.graph = tf.Graph()
    self.inputs: dict[Leaf, tf.Tensor] = {}
    self.outputs: dict[Leaf, None] = {}
    self.sums: list[tuple[Symbol, tf.Tensor, tf.Tensor]] = []

  def tensor(self, symbol: Symbol) -> tf.Tensor:
    """The tensor of a leaf or a constant in this stage's graph."""
    if isinstance(symbol, Constant):
      with self.graph.as_default():
        return tf.constant(symbol.value, symbol.type_spec.dtype)
    if not isinstance(symbol, Leaf):
      raise UnknownProgramError(f'a {type(symbol).__name__} as a tensor')
    if symbol.stage is self:
      return symbol.tensor
    if symbol not in self.inputs:
      if symbol.stage is not None:
        symbol.stage.outputs[symbol] = None
      with self.graph.as_default():
        self.inputs[symbol] = tf.compat.v1.placeholder(
            symbol.tensor.dtype, symbol.tensor.shape
        )
    return self.inputs[symbol]

  def leaf(self, tensor: tf.Tensor) -> Leaf:
    return Leaf(self, tensor, self.kind == CLIENTS)


class Stages:
  """The stages of a computation.

  Attributes:
    parameter: What stands for the argument: leaves in structures.
    result: What stands for the result.
  """

  def __init__(self, computation: tff.framework.ConcreteComputation):
    """Divides a computation.

    Args:
      computation: Compiled for TFF's native runtime.

    Raises:
      UnknownProgramError: If something in it is not known here.
    """
    self._stages: dict[tuple[int, int], Stage] = {}
    self._num_imports = 0
    block = computation.to_building_block()
    self.parameter: Symbol = None
    function = self._evaluate(block, {})
    parameter_type = computation.type_signature.parameter
    if parameter_type is not None:
      self.parameter = _argument(parameter_type)
    at_server = functools.partial(self._stage_for, SERVER)
    self.result = function(self.parameter, at_server)
    for leaf in leaves(self.result):
      if isinstance(leaf, Leaf) and leaf.stage is not None:
        leaf.stage.outputs[leaf] = None

  def __iter__(self) -> Iterator[Stage]:
    """The stages in the order of execution."""
    return iter(self._stages[key] for key in sorted(self._stages))

  def _stage(self, level: int, kind: int) -> Stage:
    if (level, kind) not in self._stages:
      self._stages[level, kind] = Stage(level, kind)
    return self._stages[level, kind]

  def _stage_for(self, kind: int, symbols: Sequence[Symbol]) -> Stage:
    """The first stage of a kind that can have all of these inputs."""
    if kind == SERVER and any(
        isinstance(s, Leaf) and s.at_clients for s in symbols
    ):
      raise UnknownProgramError("a client's value at the server")
    return self._stage(max(map(_level, symbols), default=0), kind)

  def _evaluate(self, block: Any, scope: Mapping[str, Symbol], stage_fn=None):
    """The symbol of an expression.

    Args:
      block: The expression.
      scope: The symbols of variables.
      stage_fn: Maps what a call of TensorFlow takes to its stage.
    """
    framework = tff.framework
    evaluate = lambda part: self._evaluate(part, scope, stage_fn)
    if isinstance(block, framework.Block):
      scope = dict(scope)
      for name, value in block.locals:
        scope[name] = self._evaluate(value, scope, stage_fn)
      return self._evaluate(block.result, scope, stage_fn)
    if isinstance(block, framework.Reference):
      return scope[block.name]
    if isinstance(block, framework.Selection):
      source = evaluate(block.source)
      return source[block.index if block.name is None else block.name]
    if isinstance(block, framework.Struct):
      return tff.structure.Struct(
          [(n, evaluate(v)) for n, v in tff.structure.iter_elements(block)]
      )
    if isinstance(block, framework.Call):
      argument = block.argument and evaluate(block.argument)
      return evaluate(block.function)(argument, stage_fn)
    if isinstance(block, framework.Lambda):

      def call(argument, stage_fn):
        inner = {**scope, block.parameter_name: argument}
        return self._evaluate(block.result, inner, stage_fn)

      return call
    if isinstance(block, framework.CompiledComputation):
      return functools.partial(self._call_tensorflow, block)
    if isinstance(block, framework.Intrinsic):
      if block.uri not in _INTRINSICS:
        raise UnknownProgramError(block.uri)
      return functools.partial(_INTRINSICS[block.uri], self)
    if isinstance(block, framework.Literal):
      return Constant(block.value, block.type_signature)
    raise UnknownProgramError(type(block).__name__)

  def _call_tensorflow(self, block, argument: Symbol, stage_fn) -> Symbol:
    """Makes a computation part of a stage's graph."""
    stage = stage_fn(leaves(argument))
    function = block.proto.tensorflow
    names: list[str] = []
    symbols: list[Symbol] = []
    if function.HasField('parameter'):
      _pair(function.parameter, argument, names, symbols)
    inputs = dict(zip(names, map(stage.tensor, symbols)))
    self._num_imports += 1
    prefix = f'part_{self._num_imports}'
    with stage.graph.as_default():
      if function.session_token_tensor_name:
        inputs[function.session_token_tensor_name] = tf.constant('')
      graph = _own_variables(function, set(inputs), prefix)
      result_names = _names(function.result)
      tensors = tf.graph_util.import_graph_def(
          graph, input_map=inputs, return_elements=result_names, name=prefix
      )
    remaining = iter(map(stage.leaf, tensors))
    return _like(function.result, block.type_signature.result, remaining)

  def _map(self, kind: int, argument: Symbol, stage_fn) -> Placed:
    del stage_fn  # The placement decides.
    function, value = argument
    return Placed(
        function(value.member, functools.partial(self._stage_for, kind))
    )

  def _map_all_equal(self, argument: Symbol, stage_fn) -> Placed:
    at_clients = any(
        isinstance(s, Leaf) and s.at_clients for s in leaves(argument[1])
    )
    return self._map(CLIENTS if at_clients else SERVER, argument, stage_fn)

  def _eval(self, kind: int, function: Symbol, stage_fn) -> Placed:
    del stage_fn  # The placement decides.
    return Placed(function(None, functools.partial(self._stage_for, kind)))

  def _aggregate(self, argument: Symbol, stage_fn) -> Placed:
    del stage_fn  # The placement decides.
    value, zero, accumulate, _, report = argument  # There is one sum to merge.
    inputs = [*leaves(value), *leaves(zero)]
    stage = self._stage(max(map(_level, inputs), default=0), SUMS)
    before = map_leaves(
        lambda leaf: stage.leaf(_placeholder_for_sum(stage, leaf)), zero
    )
    after = accumulate(
        tff.structure.Struct.unnamed(before, value.member), lambda _: stage
    )
    sums = []
    for initial, old, new in zip(leaves(zero), leaves(before), leaves(after)):
      with stage.graph.as_default():
        leaf = stage.leaf(tf.identity(stage.tensor(new)))
      if isinstance(initial, Leaf) and initial.stage is not None:
        initial.stage.outputs[initial] = None
      stage.sums.append((initial, old.tensor, leaf))
      sums.append(leaf)
    remaining = iter(sums)
    total = map_leaves(lambda _: next(remaining), after)
    return Placed(report(total, functools.partial(self._stage_for, SERVER)))


def _zip(stages: Stages, argument: Symbol, stage_fn) -> Placed:
  """A structure of placed values as one placed structure."""
  del stages, stage_fn  # Nothing is computed.

  def member(part):
    if isinstance(part, Placed):
      return part.member
    return tff.structure.Struct(
        [(n, member(v)) for n, v in tff.structure.iter_elements(part)]
    )

  return Placed(member(argument))


_INTRINSICS: Mapping[str, Callable[..., Symbol]] = {
    'federated_aggregate': Stages._aggregate,
    'federated_apply': lambda s, a, f: s._map(SERVER, a, f),
    'federated_broadcast': lambda s, a, f: a,
    'federated_eval_at_clients': lambda s, a, f: s._eval(CLIENTS, a, f),
    'federated_eval_at_server': lambda s, a, f: s._eval(SERVER, a, f),
    'federated_map': lambda s, a, f: s._map(CLIENTS, a, f),
    'federated_map_all_equal': Stages._map_all_equal,
    'federated_value_at_clients': lambda s, a, f: Placed(a),
    'federated_value_at_server': lambda s, a, f: Placed(a),
    'federated_zip_at_clients': _zip,
    'federated_zip_at_server': _zip,
}


def leaves(symbol: Symbol) -> list[Symbol]:
  """The leaves and constants of a symbol, in order."""
  if symbol is None:
    return []
  if isinstance(symbol, Placed):
    return leaves(symbol.member)
  if isinstance(symbol, tff.structure.Struct):
    return [leaf for part in symbol for leaf in leaves(part)]
  if not isinstance(symbol, (Leaf, Constant)):
    raise UnknownProgramError(f'a {type(symbol).__name__} as a value')
  return [symbol]


def map_leaves(fn: Callable[[Symbol], Any], symbol: Symbol) -> Any:
  """Replaces every leaf and constant of a structure."""
  if isinstance(symbol, tff.structure.Struct):
    return tff.structure.Struct(
        [(n, map_leaves(fn, v)) for n, v in tff.structure.iter_elements(symbol)]
    )
  return fn(symbol)


def _level(symbol: Symbol) -> int:
  """The level of the first stage after the one that computes a leaf."""
  if not isinstance(symbol, Leaf) or symbol.stage is None:
    return 0
  return symbol.stage.level + (symbol.stage.kind == SUMS)


def _argument(type_spec: tff.Type, at_clients: bool = False) -> Symbol:
  """The leaves of an argument."""
  if isinstance(type_spec, tff.TensorType):
    return Leaf(None, type_spec, at_clients)
  if isinstance(type_spec, tff.StructType):
    return tff.structure.Struct(
        [
            (name, _argument(part, at_clients))
            for name, part in tff.structure.iter_elements(type_spec)
        ]
    )
  if isinstance(type_spec, tff.FederatedType):
    return Placed(_argument(type_spec.member, not type_spec.all_equal))
  raise UnknownProgramError(type_spec.compact_representation())


def _placeholder_for_sum(stage: Stage, initial: Symbol) -> tf.Tensor:
  """A placeholder of any shape: a sum may grow with each client."""
  if isinstance(initial, Constant):
    initial = Leaf(None, initial.type_spec)
  with stage.graph.as_default():
    return tf.compat.v1.placeholder(initial.tensor.dtype)


def _pair(
    binding: Any, argument: Symbol, names: list[str], symbols: list[Symbol]
) -> None:
  """Pairs the names of a graph's inputs with what goes in."""
  kind = binding.WhichOneof('binding')
  if kind == 'tensor':
    names.append(binding.tensor.tensor_name)
    symbols.append(argument)
  elif kind == 'struct':
    for part, value in zip(binding.struct.element, argument):
      _pair(part, value, names, symbols)
  else:
    raise UnknownProgramError(str(kind))


def _names(binding: Any) -> list[str]:
  """The names of a graph's outputs."""
  kind = binding.WhichOneof('binding')
  if kind == 'tensor':
    return [binding.tensor.tensor_name]
  if kind == 'struct':
    return [name for part in binding.struct.element for name in _names(part)]
  raise UnknownProgramError(str(kind))


def _like(binding: Any, type_spec: Any, remaining: Iterator[Leaf]) -> Symbol:
  """A graph's outputs in the structure of their type."""
  if binding.WhichOneof('binding') == 'tensor':
    return next(remaining)
  return tff.structure.Struct(
      [
          (name, _like(part, part_type, remaining))
          for part, (name, part_type) in zip(
              binding.struct.element, tff.structure.iter_elements(type_spec)
          )
      ]
  )


def _own_variables(
    function: Any, inputs: set[str], prefix: str
) -> tf.compat.v1.GraphDef:
  """A computation's graph, whose variables start from their initial values.

  TFF runs the operation that sets them before the others, in a session that no
  other computation has. So here all others depend on it, and variables have
  names of their own. Nothing waits for an input to be there, which it always
  is: what replaces inputs when a graph is imported does not replace these
  dependencies, and TensorFlow makes some, such as that of `x + 0 * y` on y.
  """
  graph = tf.compat.v1.GraphDef()
  function.graph_def.Unpack(graph)
  source = lambda name: name.removeprefix('^').split(':')[0]
  waits = {f'^{source(name)}' for name in inputs}
  for node in graph.node:
    kept = [name for name in node.input if name not in waits]
    if len(kept) < len(node.input):
      node.input[:] = kept
  by_name = {node.name: node for node in graph.node}
  for node in graph.node:
    if 'shared_name' in node.attr and node.attr['shared_name'].s:
      node.attr['shared_name'].s = f'{prefix}/'.encode() + (
          node.attr['shared_name'].s
      )
  if not function.initialize_op:
    return graph
  first = set()
  waiting = [function.initialize_op]
  while waiting:
    name = waiting.pop()
    if name not in first:
      first.add(name)
      waiting.extend(map(source, by_name[name].input))
  ready = first | set(map(source, inputs))
  for node in graph.node:
    if node.name not in ready and all(source(x) in ready for x in node.input):
      node.input.append(f'^{function.initialize_op}')
  return graph
