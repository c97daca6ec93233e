# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Verifies that a remote worker computes and is the build installed here.

The worker reads its own program file, whose beginning and size are compared
with those of the file that is installed here. TFF's worker does not report its
version, but a file that differs is another build.
"""

import os
from typing import Optional

from absl import logging
import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial.runtime import connection
from tff_partial.runtime import worker_process

# Status codes of calls to a worker that is lost.
LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    # A worker that was restarted does not know the values from before.
    grpc.StatusCode.FAILED_PRECONDITION,
)
_CHECKED_BYTES = 4096  # These contain the ELF headers and the build id.


class _Deadline(grpc.UnaryUnaryClientInterceptor):
  """Sets a time limit for every call of a channel."""

  def __init__(self, seconds: float):
    self._seconds = seconds

  def intercept_unary_unary(self, continuation, client_call_details, request):
    details = client_call_details._replace(timeout=self._seconds)
    return continuation(details, request)


def verify(name: str, channel: grpc.Channel, seconds: float) -> Optional[str]:
  """Computes something in a worker.

  Args:
    name: The worker's name in messages.
    channel: A connection to it.
    seconds: Time limit of each call.

  Returns:
    What is wrong with the worker, in a sentence; None if nothing is.

  Raises:
    grpc.RpcError: If the worker is lost, with one of the codes in `LOST`.
  """
  context = connection.create_context(
      grpc.intercept_channel(channel, _Deadline(seconds)),
      connection.Compiler(),
  )
  path = worker_process.binary()
  size = os.path.getsize(path)
  with open(path, 'rb') as file:
    expected = file.read(_CHECKED_BYTES)

  @tff.tensorflow.computation
  def read_own_program():
    beginning = tf.data.FixedLengthRecordDataset(
        '/proc/self/exe', _CHECKED_BYTES, footer_bytes=size - _CHECKED_BYTES
    )
    return beginning.reduce(tf.constant(''), lambda _, record: record)

  @tff.tensorflow.computation(np.int32)
  def add_one(number):
    return number + 1

  @tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
  def total(numbers):
    return tff.federated_sum(tff.federated_map(add_one, numbers))

  try:
    found = context.invoke(total, [1, 2])
    if found != 5:
      return f'Expected worker {name} to compute 5, found {found}. Restart it.'
    found = context.invoke(read_own_program, None)
  except grpc.RpcError as error:
    if error.code() in LOST:
      raise
    if 'No such file' in str(error.details()):
      logging.warning(
          'Worker %s does not run on Linux, so its TFF version cannot be'
          ' verified.',
          name,
      )
      return None
    if 'not an exact multiple' not in str(error.details()):
      return f'Worker {name} cannot compute: {describe(error)}.'
    found = None
  if found != expected:
    return (
        f'Expected the worker of TFF {tff.__version__} at {name}, as installed'
        ' here, found another build. Install the same requirements.txt there.'
    )
  return None


def describe(error: Exception) -> str:
  """Returns the status and details of an error in one line."""
  if not isinstance(error, grpc.RpcError):
    return str(error).rstrip('.')
  details = error.details() if hasattr(error, 'details') else str(error)
  return f'{error.code().name}, {" ".join(str(details).split())}'.rstrip('.')
