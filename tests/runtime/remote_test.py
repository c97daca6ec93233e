# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds on several workers: the same bits, also when some fail."""

from concurrent import futures
import contextlib
import signal
import tempfile
import threading

from absl.testing import absltest
from absl.testing import parameterized
import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import workers as workers_lib
from tff_partial import errors
from tff_partial.runtime import dispatcher as dispatcher_lib
from tff_partial.runtime import local
from tff_partial.runtime import remote
from tff_partial.runtime import worker_process


def setUpModule():
  local.remove_default_context()


@tff.tensorflow.computation(np.int32)
def fail_unless_zero(number):
  with tf.control_dependencies([tf.debugging.assert_equal(number, 0)]):
    return tf.identity(number)


class RemoteWorkersTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    with local.local_worker(max_concurrent_clients=1):
      cls.expected = workers_lib.train(None)

  def assert_same(self, found):
    self.assertEqual(
        [leaf.tobytes() for leaf in found[0]],
        [leaf.tobytes() for leaf in self.expected[0]],
    )
    self.assertEqual(found[1:], self.expected[1:])

  def test_any_number_of_workers_gives_the_same_bits(self):
    workers = workers_lib.Workers(self, 3)
    for count in (1, 2, 3):
      with workers_lib.dispatcher_of(workers.addresses[:count]) as dispatcher:
        self.assert_same(workers_lib.train(dispatcher))

  def test_shards_of_other_sizes_differ_by_the_order_of_sums(self):
    with local.local_worker(max_concurrent_clients=1):
      for size in (None, 1, 7, 100):
        state, personal, steps = workers_lib.train(None, clients_per_shard=size)
        self.assertEqual(steps, self.expected[2])
        self.assertCountEqual(personal, self.expected[1])
        for found, wanted in zip(state, self.expected[0]):
          # Adam divides by the size of the gradient, so the sums' last bits
          # stay last bits.
          np.testing.assert_allclose(found, wanted, rtol=1e-5)

  def test_workers_killed_in_mid_round(self):
    workers = workers_lib.Workers(self, 3)

    def disturb(reads):
      # The first shard, of two clients, is on a worker that will never answer.
      if reads == 0:
        workers.send(signal.SIGSTOP, 0)
      elif reads == 4:
        workers.send(signal.SIGKILL, 0, 1)

    with workers_lib.dispatcher_of(workers.addresses) as dispatcher:
      self.assert_same(workers_lib.train(dispatcher, during_shard=disturb))

  def test_worker_cut_off_in_mid_round_and_back(self):
    workers = workers_lib.Workers(self, 2)

    def disturb(reads):
      if reads == 0:
        workers.send(signal.SIGSTOP, 0)

    with workers_lib.dispatcher_of(workers.addresses) as dispatcher:
      self.assert_same(workers_lib.train(dispatcher, during_shard=disturb))
      workers.send(signal.SIGCONT, 0)
      workers.send(signal.SIGKILL, 1)  # So the other must do all.
      self.assert_same(workers_lib.train(dispatcher))

  def test_restarted_worker_is_used_again(self):
    workers = workers_lib.Workers(self, 1)
    with workers_lib.dispatcher_of(workers.addresses) as dispatcher:
      workers.send(signal.SIGKILL)
      workers.start(self, workers.ports[0])
      self.assert_same(workers_lib.train(dispatcher))

  def test_lost_workers_then_resumed_elsewhere(self):
    workers = workers_lib.Workers(self, 2)
    directory = self.enter_context(tempfile.TemporaryDirectory())

    def disturb(reads):
      if reads == 7 + 3:  # In the second round.
        workers.send(signal.SIGKILL)

    with workers_lib.dispatcher_of(workers.addresses) as dispatcher:
      with self.assertRaisesRegex(
          errors.WorkerError, 'of 2 workers.*found none.*checkpoint'
      ):
        workers_lib.train(dispatcher, during_shard=disturb, directory=directory)
    with local.local_worker(max_concurrent_clients=1):
      state, personal, steps = workers_lib.train(None, directory=directory)
    self.assert_same((state, personal, self.expected[2][:1] + steps))

  def test_slow_worker_does_not_stall_the_rest(self):
    workers = workers_lib.Workers(self, 2)
    with workers_lib.dispatcher_of(workers.addresses) as dispatcher:
      # The third task takes a minute, but only for the first worker.
      arguments = [1000, 1000, 200_000_000, 1000]
      asked = []

      def task(i):
        asked.append(i)
        return workers_lib.count_to, [
            1000 if asked.count(i) > 1 else arguments[i]
        ]

      # Whoever waited for the slow worker would get its number.
      self.assertEqual(list(dispatcher.compute(4, task)), [1000] * 4)
      self.assertEqual(asked.count(2), 2)
      # The slow worker is still computing; its late answer is ignored.
      self.assertEqual(
          list(dispatcher.compute(3, lambda i: (workers_lib.count_to, [i]))),
          [0, 1, 2],
      )

  def test_mistake_in_a_computation_is_not_tried_elsewhere(self):
    workers = workers_lib.Workers(self, 2)
    with workers_lib.dispatcher_of(workers.addresses) as dispatcher:
      with self.assertRaisesRegex(grpc.RpcError, 'assertion failed'):
        list(dispatcher.compute(5, lambda i: (fail_unless_zero, [i])))
      self.assertEqual(
          list(dispatcher.compute(2, lambda i: (fail_unless_zero, [0]))), [0, 0]
      )

  def test_task_that_loses_every_worker(self):
    processes = workers_lib.Workers(self, 1)
    stop = threading.Event()

    def kill_and_start(worker):
      while not stop.wait(0.1):
        if worker.is_available:
          stop.wait(1)  # It has the task by now.
          processes.send(signal.SIGKILL)
          processes.start(self, processes.ports[0])

    with remote.connect(
        processes.addresses, timing=workers_lib.QUICK
    ) as workers:
      thread = threading.Thread(target=kill_and_start, args=workers)
      thread.start()
      try:
        with dispatcher_lib.Dispatcher(workers) as dispatcher:
          with self.assertRaisesRegex(
              errors.WorkerError, '3 workers were lost'
          ):
            list(
                dispatcher.compute(1, lambda i: (workers_lib.count_to, [10**9]))
            )
      finally:
        stop.set()
        thread.join()

  def test_other_computations_go_to_a_worker_that_is_there(self):
    workers = workers_lib.Workers(self, 2)
    with remote.connect(workers.addresses, timing=workers_lib.QUICK):
      self.assertEqual(workers_lib.count_to(5), 5)
      workers.send(signal.SIGKILL, 0)
      self.assertEqual(workers_lib.count_to(6), 6)
      workers.send(signal.SIGKILL, 1)
      with self.assertRaisesRegex(errors.WorkerError, 'found none'):
        workers_lib.count_to(7)

  def test_no_worker_at_the_address(self):
    port = worker_process.unused_port()
    timing = workers_lib.QUICK._replace(start_seconds=1.0)
    with self.assertRaisesRegex(
        errors.WorkerError,
        f'a worker at localhost:{port}, found none .*UNAVAILABLE.*serve_worker',
    ):
      with remote.connect([f'localhost:{port}'], timing=timing):
        self.fail('There is no worker.')

  def test_other_server_at_the_address(self):
    timing = workers_lib.QUICK._replace(start_seconds=1.0)
    with grpc_server_of_nothing() as port:
      with self.assertRaisesRegex(
          errors.WorkerError, 'none that answers: UNIMPLEMENTED'
      ):
        with remote.connect([f'localhost:{port}'], timing=timing):
          self.fail('That is no worker.')

  @parameterized.parameters(
      ([],), (['here'],), (['host:0'],), (['host:x'],), (['a:1', 'a:1'],)
  )
  def test_bad_addresses(self, addresses):
    with self.assertRaisesRegex(ValueError, 'Expected .*worker.*, found'):
      with remote.connect(addresses):
        self.fail('These are no addresses.')


@contextlib.contextmanager
def grpc_server_of_nothing():
  server = grpc.server(futures.ThreadPoolExecutor(1))
  port = server.add_insecure_port('localhost:0')
  server.start()
  try:
    yield port
  finally:
    server.stop(None)


if __name__ == '__main__':
  absltest.main()
