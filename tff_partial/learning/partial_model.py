# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""One model, two groups of variables: shared and personal.

A `PartialModel` is a Keras model whose variables are divided by a rule
(`partition.py`) into two disjoint groups that together cover the model. The
code that trains and evaluates it does not depend on Keras: it sees two
`tff.learning.models.ModelWeights`, a loss, and metrics.

Like TFF's own models, a model is created by a `ModelFn` inside each computation
that uses it, because its variables belong to that computation's graph.
"""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import functools
import itertools
import random
import textwrap
import threading
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import keras_layers
from tff_partial.learning import keras_variables
from tff_partial.learning import partition
from tff_partial.learning import randomness

Batch = Mapping[str, Any]  # 'x' and 'y', each [batch, ...] or a structure.
LossFn = Callable[[Any, Any], tf.Tensor]  # (labels, outputs) -> scalar.
# (labels, outputs) -> a metric's two terms for each example, (total [batch],
# weight [batch]), such as (correct answers, ones); see `client_table.py`. The
# weights of the metric by which models are compared depend on labels alone.
MetricFn = Callable[[Any, Any], tuple[tf.Tensor, tf.Tensor]]
_PYTHONS_GENERATOR = threading.RLock()


class PartialModel:
  """A Keras model divided into shared and personal variables.

  Attributes:
    variables: A `partition.VariableInfo` for each variable, in Keras's order.
    shared: A `ModelWeights` of the shared `tf.Variable`s, in that order.
    personal: One of the personal `tf.Variable`s, in that order.
    constants: The variables that training never changes, in that order. They
      are shared, until `fix_constants`.
    input_spec: The type of a batch, `tf.TensorSpec`s with unknown batch size.
    random_layers: The Keras layers that draw random numbers in training.
    batch_layers: The names of the layers that take statistics of a training
      batch.
    num_classes: The number of classes of a model that `classifies`, or `None`.
  """

  num_classes: Optional[int] = None
  _constant_values: Sequence[Any] = ()

  def __init__(
      self,
      keras_model: tf.keras.Model,
      rule: partition.Rule,
      *,
      loss_fn: LossFn,
      metric_fns: Mapping[str, MetricFn],
      input_spec: Any,
      rule_name: Optional[str] = None,
      frozen: partition.Rule = partition.none,
      classifies: bool = False,
  ):
    """Divides the variables of `keras_model`.

    Args:
      keras_model: A built Keras model.
      rule: Maps a variable's path to whether the variable is personal.
      loss_fn: Maps `(labels, outputs)` to a scalar loss, a mean over the batch.
      metric_fns: By name, functions that map `(labels, outputs)` to two terms
        for each example, float [batch].
      input_spec: The type of a batch: `OrderedDict(x=..., y=...)`.
      rule_name: The rule's name in error messages.
      frozen: Maps the path of a variable to whether it is never changed, as the
        variables of layers that are not `trainable`.
      classifies: Whether the outputs are logits [batch, classes] and the labels
        the numbers of classes [batch], so that the loss can be balanced.

    Raises:
      errors.SettingsError: If the rule is no function, or matches no variable
        and is not `partition.none`, if the split cannot be trained
        (`partition.check`), if the model has no variables yet, or values that
        its initializers do not give them, or if there is no metric.
    """
    if not metric_fns:
      raise errors.SettingsError(
          'Expected at least one metric, found none. Add one to `metric_fns`.'
      )
    if not callable(rule):
      raise errors.SettingsError(
          'Expected a function of a path as `rule`, such as'
          f" partition.layers('head'), found {rule!r}."
      )
    if not keras_model.built or not keras_model.variables:
      raise errors.SettingsError(
          'Expected a Keras model with variables, found one without. If its'
          ' layers are built when it is called, call it on a batch first:'
          ' model(tf.zeros([1, ...])).'
      )
    self._keras_model = keras_model
    self._loss_fn = loss_fn
    self._metric_fns = metric_fns
    self.input_spec = input_spec
    self.random_layers = randomness.layers_of(keras_model)
    if classifies:
      self.num_classes = _num_outputs(keras_model, input_spec['x'])
    by_path = keras_variables.by_path(keras_model)
    _check_paths(by_path)
    constant = {v.ref() for path, v in by_path.items() if frozen(path)}
    trainable = {v.ref() for v in keras_model.trainable_variables} - constant
    moved = keras_variables.moving(keras_model)
    own = {
        ref
        for layer, refs in moved
        if not keras_variables.normalizes_batch(layer)
        for ref in refs - constant
    }
    constant |= self._not_assigned(own)
    moving = set().union(*(refs for _, refs in moved)) - constant
    self.batch_layers = [
        layer.name
        for layer, refs in moved
        if refs - constant or keras_variables.normalizes_batch(layer)
    ] + [
        layer.name
        for layer in keras_layers.inside(keras_model)
        if getattr(layer, 'measures_batches', False)
    ]
    self.variables = tuple(
        partition.VariableInfo(
            path=path,
            shape=tuple(v.shape.as_list()),
            dtype=v.dtype.name,
            # A constant is the same for everybody.
            personal=rule(path) and v.ref() in trainable | moving,
            trainable=v.ref() in trainable,
            moving=v.ref() in moving,
        )
        for path, v in by_path.items()
    )
    # Whatever its name, this rule means that nothing is to be personal.
    nothing = rule is partition.none
    if not (nothing or rule_name or any(v.personal for v in self.variables)):
      paths = ', '.join(by_path)
      raise errors.SettingsError(
          f'Expected a `rule` that matches a variable of {paths}, found one'
          ' that matches none, or only frozen ones, which are always shared.'
          ' Use another one, or partition.none if nothing should be personal.'
      )
    partition.check(self.variables, rule_name='none' if nothing else rule_name)

    def group(personal: bool) -> tff.learning.models.ModelWeights:
      members = [v for v in self.variables if v.personal == personal]
      return tff.learning.models.ModelWeights(
          trainable=[by_path[v.path] for v in members if v.trainable],
          non_trainable=[by_path[v.path] for v in members if not v.trainable],
      )

    self.shared = group(personal=False)
    self.personal = group(personal=True)
    # Shared moving averages are refused above.
    self.constants = list(self.shared.non_trainable)
    _check_initial_values(
        {v.path: by_path[v.path] for v in self.variables if not v.moving}
    )

  def _not_assigned(self, refs: set[Any]) -> set[Any]:
    """Those of some variables that the model in training does not assign."""
    if not refs:
      return set()  # Tracing takes time.
    graph = _trace(self, lambda batch: self.outputs(batch, training=True))
    return {r for r in refs if keras_variables.only_reads(graph, r.deref())}

  def fix_constants(self, values: Sequence[Any]) -> None:
    """Takes the constants out of the shared variables.

    Args:
      values: What `assign` sets them to, in their order.

    Raises:
      errors.SettingsError: If there are more or fewer than constants.
    """
    if len(values) != len(self.constants):
      raise errors.SettingsError(
          f'Expected a value for each of the {len(self.constants)} constants of'
          f' the model, found {len(values)}. Pass `non_trainable` of its shared'
          ' variables.'
      )
    self._constant_values = tuple(values)
    self.shared = self.shared._replace(non_trainable=[])

  def outputs(self, batch: Batch, *, training: bool) -> Any:
    """The Keras model's outputs for a batch.

    Args:
      batch: Inputs 'x', each [batch, ...]; 'y' is not read.
      training: Whether layers such as dropout behave as in training.
    """
    # In a graph, Keras would keep the losses of activities of earlier calls.
    for layer in [self._keras_model, *keras_layers.inside(self._keras_model)]:
      layer._losses.clear()
    return keras_layers.call(self._keras_model, batch['x'], training=training)

  def to_keras(self) -> tf.keras.Model:
    """The Keras model that predicts, with the current values."""
    return self._keras_model

  def loss(self, batch: Batch, outputs: Any) -> tf.Tensor:
    """The batch's loss plus Keras's losses of regularizers and `add_loss`.

    Args:
      batch: A batch, of which the labels 'y' are read, each [batch, ...].
      outputs: The model's outputs for it.

    Returns:
      A scalar.

    Raises:
      errors.SettingsError: If the loss is not a scalar.
    """
    loss = tf.convert_to_tensor(self._loss_fn(batch['y'], outputs))
    if loss.shape.rank or not loss.dtype.is_floating:
      raise errors.SettingsError(
          'Expected `loss_fn` to return a scalar, found'
          f' {loss.dtype.name}{loss.shape}. Return the mean over the batch, by'
          ' tf.reduce_mean.'
      )
    return tf.add_n(
        [loss, *(tf.cast(x, loss.dtype) for x in self._keras_model.losses)]
    )

  def gradients(
      self, batch: Batch, groups: Sequence[str]
  ) -> tuple[tf.Tensor, Any, list[tuple[tf.Tensor, ...]]]:
    """The training loss of a batch, and its gradients.

    Args:
      batch: A training batch.
      groups: Some of 'shared' and 'personal'.

    Returns:
      The loss, a scalar; the outputs; and for each group the gradients with
      respect to its trainable variables.
    """
    return self._gradients(batch, groups, self.loss)

  def balanced_gradients(
      self, batch: Batch, groups: Sequence[str], log_counts: tf.Tensor
  ) -> tuple[tf.Tensor, Any, list[tuple[tf.Tensor, ...]]]:
    """Gradients of the balanced softmax loss, of logits plus `log_counts` [1].

    A model that is trained so predicts without them as if the classes were
    equally frequent.

    [1] Ren et al. Balanced Meta-Softmax for Long-Tailed Visual Recognition.
    NeurIPS 2020. https://arxiv.org/abs/2007.10740

    Args:
      batch: A training batch.
      groups: Some of 'shared' and 'personal'.
      log_counts: The logarithm of the number of training examples of each
        class, float32 [classes].

    Returns:
      As `gradients`; the outputs are without `log_counts`.
    """
    balanced = lambda batch, outputs: self.loss(batch, outputs + log_counts)
    return self._gradients(batch, groups, balanced)

  def _gradients(
      self,
      batch: Batch,
      groups: Sequence[str],
      loss_fn: Callable[[Batch, Any], tf.Tensor],
  ) -> tuple[tf.Tensor, Any, list[tuple[tf.Tensor, ...]]]:
    variables = [tuple(getattr(self, group).trainable) for group in groups]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(variables)
      outputs = self.outputs(batch, training=True)
      loss = loss_fn(batch, outputs)
    gradients = tape.gradient(
        loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return loss, outputs, gradients

  def initial(self, group: str) -> tff.learning.models.ModelWeights:
    """The initial values of a group, before anything is assigned."""
    return self.values(group)

  def values(self, group: str) -> tff.learning.models.ModelWeights:
    """The current values of a group: 'shared' or 'personal'."""
    return tf.nest.map_structure(lambda v: v.read_value(), getattr(self, group))

  def sent(self, update: Sequence[tf.Tensor]) -> Any:
    """What a client sends of its update of the shared trainable variables."""
    return update

  @property
  def metric_names(self) -> tuple[str, ...]:
    return tuple(self._metric_fns)

  def metrics(
      self, batch: Batch, outputs: Any
  ) -> collections.OrderedDict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Each metric's (total, weight) for each example, float32 [batch].

    Args:
      batch: A batch, of which the labels 'y' are read, each [batch, ...].
      outputs: The model's outputs for it.

    Raises:
      errors.SettingsError: If a metric has other terms.
    """
    expected = tf.nest.flatten(batch['y'])[0].shape[:1]
    return collections.OrderedDict(
        (name, _terms(name, fn(batch['y'], outputs), expected))
        for name, fn in self._metric_fns.items()
    )

  def assign(
      self,
      shared: tff.learning.models.ModelWeights,
      personal: tff.learning.models.ModelWeights,
  ) -> None:
    """Sets every variable.

    Args:
      shared: Values of the shared variables, shaped like them.
      personal: Values of the personal variables, likewise.
    """
    tf.nest.map_structure(
        lambda variable, value: variable.assign(value),
        _as_lists(self.shared) + _as_lists(self.personal),
        _as_lists(shared) + _as_lists(personal),
    )
    # Without values they are among the shared ones.
    for variable, value in zip(self.constants, self._constant_values):
      variable.assign(value)
    self.refresh_derived()

  def refresh_derived(self) -> None:
    """Computes what Keras derives from variables when a layer is built."""
    for layer in keras_layers.inside(self._keras_model):
      if isinstance(layer, tf.keras.layers.Normalization):
        layer.finalize_state()


_TRACED = 13  # A batch size that is unlikely to be another dimension.

ModelFn = Callable[[], PartialModel]
"""Makes a new model each time it is called, in the current graph."""


def _terms(
    name: str, terms: Any, expected: tf.TensorShape
) -> tuple[tf.Tensor, ...]:
  """The terms of a metric as float32, of the expected shape."""
  if isinstance(terms, (tuple, list)) and len(terms) == 2:
    found = [tf.convert_to_tensor(t) for t in terms]
    if all(t.shape.is_compatible_with(expected) for t in found):
      return tuple(tf.cast(t, tf.float32) for t in found)
    shown = ' and '.join(f'{t.dtype.name}{t.shape}' for t in found)
  else:
    shown = str(terms)
  raise errors.SettingsError(
      f'Expected metric {name!r} to return two terms for each example, (total'
      f' [batch], weight [batch]), found {shown}. Return, for example, whether'
      ' each example is right, and ones.'
  )


def _check_paths(by_path: Mapping[str, tf.Variable]) -> None:
  """Refuses paths that copies of other variables would have."""
  for path in by_path:
    other = path.removeprefix(partition.COPY_PREFIX)
    if other != path and other in by_path:
      raise errors.SettingsError(
          f'Expected no variable with the path of a copy of {other}, found'
          f' {path}. Give the layer {partition.COPY_PREFIX[:-1]!r} another'
          ' name.'
      )


def _check_initial_values(by_path: Mapping[str, tf.Variable]) -> None:
  """Refuses values that a new model would not have in a graph.

  There, a variable has the value of its initializer until a computation runs
  what assigns another one, and none does so for what makes the model.
  """
  assigned = keras_variables.assigned(by_path)
  if assigned:
    raise errors.SettingsError(
        'Expected initial values from initializers, found that what makes the'
        f' model also assigns {", ".join(assigned[:3])}, which would be'
        ' lost. Use tf.keras.initializers.Constant(value) instead of `assign`,'
        ' `set_weights` or `load_weights`, or start from a file (`init_from`).'
    )


def _num_outputs(keras_model: tf.keras.Model, input_spec: Any) -> int:
  """The number of outputs for an example."""
  try:
    return keras_model.output_shape[-1]
  except AttributeError:  # A subclass.
    call = functools.partial(keras_layers.call, keras_model, training=False)
    traced = tf.function(call, autograph=False)
    return traced.get_concrete_function(input_spec).output_shapes[-1]


def _as_lists(weights: tff.learning.models.ModelWeights) -> list[list[Any]]:
  return [list(weights.trainable), list(weights.non_trainable)]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
  """Makes the initial values of models created inside depend only on `seed`.

  Use it while a graph is traced. Keras draws the seeds of initializers that
  have none from Python's random numbers, whose state is restored on exit.
  Initial values from other random operations, such as `tf.random.normal`, are
  computed here, and are constants of the graph.

  Raises:
    errors.SettingsError: If TensorFlow executes eagerly.
  """
  if tf.executing_eagerly():
    raise errors.SettingsError(
        'Expected a graph, found eager execution. Call this inside a'
        ' computation or a tf.Graph.'
    )
  numbers = itertools.count()

  def create(next_creator, **kwargs):
    value = kwargs['initial_value']
    with (
        tf.init_scope()
    ):  # As variables do, out of Keras's graphs of functions.
      value = value() if callable(value) else tf.convert_to_tensor(value)
    number = next(numbers)
    kwargs['initial_value'] = lambda: randomness.repeatable(value, seed, number)
    return next_creator(**kwargs)

  # Keras takes seeds of its own from Python's generator, which threads share.
  with _PYTHONS_GENERATOR:
    state = random.getstate()
    random.seed(seed)
    try:
      with tf.variable_creator_scope(create):
        yield
    finally:
      random.setstate(state)


@contextlib.contextmanager
def without_initial_values() -> Iterator[None]:
  """Makes variables that are created inside start at zero.

  The computations of clients create a model and then assign all of its
  variables. Drawing random initial values first would take measurable time.
  """

  def create(next_creator, **kwargs):
    value = kwargs['initial_value']
    value = value() if callable(value) else tf.convert_to_tensor(value)
    kwargs['initial_value'] = lambda: tf.zeros(value.shape, value.dtype)
    return next_creator(**kwargs)

  with tf.variable_creator_scope(create):
    yield


def run(model_fn: ModelFn, fn: Callable[..., Any], *args: Any) -> Any:
  """Calls a function with a new model, in the body of a computation.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    fn: Takes the model and `args`. It must assign all variables before it reads
      one, because they start at zero. It is traced as a `tf.function`, which
      executes assignments and reads in the order of the program.
    *args: Tensors in any structure.

  Returns:
    What `fn` returns.

  Raises:
    errors.SettingsError: If something in `fn` draws random numbers that do not
      repeat (`randomness.check_graph`).
  """
  with without_initial_values():
    model = model_fn()

  @functools.partial(tf.function, autograph=False)
  def call(*args):
    return fn(model, *args)

  randomness.check_graph(call.get_concrete_function(*args).graph)
  return call(*args)


def check_batch(model: PartialModel) -> None:
  """Checks that a model takes a batch of its input type.

  What it does with the batch in training and in evaluation is traced, but not
  computed.

  Args:
    model: Created in the current graph.

  Raises:
    errors.SettingsError: If the model fails, if the loss is not a scalar, if a
      metric does not have two terms for each example, or if random numbers
      would not repeat.
  """

  def step(batch):
    loss = model.loss(batch, model.outputs(batch, training=True))
    return loss, model.metrics(batch, model.outputs(batch, training=False))

  randomness.check_graph(_trace(model, step))


def _trace(model: PartialModel, fn: Callable[[Batch], Any]) -> tf.Graph:
  """The graph of a function of a batch, which is not computed.

  Raises:
    errors.SettingsError: If the model fails.
  """
  batch_type = tf.nest.map_structure(
      lambda s: tf.TensorSpec([s.shape[0] or _TRACED, *s.shape[1:]], s.dtype),
      model.input_spec,
  )

  @functools.partial(tf.function, autograph=False)
  def call(batch):
    no_seed = lambda: tf.zeros([2], tf.int32)
    with randomness.scope(no_seed, layers=model.random_layers):
      return fn(batch)

  try:
    return call.get_concrete_function(batch_type).graph
  except errors.UserError:
    raise
  except (AttributeError, LookupError, TypeError, ValueError) as e:
    reason = textwrap.shorten(f'{type(e).__name__}: {e}', 300)
    raise errors.SettingsError(
        'Expected a model that takes batches of its `input_spec`, of any size,'
        f' found that it fails: {reason}'
    ) from e
