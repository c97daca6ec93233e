# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several workers on this machine, and training on them."""

import contextlib
import os
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import process as process_lib
from tff_partial.runtime import dispatcher as dispatcher_lib
from tff_partial.runtime import remote
from tff_partial.runtime import worker_process
from tff_partial.training import personal_store
from tff_partial.training import sampler as sampler_lib
from tff_partial.training import training

FORM = examples_lib.Tensors(batch_size=2)
QUICK = remote.Timing(ping_seconds=0.2, lost_seconds=1.0, start_seconds=30.0)
PATIENCE_SECONDS = 10.0


class Workers:
  """Some workers on this machine, as processes that tests stop and kill."""

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
    """Sends a signal to running workers, by default to all."""
    for worker in workers or range(len(self.ports)):
      process = self._processes[self.ports[worker]]
      if not process.has_ended(0):
        os.kill(process.pid, number)


@tff.tensorflow.computation(np.int32)
def count_to(number):
  """Returns `number` after a time that is proportional to it."""
  return tf.while_loop(lambda i: i < number, lambda i: (i + 1,), (0,))[0]


@contextlib.contextmanager
def dispatcher_of(addresses):
  with remote.connect(addresses, timing=QUICK) as workers:
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
  """Trains the toy model; returns state, each client's bytes, and steps."""
  process = process_lib.build_partial_process(
      toy.model_fn(),
      algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2)),
      client_examples=FORM,
      server_optimizer=tff.learning.optimizers.build_adam(0.1),
  )
  default = process.initialize_personal()
  clients = _Clients(during_shard) if during_shard else toy.random_clients(9)
  keep = _Keep()
  with personal_store.PersonalStore(default, directory) as store:
    state = training.train(
        process,
        sampler_lib.UniformSampler(clients, clients_per_round=7),
        store,
        training.Settings(total_rounds=total_rounds, seconds_per_checkpoint=0),
        sharding=dispatcher_lib.Sharding(
            dispatcher or dispatcher_lib.Dispatcher(), clients_per_shard
        ),
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
  """Calls a function with the number of each read before reading."""

  def __init__(self, before_read):
    super().__init__(toy.random_clients(9)._data)
    self._before_read = before_read
    self._reads = 0

  def read(self, client_id):
    self._before_read(self._reads)
    self._reads += 1
    return super().read(client_id)
