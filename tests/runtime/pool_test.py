# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who gets which task, and what happens if nobody finishes it."""

import collections
import os
import time

from absl.testing import absltest
import ray

from tff_partial import errors
from tff_partial.runtime import pool as pool_lib
from tff_partial.runtime import ray_connection


class Worker:
  """Says who it is, after some time."""

  def work(self, seconds):
    time.sleep(seconds)
    return True, ray.get_runtime_context().get_actor_id()

  def die(self):
    os._exit(1)

  def fail(self):
    raise ValueError('Not like this.')


def works(seconds):
  return lambda actor: actor.work.options(num_returns=2).remote(seconds)


class PoolTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.enterClassContext(
        ray_connection.connect('local', insecure_cluster=False)
    )
    actor_class = ray.remote(num_cpus=0.1, max_restarts=-1)(Worker)
    cls.handles = [
        actor_class.options(runtime_env=ray_connection.environment()).remote()
        for _ in range(2)
    ]
    ray.get([handle.work.remote(0) for handle in cls.handles])

  def setUp(self):
    super().setUp()
    for handle in self.handles:
      while not self.answers(handle):  # Another test has killed it.
        time.sleep(0.1)

  def answers(self, handle):
    try:
      [done, _] = ray.get(handle.work.remote(0))
      return done
    except ray.exceptions.ActorUnavailableError:
      return False

  def pool(self):
    return pool_lib.Pool(self.handles, patience_seconds=30.0)

  def who(self, results):
    return [ray.get(result.references[1]) for result in results]

  def test_consecutive_tasks_stay_together(self):
    done = self.who(self.pool().run(8, lambda i: works(0.3), group_size=4))
    self.assertLen(set(done[:4]), 1)
    self.assertLen(set(done[4:]), 1)
    self.assertNotEqual(done[0], done[4])

  def test_everybody_helps_with_the_last_group(self):
    done = self.who(self.pool().run(8, lambda i: works(0.3), group_size=8))
    self.assertLen(set(done), 2)

  def test_preferred_actors(self):
    pool = self.pool()
    first = list(pool.run(4, lambda i: works(0.2)))
    # Neither the order of the actors nor that of the tasks.
    preferred = [result.actor for result in first][::-1]
    near = [[actor] for actor in preferred]
    second = list(pool.run(4, lambda i: works(0.2), preferred=near))
    self.assertEqual([result.actor for result in second], preferred)

  def test_slow_task_is_given_to_another_one_too(self):
    calls = collections.Counter()

    def prepare(i):
      def call(actor):
        calls[i] += 1
        # Slow at the first try, as on a machine that is busy.
        return works(60 if i == 1 and calls[i] == 1 else 0.1)(actor)

      return call

    done = self.who(self.pool().run(4, prepare))
    self.assertLen(done, 4)
    self.assertEqual(calls[1], 2)
    for handle in self.handles:  # Who is asleep need not wake up.
      ray.kill(handle, no_restart=False)

  def test_process_that_is_given_up_leaves_nothing_undone(self):
    bad = self.handles[0]

    def prepare(i):
      # There are tasks left until it has died often enough.
      seconds = 1.0 if len(pool.actors) == 2 else 0.1
      return lambda actor: (
          [actor.die.remote()] if actor == bad else works(seconds)(actor)
      )

    pool = self.pool()
    self.assertLen(list(pool.run(12, prepare)), 12)
    self.assertEqual([a.handle for a in pool.actors], self.handles[1:])

  def test_task_that_another_one_has_finished_is_not_taken_again(self):
    tasks = pool_lib._Tasks(1, lambda i: works(0), 1, None)
    actor = pool_lib.Actor(self.handles[0])
    self.assertEqual(tasks.take(actor, [actor]), 0)
    tasks.put_back(0)  # An actor that had it too is lost.
    done = pool_lib._Call([ray.put(True)], actor, tasks, 0)
    self.assertTrue(tasks.record(done, seconds=1.0))
    self.assertIsNone(tasks.take(actor, [actor]))

  def test_task_that_kills_everybody(self):
    def prepare(i):
      return lambda actor: [actor.die.remote()]

    with self.assertRaisesRegex(
        errors.WorkerError, 'lost 3 times.*clients_per_shard.*same command'
    ):
      list(self.pool().run(1, prepare))
    self.assertLen(self.who(self.pool().run(3, lambda i: works(0))), 3)

  def test_mistake_is_shown(self):
    def prepare(i):
      return lambda actor: [actor.fail.remote()]

    with self.assertRaisesRegex(ValueError, 'Not like this'):
      list(self.pool().run(2, prepare))


if __name__ == '__main__':
  absltest.main()
