# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training in shards, and a computation that takes time."""

import functools

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import process as process_lib
from tff_partial.runtime import sharding
from tff_partial.training import personal_store
from tff_partial.training import sampler as sampler_lib
from tff_partial.training import stores
from tff_partial.training import training

FORM = examples_lib.Tensors(batch_size=2)


@tff.tensorflow.computation(np.int32)
def count_to(number):
  """Returns `number` after a time that is proportional to it."""
  return tf.while_loop(lambda i: i < number, lambda i: (i + 1,), (0,))[0]


@functools.cache  # Building one takes seconds.
def _process():
  return process_lib.build_partial_process(
      toy.model_fn(),
      algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2)),
      client_examples=FORM,
      server_optimizer=tff.learning.optimizers.build_adam(0.1),
  )


def default():
  """What a client's personal variables are before it trains."""
  return _process().initialize_personal()


def train(
    engine,
    *,
    num_clients=9,
    clients_per_shard=2,
    total_rounds=2,
    directory=None,
    during_shard=None,
    sampler_fn=None,
):
  """Trains the toy model with all clients but two in each round.

  Args:
    engine: Computes shards.
    num_clients: Number of clients.
    clients_per_shard: Size of a shard; None for whole rounds.
    total_rounds: Number of rounds.
    directory: Where the store is, in parts or not; None for memory.
    during_shard: Called with the number of each read of a client, before it.
    sampler_fn: Makes the sampler of the clients, if it is another one.

  Returns:
    The state's arrays, each client's bytes, and the steps of each round.
  """
  process = _process()
  clients = toy.random_clients(num_clients)
  if during_shard:
    clients = _Clients(clients, during_shard)
  if sampler_fn is None:
    sampler = sampler_lib.UniformSampler(
        clients, clients_per_round=num_clients - 2
    )
  else:
    sampler = sampler_fn(clients)
  keep = _Keep()
  with _store(default(), directory) as store:
    state = training.train(
        process,
        sampler,
        store,
        training.Settings(total_rounds=total_rounds, seconds_per_checkpoint=0),
        sharding=sharding.Sharding(engine, clients_per_shard),
        release_managers=[keep],
        progress=False,
    )
    personal = {c: store.read([c])[0].trainable[0].tobytes() for c in store}
  return flat(state), personal, keep.steps


def _store(initial, directory):
  if directory is None:
    return personal_store.PersonalStore(initial)
  return stores.open_store(initial, directory)


def flat(state):
  return [np.asarray(leaf) for leaf in tf.nest.flatten(state)]


class _Keep(tff.program.ReleaseManager):

  def __init__(self):
    self.steps = []

  async def release(self, value, key):
    self.steps.append(value['counts/steps'])


class _Clients(toy.Clients):
  """Calls a function with the number of each read before reading."""

  def __init__(self, clients, before_read):
    super().__init__({c: clients.read(c) for c in clients.client_ids})
    self._before_read = before_read
    self._reads = 0

  def read(self, client_id):
    self._before_read(self._reads)
    self._reads += 1
    return super().read(client_id)
