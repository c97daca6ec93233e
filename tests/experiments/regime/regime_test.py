# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""FedAlt or FedSim on the toy problem, whose answers are known."""

import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import origin
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments.regime import regime
from tff_partial.experiments.regime import split_constants
from tff_partial.experiments.regime import split_lookahead
from tff_partial.experiments.regime import split_study
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import methods
from tff_partial.learning import weights as weights_lib
from tff_partial.runtime import sharding as sharding_lib

setUpModule, tearDownModule = worker.start, worker.stop

# Of each five examples, one is held out: four for the rehearsals.
CLIENTS = toy.Clients(
    {
        name: toy.examples(x + x[:1], y + y[:1])
        for name, x, y in (
            ('a', [1, 1, 1, 1], [3, 5, 3, 5]),
            ('b', [2, 2, 2, 2], [1, 1, 1, 1]),
            ('c', [1, 3, 1, 3], [2, 0, 1, 4]),
            ('d', [-1, 2, 1, 0], [5, 1, 2, 2]),
        )
    }
)
SETTINGS = config_groups.Regime(
    regime_rounds=2, regime_repeats=2, regime_clients=4
)


def create_task(batch_size=2):
  """The toy with its loss as a metric, which `regime` needs."""
  task = toy_task.create_task('here', batch_size=batch_size, with_loss=True)
  return task.with_clients(train=CLIENTS, test=CLIENTS)


def create_config(**settings):
  return config_lib.create(
      **{
          'clients_per_round': 2,
          'pretrain_rounds': 0,
          'learning_rate': 0.01,
          'total_rounds': 40,
          **settings,
      }
  )


def build_study(task=None, **settings):
  return split_study.build(
      task or create_task(),
      create_config(**settings),
      SETTINGS,
      init_from=None,
      sharding=sharding_lib.Sharding(),
  )


class StudyTest(absltest.TestCase):

  def test_leading_order_is_the_difference_of_real_rounds(self):
    # One step on all examples, by all clients, so that nothing is random.
    study = build_study(
        create_task(batch_size=4), clients_per_round=4, learning_rate=0.01
    )
    point = study.at_start()
    constants = split_constants.Constants(study).at(point)
    lookahead = split_lookahead.lookahead(study, point)
    self.assertEqual(lookahead['clients_per_round'][-1], 4)
    expected = lookahead['difference'][-1]
    self.assertNotEqual(expected, 0)
    self.assertLess(lookahead['relative_low'][-1], lookahead['relative'][-1])
    self.assertGreater(
        lookahead['relative_high'][-1], lookahead['relative'][-1]
    )
    self.assertAlmostEqual(
        constants['leading_difference']['value'] / expected, 1, delta=0.1
    )

  def test_constants_of_the_toy(self):
    study = build_study()
    found = split_constants.Constants(study).at(study.at_start())
    self.assertEqual(found['clients'], 4)
    self.assertEqual(found['steps'], 2)
    # The loss is quadratic: any radius gives the same curvature, 1 for b.
    self.assertAlmostEqual(found['half_radius_change'], 0, places=3)
    self.assertAlmostEqual(
        found['normalised_steps']['personal']['value'], 0.01 * 2, places=5
    )
    # Whole epochs have no noise, so that the bounds favor FedAlt.
    as_drawn = found['criterion']['as_drawn']
    self.assertEqual(as_drawn['terms']['personal_noise'], 0)
    self.assertGreater(as_drawn['margin'], 0)
    self.assertEqual(as_drawn['probability_alternating'], 1)

  def test_personal_steps_are_those_of_personal_epochs(self):
    study = build_study(personal_epochs=3)
    found = split_constants.Constants(study).at(study.at_start())
    self.assertAlmostEqual(
        found['normalised_steps']['personal']['value'], 0.01 * 6, places=5
    )

  def test_rehearsals_are_paired_and_repeat(self):
    study = build_study()
    first, end = study.rehearsal(methods.SIMULTANEOUS, 0)
    again, _ = study.rehearsal(methods.SIMULTANEOUS, 0)
    other, _ = study.rehearsal(methods.SIMULTANEOUS, 2)
    for losses in (first, again, other):
      del losses['seconds']
    self.assertEqual(first, again)
    self.assertNotEqual(first, other)
    self.assertLess(
        first['held_out'], study.loss(study.at_start(), study.held_out)
    )
    twice, _ = study.rehearsal(methods.SIMULTANEOUS_EQUAL_STEPS, 0)
    self.assertEqual(twice['gradient_steps'], 2 * first['gradient_steps'])
    self.assertLess(twice['training'], first['training'])
    np.testing.assert_allclose(
        study.loss(end, study.training), first['training']
    )

  def test_held_out_examples_train_nothing(self):
    study = build_study()
    for client_id in CLIENTS.client_ids:
      self.assertEqual(study.training.num_examples(client_id), 4)
      self.assertEqual(study.held_out.num_examples(client_id), 1)

  def test_needs_the_loss_as_a_metric(self):
    with self.assertRaisesRegex(errors.SettingsError, "metric named 'loss'"):
      build_study(toy_task.create_task('here', num_clients=9))


class RunTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def run_in(self, splits=('output', 'regex:kernel'), **settings):
    with run_folder.claim(
        str(self.folder), {'regime': True}, overwrite=False
    ) as claimed:
      return regime.run_in(
          claimed,
          create_task(),
          create_config(**{'pretrain_rounds': 1, **settings}),
          splits,
          SETTINGS,
          progress=False,
      )

  def test_goes_on_with_the_same_bits(self):
    contents = self.run_in()
    path = self.folder / 'measurements.json'
    kept = json.loads(path.read_text())
    self.assertIn('pilot', kept['output/fed_alt/0'])
    for key in ('output/fed_alt/0', 'output/fed_sim/1', 'output/start'):
      del kept[key]
    path.write_text(json.dumps(kept))
    again = self.run_in()

    def without_times(value):
      if isinstance(value, dict):
        return {
            k: without_times(v)
            for k, v in value.items()
            if k not in ('seconds', 'time_ratio')
        }
      return (
          [without_times(v) for v in value]
          if isinstance(value, list)
          else value
      )

    self.assertEqual(without_times(again), without_times(contents))
    text = (self.folder / 'regime.md').read_text()
    self.assertIn('line, output personal: 2 of 4 clients per round', text)
    self.assertIn('FedAlt takes 2.0 times the gradients', text)
    self.assertIn('FedAlt takes 1.0 times the gradients', text)
    self.assertIn('Only 4 clients measured', text)
    self.assertIn(
        'data:image/svg+xml', (self.folder / 'regime.html').read_text()
    )

  def test_refuses_another_start(self):
    with run_folder.claim(str(self.folder), {'regime': True}, overwrite=False):
      origin.write(self.folder, origin.Origin(start='0' * 64))
      (self.folder / 'measurements.json').write_text('{}')
    file = self.enterContext(tempfile.NamedTemporaryFile()).name
    with self.assertRaisesRegex(errors.SettingsError, 'weights to start from'):
      self.run_in(pretrain_rounds=None, init_from=file)

  @parameterized.parameters(
      ({'algorithm': 'fed_avg'}, 'shared and personal'),
      ({'algorithm': 'ditto'}, 'shared and personal'),
      ({'algorithm': 'finetune'}, 'shared and personal'),
      ({'algorithm': 'fed_rod'}, "any split, .*'fed_rod', which has its own"),
      ({'personal': 'auto'}, 'by name with `regime`'),
      ({'personal_l2': 'auto'}, 'a number as `personal_l2`'),
      ({'control': True, 'pretrain_rounds': 1}, 'no `control`'),
      ({'client_sampling': 'cyclic'}, '`client_sampling` fixed .*cyclic'),
  )
  def test_refuses(self, settings, message):
    with self.assertRaisesRegex(errors.SettingsError, message):
      regime.configs(create_config(**settings), [None])

  def test_split_that_a_name_stands_for(self):
    [config] = regime.configs(create_config(algorithm='lg_fed_avg'), [None])
    self.assertEqual(config.split, 'input')

  @parameterized.parameters('all', 'regex:nothing')
  def test_refuses_a_split_before_anything_is_trained(self, split):
    with self.assertRaises(errors.SettingsError):
      self.run_in(['output', split])
    self.assertFalse((self.folder / 'pretrain').exists())

  def test_refuses_too_few_clients_before_anything_is_trained(self):
    settings = dict(unseen_clients=2)
    with self.assertRaisesRegex(errors.SettingsError, 'at least 3 clients'):
      self.run_in(**settings)
    self.assertFalse((self.folder / 'pretrain').exists())

  def test_starts_from_a_run_that_is_not_finished(self):
    with tempfile.TemporaryDirectory() as first:
      run_lib.run(
          plan_lib.build(
              create_task(), create_config(algorithm='fed_avg', total_rounds=1)
          ),
          first,
          progress=False,
      )
      weights = pathlib.Path(first, 'model.safetensors')
      values = weights_lib.load(weights)
      weights.unlink()
      # Ends after what it starts from was copied.
      with run_folder.claim(
          str(self.folder), {'regime': True}, overwrite=False
      ):
        (self.folder / 'measurements.json').write_text('{')
      with self.assertRaisesRegex(errors.FileError, 'a damaged file'):
        self.run_in(init_from=first, pretrain_rounds=None)
    kept = weights_lib.load(self.folder / 'start.safetensors')
    self.assertSameElements(kept, values)


if __name__ == '__main__':
  absltest.main()
