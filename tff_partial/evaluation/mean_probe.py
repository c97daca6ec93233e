# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mean of all clients' representations, for the mean regularization.

Each client sends the mean over all of its training examples, and how many these
are; the server averages them.
"""

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.evaluation import probes
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import mean_regularizer
from tff_partial.learning import partial_model


def build(
    model_fn: partial_model.ModelFn,
    *,
    client_examples: examples_lib.ClientExamples,
) -> probes.Probe:
  """Builds the computation.

  Args:
    model_fn: Returns a new functional Keras model with a layer named
      `mean_regularizer.NAME` on every call. Batches have inputs as 'x'.
    client_examples: The form in which the computation takes examples.

  Returns:
    A computation of type `(<shared=U@SERVER, personal={P}@CLIENTS,
    examples={E}@CLIENTS> -> <float32[features]@SERVER, float32@SERVER>)`: the
    mean of what the layer takes, and over how many examples.
  """
  types = client_work_lib.model_types(model_fn, client_examples)

  def run(model, shared, personal, examples):
    model.assign(shared, personal)
    keras_model = model.to_keras()
    layer = keras_model.get_layer(mean_regularizer.NAME)
    represent = tf.keras.Model(keras_model.inputs, layer.input)

    def add(state, batch):
      total, count = state
      found = represent(batch['x'], training=False)
      size = tf.cast(tf.shape(found)[0], tf.float32)
      return total + tf.reduce_sum(found, axis=0), count + size

    total, count = client_examples.reduce(
        examples,
        (tf.zeros_like(layer.mean), tf.constant(0.0)),
        add,
        examples_lib.Pass(training=False),
    )
    return tf.math.divide_no_nan(total, count), count

  @tff.tensorflow.computation(types.shared, types.personal, types.examples)
  def mean_of_client(shared, personal, examples):
    return partial_model.run(model_fn, run, shared, personal, examples)

  @tff.federated_computation(
      tff.FederatedType(types.shared, tff.SERVER),
      tff.FederatedType(types.personal, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def mean_of_clients(shared, personal, examples):
    mean, count = tff.federated_map(
        mean_of_client, (tff.federated_broadcast(shared), personal, examples)
    )
    return tff.federated_mean(mean, count), tff.federated_sum(count)

  return probes.Probe(mean_of_clients, client_examples)
