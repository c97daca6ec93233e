# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is sent to a worker, seen on its way there."""

import contextlib
import tempfile

from absl.testing import absltest
import grpc
import numpy as np
import tensorflow_federated as tff

from tff_partial.runtime import connection
from tff_partial.runtime import worker_process


class _Counter(grpc.UnaryUnaryClientInterceptor):
  """Counts the computations that go to a worker."""

  def __init__(self):
    self.computations = 0

  def intercept_unary_unary(self, continuation, client_call_details, request):
    if client_call_details.method.endswith('/CreateValue'):
      self.computations += request.value.HasField('computation')
    return continuation(client_call_details, request)


def _adder(number):
  @tff.tensorflow.computation(np.int32)
  def add(x):
    return x + number

  return add


class ConnectionTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    stack = self.enter_context(contextlib.ExitStack())
    port = worker_process.unused_port()
    worker = worker_process.WorkerProcess(
        port,
        max_concurrent_clients=1,
        log=stack.enter_context(tempfile.TemporaryFile()),
        variables={},
    )
    stack.callback(worker.stop)
    channel = stack.enter_context(
        grpc.insecure_channel(f'localhost:{port}', connection.CHANNEL_OPTIONS)
    )
    self.counter = _Counter()
    self.context = connection.create_context(
        grpc.intercept_channel(channel, self.counter), connection.Compiler()
    )

  def test_a_computation_is_sent_once(self):
    add_one = _adder(1)
    for number in range(5):
      self.assertEqual(self.context.invoke(add_one, number), number + 1)
    self.assertEqual(self.counter.computations, 1)

  def test_few_computations_are_kept(self):
    adders = [_adder(i) for i in range(20)]
    for _ in range(2):
      for i, add in enumerate(adders):
        self.assertEqual(self.context.invoke(add, 100), 100 + i)
    self.assertEqual(self.counter.computations, 40)

  def test_a_computation_goes_on_after_it_failed(self):
    @tff.tensorflow.computation(tff.TensorType(np.int32, [None]))
    def second(x):
      return x[1]

    self.assertEqual(self.context.invoke(second, [1, 2]), 2)
    with self.assertRaises(grpc.RpcError):
      self.context.invoke(second, [1])
    self.assertEqual(self.context.invoke(second, [3, 4]), 4)


if __name__ == '__main__':
  absltest.main()
