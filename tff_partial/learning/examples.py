# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A client's examples inside a computation, and the loop over their batches.

There are two forms. `Tensors` passes all of a client's examples to the
computation at once, with a seed for their order, and the graph cuts them into
batches. `Sequences` is TFF's usual `tf.data.Dataset` of batches. `Tensors`
avoids the cost of starting a dataset, about 5 ms per client, and its order is
reproducible; `Sequences` is for clients whose examples do not fit in memory.
"""

import abc
import collections
from collections.abc import Callable, Iterable, Mapping
import dataclasses
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors

# (batch, seed int32 [2]) -> batch: augmentation, casts; inside the graph.
PrepareFn = Callable[[Any, tf.Tensor], Any]
# (state, batch) -> state.
StepFn = Callable[[Any, Any], Any]


@dataclasses.dataclass(frozen=True)
class Pass:
  """Which batches a loop over a client's examples sees, and in which order.

  Attributes:
    epochs: Number of times that each example is seen.
    max_steps: Upper bound on the number of batches over all epochs; `None` for
      no bound.
    phase: Number of the pass. Passes with different numbers see the examples in
      different orders.
    training: Whether to shuffle and to augment.
  """

  epochs: int = 1
  max_steps: Optional[int] = None
  phase: int = 0
  training: bool = True


ONE_EPOCH = Pass()


class ClientExamples(abc.ABC):
  """How a client's examples enter a computation and are cut into batches."""

  @property
  def batching(self) -> Optional['Tensors']:
    """What cuts batches in the graph; `None` if they were made before."""
    return None

  def in_batches(self, size: int) -> 'ClientExamples':
    """Returns this form with batches of another size, if it has `batching`."""
    raise NotImplementedError

  @property
  def microbatch_size(self) -> Optional[int]:
    """Examples whose gradients are computed together; `None` for a batch."""
    return None

  def in_microbatches(self, size: int) -> 'ClientExamples':
    """Returns this form with this many examples in a microbatch.

    Raises:
      errors.SettingsError: If the form has batches that were made before.
    """
    raise errors.SettingsError(
        'Expected a task with examples.Tensors for `microbatch_size`, found'
        f' {type(self).__name__}, whose batches the task makes. Make smaller'
        ' ones there.'
    )

  @abc.abstractmethod
  def type(self, input_spec: Any) -> tff.Type:
    """The TFF type of a client's examples for a model with this input."""

  @abc.abstractmethod
  def check(self, examples: Any, input_spec: Any) -> None:
    """Checks a client's examples.

    Args:
      examples: What `Clients.read` returns.
      input_spec: The type of a batch of the model.

    Raises:
      errors.UserError: If the examples do not fit this form or the model.
    """

  @abc.abstractmethod
  def value(self, examples: Any, seed: np.ndarray) -> Any:
    """Makes a value of `type`.

    Args:
      examples: What `Clients.read` returns.
      seed: An int32 [2] seed, for the order of the examples.
    """

  def step_seed(
      self, examples: Any, phase: int, step: Any, part: Any = None
  ) -> Any:
    """Returns an int32 [2] seed for the randomness of a step's model.

    Args:
      examples: A value of `type`.
      phase: `Pass.phase` of the loop that the step belongs to.
      step: Number of earlier steps in that loop, an integer scalar.
      part: Number of the microbatch in the step, an integer scalar, if the
        batch is divided.

    Raises:
      errors.SettingsError: If examples in this form have no seed.
    """
    fold_in = tf.random.experimental.stateless_fold_in
    # -2 keeps it apart from the seeds that cut and prepare batches.
    seed = fold_in(fold_in(examples['seed'], phase), -2)
    seed = fold_in(seed, tf.cast(step, tf.int32))
    return seed if part is None else fold_in(seed, tf.cast(part, tf.int32))

  def take(self, examples: Any, positions: np.ndarray) -> Any:
    """Selects some of a client's examples, in the same form.

    Args:
      examples: What `Clients.read` returns.
      positions: Which of them, an integer array.
    """
    return tf.nest.map_structure(lambda array: array[positions], examples)

  @abc.abstractmethod
  def count(self, examples: Any) -> Any:
    """Returns the number of examples that training uses, an int64 scalar.

    Args:
      examples: A value of `type`.
    """

  @abc.abstractmethod
  def reduce(
      self,
      examples: Any,
      state: Any,
      step_fn: StepFn,
      passes: Pass = ONE_EPOCH,
  ) -> Any:
    """Applies `step_fn` to one batch after another.

    Args:
      examples: A value of `type`.
      state: Tensors, in any structure, that `step_fn` takes and returns.
      step_fn: `(state, batch) -> state`.
      passes: Which batches there are.

    Returns:
      The last state.
    """


@dataclasses.dataclass(frozen=True)
class Tensors(ClientExamples):
  """All examples as tensors `[examples, ...]`, batches cut in the graph.

  A client's value is `OrderedDict(examples=OrderedDict(x=..., y=...),
  seed=int32[2])`. The order of epoch `e` of phase `p` depends only on the seed,
  `p` and `e`. The last batch of an epoch may be smaller than the others.

  Attributes:
    batch_size: Examples per step.
    shuffle: Whether training sees the examples in a new order each epoch.
    max_examples: Training uses only this many examples, the first ones; `None`
      for all.
    size_fn: Maps all examples to their sizes, [examples]. If given, training
      batches contain examples of similar size, and the batches are shuffled, so
      that padding each batch to its largest example wastes little.
    prepare_train: Maps a training batch; takes a seed for each batch.
    prepare_test: Maps an evaluation batch; takes a seed, too.
    element_spec: The type of one example before the prepare functions, if they
      change it; by default that of the model's input.
    microbatch_size: Examples whose gradients are computed together in a step,
      which bounds memory; the gradients of the batch are the same up to
      rounding. Evaluation has batches of this size. `None` for all of a batch.
      Random layers, such as dropout, draw other numbers with another size.
  """

  batch_size: int
  shuffle: bool = True
  max_examples: Optional[int] = None
  size_fn: Optional[Callable[[Any], tf.Tensor]] = None
  prepare_train: Optional[PrepareFn] = None
  prepare_test: Optional[PrepareFn] = None
  element_spec: Optional[Any] = None
  microbatch_size: Optional[int] = None

  def __post_init__(self):
    for name in ('batch_size', 'max_examples', 'microbatch_size'):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise errors.SettingsError(
            f'Expected `{name}` of at least 1, found {value}.'
        )

  @property
  def batching(self) -> 'Tensors':
    return self

  def in_batches(self, size: int) -> 'Tensors':
    return dataclasses.replace(self, batch_size=size)

  def in_microbatches(self, size: int) -> 'Tensors':
    return dataclasses.replace(self, microbatch_size=size)

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
    wanted, given = _by_path(expected), _by_path(found)
    lengths = {s.shape[0] for s in given.values() if s.shape.rank}
    differ = list(wanted)  # All of them, unless some can be told.
    if list(wanted) == list(given):
      bad = [p for p in wanted if not wanted[p].is_compatible_with(given[p])]
      if not bad and len(lengths) == 1:
        return
      differ = bad or differ
      given = {path: given[path] for path in differ}
    raise errors.SettingsError(
        f'Expected examples {_format({p: wanted[p] for p in differ})}, found'
        f' {_format(given)}.{_advice(wanted, given)}'
    )

  def value(self, examples: Any, seed: np.ndarray) -> Any:
    return collections.OrderedDict(
        examples=tf.nest.map_structure(_as_bytes, examples), seed=seed
    )

  def count(self, examples: Any) -> Any:
    tensors = tf.nest.flatten(examples['examples'])
    return self.used(tf.shape(tensors[0], tf.int64)[0])

  def used(self, number: tf.Tensor) -> tf.Tensor:
    """How many of this many examples training uses."""
    if self.max_examples is None:
      return number
    return tf.minimum(number, self.max_examples)

  def reduce(
      self,
      examples: Any,
      state: Any,
      step_fn: StepFn,
      passes: Pass = ONE_EPOCH,
  ) -> Any:
    seed = tf.random.experimental.stateless_fold_in(
        examples['seed'], passes.phase
    )
    tensors = examples['examples']
    num_examples = tf.shape(tf.nest.flatten(tensors)[0])[0]
    batch_size = self.batch_size
    if passes.training:
      num_examples = self.used(num_examples)
    elif self.microbatch_size is not None:
      batch_size = min(batch_size, self.microbatch_size)
    steps_per_epoch = -(-num_examples // batch_size)
    steps = passes.epochs * steps_per_epoch
    if passes.max_steps is not None:
      steps = tf.minimum(steps, passes.max_steps)
    order, batches = self._order(
        tensors, num_examples, steps_per_epoch, seed, passes
    )
    prepare = self.prepare_train if passes.training else self.prepare_test

    def body(step, state):
      epoch, number = step // steps_per_epoch, step % steps_per_epoch
      start = batches[epoch, number] * batch_size
      chosen = order[epoch, start : start + batch_size]
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

  def _order(self, tensors, num_examples, steps_per_epoch, seed, passes):
    """Draws the orders that the epochs see.

    Returns:
      The positions of the examples, int32 [epochs, examples], which are cut
      into batches from left to right, and the order of these batches, int32
      [epochs, steps_per_epoch].
    """
    epochs = passes.epochs
    order = tf.tile(tf.range(num_examples)[tf.newaxis], [epochs, 1])
    batches = tf.tile(tf.range(steps_per_epoch)[tf.newaxis], [epochs, 1])
    if not passes.training or not self.shuffle:
      return order, batches
    # Sorting random keys is a shuffle whose result depends on the seed only.
    keys = tf.random.stateless_uniform([epochs, num_examples], seed)
    if self.size_fn is not None:
      # A random factor from 1 to 4/3 leaves neighbors of similar size, but
      # makes them different ones in each epoch.
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
    return tf.argsort(keys, axis=-1, stable=True), batches


@dataclasses.dataclass(frozen=True)
class Sequences(ClientExamples):
  """A `tf.data.Dataset` of batches, as everywhere in `tff.learning`.

  Shuffling and augmentation belong to the dataset, which is repeated for each
  epoch and is the same in training and in evaluation.
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
      wanted, given = _by_path(input_spec), _by_path(examples.element_spec)
      raise errors.SettingsError(
          f'Expected batches {_format(wanted)}, found {_format(given)}.'
          f'{_advice(wanted, given)}'
      )

  def value(self, examples: Any, seed: np.ndarray) -> Any:
    del seed  # The dataset shuffles itself.
    return examples

  def count(self, examples: Any) -> Any:
    return examples.reduce(
        tf.constant(0, tf.int64),
        lambda number, batch: number
        + tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0],
    )

  def step_seed(
      self, examples: Any, phase: int, step: Any, part: Any = None
  ) -> Any:
    raise errors.SettingsError(
        'Expected examples that come with a seed for dropout and other random'
        ' layers, found a tf.data.Dataset. Use examples.Tensors.'
    )

  def take(self, examples: Any, positions: np.ndarray) -> Any:
    if not len(positions):
      return examples.take(0)
    raise errors.SettingsError(
        'Expected examples that can be selected by position, found a'
        ' tf.data.Dataset. Use examples.Tensors.'
    )

  def reduce(
      self,
      examples: Any,
      state: Any,
      step_fn: StepFn,
      passes: Pass = ONE_EPOCH,
  ) -> Any:
    # `phase` and `training` change nothing: the dataset shuffles and augments.
    batches = examples.repeat(passes.epochs)
    if passes.max_steps is not None:
      batches = batches.take(passes.max_steps)
    return batches.reduce(state, step_fn)


def _as_bytes(array: Any) -> Any:
  """Text as UTF-8, which TFF would encode as ASCII."""
  if not isinstance(array, np.ndarray) or array.dtype.kind not in 'OU':
    return array
  encoded = [s.encode() if isinstance(s, str) else s for s in np.ravel(array)]
  return np.array(encoded, object).reshape(np.shape(array))


def _by_path(structure: Any, path: tuple[Any, ...] = ()) -> dict[Any, Any]:
  """The leaves of a structure by path, in their order.

  Computations bind the fields of examples by this order, not by their names.
  """
  parts: Iterable[tuple[Any, Any]]
  if isinstance(structure, Mapping):
    parts = structure.items()
  elif isinstance(structure, (list, tuple)):
    names = getattr(structure, '_fields', range(len(structure)))
    parts = zip(names, structure)
  else:
    return {path: structure}
  return {
      found: leaf
      for name, part in parts
      for found, leaf in _by_path(part, (*path, name)).items()
  }


def _advice(wanted: Mapping[Any, Any], given: Mapping[Any, Any]) -> str:
  """What to do about fields in another order."""
  if list(wanted) == list(given) or set(wanted) != set(given):
    return ''
  return " Put the fields into the order of the model's input."


def _format(specs: Mapping[tuple[Any, ...], tf.TensorSpec]) -> str:
  """Types by the path of the field."""
  return ', '.join(
      f'{"/".join(map(str, path))}: {s.dtype.name}{list(s.shape)}'
      for path, s in specs.items()
  )
