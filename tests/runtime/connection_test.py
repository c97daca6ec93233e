# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is sent to a worker, by our executor and by TFF's own."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tff_partial.learning import algorithms
from tff_partial.learning import process as process_lib
from tff_partial.runtime import connection
from tff_partial.runtime import local
from tff_partial.runtime import worker_process


class _Counter(grpc.UnaryUnaryClientInterceptor):
  """Counts the computations that go to a worker, and keeps other values."""

  def __init__(self):
    self.computations = 0
    self.handed = []

  def intercept_unary_unary(self, continuation, client_call_details, request):
    if client_call_details.method.endswith('/CreateValue'):
      if isinstance(request, connection.Handed):
        self.handed.append(request)
      else:
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
    worker = worker_process.WorkerProcess(
        max_concurrent_clients=1,
        log=stack.enter_context(tempfile.TemporaryFile()),
        variables={},
    )
    stack.callback(worker.stop)
    channel = stack.enter_context(
        grpc.insecure_channel(worker.target, connection.CHANNEL_OPTIONS)
    )
    self.counter = _Counter()
    self.channel = grpc.intercept_channel(channel, self.counter)
    self.context = connection.create_context(
        self.channel, connection.Compiler()
    )

  def test_a_computation_is_sent_once(self):
    add_one = _adder(1)
    for number in range(5):
      self.assertEqual(self.context.invoke(add_one, number), number + 1)
    self.assertEqual(self.counter.computations, 1)

  def test_messages_of_values_are_freed_when_they_are_sent(self):
    # In gRPC's hands, a message would be in memory in addition to its bytes.
    self.assertEqual(self.context.invoke(_adder(1), 2), 3)
    self.assertLen(self.counter.handed, 1)
    with self.assertRaises(IndexError):
      self.counter.handed[0].take()

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

  def test_tffs_own_executor_sends_a_computation_again(self):
    add_one = _adder(1)
    with mock.patch.dict(os.environ, {connection.PLAIN_EXECUTOR: '1'}):
      context = connection.create_context(self.channel, connection.Compiler())
    for number in range(5):
      self.assertEqual(context.invoke(add_one, number), number + 1)
    self.assertEqual(self.counter.computations, 5)


class PlainExecutorTest(absltest.TestCase):

  def round_by(self, plain):
    """Runs a round in a program of its own."""
    done = subprocess.run(
        [sys.executable, '-m', 'tests.runtime.connection_test', '--round'],
        env={**os.environ, connection.PLAIN_EXECUTOR: plain},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])

  def test_same_round_without_private_parts_of_tff(self):
    ours, plain = self.round_by('0'), self.round_by('1')
    self.assertNotEmpty(ours['bits'])
    self.assertEqual(ours['bits'], plain['bits'])
    self.assertEqual(
        ours['modules'],
        ['tff_partial.runtime.executor', 'tff_partial.runtime.messages'],
    )
    self.assertEqual(plain['modules'], [])


def _print_round():
  """Prints a round's results, and which modules with private parts it took."""
  process = process_lib.build_partial_process(
      toy.model_fn(),
      algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2)),
      client_examples=toy.ALL_AT_ONCE,
  )
  examples = [toy.value([1.0, 2.0], [3.0, 5.0]), toy.value([0.5], [-1.0])]
  with local.local_worker():
    state, personal = process.initialize(), process.initialize_personal()
    results = process.next(state, [personal] * 2, examples)
  modules = [
      f'tff_partial.runtime.{name}'
      for name in ('executor', 'messages')
      if f'tff_partial.runtime.{name}' in sys.modules
  ]
  leaves = [np.asarray(leaf) for leaf in tf.nest.flatten(results)]
  bits = [f'{leaf.dtype}{leaf.shape}{leaf.tobytes().hex()}' for leaf in leaves]
  print(json.dumps({'bits': bits, 'modules': modules}))


if __name__ == '__main__':
  if sys.argv[1:] == ['--round']:
    _print_round()
  else:
    absltest.main()
