# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Settings with microbatches: what computations get, and what is refused."""

import dataclasses

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import toy_task
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition


def build(task, **settings):
  config = config_lib.create(
      personal='output', clients_per_round=2, microbatch_size=2, **settings
  )
  return plan_lib.build(task, config)


def normalized(split):
  """A line whose result is normalized over the batch."""
  del split  # The normalization is personal.

  def create():
    network = toy.keras_model()
    network.add(tf.keras.layers.BatchNormalization(name='normal'))
    return partial_model.PartialModel(
        network,
        partition.layers('normal'),
        loss_fn=toy.loss,
        metric_fns={'squared_error': toy.squared_error},
        input_spec=toy.INPUT_SPEC,
    )

  return create


class _Batched(toy.Clients):
  """Clients whose batches are made."""

  def read(self, client_id):
    return tf.data.Dataset.from_tensor_slices(super().read(client_id)).batch(2)


class MicrobatchesTest(absltest.TestCase):

  def test_reach_training_and_pretraining(self):
    plan = build(toy_task.create_task('points'))
    for part in (plan, plan.pretraining):
      self.assertEqual(
          part.client_examples,
          examples_lib.Tensors(batch_size=4, microbatch_size=2),
      )
      self.assertEqual(part.process.client_examples.microbatch_size, 2)

  def test_are_refused_with_batch_normalization(self):
    task = dataclasses.replace(
        toy_task.create_task('points'), model_fn=normalized
    )
    with self.assertRaisesRegex(ValueError, 'found normal, which measure'):
      build(task, pretrain_rounds=0)

  def test_are_refused_if_the_task_makes_batches(self):
    clients = _Batched({'a': toy.examples(np.arange(3), np.arange(3))})
    task = dataclasses.replace(
        toy_task.create_task('points'),
        train=clients,
        test=clients,
        client_examples=examples_lib.Sequences(),
    )
    with self.assertRaisesRegex(
        ValueError, 'examples.Tensors for `microbatch_size`, found Sequences'
    ):
      build(task)


if __name__ == '__main__':
  absltest.main()
