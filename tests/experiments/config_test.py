# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Settings: what is refused, and what follows from them."""

import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from tff_partial.experiments import config as config_lib
from tff_partial.experiments import methods


class ConfigTest(parameterized.TestCase):

  @parameterized.parameters(
      ({'algorithm': 'sgd'}, "`algorithm` .*'fed_alt'.*'fed_bn'.*found 'sgd'"),
      ({'schedule': 'cosine'}, "`schedule` .*'linear'.*, found 'cosine'"),
      ({'server_optimizer': 'lion'}, "found 'lion'"),
      ({'aggregator': 'median'}, r"\['mean', 'robust'\], found 'median'"),
      ({'client_weighting': 'all'}, "found 'all'"),
      ({'pretrain_rounds': 3, 'init_from': 'x'}, '`init_from`, found both'),
      ({'algorithm': 'finetune', 'finetune_epochs': 0}, 'at least 1'),
      ({'algorithm': 'local', 'finetune_epochs': 0}, "1 for algorithm 'local'"),
      ({'algorithm': 'fed_per', 'personal': 'input'}, "'output', which is .*"),
      ({'gate': 1.0}, 'below 1, found 1.0'),
      ({'personal_dropout': -0.1}, 'found -0.1'),
      ({'personal_dropout': 0.1}, 'personal adapters .*found output. Use'),
      ({'personal_dropout': 0.1, 'algorithm': 'ditto'}, 'found a copy of all'),
      (
          {'onboarding': 'mean,median', 'unseen_clients': 1},
          r"'reconstruct', 'finetune'\] or none, found 'median'",
      ),
      ({'onboarding': 'mean'}, '`unseen_clients` above 0'),
      ({'algorithm': 'pfedme', 'pull': 0.0}, '`pull` above 0'),
      ({'epochs': 0}, '`epochs` to be at least 1, found 0'),
      ({'pull': 2.0}, '`pull` to be from 0 to 1, found 2.0'),
      ({'learning_rte': 1.0}, "'learning_rte'. Did you mean 'learning_rate'"),
  )
  def test_refuses(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      config_lib.create(**settings)

  def test_settings_that_change_no_result_may_differ_in_a_resumed_run(self):
    often = config_lib.create(seconds_per_checkpoint=0)
    self.assertEqual(often.settings, config_lib.Config().settings)
    self.assertNotEqual(config_lib.create(seed=1).settings, often.settings)
    self.assertEqual(often.for_pretraining(2).running.seconds_per_checkpoint, 0)

  @parameterized.parameters(
      ('fed_avg', 'none'), ('fed_alt', 'input'), ('finetune', 'input')
  )
  def test_nothing_is_personal_in_fed_avg(self, algorithm, split):
    config = config_lib.create(algorithm=algorithm, personal='input')
    self.assertEqual(config.split, split)

  @parameterized.parameters(
      ('fed_per', 'fed_sim', 'output'),
      ('fed_rep', 'fed_alt', 'output'),
      ('lg_fed_avg', 'fed_sim', 'input'),
      ('fed_bn', 'fed_sim', 'norm'),
  )
  def test_names_from_the_literature(self, name, algorithm, split):
    for given in ({}, {'personal': split}):
      self.assertEqual(
          config_lib.create(algorithm=name, **given),
          config_lib.create(algorithm=algorithm, personal=split),
      )

  def test_default_split(self):
    self.assertEqual(config_lib.Config().personal, 'output')
    local = config_lib.create(algorithm='local')
    self.assertEqual((local.split, local.num_finetune_epochs), ('all', 50))

  @parameterized.parameters(
      ({}, ()),
      ({'unseen_clients': 1}, ('initial', 'mean')),
      ({'unseen_clients': 1, 'onboarding': 'none'}, ()),
      (
          {'unseen_clients': 1, 'onboarding': 'finetune,mean'},
          ('mean', 'finetune'),
      ),
      ({'unseen_clients': 1, 'algorithm': 'fed_avg', 'onboarding': 'mean'}, ()),
      ({'unseen_clients': 1, 'algorithm': 'finetune'}, ()),
  )
  def test_onboarding(self, settings, policies):
    config = config_lib.create(**settings)
    self.assertEqual(config.onboarding_policies, policies)

  @parameterized.named_parameters(
      ('personalizes', {}, 200, 0),
      ('as_given', {'pretrain_rounds': 3, 'finetune_epochs': 2}, 3, 2),
      ('none', {'pretrain_rounds': 0}, 0, 0),
      ('starts_from_a_model', {'init_from': 'x'}, 0, 0),
      ('fed_avg_is_the_pretraining', {'algorithm': 'fed_avg'}, 0, 0),
      ('finetune', {'algorithm': 'finetune'}, 200, 5),
  )
  def test_rounds_before_and_epochs_after(self, settings, pretrain, finetune):
    config = config_lib.create(**settings)
    self.assertEqual(config.num_pretrain_rounds, pretrain)
    self.assertEqual(config.num_finetune_epochs, finetune)

  @parameterized.parameters(*methods.METHODS)
  def test_pretraining_is_fed_avg_with_the_same_shared_settings(
      self, algorithm
  ):
    config = config_lib.create(
        algorithm=algorithm,
        personal='input',
        total_rounds=7,
        pretrain_rounds=3,
        learning_rate=0.25,
        unseen_clients=4,
        seed=5,
    )
    before = config.for_pretraining(3)
    self.assertEqual((before.algorithm, before.split), ('fed_avg', 'none'))
    self.assertEqual((before.total_rounds, before.num_pretrain_rounds), (3, 0))
    self.assertEqual(before.num_finetune_epochs, 0)
    # The same clients are kept out of both.
    self.assertEqual((before.evaluation.unseen_clients, before.seed), (4, 5))
    self.assertEqual(before.client.learning_rate, 0.25)

  def test_pretraining_before_fine_tuning_alone(self):
    config = config_lib.create(algorithm='finetune', finetune_epochs=2)
    self.assertEqual(config.for_pretraining(200).num_finetune_epochs, 0)

  def test_is_fast_to_import(self):
    program = (
        'import sys; from tff_partial.experiments import config;'
        ' print(*sys.modules)'
    )
    modules = subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    self.assertIn('tff_partial.experiments.config', modules)
    self.assertNoCommonElements(modules, ['numpy', 'tensorflow'])


if __name__ == '__main__':
  absltest.main()
