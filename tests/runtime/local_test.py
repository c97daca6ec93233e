# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests for runtime.py: no worker outlives its program, one may die."""

import asyncio
from concurrent import futures
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import grpc
import numpy as np
import psutil
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import paths
from tff_partial import errors
from tff_partial.runtime import connection
from tff_partial.runtime import local

_ROOT = paths.ROOT
_LONG = 10**9  # Some minutes.


@tff.tensorflow.computation(np.int32)
def count_to(number):
  """Returns `number` after a time that is proportional to it."""
  return tf.while_loop(lambda i: i < number, lambda i: (i + 1,), (0,))[0]


@tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
def add_counts(numbers):
  return tff.federated_sum(tff.federated_map(count_to, numbers))


@tff.tensorflow.computation(np.int32)
def fail_unless_zero(number):
  with tf.control_dependencies([tf.debugging.assert_equal(number, 0)]):
    return tf.identity(number)


@tff.tensorflow.computation
def read_what_was_never_set():
  """Fails with FAILED_PRECONDITION, on which TFF would try again for ever."""
  handle = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name='x')
  return tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)


def workers() -> list[psutil.Process]:
  """The workers of this process that run."""
  return [
      child
      for child in psutil.Process().children()
      if child.name() == 'worker_binary'
      and child.status() != psutil.STATUS_ZOMBIE
  ]


def ends(pid: int) -> bool:
  """Whether the process ends; waits for it, but not for ever."""
  deadline = time.monotonic() + 60
  while time.monotonic() < deadline:
    try:
      if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
        return True
    except psutil.NoSuchProcess:
      return True
    time.sleep(0.01)
  return False


@contextlib.contextmanager
def killing(times: int):
  """Kills that many workers, each once it has worked for a while."""
  stop = threading.Event()

  def kill_workers():
    killed = set()
    while len(killed) < times and not stop.wait(0.01):
      for worker in workers():
        if worker.pid not in killed and worker.cpu_times().user > 0.3:
          worker.kill()
          killed.add(worker.pid)

  thread = threading.Thread(target=kill_workers)
  thread.start()
  try:
    yield
  finally:
    stop.set()
    thread.join()


class LocalWorkerTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.addCleanup(lambda: self.assertEmpty(workers()))

  def test_computes_and_stops(self):
    with local.local_worker():
      [worker] = workers()
      self.assertEqual(add_counts([1, 2, 3]), 6)
      self.assertEqual(add_counts([5] * 50), 250)
    self.assertFalse(worker.is_running())
    with self.assertRaisesRegex(RuntimeError, 'No default context'):
      count_to(1)

  def test_stops_when_the_block_raises(self):
    with self.assertRaisesRegex(KeyError, 'left'):
      with local.local_worker():
        raise KeyError('left')

  def test_two_in_a_row(self):
    for _ in range(2):
      with local.local_worker(max_concurrent_clients=1):
        self.assertEqual(add_counts([1, 2]), 3)

  def test_one_in_another(self):
    with local.local_worker():
      with local.local_worker():
        self.assertEqual(add_counts([1, 2]), 3)
      self.assertEqual(add_counts([1, 3]), 4)
    with self.assertRaisesRegex(RuntimeError, 'No default context'):
      add_counts([1])

  def test_in_a_running_loop_and_in_another_thread(self):
    async def call_here_and_elsewhere(context):
      def call():
        tff.framework.set_default_context(context)
        return add_counts([3, 4])

      return add_counts([1, 2]), await asyncio.to_thread(call)

    with local.local_worker() as context:
      self.assertEqual(asyncio.run(call_here_and_elsewhere(context)), (3, 7))
      self.assertEqual(add_counts([5]), 5)

  def test_worker_that_dies_once(self):
    with local.local_worker():
      self.assertEqual(add_counts([1, 2]), 3)  # This many clients, and then
      [first] = workers()
      with killing(1):
        self.assertEqual(add_counts([1_000_000]), 1_000_000)  # another number.
      [second] = workers()
      self.assertNotEqual(first.pid, second.pid)
      self.assertEqual(add_counts([1, 2]), 3)

  def test_worker_that_dies_between_calls(self):
    with local.local_worker():
      for number in (7, 8):
        workers()[0].kill()
        self.assertEqual(count_to(number), number)

  def test_worker_that_dies_twice(self):
    with tempfile.TemporaryDirectory() as folder:
      log_file = os.path.join(folder, 'worker.log')
      pathlib.Path(log_file).write_text('first\nlast\n')
      with local.local_worker(
          log_file=log_file, environment={'TF_CPP_MIN_LOG_LEVEL': '3'}
      ):
        with killing(2):
          with self.assertRaisesRegex(
              errors.WorkerError,
              'died twice .* killed by SIGKILL, probably because memory ran'
              r' out. Its log ends: (first \| )?last.* Use fewer',
          ):
            count_to(_LONG)
        self.assertEqual(count_to(9), 9)  # The next call finds a worker.

  def test_two_threads_start_one_worker_for_one_that_died(self):
    failed = threading.Barrier(2, timeout=10)
    started = []

    class Dying:
      """The first worker dies when both threads have called it."""

      def __init__(self):
        self.context = self
        self.is_first = not started
        self.stops = 0
        started.append(self)

      def invoke(self, unused_comp, arg):
        if self.is_first:
          failed.wait()
          raise grpc.RpcError
        return arg

      def has_died(self):
        return self.is_first

      def how_it_ended(self):
        return 'Killed.'

      def stop(self):
        self.stops += 1

    context = local._WorkerContext(Dying)
    with futures.ThreadPoolExecutor(2) as pool:
      found = list(pool.map(lambda arg: context.invoke(None, arg), [1, 2]))
    self.assertEqual(found, [1, 2])
    self.assertEqual([worker.stops for worker in started], [1, 0])

  def test_call_of_a_worker_that_another_thread_has_stopped(self):
    with local.local_worker() as context:
      context._worker.stop()  # As that thread does before it starts another.
      self.assertEqual(count_to(9), 9)

  def test_stops_when_it_is_interrupted_as_it_starts(self):
    with mock.patch.object(
        connection, 'create_context', side_effect=KeyboardInterrupt
    ):
      with self.assertRaises(KeyboardInterrupt):
        local.local_worker().__enter__()
    self.assertEmpty(workers())

  def test_compiled_computations_are_not_compiled_again(self):
    compiled = connection.Compiler()(add_counts)
    with mock.patch.object(connection, '_compile', side_effect=AssertionError):
      with local.local_worker(compiled=True):
        self.assertEqual(compiled([1, 2]), 3)

  @parameterized.named_parameters(
      ('assertion', lambda: fail_unless_zero(1), 'assertion failed'),
      ('retryable_code', read_what_was_never_set, 'uninitialized|not exist'),
  )
  def test_mistake_in_a_computation(self, call, message):
    with local.local_worker():
      [worker] = workers()
      with self.assertRaisesRegex(grpc.RpcError, message):
        call()
      self.assertEqual(fail_unless_zero(0), 0)
      self.assertEqual([w.pid for w in workers()], [worker.pid])

  def test_worker_that_does_not_start(self):
    with self.assertRaisesRegex(
        errors.WorkerError,
        'did not start: exit status 1. Its log ends: .*Illegal value.*--doctor',
    ):
      with local.local_worker(max_concurrent_clients=2**31):
        self.fail('The worker takes numbers of 32 bits.')

  def test_environment_reaches_the_worker(self):
    with local.local_worker():
      [worker] = workers()
      cores = str(len(os.sched_getaffinity(0)))
      self.assertEqual(worker.environ()['MALLOC_ARENA_MAX'], cores)
    variables = {'TF_NUM_INTRAOP_THREADS': '3', 'MALLOC_ARENA_MAX': '4'}
    with local.local_worker(environment=variables):
      [worker] = workers()
      self.assertEqual(worker.environ()['TF_NUM_INTRAOP_THREADS'], '3')
      self.assertEqual(worker.environ()['MALLOC_ARENA_MAX'], '4')

  def test_clients_share_the_cores(self):
    cores = len(os.sched_getaffinity(0))
    for clients, threads in ((None, '1'), (1, str(cores)), (0, None)):
      with local.local_worker(max_concurrent_clients=clients):
        [worker] = workers()
        self.assertEqual(
            worker.environ().get('TF_NUM_INTRAOP_THREADS'), threads
        )


_PROGRAM = """
import pathlib, sys
import psutil
from tests.runtime import local_test
from tff_partial.runtime import local
with local.local_worker():
  local_test.count_to(1)
  [worker] = psutil.Process().children()
  pathlib.Path(sys.argv[1]).write_text(f'{worker.pid}.')
  print(local_test.count_to(int(sys.argv[2])))
"""


class ProgramTest(absltest.TestCase):

  def start(self, pid_file: str, number: int) -> subprocess.Popen:
    """Starts a program that writes its worker's pid, then counts."""
    program = subprocess.Popen(
        [sys.executable, '-c', _PROGRAM, pid_file, str(number)],
        cwd=_ROOT,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    self.addCleanup(program.kill)
    return program

  def test_no_worker_outlives_its_program(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    programs = {}
    # A shell's background jobs ignore SIGINT, and so would what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
      pid_file = pathlib.Path(folder.name) / str(number)
      count = _LONG if number else 5
      programs[number] = pid_file, self.start(str(pid_file), count)
    for number, (pid_file, program) in programs.items():
      with self.subTest(number):
        while not (pid_file.exists() and pid_file.read_text().endswith('.')):
          self.assertIsNone(program.poll())
          time.sleep(0.05)
        worker_pid = int(pid_file.read_text()[:-1])
        if number:
          time.sleep(0.5)  # It is in the long call now.
          self.assertTrue(psutil.pid_exists(worker_pid))
          program.send_signal(number)
        # Ends only when nobody holds the pipes any more, the worker neither.
        output, errors = program.communicate(timeout=20)
        self.assertTrue(ends(worker_pid))
        if number is None:
          self.assertEqual((output, errors), ('5\n', ''))
          self.assertEqual(program.returncode, 0)
        elif number == signal.SIGTERM:
          self.assertEqual(errors, '')
          self.assertEqual(program.returncode, 128 + signal.SIGTERM)
        elif number == signal.SIGINT:
          self.assertEndsWith(errors, 'KeyboardInterrupt\n')
          self.assertNotIn('Exception ignored', errors)


if __name__ == '__main__':
  absltest.main()
