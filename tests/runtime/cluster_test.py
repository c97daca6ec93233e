# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several processes compute: the same bits, also when some fail."""

import os
import signal
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import ray_cluster
from tests.helpers import sharded
from tff_partial import errors
from tff_partial.runtime import cluster
from tff_partial.runtime import sharding


@tff.tensorflow.computation(np.int32)
def fail_unless_zero(number):
  with tf.control_dependencies([tf.debugging.assert_equal(number, 0)]):
    return tf.identity(number)


@tff.tensorflow.computation(tff.SequenceType(np.int32))
def total(numbers):
  return numbers.reduce(np.int32(0), lambda x, y: x + y)


@tff.tensorflow.computation(np.str_)
def echo(text):
  return text


def pids(engine):
  return [found['pid'] for found in ray_cluster.describe(engine)]


class ClusterTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.simulated = ray_cluster.SimulatedCluster(cls, 3)
    cls.engine = cls.enterClassContext(
        cluster.connect('auto', actor_cores=1, patience_seconds=10.0)
    )
    # 13 shards in two groups.
    cls.expected = sharded.train(sharding.ThisThread(), num_clients=28)

  def some(self, count):
    """An engine that uses some of the processes."""
    self.assertLen(self.engine.handles, 3)
    return cluster.Cluster(self.engine.handles[:count], patience_seconds=10.0)

  def assert_same(self, found):
    self.assertEqual(
        [leaf.tobytes() for leaf in found[0]],
        [leaf.tobytes() for leaf in self.expected[0]],
    )
    self.assertEqual(found[1:], self.expected[1:])

  @parameterized.parameters(1, 2, 3)
  def test_any_number_of_processes_gives_the_same_bits(self, count):
    self.assert_same(sharded.train(self.some(count), num_clients=28))

  def test_one_process_on_each_node(self):
    found = ray_cluster.describe(self.some(3))
    self.assertLen({process['node'] for process in found}, 3)

  def test_killed_and_stopped_in_mid_round(self):
    engine = self.some(3)
    killed, stopped, _ = pids(engine)

    def disturb(reads):
      if reads == 4:
        os.kill(stopped, signal.SIGSTOP)
      elif reads == 8:
        os.kill(killed, signal.SIGKILL)

    try:
      self.assert_same(
          sharded.train(engine, num_clients=28, during_shard=disturb)
      )
    finally:
      os.kill(stopped, signal.SIGCONT)
    self.assert_same(sharded.train(engine, num_clients=28))

  def test_alone_and_stopped_it_is_started_again(self):
    engine = self.some(1)
    [stopped] = pids(engine)

    def disturb(reads):
      if reads == 4:
        os.kill(stopped, signal.SIGSTOP)

    with self.assertLogs('absl', 'WARNING') as logs:
      self.assert_same(
          sharded.train(engine, num_clients=28, during_shard=disturb)
      )
    self.assertIn('does not answer. It is started again', logs.output[0])
    self.assertNotEqual(pids(engine), [stopped])

  def test_mistake_in_a_computation_is_shown(self):
    step = sharding.Step(fail_unless_zero)
    with self.assertRaisesRegex(RuntimeError, 'assertion failed'):
      list(self.some(2).compute(3, lambda i: (step, [i])))
    self.assertEqual(
        list(self.some(2).compute(2, lambda i: (step, [0]))), [0, 0]
    )

  def test_data_sets_and_texts_arrive(self):
    step = sharding.Step(total)
    data = tf.data.Dataset.range(5, output_type=tf.int32)
    self.assertEqual(
        list(self.some(1).compute(1, lambda i: (step, [data]))), [10]
    )
    step = sharding.Step(echo)
    self.assertEqual(
        list(self.some(1).compute(1, lambda i: (step, [b'h\xc3\xa9']))),
        [b'h\xc3\xa9'],
    )

  def test_lost_then_resumed_elsewhere(self):
    directory = self.enter_context(tempfile.TemporaryDirectory())

    def disturb(reads):
      if reads == 26 + 3:  # In the second round.
        raise errors.WorkerError('Stop here.')

    with self.assertRaisesRegex(errors.WorkerError, 'Stop here'):
      sharded.train(
          self.some(2),
          num_clients=28,
          during_shard=disturb,
          directory=directory,
      )
    state, personal, steps = sharded.train(
        sharding.ThisThread(), num_clients=28, directory=directory
    )
    self.assert_same((state, personal, self.expected[2][:1] + steps))


if __name__ == '__main__':
  absltest.main()
