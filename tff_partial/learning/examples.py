# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A client's examples inside a computation, and the loop over their batches.

Two forms, one loop body. `Tensors` hands all of a client's examples to the
computation at once, with a seed for their order, and cuts batches in the graph;
`Sequences` is TFF's usual `tf.data.Dataset` of batches. The first spares about
5 ms a client of starting a dataset and its order can be reproduced; the second
is for clients whose examples do not fit in memory.
"""

import abc
import collections
from collections.abc import Callable
import dataclasses
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tree

from tff_partial import errors

# (batch, seed int32 [2]) -> batch: augmentation, casts; inside the graph.
PrepareFn = Callable[[Any, tf.Tensor], Any]
# (state, batch) -> state.
StepFn = Callable[[Any, Any], Any]


class ClientExamples(abc.ABC):
  """How a client's examples enter a computation and are cut into batches."""

  @abc.abstractmethod
  def type(self, input_spec: Any) -> tff.Type:
    """The TFF type of a client's examples for a model with this input."""

  @abc.abstractmethod
  def check(self, examples: Any, input_spec: Any) -> None:
    """Raises ValueError if a client's examples do not fit this form."""

  @abc.abstractmethod
  def value(self, examples: Any, seed: np.ndarray) -> Any:
    """A value of `type` from a client's examples and an int32 [2] seed."""

  def step_seed(self, examples: Any, phase: int, step: Any) -> Any:
    """An int32 [2] seed for what is random in a step's model.

    Args:
      examples: A value of `type`.
      phase: As given to `reduce`.
      step: How many steps of the phase came before, an integer scalar.
    """
    fold_in = tf.random.experimental.stateless_fold_in
    # Apart from the seeds that batches are cut and prepared with.
    seed = fold_in(fold_in(examples['seed'], phase), -2)
    return fold_in(seed, tf.cast(step, tf.int32))

  def take(self, examples: Any, positions: np.ndarray) -> Any:
    """Some of a client's examples, by position, in the form they have."""
    return tf.nest.map_structure(lambda array: array[positions], examples)

  @abc.abstractmethod
  def reduce(
      self,
      examples: Any,
      state: Any,
      step_fn: StepFn,
      *,
      epochs: int = 1,
      max_steps: Optional[int] = None,
      phase: int = 0,
      training: bool = True,
  ) -> Any:
    """Applies `step_fn` to one batch after the other.

    Args:
      examples: A value of `type`.
      state: Tensors, in any structure, that `step_fn` takes and returns.
      step_fn: `(state, batch) -> state`.
      epochs: How often every example is seen.
      max_steps: At most so many batches over all epochs; `None` is no limit.
      phase: Which pass over the examples this is; passes with different
        numbers see them in different orders.
      training: Whether to shuffle and to augment.

    Returns:
      The last state.
    """


@dataclasses.dataclass(frozen=True)
class Tensors(ClientExamples):
  """All examples as tensors `[examples, ...]`, batches cut in the graph.

  A client's value is `OrderedDict(examples=OrderedDict(x=..., y=...),
  seed=int32[2])`. The order of epoch `e` of phase `p` is a function of the
  seed, `p` and `e` alone. The last batch of an epoch may be smaller.

  Attributes:
    batch_size: Examples a step.
    shuffle: Whether training sees the examples in a new order each epoch.
    max_examples: Training uses at most so many, the first, of the examples.
    size_fn: Gives the size of each example, [examples], from all of them. With
      it training cuts batches of examples of about one size and shuffles the
      batches, so that cutting each to its largest leaves little padding.
    prepare_train: Maps a training batch, with a seed of its own.
    prepare_test: Maps a test batch.
    element_spec: The type of one example as handed over, if the prepare
      functions change it; otherwise the model's input.
  """

  batch_size: int
  shuffle: bool = True
  max_examples: Optional[int] = None
  size_fn: Optional[Callable[[Any], tf.Tensor]] = None
  prepare_train: Optional[PrepareFn] = None
  prepare_test: Optional[PrepareFn] = None
  element_spec: Optional[Any] = None

  def __post_init__(self):
    for name in ('batch_size', 'max_examples'):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise errors.SettingsError(
            f'Expected {name} of at least 1, found {value}.'
        )

  def type(self, input_spec: Any) -> tff.Type:
    return tff.types.to_type(
        collections.OrderedDict(
            examples=tff.types.tensorflow_to_type(self._spec(input_spec)),
            seed=tff.TensorType(np.int32, (2,)),
        )
    )

  def _spec(self, input_spec: Any) -> Any:
    if self.element_spec is None:
      return input_spec
    return tf.nest.map_structure(
        lambda s: tf.TensorSpec([None, *s.shape], s.dtype), self.element_spec
    )

  def check(self, examples: Any, input_spec: Any) -> None:
    expected = self._spec(input_spec)
    found = tf.nest.map_structure(
        lambda a: tf.TensorSpec(np.shape(a), np.asarray(a).dtype), examples
    )
    try:
      fits = tf.nest.map_structure(
          lambda e, f: e.is_compatible_with(f), expected, found
      )
    except (TypeError, ValueError):  # Not even the same structure.
      fits = [False]
    lengths = {s.shape[0] for s in tf.nest.flatten(found) if s.shape.rank}
    if not all(tf.nest.flatten(fits)) or len(lengths) != 1:
      raise errors.SettingsError(
          f'Expected examples {_format(expected)}, found {_format(found)}.'
      )

  def value(self, examples: Any, seed: np.ndarray) -> Any:
    return collections.OrderedDict(examples=examples, seed=seed)

  def reduce(
      self,
      examples: Any,
      state: Any,
      step_fn: StepFn,
      *,
      epochs: int = 1,
      max_steps: Optional[int] = None,
      phase: int = 0,
      training: bool = True,
  ) -> Any:
    seed = tf.random.experimental.stateless_fold_in(examples['seed'], phase)
    tensors = examples['examples']
    num_examples = tf.shape(tf.nest.flatten(tensors)[0])[0]
    if training and self.max_examples is not None:
      num_examples = tf.minimum(num_examples, self.max_examples)
    steps_per_epoch = -(-num_examples // self.batch_size)
    steps = epochs * steps_per_epoch
    order = tf.tile(tf.range(num_examples)[tf.newaxis], [epochs, 1])
    batches = tf.tile(tf.range(steps_per_epoch)[tf.newaxis], [epochs, 1])
    if training and self.shuffle:
      # Sorting random keys is a shuffle whose result depends on the seed only.
      keys = tf.random.stateless_uniform([epochs, num_examples], seed)
      if self.size_fn is not None:
        # Sizes times a random factor from 1 to 4/3: neighbours are of about one
        # size, and not the same in each epoch.
        sizes = self.size_fn(tensors)[:num_examples]
        keys = tf.cast(sizes, tf.float32) * (3 + keys)
        batches = tf.argsort(
            tf.random.stateless_uniform(
                [epochs, steps_per_epoch],
                tf.random.experimental.stateless_fold_in(seed, -1),
            ),
            axis=-1,
            stable=True,
        )
      order = tf.argsort(keys, axis=-1, stable=True)
    if max_steps is not None:
      steps = tf.minimum(steps, max_steps)
    prepare = self.prepare_train if training else self.prepare_test

    def body(step, state):
      epoch, number = step // steps_per_epoch, step % steps_per_epoch
      start = batches[epoch, number] * self.batch_size
      chosen = order[epoch, start : start + self.batch_size]
      batch = tf.nest.map_structure(lambda t: tf.gather(t, chosen), tensors)
      if prepare is not None:
        batch = prepare(
            batch, tf.random.experimental.stateless_fold_in(seed, step)
        )
      return step + 1, step_fn(state, batch)

    _, state = tf.while_loop(
        lambda step, _: step < steps,
        body,
        (0, state),
        # Steps depend on each other through the model's variables.
        parallel_iterations=1,
    )
    return state


class Sequences(ClientExamples):
  """A `tf.data.Dataset` of batches, as everywhere in `tff.learning`.

  Shuffling and augmentation are part of the dataset; it is gone through
  `epochs` times and looks the same in training and in testing.
  """

  def type(self, input_spec: Any) -> tff.Type:
    return tff.SequenceType(tff.types.tensorflow_to_type(input_spec))

  def check(self, examples: Any, input_spec: Any) -> None:
    if not isinstance(examples, tf.data.Dataset):
      raise errors.SettingsError(
          f'Expected a tf.data.Dataset of batches, found {type(examples)}.'
      )
    if not self.type(input_spec).is_assignable_from(
        tff.SequenceType(tff.types.tensorflow_to_type(examples.element_spec))
    ):
      raise errors.SettingsError(
          f'Expected batches {_format(input_spec)}, found'
          f' {_format(examples.element_spec)}.'
      )

  def value(self, examples: Any, seed: np.ndarray) -> Any:
    del seed  # The dataset shuffles itself.
    return examples

  def step_seed(self, examples: Any, phase: int, step: Any) -> Any:
    raise errors.SettingsError(
        'Expected examples that come with a seed for dropout, found a'
        ' tf.data.Dataset. Use `Tensors`.'
    )

  def take(self, examples: Any, positions: np.ndarray) -> Any:
    raise errors.SettingsError(
        'Expected examples that can be taken by position, found a'
        ' tf.data.Dataset. Use `Tensors`.'
    )

  def reduce(
      self,
      examples: Any,
      state: Any,
      step_fn: StepFn,
      *,
      epochs: int = 1,
      max_steps: Optional[int] = None,
      phase: int = 0,
      training: bool = True,
  ) -> Any:
    del phase, training  # The dataset has them built in.
    batches = examples.repeat(epochs)
    if max_steps is not None:
      batches = batches.take(max_steps)
    return batches.reduce(state, step_fn)


def _format(spec: Any) -> str:
  return ', '.join(
      f'{"/".join(map(str, path))}: {s.dtype.name}{list(s.shape)}'
      for path, s in tree.flatten_with_path(spec)
  )
