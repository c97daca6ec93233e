# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds on several workers: the same bits, also when some fail."""

from concurrent import futures
import contextlib
import os
import signal
import tempfile
import threading
import time

from absl.testing import absltest
from absl.testing import parameterized
import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests import toy
from tff_partial import algorithms
from tff_partial import dispatcher as dispatcher_lib
from tff_partial import examples as examples_lib
from tff_partial import personal_store
from tff_partial import process as process_lib
from tff_partial import remote_workers
from tff_partial import runtime
from tff_partial import training
from tff_partial import worker_process

FORM = examples_lib.Tensors(batch_size=2)
QUICK = remote_workers.Timing(
    ping_seconds=0.2, lost_seconds=1.0, start_seconds=30.0
)
PATIENCE_SECONDS = 10.0


def setUpModule():
  runtime.remove_default_context()


class Workers:
  """Some workers on this machine, as processes to be maltreated."""

  def __init__(self, test, count):
    self.ports = [worker_process.unused_port() for _ in range(count)]
    self._log = test.enter_context(tempfile.TemporaryFile())
    self._processes = {}
    for port in self.ports:
      self.start(test, port)

  @property
  def addresses(self):
    return [f'localhost:{port}' for port in self.ports]

  def start(self, test, port):
    process = worker_process.WorkerProcess(
        port, max_concurrent_clients=1, log=self._log, variables={}
    )
    test.addCleanup(process.stop)
    self._processes[port] = process

  def send(self, number, *workers):
    """Sends a signal to workers that run; to all if none is named."""
    for worker in workers or range(len(self.ports)):
      process = self._processes[self.ports[worker]]
      if not process.has_ended(0):
        os.kill(process.pid, number)


@tff.tensorflow.computation(np.int32)
def count_to(number):
  """Returns `number`, in a time in proportion to it."""
  return tf.while_loop(lambda i: i < number, lambda i: (i + 1,), (0,))[0]


@tff.tensorflow.computation(np.int32)
def fail_unless_zero(number):
  with tf.control_dependencies([tf.debugging.assert_equal(number, 0)]):
    return tf.identity(number)


@contextlib.contextmanager
def dispatcher_of(addresses):
  with remote_workers.connect(addresses, timing=QUICK) as workers:
    with dispatcher_lib.Dispatcher(
        workers, patience_seconds=PATIENCE_SECONDS
    ) as dispatcher:
      yield dispatcher


def train(
    dispatcher,
    *,
    clients_per_shard=2,
    total_rounds=2,
    directory=None,
    during_shard=None,
):
  """Trains the toy model; (state, {client: bits}, steps)."""
  process = process_lib.build_partial_process(
      toy.model_fn(),
      algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2)),
      client_examples=FORM,
      server_optimizer=tff.learning.optimizers.build_adam(0.1),
  )
  default = process.initialize_personal()
  keep = _Keep()
  with personal_store.PersonalStore(default, directory) as store:
    state = training.train(
        process,
        _Clients(during_shard) if during_shard else toy.random_clients(9),
        store,
        training.Settings(
            total_rounds=total_rounds,
            clients_per_round=7,
            clients_per_shard=clients_per_shard,
            seconds_per_checkpoint=0,
        ),
        client_examples=FORM,
        initial_state=process.initialize(),
        initial_personal=default,
        dispatcher=dispatcher,
        release_managers=[keep],
        progress=False,
    )
    personal = {c: store.read([c])[0].trainable[0].tobytes() for c in store}
  return flat(state), personal, keep.steps


def flat(state):
  return [np.asarray(leaf) for leaf in tf.nest.flatten(state)]


class _Keep(tff.program.ReleaseManager):

  def __init__(self):
    self.steps = []

  async def release(self, value, key):
    self.steps.append(value['counts/steps'])


class _Clients(toy.Clients):
  """Calls a function with the number of a read, before it is done."""

  def __init__(self, before_read):
    super().__init__(toy.random_clients(9)._data)
    self._before_read = before_read
    self._reads = 0

  def read(self, client_id):
    self._before_read(self._reads)
    self._reads += 1
    return super().read(client_id)


class RemoteWorkersTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    with runtime.local_worker(max_concurrent_clients=1):
      cls.expected = train(None)

  def assert_same(self, found):
    self.assertEqual(
        [leaf.tobytes() for leaf in found[0]],
        [leaf.tobytes() for leaf in self.expected[0]],
    )
    self.assertEqual(found[1:], self.expected[1:])

  def test_any_number_of_workers_gives_the_same_bits(self):
    workers = Workers(self, 3)
    for count in (1, 2, 3):
      with dispatcher_of(workers.addresses[:count]) as dispatcher:
        self.assert_same(train(dispatcher))

  def test_shards_of_other_sizes_differ_by_the_order_of_sums(self):
    with runtime.local_worker(max_concurrent_clients=1):
      for size in (None, 1, 7, 100):
        state, personal, steps = train(None, clients_per_shard=size)
        self.assertEqual(steps, self.expected[2])
        self.assertCountEqual(personal, self.expected[1])
        for found, wanted in zip(state, self.expected[0]):
          # Adam divides by the size of the gradient, so the sums' last bits
          # stay last bits.
          np.testing.assert_allclose(found, wanted, rtol=1e-5)

  def test_workers_killed_in_mid_round(self):
    workers = Workers(self, 3)

    def maltreat(reads):
      # The first shard, of two clients, is on a worker that will never answer.
      if reads == 0:
        workers.send(signal.SIGSTOP, 0)
      elif reads == 4:
        workers.send(signal.SIGKILL, 0, 1)

    with dispatcher_of(workers.addresses) as dispatcher:
      self.assert_same(train(dispatcher, during_shard=maltreat))

  def test_worker_cut_off_in_mid_round_and_back(self):
    workers = Workers(self, 2)

    def maltreat(reads):
      if reads == 0:
        workers.send(signal.SIGSTOP, 0)

    with dispatcher_of(workers.addresses) as dispatcher:
      self.assert_same(train(dispatcher, during_shard=maltreat))
      workers.send(signal.SIGCONT, 0)
      workers.send(signal.SIGKILL, 1)  # So the other must do all.
      self.assert_same(train(dispatcher))

  def test_worker_started_anew_is_used_again(self):
    workers = Workers(self, 1)
    with dispatcher_of(workers.addresses) as dispatcher:
      workers.send(signal.SIGKILL)
      workers.start(self, workers.ports[0])
      self.assert_same(train(dispatcher))

  def test_all_gone_then_resumed_elsewhere(self):
    workers = Workers(self, 2)
    directory = self.enter_context(tempfile.TemporaryDirectory())

    def maltreat(reads):
      if reads == 7 + 3:  # In the second round.
        workers.send(signal.SIGKILL)

    with dispatcher_of(workers.addresses) as dispatcher:
      with self.assertRaisesRegex(
          worker_process.WorkerError, 'of 2 workers.*found none.*checkpoint'
      ):
        train(dispatcher, during_shard=maltreat, directory=directory)
    with runtime.local_worker(max_concurrent_clients=1):
      state, personal, steps = train(None, directory=directory)
    self.assert_same((state, personal, self.expected[2][:1] + steps))

  def test_slow_worker_does_not_stall_the_rest(self):
    workers = Workers(self, 2)
    with dispatcher_of(workers.addresses) as dispatcher:
      # The third takes a minute, but only where it is asked first.
      arguments = [1000, 1000, 200_000_000, 1000]
      asked = []

      def task(i):
        asked.append(i)
        return count_to, [1000 if asked.count(i) > 1 else arguments[i]]

      started_at = time.monotonic()
      found = list(dispatcher.compute(4, task))
      self.assertLess(time.monotonic() - started_at, 20)
      self.assertEqual(found, [1000] * 4)
      # The slow one is still at it; its late answer is nobody's.
      self.assertEqual(
          list(dispatcher.compute(3, lambda i: (count_to, [i]))), [0, 1, 2]
      )

  def test_mistake_in_a_computation_is_not_tried_elsewhere(self):
    workers = Workers(self, 2)
    with dispatcher_of(workers.addresses) as dispatcher:
      with self.assertRaisesRegex(grpc.RpcError, 'assertion failed'):
        list(dispatcher.compute(5, lambda i: (fail_unless_zero, [i])))
      self.assertEqual(
          list(dispatcher.compute(2, lambda i: (fail_unless_zero, [0]))), [0, 0]
      )

  def test_task_that_loses_every_worker(self):
    processes = Workers(self, 1)
    stop = threading.Event()

    def kill_and_start(worker):
      while not stop.wait(0.1):
        if worker.is_available:
          stop.wait(1)  # It has the task by now.
          processes.send(signal.SIGKILL)
          processes.start(self, processes.ports[0])

    with remote_workers.connect(processes.addresses, timing=QUICK) as workers:
      thread = threading.Thread(target=kill_and_start, args=workers)
      thread.start()
      try:
        with dispatcher_lib.Dispatcher(workers) as dispatcher:
          with self.assertRaisesRegex(
              worker_process.WorkerError, '3 workers were lost'
          ):
            list(dispatcher.compute(1, lambda i: (count_to, [10**9])))
      finally:
        stop.set()
        thread.join()

  def test_other_computations_go_to_a_worker_that_is_there(self):
    workers = Workers(self, 2)
    with remote_workers.connect(workers.addresses, timing=QUICK):
      self.assertEqual(count_to(5), 5)
      workers.send(signal.SIGKILL, 0)
      self.assertEqual(count_to(6), 6)
      workers.send(signal.SIGKILL, 1)
      with self.assertRaisesRegex(worker_process.WorkerError, 'found none'):
        count_to(7)

  def test_nobody_there(self):
    port = worker_process.unused_port()
    timing = QUICK._replace(start_seconds=1.0)
    with self.assertRaisesRegex(
        worker_process.WorkerError,
        f'a worker at localhost:{port}, found none .*UNAVAILABLE.*serve_worker',
    ):
      with remote_workers.connect([f'localhost:{port}'], timing=timing):
        self.fail('There is no worker.')

  def test_something_else_there(self):
    timing = QUICK._replace(start_seconds=1.0)
    with grpc_server_of_nothing() as port:
      with self.assertRaisesRegex(
          worker_process.WorkerError, 'none that answers: UNIMPLEMENTED'
      ):
        with remote_workers.connect([f'localhost:{port}'], timing=timing):
          self.fail('That is no worker.')

  @parameterized.parameters(
      ([],), (['here'],), (['host:0'],), (['host:x'],), (['a:1', 'a:1'],)
  )
  def test_bad_addresses(self, addresses):
    with self.assertRaisesRegex(ValueError, 'Expected .*worker.*, found'):
      with remote_workers.connect(addresses):
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
