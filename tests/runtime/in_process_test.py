# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Computations in this process give what TFF's worker gives."""

import contextlib
import functools
import inspect
import threading
import time

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import psutil
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tff_partial.evaluation import evaluation
from tff_partial.learning import algorithms
from tff_partial.learning import compression
from tff_partial.learning import nested_model
from tff_partial.learning import partition
from tff_partial.learning import process as process_lib
from tff_partial.learning import robust
from tff_partial.privacy import aggregation
from tff_partial.privacy import secret_key
from tff_partial.privacy import secure_sums
from tff_partial.runtime import in_process
from tff_partial.runtime import local
from tff_partial.runtime import stages

FLOATS = tff.TensorType(np.float32, [None])
# Two examples at most, and x a power of 2: then gradients have the same bits in
# both, from which quantization and attacks draw random numbers.
EXAMPLES = [
    toy.value([1.0, 2.0], [2.0, 3.0], seed=1),
    toy.value([-1.0], [1.0], seed=2),
    toy.value([], [], seed=3),
    toy.value([0.5, 4.0], [-1.0, 2.0], seed=4),
    toy.value([2.0], [2.5], seed=5),
]
SGD = toy.sgd(0.1)
SECURE_SUM = secure_sums.BoundedSecureSumFactory(1024.0)


def private(noise_multiplier=1.0, clip=0.5, **others):
  """Arguments of a process with differential privacy."""
  return dict(
      model_aggregator=aggregation.build_private_aggregator(
          noise_multiplier=noise_multiplier,
          expected_clients=len(EXAMPLES),
          clip=clip,
          key=secret_key.from_seed(0),
          **others,
      ),
      metrics=False,
  )


# Every algorithm, and every aggregator with one that it goes with.
PROCESSES = {
    'fed_avg': (algorithms.fed_avg(SGD), {}),
    'fed_sim': (
        algorithms.fed_sim(SGD, SGD),
        dict(model_aggregator=tff.learning.robust_aggregator()),
    ),
    'fed_alt': (
        algorithms.fed_alt(SGD, SGD),
        dict(model_aggregator=tff.learning.compression_aggregator()),
    ),
    'fed_recon': (
        algorithms.fed_recon(SGD, SGD),
        dict(
            server_optimizer=tff.learning.optimizers.build_adam(0.1),
            **private(tree=True),
        ),
    ),
    'fed_babu': (
        algorithms.fed_babu(SGD),
        dict(
            model_aggregator=compression.quantizing(
                tff.aggregators.MeanFactory(), bits=4
            )
        ),
    ),
    'fed_rod': (
        algorithms.fed_rod(SGD, SGD),
        dict(
            model_aggregator=robust.sign_flipping(
                robust.TrimmedMeanFactory(None), 0.5
            )
        ),
    ),
    'ffgg': (
        algorithms.ffgg(SGD, SGD, tolerance=0.5),
        dict(
            model_aggregator=tff.aggregators.MeanFactory(
                SECURE_SUM, SECURE_SUM
            ),
            metrics_aggregation_factory=SECURE_SUM,
        ),
    ),
    'fed_apm': (
        algorithms.fed_apm(SGD, SGD, rho=0.5),
        dict(server_optimizer=tff.learning.optimizers.build_sgdm(0.5)),
    ),
    'rolora': (
        algorithms.rolora(
            SGD, turns=[partition.matches(x) for x in ('kernel', 'bias')]
        ),
        {},
    ),
    'ditto': (
        algorithms.ditto(SGD, SGD, penalty=1.0),
        private(sum_factory=SECURE_SUM),
    ),
    'pfedme': (
        algorithms.pfedme(SGD, penalty=15.0, pull=0.1),
        private(noise_multiplier=0.1, clip=None),
    ),
    'apfl': (
        algorithms.apfl(SGD, SGD),
        dict(model_aggregator=robust.TrimmedMeanFactory(0.3)),
    ),
    'personal_by_budget': (algorithms.fed_alt(SGD, SGD), {}),
}
ALL_SHARED = ('ditto', 'pfedme', 'apfl', 'rolora')

_stack = contextlib.ExitStack()
tearDownModule = _stack.close


def setUpModule():
  global _worker
  _worker = _stack.enter_context(local.worker_context(max_concurrent_clients=2))
  _stack.enter_context(in_process.in_process(max_concurrent_clients=2))


@functools.cache
def build(name='fed_avg'):
  algorithm, arguments = PROCESSES[name]
  model_fn = toy.model_fn(
      partition.none if name in ALL_SHARED else toy.B_IS_PERSONAL
  )
  if name == 'personal_by_budget':
    model_fn = nested_model.NestedModelFn(model_fn, {'line/bias': 0})
  return process_lib.build_partial_process(
      model_fn,
      algorithm,
      client_examples=toy.ALL_AT_ONCE,
      **arguments,
  )


def personal_of_all(name):
  """What each client starts from."""
  personal = build(name).initialize_personal()
  if name != 'personal_by_budget':
    return [personal] * len(EXAMPLES)
  return [
      nested_model.with_level(personal, i % 2) for i in range(len(EXAMPLES))
  ]


KEYS = np.array([1, 2, 3], np.int32)


@tff.tensorflow.computation(tff.SequenceType(np.int32))
def total(numbers):
  return numbers.reduce(0, lambda x, y: x + y)


@tff.tensorflow.computation(np.int32, np.int32)
def part(factor, key):
  return factor * key


@tff.federated_computation(
    tff.FederatedType(tff.TensorType(np.int32, [3]), tff.CLIENTS)
)
def total_of_selected(keys):
  at_server = lambda number: tff.federated_value(number, tff.SERVER)
  selected = tff.federated_select(keys, at_server(4), at_server(1), part)
  return tff.federated_map(total, selected)


def num_children():
  return len(psutil.Process().children())


class InProcessTest(parameterized.TestCase):

  def assertSame(self, compute, rtol=2e-6):
    """Checks that both give the same, and that no more workers start."""
    with local.installed(_worker):
      expected = compute()
    before = num_children()
    found = compute()
    self.assertEqual(num_children(), before)
    tf.nest.assert_same_structure(found, expected)
    for x, y in zip(tf.nest.flatten(found), tf.nest.flatten(expected)):
      self.assertIs(type(x), type(y))
      if isinstance(x, (np.ndarray, np.generic)):
        self.assertEqual(x.dtype, y.dtype)
        self.assertFalse(x.flags.writeable)
      if np.asarray(x).dtype.kind in 'OS':
        np.testing.assert_array_equal(x, y)
      else:
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-6)
    return found

  @parameterized.parameters(*PROCESSES)
  def test_two_rounds(self, name):
    process = build(name)

    def compute():
      state = process.initialize()
      first = process.next(state, personal_of_all(name), EXAMPLES)
      return state, first, process.next(first[0], first[1], EXAMPLES)

    self.assertSame(compute)

  def test_every_algorithm_that_sends_updates(self):
    public = {
        name
        for name, value in vars(algorithms).items()
        if inspect.isfunction(value) and not name.startswith('_')
    }
    self.assertEqual(
        public - {'finetune'}, {a.name for a, _ in PROCESSES.values()}
    )

  # Sums of numbers, of integers with noise, and of what grows with clients.
  @parameterized.parameters('fed_avg', 'ditto', 'fed_rod')
  def test_pieces(self, name):
    process = build(name)
    state, personal = process.initialize(), personal_of_all(name)

    def compute():
      pieces = process.pieces
      sent = pieces.for_clients(state)
      trained, sums = zip(
          *(
              pieces.partial_round(sent, personal[part], EXAMPLES[part])
              for part in (slice(2), slice(2, None))
          )
      )
      return trained, pieces.finalize(state, [pieces.merge(2)(*sums)])

    self.assertSame(compute)

  def test_evaluation(self):
    process = build('fed_sim')
    tests = evaluation.build_evaluation(
        process.model_fn,
        client_examples=toy.ALL_AT_ONCE,
        phases=process.algorithm.phases,
    )
    state, personal = process.initialize(), process.initialize_personal()
    self.assertSame(
        lambda: tests.computation(
            state.global_model_weights,
            state.client_work,
            [personal] * len(EXAMPLES),
            EXAMPLES,
            EXAMPLES,
        )
    )

  def test_what_is_not_a_float(self):
    text = tff.TensorType(np.str_, [None])

    @tff.tensorflow.computation(np.int32, np.str_, text, np.bool_)
    def work(number, word, words, flag):
      return number + 1, word, tf.concat([words, words], 0), flag

    found = self.assertSame(lambda: work(3, 'a', ['b', 'c'], True))
    self.assertEqual(found[0], 4)
    self.assertEqual(list(found[2]), [b'b', b'c', b'b', b'c'])

  def test_parts_are_found_by_name(self):
    pair = tff.types.to_type([('a', np.int32), ('b', np.int32)])

    @tff.tensorflow.computation(pair)
    def minus(pair):
      return pair.a - pair.b

    @tff.federated_computation(tff.FederatedType(pair, tff.CLIENTS))
    def at_clients(pairs):
      return tff.federated_map(minus, pairs)

    self.assertEqual(self.assertSame(lambda: minus({'b': 1, 'a': 3})), 2)
    found = self.assertSame(lambda: at_clients([{'b': 1, 'a': 3}, (3, 1)]))
    self.assertEqual(found, [2, 2])
    with self.assertRaisesRegex(TypeError, '2 elements: b, c'):
      at_clients([{'b': 1, 'c': 3}])

  @parameterized.parameters(False, True)
  def test_result_is_not_the_argument(self, by_tensorflow):
    identity = tff.tensorflow.computation(lambda x: tf.identity(x), FLOATS)

    @tff.federated_computation(
        tff.FederatedType(FLOATS, tff.SERVER),
        tff.FederatedType(FLOATS, tff.CLIENTS),
    )
    def same(at_server, at_clients):
      if not by_tensorflow:
        return at_server, at_clients
      return (
          tff.federated_map(identity, at_server),
          tff.federated_map(identity, at_clients),
      )

    # TensorFlow takes memory as it is if its address is a multiple of 64.
    numbers = np.ones([32], np.float32)
    argument = numbers[-numbers.ctypes.data % 64 // 4 :][:3]
    at_server, [at_client] = self.assertSame(lambda: same(argument, [argument]))
    argument[:] = 0
    np.testing.assert_array_equal(at_server, np.ones([3]))
    np.testing.assert_array_equal(at_client, np.ones([3]))

  def test_sums_that_grow(self):
    @tff.tensorflow.computation(FLOATS, np.float32)
    def add(numbers, number):
      return tf.concat([numbers, [number]], 0)

    @tff.tensorflow.computation(FLOATS, FLOATS)
    def merge(first, second):
      return tf.concat([first, second], 0)

    @tff.tensorflow.computation(FLOATS)
    def three(numbers):
      return tf.ensure_shape(numbers, [3])

    @tff.federated_computation(tff.FederatedType(np.float32, tff.CLIENTS))
    def all_of_them(values):
      return tff.federated_aggregate(
          values, np.zeros([0], np.float32), add, merge, three
      )

    found = self.assertSame(lambda: all_of_them([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(found, [1.0, 2.0, 3.0])

  def test_two_aggregations_one_after_the_other(self):
    @tff.tensorflow.computation(np.float32, np.float32)
    def minus(x, y):
      return x - y

    @tff.federated_computation(tff.FederatedType(np.float32, tff.CLIENTS))
    def variance(values):
      mean = tff.federated_broadcast(tff.federated_mean(values))
      centered = tff.federated_map(minus, (values, mean))
      squares = tff.federated_map(
          tff.tensorflow.computation(lambda x: x * x, np.float32), centered
      )
      return tff.federated_mean(squares), centered, mean

    squares, centered, mean = self.assertSame(
        lambda: variance([1.0, 2.0, 3.0, 6.0])
    )
    self.assertEqual((squares, mean), (3.5, 3.0))
    self.assertEqual(centered, [-2.0, -1.0, 0.0, 3.0])

  def test_constants(self):
    @tff.tensorflow.computation(np.str_)
    def twice(text):
      return tf.strings.join([text, text])

    @tff.federated_computation
    def constants():
      found = [
          tff.federated_value(value, tff.SERVER)
          for value in (
              np.arange(3, dtype=np.float32),
              np.int64(3),
              'hé',
              np.array(['ab', 'c']),
          )
      ]
      return *found, tff.federated_map(twice, found[2])

    numbers, number, *texts, word = self.assertSame(constants)
    np.testing.assert_array_equal(numbers, [0, 1, 2])
    self.assertEqual(
        (number, texts[0], word), (3, b'h\xc3\xa9', b'h\xc3\xa9' * 2)
    )
    np.testing.assert_array_equal(texts[1], [b'ab', b'c'])

  def test_no_clients(self):
    @tff.federated_computation(tff.FederatedType(np.float32, tff.CLIENTS))
    def total(values):
      return tff.federated_sum(values)

    self.assertEqual(self.assertSame(lambda: total([])), 0.0)

  def test_variables_start_from_their_initial_values(self):
    @tff.tensorflow.computation(np.float32)
    def count(number):
      variable = tf.Variable(1.0, name='same')
      with tf.control_dependencies([variable.assign_add(number)]):
        return variable.read_value()

    @tff.federated_computation(tff.FederatedType(np.float32, tff.CLIENTS))
    def twice(values):
      once = tff.federated_map(count, values)
      return once, tff.federated_map(count, once)

    numbers = [float(i) for i in range(9)]
    for _ in range(2):
      once, again = self.assertSame(lambda: twice(numbers))
      self.assertEqual(once, [n + 1 for n in numbers])
      self.assertEqual(again, [n + 2 for n in numbers])

  def test_results_that_wait_for_an_argument(self):
    @tff.tensorflow.computation(np.float32, np.float32)
    def second(first, number):
      with tf.control_dependencies([first]):
        return number * 2

    @tff.federated_computation(
        tff.FederatedType(np.float32, tff.SERVER),
        tff.FederatedType(np.float32, tff.CLIENTS),
    )
    def at_clients(first, values):
      first = tff.federated_broadcast(first)
      return tff.federated_map(second, (first, values))

    self.assertEqual(
        self.assertSame(lambda: at_clients(1.0, [2.0, 3.0])), [4.0, 6.0]
    )

  def test_no_more_clients_at_a_time_than_asked_for(self):
    running, most = 0, 0
    lock = threading.Lock()
    several = threading.Event()

    def work(x):
      nonlocal running, most
      with lock:
        running += 1
        most = max(most, running)
        if running > 1:
          several.set()
      several.wait(10)
      with lock:
        running -= 1
      return x

    @tff.tensorflow.computation(np.float32)
    def client(x):
      return tf.reshape(tf.numpy_function(work, [x], tf.float32), [])

    @tff.federated_computation(tff.FederatedType(np.float32, tff.CLIENTS))
    def everyone(values):
      return tff.federated_map(client, values)

    self.assertEqual(everyone([1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0])
    self.assertEqual(most, 2)

  def test_slow_client_does_not_keep_others_waiting(self):
    others = threading.Event()

    def work(x):
      if x == 1.0:
        return np.float32(others.wait(10))
      if x == 3.0:  # Begins when 2 has ended.
        others.set()
      return x

    @tff.tensorflow.computation(np.float32)
    def client(x):
      return tf.reshape(tf.numpy_function(work, [x], tf.float32), [])

    @tff.federated_computation(tff.FederatedType(np.float32, tff.CLIENTS))
    def everyone(values):
      return tff.federated_map(client, values)

    self.assertEqual(everyone([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0])

  def test_session_that_cannot_be_created_is_left_to_the_next_caller(self):
    graph = in_process._Graph(
        stages.Stage(0, stages.SERVER), at_once=1, threads=1
    )
    waits = threading.Event()

    def create():
      if not waits.is_set():
        waits.set()
        time.sleep(0.5)  # Until the other one waits.
        raise MemoryError
      return lambda: [7]

    graph._create = create
    found = []
    first = threading.Thread(
        target=lambda: self.assertRaises(MemoryError, graph), daemon=True
    )
    second = threading.Thread(target=lambda: found.extend(graph()), daemon=True)
    first.start()
    waits.wait(10)
    second.start()
    first.join(10)
    second.join(10)
    self.assertEqual(found, [7])

  def test_denormal_numbers_are_flushed_to_zero(self):
    @tff.tensorflow.computation(FLOATS, np.float32)
    def scaled(x, scale):
      return x * scale

    small = np.full([64], 1e-30, np.float32)
    np.testing.assert_allclose(scaled(small, 1e-7), 1e-37, rtol=1e-6)
    np.testing.assert_array_equal(scaled(small, 1e-10), 0.0)

  def test_mistakes_in_arguments_and_computations(self):
    @tff.tensorflow.computation(FLOATS, FLOATS)
    def add(x, y):
      return x + y

    with self.assertRaises(TypeError):
      add(np.ones([2]), np.ones([2]))  # Of float64.
    two, three = np.ones([2], np.float32), np.ones([3], np.float32)
    with self.assertRaises(tf.errors.InvalidArgumentError):
      add(two, three)
    np.testing.assert_array_equal(add(two, two), [2, 2])

  @parameterized.parameters(
      ('federated_select', lambda: total_of_selected([KEYS])),
      (r'int32\*', lambda: [total(tf.data.Dataset.from_tensor_slices(KEYS))]),
  )
  def test_worker_for_what_is_unknown_here(self, unknown, compute):
    before = psutil.Process().children()
    with in_process.in_process(cores=1):
      with self.assertLogs('absl', 'WARNING') as logs:
        for _ in range(2):
          self.assertEqual(compute(), [6])
      self.assertLen(logs.output, 1)
      self.assertRegex(logs.output[0], f'TFF.s worker, .* execute {unknown}')
      [worker] = set(psutil.Process().children()) - set(before)
      self.assertEqual(worker.environ()['TF_NUM_INTRAOP_THREADS'], '1')
      self.assertEqual(build().initialize_personal().trainable[0], [0.0])
    self.assertEqual(psutil.Process().children(), before)

  def test_blocks_may_be_nested(self):
    add = tff.tensorflow.computation(lambda x: x + 1, np.int32)
    with local.local_worker():
      with in_process.in_process(max_concurrent_clients=1):
        self.assertEqual(add(1), 2)
      self.assertEqual(add(2), 3)
    self.assertEqual(add(3), 4)


if __name__ == '__main__':
  absltest.main()
