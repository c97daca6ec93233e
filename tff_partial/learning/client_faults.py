# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds the client whose examples a model cannot compute.

A computation of many clients fails as a whole, with the worker's message, if
one of them has a label that is out of range, for example.
"""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tff_partial import errors
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import outlines
from tff_partial.learning import partial_model

_EVALUATE = examples_lib.Pass(training=False)


def find(
    model_fn: partial_model.ModelFn,
    client_examples: examples_lib.ClientExamples,
    clients: Iterable[tuple[str, Any]],
) -> None:
  """Computes the loss and the metrics of one client after another, here.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    client_examples: The form of the examples.
    clients: Ids, and examples in that form.

  Raises:
    errors.DataError: If a client's examples are not what the model computes,
      naming the client.
  """
  tf.keras.backend.reset_uids()  # Layers without names: as in the computation.
  model = model_fn()

  def step(number, batch):
    outputs = model.outputs(batch, training=False)
    model.loss(batch, outputs)
    model.metrics(batch, outputs)
    return number + 1

  for client_id, examples in clients:
    try:
      client_examples.reduce(examples, 0, step, _EVALUATE)
    except tf.errors.InvalidArgumentError as e:
      raise errors.DataError(
          f'Client {client_id!r} has examples that the model cannot compute, in'
          f' x or in the labels y: {_first_sentence(e.message)} Correct them,'
          ' or leave them out.'
      ) from e


def check(
    model_fn: partial_model.ModelFn,
    client_examples: examples_lib.ClientExamples,
    clients: Iterable[tuple[str, Any]],
) -> None:
  """Checks that what is read of clients has the form that a model takes.

  Args:
    model_fn: Returns a new `PartialModel` on every call.
    client_examples: The form.
    clients: Ids, and what `Clients.read` returns for them.

  Raises:
    errors.DataError: If a client's examples are of another form, naming the
      client.
  """
  input_spec = outlines.outline(model_fn).input_spec
  for client_id, examples in clients:
    try:
      client_examples.check(examples, input_spec)
    except errors.UserError as e:
      raise errors.DataError(f'Client {client_id!r}: {e}') from e


def _first_sentence(message: str) -> str:
  """What TensorFlow says, without names of operations and devices."""
  text = ' '.join(message.rpartition('}} ')[2].splitlines()[0].split())
  return text.partition(' [Op:')[0].rstrip('.') + '.'
