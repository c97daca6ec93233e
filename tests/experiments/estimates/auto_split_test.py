# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""`--personal=auto` where clients differ in one layer of two.

The model predicts w (x + s) with w = 1 and s = 0, and client i has y = x + c_i
at x = 1 and -1. Its gradient of s is -c_i for every example, and that of w has
a mean of 0 over pairs.
"""

import contextlib
import dataclasses
import io
import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.data import sql_clients
from tff_partial.data import sql_examples
from tff_partial.data import sql_writer
from tff_partial.experiments import finished_run
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run
from tff_partial.experiments.estimates import auto_split
from tff_partial.experiments.estimates import held_out_sample
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import setting
from tff_partial.experiments.settings import split_choice
from tff_partial.learning import identity_layers
from tff_partial.learning import partial_model
from tff_partial.learning import partition
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import history

setUpModule, tearDownModule = worker.start, worker.stop

OFFSETS = np.array([1.0, -2.0, 3.0, -4.0])
NUM = 10  # Examples of a client, two of which are held out.
RATE = 0.1


def model_fn(split):
  rule = partition.rule_by_name(split, {})
  return lambda: partial_model.PartialModel(
      tf.keras.Sequential(
          [
              tf.keras.layers.InputLayer([1]),
              identity_layers.FeatureBias(name='shift'),
              tf.keras.layers.Dense(
                  1, use_bias=False, kernel_initializer='ones', name='line'
              ),
          ]
      ),
      rule,
      loss_fn=toy.loss,
      metric_fns={'loss': toy.loss_terms, 'squared_error': toy.squared_error},
      input_spec=toy.INPUT_SPEC,
      rule_name=split,
  )


def create_plan(folder=None, *, offsets=OFFSETS, **settings):
  """A plan whose examples are in memory, or read in the graph from a folder."""
  x = np.resize([1.0, -1.0], NUM)
  people = toy.Clients(
      {f'client_{i}': toy.examples(x, x + c) for i, c in enumerate(offsets)}
  )
  task = dataclasses.replace(
      toy_task.create_task('here', batch_size=NUM, with_loss=True),
      model_fn=model_fn,
      splits={},
      train=people,
      test=people,
  )
  if folder is not None:
    features = {name: tf.TensorSpec([1], tf.float32) for name in 'xy'}
    path = str(folder / 'train.sqlite')
    with sql_writer.SqlWriter(path, features) as writer:
      for client_id in people.client_ids:
        writer.write(client_id, people.read(client_id))
    located = sql_examples.ClientLocations(sql_clients.SqlClients(path))
    task = dataclasses.replace(
        task,
        train=located,
        test=located,
        client_examples=sql_examples.SqlExamples(
            features, task.client_examples
        ),
    )
  config = config_lib.create(
      **{
          'personal': 'auto',
          'learning_rate': RATE,
          'pretrain_rounds': 0,
          'finetune_epochs': 1,
          'clients_per_round': 2,
          'total_rounds': 1,
          'rounds_per_evaluation': 0,
          **settings,
      }
  )
  return plan_lib.build(task, config)


class AutoSplitTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def resolve(self, plan):
    return auto_split.resolve(
        plan,
        self.folder,
        None,
        sharding=sharding_lib.Sharding(),
        progress=False,
    )

  def test_another_seed_is_measured_anew_with_what_is_built(self):
    first = create_plan(seed=0)
    second = plan_lib.build(
        first.task,
        config_lib.create(**{**setting.flatten(first.config), 'seed': 1}),
    )
    resolved, found = [], []
    for plan in (first, second, create_plan(seed=1)):
      resolved.append(self.resolve(plan))
      path = self.folder / 'personal.json'
      found.append(json.loads(path.read_text()))
      path.unlink()
    self.assertIs(resolved[0].process.next, resolved[1].process.next)
    self.assertIsNot(resolved[0].process.next, resolved[2].process.next)
    # The examples that are held out are those of the seed.
    for one in found:
      del one['seconds']
    self.assertEqual(found[1], found[2])
    self.assertNotEqual(found[0], found[1])

  def test_scores_and_losses_by_hand(self):
    plan = self.resolve(create_plan())
    found = json.loads((self.folder / 'personal.json').read_text())
    self.assertEqual(found['chosen'], ['shift'])
    self.assertEqual(found['numbers'], 2)
    best, other = found['layers']
    self.assertEqual((best['name'], best['bytes']), ('shift', 4))
    # No noise: the second moment of the gradients, per byte.
    self.assertAlmostEqual(best['score'], np.mean(OFFSETS**2) / 4, places=4)
    self.assertLess(other['score'], best['score'] / 2)
    nothing, shift = found['candidates']
    self.assertEqual((nothing['layers'], shift['layers']), ([], ['shift']))
    # One step takes a client RATE of the way.
    left = np.mean(OFFSETS**2) / 2
    self.assertAlmostEqual(nothing['loss'], left, places=4)
    self.assertAlmostEqual(shift['loss'], left * (1 - RATE) ** 2, places=4)
    self.assertEqual(plan.config.split, 'regex:^(?:shift)(?:/[^/]*)?$')
    self.assertEqual(
        [v.path for v in plan.variables if v.personal], ['shift/bias']
    )
    # It is not measured again.
    (self.folder / 'personal.json').write_text(
        json.dumps({**found, 'split': 'regex:line'})
    )
    self.assertEqual(self.resolve(create_plan()).config.split, 'regex:line')

  @parameterized.parameters(
      ({'max_steps': 1}, np.abs(OFFSETS) * (1 - RATE)),
      ({'max_steps': 1, 'clip_norm': 0.5}, np.abs(OFFSETS) - RATE * 0.5),
  )
  def test_takes_the_steps_of_clients(self, settings, left):
    self.resolve(create_plan(finetune_epochs=3, **settings))
    found = json.loads((self.folder / 'personal.json').read_text())
    self.assertAlmostEqual(
        found['candidates'][1]['loss'], np.mean(left**2) / 2, places=4
    )

  def test_says_so_if_every_choice_diverges(self):
    with self.assertRaisesRegex(errors.DivergedError, 'finite loss'):
      self.resolve(create_plan(learning_rate=1e30))

  def test_in_words_where_a_choice_diverges(self):
    with tempfile.TemporaryDirectory() as folder:
      candidates = [([], 0.5), (['head'], 0.4), (['all'], None)]
      pathlib.Path(folder, split_choice.FILE_NAME).write_text(
          json.dumps(
              {
                  'split': 'regex:head',
                  'score': 'gain',
                  'clients': 5,
                  'seconds': 1.0,
                  'candidates': [
                      {'layers': layers, 'loss': loss}
                      for layers, loss in candidates
                  ],
              }
          )
      )
      [said] = split_choice.notes(pathlib.Path(folder))
    self.assertIn('nothing: 0.5; head: 0.4; all: not finite', said)
    self.assertNotIn('No choice was better', said)

  def test_examples_that_are_read_in_the_graph(self):
    self.resolve(create_plan())
    path = self.folder / 'personal.json'
    in_memory = json.loads(path.read_text())
    path.unlink()
    self.resolve(create_plan(self.folder))
    found = json.loads(path.read_text())
    for part in ('layers', 'candidates', 'split'):
      self.assertEqual(found[part], in_memory[part])

  def test_how_far_an_epoch_moves_values(self):
    self.resolve(create_plan(auto_score='moved'))
    found = json.loads((self.folder / 'personal.json').read_text())
    self.assertEqual(found['numbers'], 4)
    scores = {layer['name']: layer['score'] for layer in found['layers']}
    moved = RATE * np.mean(np.abs(OFFSETS))
    self.assertAlmostEqual(scores['shift'], moved / 4, places=5)

  def test_sensitivity_of_the_loss(self):
    plan = create_plan(auto_score='sensitivity')
    self.resolve(plan)
    found = json.loads((self.folder / 'personal.json').read_text())
    scores = {layer['name']: layer['score'] for layer in found['layers']}
    people = held_out_sample.draw(
        plan,
        model_fn('all'),
        name='personal',
        most_clients=len(OFFSETS),
        least_held_out=1,
        least_examples=3,
        advice='',
    )
    expected = []
    for client_id in people.client_ids:
      x, y = people.training.read(client_id).values()
      self.assertLen(x, NUM - 2)

      def gradients(w, s):
        error = w * (x + s) - y
        return np.mean(error * (x + s)), np.mean(error * w)

      # One step from w = 1 and s = 0, then the products with the gradients.
      values = np.subtract([1, 0], RATE * np.array(gradients(1, 0)))
      expected.append((values * gradients(*values)) ** 2)
    line, shift = np.mean(expected, axis=0) / 4  # Bytes of each.
    self.assertEqual({*scores}, {'shift', 'line'})
    self.assertAlmostEqual(scores['shift'], shift, places=5)
    self.assertAlmostEqual(scores['line'], line, places=5)

  def test_a_run_reports_it_and_keeps_it(self):
    folder = self.folder / 'run'
    split = 'regex:^(?:shift)(?:/[^/]*)?$'
    seconds = set()
    first = create_plan(personal='auto:5B', pretrain_rounds=1)
    longer = plan_lib.build(
        first.task, setting.replace(first.config, total_rounds=2)
    )
    # The second one goes on.
    for plan, announced in ((first, 1), (longer, 0)):
      printed = io.StringIO()
      with contextlib.redirect_stdout(printed):
        run.run(plan, str(folder))
      printed = printed.getvalue()
      report = json.loads((folder / 'report.json').read_text())
      notes, cost = ' '.join(report['notes']), report['cost']
      self.assertIn(f'--personal={split}', notes)
      settings = finished_run.read_settings(str(folder))
      self.assertEqual(settings['personal'], split)
      found = split_choice.read(folder)
      self.assertIn('shift      4', split_choice.table(found))
      self.assertEqual(printed.count('Choosing what is personal'), announced)
      seconds.add(found['seconds'])
      self.assertEqual(cost['choice_seconds'], found['seconds'])
      [pretrained] = history.read(folder / 'pretrain' / 'metrics.csv')
      self.assertEqual(cost['pretraining_seconds'], pretrained['seconds'])
      total = pretrained['seconds'] + found['seconds'] + cost['seconds']
      share = f'took {found["seconds"] / total:.1%} of the {total:.0f} s'
      self.assertIn(share, notes)
      self.assertIn(share, printed)
      self.assertIn(
          'Time for choosing what is personal',
          (folder / 'report.html').read_text(),
      )
    self.assertLen(seconds, 1)

  def test_fewer_clients_for_a_short_run(self):
    self.resolve(create_plan(offsets=np.resize(OFFSETS, 12)))
    found = json.loads((self.folder / 'personal.json').read_text())
    self.assertEqual(found['clients'], 10)

  def test_more_than_its_share(self):
    said = split_choice.time_in_words(20.0, 79.0)
    self.assertEndsWith(
        said,
        '20.2% of the 99 s of pretraining, choice and training, which is more'
        ' than 20%.',
    )
    self.assertEndsWith(split_choice.time_in_words(20.0, 81.0), 'and training.')

  def test_a_budget_that_nothing_fits(self):
    with self.assertRaisesRegex(errors.SettingsError, 'at least 4 B'):
      self.resolve(create_plan(personal='auto:3B'))

  def test_methods_with_their_own_split_choose_none(self):
    for algorithm in ('fed_avg', 'ditto', 'fed_rep'):
      config = config_lib.create(algorithm=algorithm, personal='auto')
      self.assertFalse(config.chooses_split)
      self.assertEqual(config.split, config.method.split)

  def test_a_name_stays(self):
    plan = create_plan(personal='regex:shift')
    self.assertIs(self.resolve(plan), plan)

  @parameterized.parameters(
      ('auto', None),
      ('auto:64kB', 64_000),
      ('auto:1.5MB', 1_500_000),
      ('auto:12B', 12),
  )
  def test_budget(self, split, expected):
    self.assertTrue(split_choice.is_auto(split))
    self.assertEqual(split_choice.budget(split), expected)

  @parameterized.parameters(
      ({'personal': 'auto:64'}, 'a number of B, kB or MB'),
      ({'personal': 'auto:-1kB'}, 'a number of B, kB or MB'),
      (
          {'personal': 'auto', 'noise_multiplier': 1.0},
          'the choice has no noise',
      ),
  )
  def test_refused(self, settings, said):
    with self.assertRaisesRegex(errors.SettingsError, said):
      config_lib.create(**settings)


if __name__ == '__main__':
  absltest.main()
