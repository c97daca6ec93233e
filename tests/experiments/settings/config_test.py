# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Settings: what is refused, and what follows from them."""

import math
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import paths
from tff_partial.experiments import parts
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import methods

# BUILD: data = ["//:sources"]


class ConfigTest(parameterized.TestCase):

  @parameterized.parameters(
      ({'algorithm': 'sgd'}, "`algorithm` .*'fed_alt'.*'fed_bn'.*found 'sgd'"),
      ({'schedule': 'cosine'}, "`schedule` .*'linear'.*, found 'cosine'"),
      ({'server_optimizer': 'lion'}, "found 'lion'"),
      ({'aggregator': 'krum'}, "'median', 'trimmed_mean'., found 'krum'"),
      ({'client_weighting': 'all'}, "found 'all'"),
      ({'pretrain_rounds': 3, 'init_from': 'x'}, '`init_from`, found both'),
      ({'algorithm': 'finetune', 'finetune_epochs': 0}, 'at least 1'),
      ({'algorithm': 'local', 'finetune_epochs': 0}, "1 for algorithm 'local'"),
      ({'algorithm': 'fed_per', 'personal': 'input'}, "'output', which is .*"),
      ({'runtime': 'gpu'}, r"\['in_process', 'worker'\], found 'gpu'"),
      ({'gate': 1.0}, 'below 1, found 1.0'),
      ({'gate': 0.1, 'validation': 0.2}, '`validation`, .*found 0.1 and 0.2'),
      ({'personal_dropout': -0.1}, 'found -0.1'),
      ({'personal_dropout': 0.1}, 'personal adapters .*found output. Use'),
      ({'personal_dropout': 0.1, 'algorithm': 'ditto'}, 'found a copy of all'),
      (
          {'onboarding': 'mean,median', 'unseen_clients': 1},
          r"'reconstruct', 'finetune'\] or none, found 'median'",
      ),
      ({'onboarding': 'mean'}, '`unseen_clients` above 0'),
      ({'client_sampling': 'all'}, r"\['fixed', 'poisson', 'cyclic'\], found"),
      (
          {'noise_multiplier': 1.0, 'target_epsilon': 2.0},
          '`noise_multiplier` or `target_epsilon`, found both',
      ),
      (
          {'noise_multiplier': 1.0, 'secure_aggregation': True},
          'Expected `dp_clip` with `secure_aggregation`',
      ),
      (
          {'aggregator': 'robust', 'secure_aggregation': True},
          "`aggregator` mean with `secure_aggregation`, found 'robust'",
      ),
      (
          {'compression': 'quantize', 'secure_aggregation': True},
          "`compression` none with `secure_aggregation`, found 'quantize'",
      ),
      (
          {'aggregator': 'median', 'client_weighting': 'num_examples'},
          "`client_weighting` uniform with `aggregator` median, found 'num_",
      ),
      (
          {'target_epsilon': 1.0, 'aggregator': 'trimmed_mean'},
          "`aggregator` mean .*, found 'trimmed_mean': what it learns",
      ),
      (
          {
              'noise_multiplier': 1.0,
              'dp_mechanism': 'tree',
              'client_sampling': 'poisson',
              'dp_clip': 1.0,
          },
          "`client_sampling` cyclic with `dp_mechanism` tree, found 'poisson'",
      ),
      (
          {'noise_multiplier': 1.0, 'dp_mechanism': 'tree'},
          '`dp_clip` with `dp_mechanism` tree, found none',
      ),
      ({'dp_mechanism': 'tree'}, 'with `dp_mechanism` tree, found neither'),
      ({'trim': 0.5}, 'at least 0 and below 0.5, found 0.5'),
      ({'broadcast_bits': 8}, r'one of \[32, 16\], found 8'),
      ({'compression_bits': 1}, 'from 2 to 16, found 1'),
      (
          {'algorithm': 'local', 'secure_aggregation': True},
          'sends something with `secure_aggregation`, found .local. without',
      ),
      (
          {'noise_multiplier': 1.0, 'client_sampling': 'fixed'},
          "`client_sampling` poisson or cyclic .*found 'fixed': .*Leave it out",
      ),
      ({'target_epsilon': 0.0}, '`target_epsilon` above 0'),
      ({'noise_multiplier': 1.0, 'dp_clip': 0.0}, '`dp_clip` above 0'),
      *(
          ({'noise_multiplier': 1.0, name: math.inf}, f'`{name}` .* below inf')
          for name in ('noise_multiplier', 'dp_clip', 'dp_initial_clip')
      ),
      ({'target_epsilon': math.inf}, '`target_epsilon` .* below inf'),
      ({'dp_clip': 1.0}, 'with `dp_clip`, found neither'),
      ({'delta': 1e-3}, 'with `delta`, found neither'),
      ({'init_from': 'x', 'init_is_public': True}, '`init_is_public`, found'),
      (
          {'noise_multiplier': 1.0, 'init_is_public': True},
          'Expected `init_from` with `init_is_public`, found none',
      ),
      ({'dp_initial_clip': 1.0}, 'with `dp_initial_clip`, found neither'),
      ({'dp_clip_quantile': 0.9}, 'with `dp_clip_quantile`, found neither'),
      ({'dp_metrics': 'exact'}, 'with `dp_metrics`, found neither'),
      (
          {'noise_multiplier': 1.0, 'dp_clip': 1.0, 'dp_initial_clip': 0.2},
          '`dp_clip` or `dp_initial_clip`, .* found both',
      ),
      (
          {'noise_multiplier': 1.0, 'aggregator': 'median'},
          "`aggregator` mean with differential privacy, found 'median'",
      ),
      (
          {'secure_aggregation': True, 'aggregator': 'median'},
          "`aggregator` mean with `secure_aggregation`, found 'median'",
      ),
      (
          {'noise_multiplier': 1.0, 'algorithm': 'fed_apm'},
          'no differential privacy for algorithm .fed_apm.,.*Use another alg',
      ),
      *(
          (
              {'algorithm': 'fed_apm', **given},
              f'{name}` .* mean over all clients',
          )
          for name, given in (
              ('client_weighting', {'client_weighting': 'num_examples'}),
              ('server_optimizer', {'server_optimizer': 'adam'}),
              ('server_learning_rate', {'server_learning_rate': 0.5}),
              ('aggregator', {'aggregator': 'median'}),
              ('compression', {'compression': 'quantize'}),
              ('client_sampling', {'client_sampling': 'cyclic'}),
          )
      ),
      *(
          (
              {'algorithm': 'rolora', 'personal': 'none', **given},
              'also move the matrices',
          )
          for given in ({'server_optimizer': 'adam'}, {'target_epsilon': 1.0})
      ),
      (
          {'client_sampling': 'poisson', 'aggregator': 'robust'},
          'than robust with `client_sampling` poisson',
      ),
      (
          {'target_epsilon': 1.0, 'client_weighting': 'num_examples'},
          "`client_weighting` uniform .*, found 'num_examples': weights would",
      ),
      (
          {'target_epsilon': 1.0, 'aggregator': 'robust'},
          "`aggregator` mean .*, found 'robust': what it learns",
      ),
      (
          {
              'target_epsilon': 1.0,
              'onboarding': 'initial,mean',
              'unseen_clients': 1,
          },
          "`onboarding` without 'mean'",
      ),
      (
          {'target_epsilon': 1.0, 'pretrain_rounds': 5, 'control': True},
          'no `control` with differential privacy',
      ),
      (
          {'target_epsilon': 1.0, 'personal_l2': 'auto'},
          "found 'auto': the estimate has no noise",
      ),
      (
          {'target_epsilon': 1.0, 'algorithm': 'local'},
          "sends something .*found 'local'",
      ),
      (
          {
              'target_epsilon': 1.0,
              'algorithm': 'finetune',
              'pretrain_rounds': 0,
          },
          "found 'finetune' without pretraining",
      ),
      ({'dp_key': 'none'}, r"\['secret', 'seed'\], found 'none'"),
      ({'algorithm': 'pfedme', 'pull': 0.0}, '`pull` above 0'),
      # Each of these would turn the algorithm into another one.
      (
          {'personal_l2': 0.1, 'personal_l2_total': 1.0},
          '`personal_l2` or `personal_l2_total`, found both',
      ),
      (
          {'algorithm': 'ditto', 'personal_l2_total': 1.0},
          "no `personal_l2_total` for algorithm 'ditto'",
      ),
      (
          {'algorithm': 'ditto', 'personal_l2': 0.0},
          "`personal_l2` above 0.*'local'",
      ),
      (
          {'algorithm': 'pfedme', 'personal_l2': 0.0, 'pull': 0.1},
          'default of 15',
      ),
      ({'algorithm': 'pfedme', 'learning_rate': 0.2}, r'below 2 .* 15 \* 0.2'),
      (
          {'algorithm': 'pfedme', 'personal_l2': 1e3, 'learning_rate': 1e-3},
          'at most 1 .* 5',
      ),
      ({'algorithm': 'fed_alt', 'personal': 'none'}, "none. Use .*'fed_avg'"),
      ({'algorithm': 'finetune', 'personal': 'none'}, "none. Use .*'fed_avg'"),
      (
          {'algorithm': 'fed_avg', 'learning_rate': 0.0},
          '`learning_rate` above 0',
      ),
      ({'server_epsilon': 0.1}, 'no `server_epsilon` with sgd, .* found 0.1'),
      ({'server_optimizer': 'yogi', 'server_epsilon': 0.0}, '0 / 0'),
      ({'server_learning_rate': 0.0}, '`server_learning_rate` above 0'),
      ({'personal_learning_rate': 0.0}, '`personal_learning_rate` above 0'),
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
      ('lg_fed_avg', 'fed_sim', 'input'),
      ('fed_bn', 'fed_sim', 'norm'),
  )
  def test_names_from_the_literature(self, name, algorithm, split):
    for given in ({}, {'personal': split}):
      self.assertEqual(
          config_lib.create(algorithm=name, **given),
          config_lib.create(algorithm=algorithm, personal=split),
      )

  @parameterized.parameters(
      ('fed_alt', {}, 0.0, None),
      ('ditto', {}, 1.0, None),
      ('pfedme', {}, 15.0, 0.075),
      ('fed_alt', {'personal_l2': 0.5}, 0.5, None),
      ('ditto', {'personal_l2': 0.5}, 0.5, None),
      ('pfedme', {'personal_l2': 10.0}, 10.0, 0.05),  # 0.005 * 10
      ('pfedme', {'pull': 0.5}, 15.0, 0.5),
  )
  def test_penalty_of_the_literature(self, algorithm, settings, penalty, pull):
    config = config_lib.create(algorithm=algorithm, **settings)
    self.assertEqual(config.penalty, penalty)
    phases = parts.build_algorithm(config).phases
    [phase] = {p for p in phases if p.personal is not None}
    self.assertEqual(phase.personal.penalty, penalty)
    self.assertEqual(phase.personal.anchor, config.method.penalty_anchor)
    # The last epochs have the algorithm's own objective.
    [last] = parts.build_finetuning(config, 1).phases
    self.assertEqual(last.personal.penalty, penalty)
    self.assertEqual(last.personal.anchor, phase.personal.anchor)
    if pull is not None:
      np.testing.assert_allclose(phase.pull, pull)

  @parameterized.parameters(
      ({}, [10, 1]),
      ({'epochs': 5}, [10, 5]),
      ({'personal_epochs': 2}, [2, 1]),
  )
  def test_fed_rep_has_ten_epochs_for_the_head(self, settings, epochs):
    config = config_lib.create(algorithm='fed_rep', **settings)
    self.assertEqual(config.split, 'output')
    phases = parts.build_algorithm(config).phases
    self.assertEqual([p.epochs for p in phases], epochs)
    self.assertIsNone(phases[0].shared)
    self.assertIsNone(phases[1].personal)

  @parameterized.parameters(
      ('adam', None, 1e-7),
      ('corrected_adam', None, 1e-8),
      ('adagrad', None, 1e-7),
      ('yogi', None, 1e-3),
      ('adam', 1e-5, 1e-5),
      ('corrected_adam', 1e-5, 1e-5),
      ('adagrad', 1e-5, 1e-5),
      ('yogi', 1e-5, 1e-5),
  )
  def test_epsilon_of_the_server(self, optimizer, given, expected):
    config = config_lib.create(server_optimizer=optimizer, server_epsilon=given)
    built = parts.build_server_optimizer(config.server)
    state = built.initialize(tf.TensorSpec([], tf.float32))
    self.assertEqual(built.get_hparams(state)['epsilon'], expected)

  @parameterized.parameters('landmarks', 'speech', 'stackoverflow')
  def test_presets_of_the_paper_have_its_adam(self, task):
    for name in (f'{task}_paper', f'{task}_paper_pretrain'):
      preset = paths.ROOT / 'tasks' / 'presets' / f'{name}.flags'
      self.assertIn(
          '--server_optimizer=corrected_adam', preset.read_text().splitlines()
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
      ('same', {'algorithm': 'fed_avg', 'finetune_epochs': 5}, 0, 0),
      ('neighbors', {'algorithm': 'knn_per', 'finetune_epochs': 5}, 0, 0),
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
        learning_rate=0.125,
        unseen_clients=4,
        seed=5,
    )
    before = config.for_pretraining(3)
    self.assertEqual((before.algorithm, before.split), ('fed_avg', 'none'))
    self.assertEqual((before.total_rounds, before.num_pretrain_rounds), (3, 0))
    self.assertEqual(before.num_finetune_epochs, 0)
    # The same clients are kept out of both.
    self.assertEqual((before.evaluation.unseen_clients, before.seed), (4, 5))
    self.assertEqual(before.client.learning_rate, 0.125)

  def test_pretraining_before_fine_tuning_alone(self):
    config = config_lib.create(algorithm='finetune', finetune_epochs=2)
    self.assertEqual(config.for_pretraining(200).num_finetune_epochs, 0)

  def test_is_fast_to_import(self):
    program = (
        'import sys; from tff_partial.experiments.settings import config;'
        ' print(*sys.modules)'
    )
    modules = subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    self.assertIn('tff_partial.experiments.settings.config', modules)
    self.assertNoCommonElements(modules, ['numpy', 'tensorflow'])


if __name__ == '__main__':
  absltest.main()
