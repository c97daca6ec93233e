# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A rehearsal ends with the bits of training, and leaves everything alone."""

import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import worker
from tff_partial.learning import algorithms
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import process as process_lib
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import personal_store
from tff_partial.training import rehearsal
from tff_partial.training import sampler as sampler_lib
from tff_partial.training import training

setUpModule, tearDownModule = worker.start, worker.stop

SAMPLER = sampler_lib.UniformSampler(toy.random_clients(9), 3, seed=4)


def bits(value):
  return [np.asarray(leaf).tobytes() for leaf in tf.nest.flatten(value)]


class RehearsalTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.process = process_lib.build_partial_process(
        toy.model_fn(),
        algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2)),
        client_examples=examples_lib.Tensors(batch_size=2),
    )

  def train(self, store, total_rounds, sharding=None):
    return training.train(
        self.process,
        SAMPLER,
        store,
        training.Settings(total_rounds=total_rounds),
        sharding=sharding,
        progress=False,
    )

  @parameterized.parameters(None, 2)
  def test_repeats_training(self, clients_per_shard):
    sharding = sharding_lib.Sharding(clients_per_shard=clients_per_shard)
    default = self.process.initialize_personal()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    with personal_store.PersonalStore(default, folder) as store:
      before = self.train(store, 2)
      contents = lambda: [
          p.read_bytes() for p in sorted(pathlib.Path(folder).iterdir())
      ]
      files = contents()
      rehearsed = rehearsal.rehearse(
          self.process,
          SAMPLER,
          state=before,
          personal=rehearsal.ScratchVariables(default, store.read),
          first_round=2,
          rounds=3,
          sharding=sharding,
      )
      self.assertEqual(contents(), files)
      self.assertEqual(store.version, 2)
      after = self.train(store, 5, sharding)
      clients = SAMPLER.clients.client_ids
      self.assertEqual(bits(rehearsed.state), bits(after))
      self.assertEqual(
          bits(rehearsed.personal.read(clients)), bits(store.read(clients))
      )

  def test_counts_steps(self):
    default = self.process.initialize_personal()
    rounds = []
    rehearsed = rehearsal.rehearse(
        self.process,
        SAMPLER,
        state=self.process.initialize(),
        personal=rehearsal.ScratchVariables(default),
        first_round=0,
        rounds=2,
        sharding=sharding_lib.Sharding(),
        after_round=lambda: rounds.append(1),
    )
    # Two phases, with a step for each two examples.
    expected = sum(
        2 * -(-SAMPLER.clients.num_examples(c) // 2)
        for round_num in range(2)
        for c in SAMPLER.cohort(round_num)
    )
    self.assertEqual(rehearsed.gradient_steps, expected)
    self.assertLen(rounds, 2)


if __name__ == '__main__':
  absltest.main()
