# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""kNN-Per: the shared model, mixed with a client's nearest neighbours [1].

A client represents its training examples by what the shared model's output
layer takes. For a new example, the k nearest of them vote for their labels with
weights exp(-d^2 / features), where d is the distance, and the client predicts
with

    a p_neighbours + (1 - a) p_shared.

Nothing is trained. Each client chooses its own a from 0, 0.1, ..., 0.9: the one
with the largest likelihood of its training examples, each of which is left out
of its own neighbours. In [1], examples for validation choose it, and it can be
1, which makes labels that no neighbour has impossible. Since the shared model
knows the training examples, this a is rather too small.

[1] Marfoq et al. Personalized Federated Learning through Local Memorization.
ICML 2022. https://arxiv.org/abs/2111.09360
"""

import collections
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.evaluation import evaluation
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model

NUM_NEIGHBORS = 10  # As in all experiments of [1].
_WEIGHTS = np.linspace(0, 0.9, 10, dtype=np.float32)
_SMALLEST = 1e-7  # Of probabilities, whose logarithm is taken.


def build_evaluation(
    model_fn: partial_model.ModelFn,
    head: str,
    *,
    client_examples: examples_lib.ClientExamples,
    num_neighbors: int = NUM_NEIGHBORS,
) -> evaluation.Evaluation:
  """Builds the computation that evaluates clients with their neighbours.

  Args:
    model_fn: Returns a new classifier on every call: a functional Keras model
      with outputs [batch, classes] and labels [batch].
    head: The name of the layer whose input is the representation, [batch,
      features].
    client_examples: The form in which the computation takes examples.
    num_neighbors: How many vote.
  """
  types = client_work_lib.model_types(model_fn, client_examples)
  work_type = client_work_lib.state_type(types, ())

  def run(model, shared, personal, train, test):
    model.assign(shared, personal)
    memory = _Memory(model, head, train, client_examples, num_neighbors)
    return collections.OrderedDict(
        scores=evaluation.score(
            model, test, client_examples, outputs_fn=memory.outputs
        ),
        personal=(),
        steps=tf.constant(0, tf.int64),
        examples=tf.constant(0, tf.int64),
    )

  @tff.tensorflow.computation(
      types.shared, types.personal, types.examples, types.examples
  )
  def test_client(shared, personal, train, test):
    return partial_model.run(model_fn, run, shared, personal, train, test)

  @tff.federated_computation(
      tff.FederatedType(types.shared, tff.SERVER),
      tff.FederatedType(work_type, tff.SERVER),
      tff.FederatedType(types.personal, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def test_cohort(shared, client_work, personal, train, test):
    del client_work  # Nothing is trained.
    return tff.federated_map(
        test_client, (tff.federated_broadcast(shared), personal, train, test)
    )

  return evaluation.Evaluation(
      test_cohort, client_examples, model_fn, takes_train=True
  )


class _Memory:
  """A client's training examples, as the shared model represents them."""

  def __init__(
      self,
      model: partial_model.PartialModel,
      head: str,
      train: Any,
      client_examples: examples_lib.ClientExamples,
      num_neighbors: int,
  ):
    keras_model = model.to_keras()
    self._model = tf.keras.Model(
        keras_model.inputs,
        [keras_model.get_layer(head).input, *keras_model.outputs],
    )
    self._num_neighbors = num_neighbors
    features, logits = (output.shape[-1] for output in self._model.outputs)
    nothing = lambda *shape: tf.compat.v1.placeholder_with_default(
        tf.zeros([0, *shape]), [None, *shape]
    )
    labels = tf.compat.v1.placeholder_with_default(
        tf.zeros([0], tf.int32), [None]
    )

    def add(state, batch):
      new = (*self._model(batch['x'], training=False), batch['y'])
      return tuple(tf.concat(pair, 0) for pair in zip(state, new))

    self._features, known, labels = client_examples.reduce(
        train,
        (nothing(features), nothing(logits), labels),
        add,
        examples_lib.Pass(training=False),
    )
    self._votes = tf.one_hot(labels, logits)
    self._weight = self._choose_weight(tf.nn.softmax(known))

  def outputs(self, batch: Any) -> tf.Tensor:
    """The logarithm of the mixture, float32 [batch, classes]."""
    features, logits = self._model(batch['x'], training=False)
    near = self._neighbors(features, self._num_neighbors)
    mixed = self._weight * near + (1 - self._weight) * tf.nn.softmax(logits)
    return tf.math.log(mixed + _SMALLEST)

  def _neighbors(
      self, features: tf.Tensor, number: Any, *, leave_out: bool = False
  ) -> tf.Tensor:
    """What neighbours vote for, [batch, classes]; zeros if there are none."""
    squares = lambda x: tf.reduce_sum(tf.square(x), -1)
    products = tf.matmul(features, self._features, transpose_b=True)
    distances = (
        squares(features)[:, tf.newaxis]
        + squares(self._features)
        - 2 * products
    ) / tf.cast(tf.shape(features)[-1], tf.float32)
    stored = tf.shape(self._features)[0]
    if leave_out:
      itself = tf.fill([stored], np.float32(np.inf))
      distances = tf.linalg.set_diag(distances, itself)
      stored -= 1
    number = tf.maximum(tf.minimum(number, stored), 0)
    closeness, places = tf.math.top_k(-distances, number)
    weights = tf.nn.softmax(closeness)
    return tf.reduce_sum(
        weights[..., tf.newaxis] * tf.gather(self._votes, places), 1
    )

  def _choose_weight(self, known: tf.Tensor) -> tf.Tensor:
    """The weight of the neighbours, by the client's training examples."""
    near = self._neighbors(self._features, self._num_neighbors, leave_out=True)
    right = lambda p: tf.reduce_sum(p * self._votes, -1)[tf.newaxis]
    a = _WEIGHTS[:, np.newaxis]
    mixed = a * right(near) + (1 - a) * right(known)
    likelihoods = tf.reduce_sum(tf.math.log(mixed + _SMALLEST), -1)
    return tf.gather(_WEIGHTS, tf.argmax(likelihoods))
