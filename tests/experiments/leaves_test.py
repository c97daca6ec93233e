# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What leaves a client, in words."""

import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow_federated as tff

from tests.helpers import toy_task
from tff_partial.experiments import leaves
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import data_flow

_NUMBERS = (
    "the client's weight, the metrics squared error and the counts empty,"
    ' examples, non finite and steps; nothing else, and nothing personal'
)


def in_words(**settings):
  config = config_lib.create(clients_per_round=2, **settings)
  return leaves.in_words(plan_lib.build(toy_task.create_task(''), config))


class LeavesTest(parameterized.TestCase):

  def test_with_pretraining(self):
    self.assertEqual(
        in_words(algorithm='fed_alt', pretrain_rounds=3),
        'Leaves a client each round: the update of 1 shared parameter (4'
        f' bytes), {_NUMBERS}. In the 3 rounds of pretraining before: the'
        f' update of 2 shared parameters (8 bytes), {_NUMBERS}.',
    )

  def test_robust_aggregator(self):
    # For zeroing and for clipping: whether the norm is above the quantile (and
    # a 1, to count), and whether the update was changed.
    self.assertStartsWith(
        in_words(algorithm='fed_avg', pretrain_rounds=0, aggregator='robust'),
        'Leaves a client each round: the update of 2 shared parameters (8'
        " bytes), 6 more numbers computed from the update, the client's weight",
    )

  def test_secure_sums(self):
    # Integers below 2^32 have eight bytes here.
    self.assertEqual(
        in_words(
            algorithm='fed_avg', pretrain_rounds=0, secure_aggregation=True
        ),
        'Leaves a client each round: the update of 2 shared parameters (16'
        f' bytes), {_NUMBERS}.'.replace(';', ', all in secure sums;'),
    )

  def test_compression(self):
    # Clients also send how many bytes they sent.
    self.assertStartsWith(
        in_words(
            algorithm='fed_avg', pretrain_rounds=0, compression='quantize'
        ),
        'Leaves a client each round: the update of 2 shared parameters (8'
        ' bytes, before it is quantized to 8 bits), 1 more number computed from'
        " the update, the client's weight",
    )

  def test_private_with_an_adaptive_bound(self):
    self.assertEqual(
        in_words(
            algorithm='fed_alt',
            pretrain_rounds=0,
            noise_multiplier=0.1,
            client_sampling='cyclic',
        ),
        'Leaves a client each round: the update of 1 shared parameter (4 bytes)'
        ' and 1 more number computed from the update; nothing else, and nothing'
        ' personal.',
    )

  @parameterized.parameters(
      'fed_avg',
      'fed_sim',
      'fed_alt',
      'fed_recon',
      'fed_babu',
      'ffgg',
      'ditto',
      'pfedme',
      'apfl',
  )
  def test_private_update_alone(self, algorithm):
    config = config_lib.create(
        algorithm=algorithm,
        clients_per_round=2,
        pretrain_rounds=0,
        noise_multiplier=1.0,
        dp_clip=1.0,
    )
    plan = plan_lib.build(toy_task.create_task(''), config)
    for round_fn in (plan.process.next, plan.process.pieces.partial_round):
      [sent] = data_flow.leaves_clients(round_fn)
      self.assertEqual(sent.fields, {'update'})

  @parameterized.named_parameters(('local', 'local'), ('finetune', 'finetune'))
  def test_clients_that_train_alone(self, algorithm):
    self.assertEqual(
        in_words(algorithm=algorithm, pretrain_rounds=0),
        'Leaves a client: nothing; clients train alone.',
    )

  def test_what_was_chosen_before_training(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    for name, found in (
        ('personal.json', {'split': 'output'}),
        ('personal_l2.json', {'total': 1.0}),
    ):
      found.update(clients=7, candidates=[{}, {}, {}])
      (folder / name).write_text(json.dumps(found))
    task = toy_task.create_task('')
    config = config_lib.create(algorithm='finetune', pretrain_rounds=0)
    self.assertEqual(
        leaves.in_words(plan_lib.build(task, config), folder),
        'Leaves a client in training: nothing; clients train alone. Once,'
        ' before training, to choose what is personal, from each of 7 clients:'
        ' 4 numbers for each of 2 variables, about its gradients and what'
        ' training changes; how many examples and batches it has; and, for'
        ' each of 3 choices, its loss. Once, before training, to estimate the'
        ' penalty, from each of 7 clients: squared norms of its gradients, how'
        ' many examples and batches it has and, for each of 3 weights, its'
        ' loss; and, in means over these clients, derivatives by 2'
        ' parameters.',
    )

  def test_a_choice_without_training(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    found = {'split': 'output', 'clients': 7, 'candidates': [], 'numbers': 2}
    (folder / 'personal.json').write_text(json.dumps(found))
    config = config_lib.create(algorithm='finetune', pretrain_rounds=0)
    self.assertIn(
        ' 2 numbers for each of 2 variables, about its gradients; how many',
        leaves.in_words(
            plan_lib.build(toy_task.create_task(''), config), folder
        ),
    )

  def test_secure_sum_and_a_leak(self):
    variables = plan_lib.build(
        toy_task.create_task(''), config_lib.create(clients_per_round=2)
    ).variables
    found = [
        data_flow.SentValue(
            'federated_secure_sum_bitwidth',
            tff.TensorType(np.int32, [1, 1]),
            frozenset(['update/0']),
        ),
        data_flow.SentValue(
            'federated_sum',
            tff.TensorType(np.float32, [1]),
            frozenset(['personal/trainable/0']),
        ),
    ]
    self.assertEqual(
        leaves.describe(found, variables),
        'the update of 1 shared parameter (4 bytes, in secure sums) and'
        ' personal/trainable/0',
    )


if __name__ == '__main__':
  absltest.main()
