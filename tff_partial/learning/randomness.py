# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Randomness inside a model, seeded per training step.

TensorFlow's stateful random numbers depend on which clients ran before, so that
neither a repeated nor a resumed run would have the same bits. Here they are a
function of the seed of the step and of the position of the draw in the model:
the training step opens a `scope` around the call of the model. In it,

  * Keras's random layers, such as `Dropout`, `GaussianNoise` and `RandomFlip`,
    draw from the step's seed;
  * layers of one's own get a seed from `next_seed`;
  * adapters drop some of their outputs if the step says so, which [1, Appendix]
    tries against personalization that hurts clients.

What draws in another way is refused (`check_graph`).

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import contextvars
import itertools
from typing import Any, NamedTuple, Optional

import tensorflow as tf

from tff_partial import errors
from tff_partial.learning import keras_layers

SeedFn = Callable[[], Any]  # Returns an int32 [2] seed.

# Stateful operations with random results have this attribute, or these names.
_SEED_ATTRIBUTE = 'seed2'
_GENERATORS = (
    'Rng',
    'StatefulRandom',
    'StatefulStandard',
    'StatefulTruncated',
    'StatefulUniform',
)


class _Step(NamedTuple):
  """What is random in the current step.

  Attributes:
    seed_fn: Returns the seed of the step.
    numbers: Numbers of the draws.
    adapter_dropout: The fraction of the outputs of adapters that is dropped.
  """

  seed_fn: SeedFn
  numbers: Iterator[int]
  adapter_dropout: float


_step: contextvars.ContextVar[Optional[_Step]] = contextvars.ContextVar(
    'step', default=None
)


@contextlib.contextmanager
def scope(
    seed_fn: SeedFn,
    *,
    layers: Sequence[tf.keras.layers.Layer] = (),
    adapter_dropout: float = 0.0,
) -> Iterator[None]:
  """Makes what is random repeatable while a model is called.

  Args:
    seed_fn: Returns an int32 [2] seed, which determines all draws. It is called
      only if something is drawn.
    layers: The model's random layers, from `layers_of`.
    adapter_dropout: The fraction that `drop_some` drops, from 0 to below 1.
  """
  token = _step.set(_Step(seed_fn, itertools.count(), adapter_dropout))
  own = [layer._random_generator for layer in layers]
  try:
    for layer in layers:
      layer._random_generator = _Generator()
    yield
  finally:
    for layer, generator in zip(layers, own):
      layer._random_generator = generator
    _step.reset(token)


def layers_of(keras_model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
  """The layers of a model, at any depth, that draw from Keras's generators."""
  return [
      layer
      for layer in keras_layers.inside(keras_model)
      if isinstance(layer, tf.keras.__internal__.layers.BaseRandomLayer)
  ]


def next_seed() -> tf.Tensor:
  """Returns a seed for a random function of TensorFlow, in a layer's `call`.

  Use it in layers of your own:

    tf.random.stateless_normal(tf.shape(x), seed=tff_partial.next_seed())

  In a training step, each call returns another seed, which depends on the
  client, on the step, and on the number of earlier calls in the step. Outside
  of one, as in evaluation and in exported models, it returns zeros.

  Returns:
    int32 [2].

  Raises:
    errors.SettingsError: If the clients' examples come without a seed.
  """
  step = _step.get()
  if step is None:
    return tf.zeros([2], tf.int32)
  return tf.random.experimental.stateless_fold_in(
      step.seed_fn(), next(step.numbers)
  )


@tf.autograph.experimental.do_not_convert
def drop_some(features: tf.Tensor) -> tf.Tensor:
  """Sets a random fraction of the features to 0, divides others by 1 - rate.

  The rate is the scope's `adapter_dropout`. Each call in a scope drops other
  features. Without a scope nothing is dropped.
  """
  step = _step.get()
  if step is None or not step.adapter_dropout:
    return features
  return tf.nn.experimental.stateless_dropout(
      features, step.adapter_dropout, next_seed(), rng_alg='philox'
  )


class _Generator:
  """Stands in for Keras's `RandomGenerator` in a step."""

  def random_normal(self, shape, mean=0.0, stddev=1.0, dtype=None, nonce=None):
    del nonce  # For variables in shards.
    dtype = dtype or tf.keras.backend.floatx()
    return tf.random.stateless_normal(
        shape, next_seed(), mean, stddev, dtype, alg='philox'
    )

  def truncated_normal(
      self, shape, mean=0.0, stddev=1.0, dtype=None, nonce=None
  ):
    del nonce
    dtype = dtype or tf.keras.backend.floatx()
    return tf.random.stateless_truncated_normal(
        shape, next_seed(), mean, stddev, dtype, alg='philox'
    )

  def random_uniform(
      self, shape, minval=0.0, maxval=None, dtype=None, nonce=None
  ):
    del nonce
    dtype = dtype or tf.keras.backend.floatx()
    return tf.random.stateless_uniform(
        shape, next_seed(), minval, maxval, dtype, alg='philox'
    )

  def dropout(self, inputs, rate, noise_shape=None):
    return tf.nn.experimental.stateless_dropout(
        inputs, rate, next_seed(), rng_alg='philox', noise_shape=noise_shape
    )

  def make_seed_for_stateless_op(self):
    return next_seed()


def check_graph(graph: tf.Graph) -> None:
  """Checks that nothing in a graph draws random numbers that do not repeat.

  Args:
    graph: What a model computes for a batch, or a computation that contains it.

  Raises:
    errors.SettingsError: If something does, naming the layers.
  """
  found = sorted({_layer_of(node.name) for node in _random_nodes(graph)})
  if found:
    raise errors.SettingsError(
        f'Expected random numbers that repeat, found others in {found}, so that'
        ' a run with the same seed, or one that is resumed, would differ. Use'
        ' Keras layers such as GaussianNoise, or'
        ' tf.random.stateless_normal(..., seed=tff_partial.next_seed()) and'
        ' functions like it.'
    )


def repeatable(value: tf.Tensor, seed: int, number: int) -> tf.Tensor:
  """A value that does not change if it is computed again.

  Args:
    value: A tensor of a graph, computed from constants.
    seed: Determines the result, if it is random.
    number: Together with the seed; another one for each value.

  Returns:
    The value itself if it is not random, else a constant.
  """
  if not _depends_on_randomness(value.op):
    return value
  graph_def = tf.compat.v1.graph_util.extract_sub_graph(
      value.graph.as_graph_def(), [value.op.name]
  )
  draws = (n for n in graph_def.node if _SEED_ATTRIBUTE in n.attr)
  for position, node in enumerate(draws):
    if not node.attr[_SEED_ATTRIBUTE].i:  # Else it has a seed of its own.
      node.attr['seed'].i = seed
      node.attr[_SEED_ATTRIBUTE].i = 1 + number * 1000 + position
  with tf.Graph().as_default() as graph:
    (copy,) = tf.import_graph_def(graph_def, return_elements=[value.name])
    with tf.compat.v1.Session(graph=graph) as session:
      result = session.run(copy)
  return tf.constant(result)


def _depends_on_randomness(op: tf.Operation) -> bool:
  """Whether an operation, or one that it depends on, is random."""
  waiting, seen = [op], {op}
  while waiting:
    op = waiting.pop()
    if _is_random(op.type, op.node_def.attr):
      return True
    inputs = {t.op for t in op.inputs} | set(op.control_inputs)
    waiting.extend(inputs - seen)
    seen |= inputs
  return False


def _random_nodes(graph: tf.Graph) -> list[Any]:
  graph_def = graph.as_graph_def()
  nodes = list(graph_def.node)
  for function in graph_def.library.function:
    nodes.extend(function.node_def)
  return [n for n in nodes if _is_random(n.op, n.attr)]


def _is_random(op: str, attributes: Any) -> bool:
  """Whether an operation draws random numbers that depend on earlier draws."""
  return _SEED_ATTRIBUTE in attributes or op.startswith(_GENERATORS)


def _layer_of(name: str) -> str:
  """The layer in the name of a node such as `model/noise/random_normal/mul`."""
  return name.rpartition('/')[0] or name
