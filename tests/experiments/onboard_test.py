# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""People who are added to a run after training."""

import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow_federated as tff

from tests.helpers import programs
from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import onboard
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import weights
from tff_partial.training import earlier_clients
from tff_partial.training import personal_store

setUpModule, tearDownModule = worker.start, worker.stop

_XS, _YS = np.array([1.0, 2, 3]), np.array([2.0, 5, 6])
_RATE = 0.01


class OnboardTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name) / 'run'
    self.task = toy_task.create_task('points')

  def train(self, total_rounds=1, **settings):
    config = config_lib.create(
        **{
            'total_rounds': total_rounds,
            'pretrain_rounds': 0,
            'clients_per_round': 5,
            'learning_rate': _RATE,
            'rounds_per_evaluation': 0,
            **settings,
        }
    )
    plan = plan_lib.build(self.task, config)
    run_lib.run(plan, str(self.folder), progress=False)
    values = weights.load(self.folder / 'model.safetensors')
    self.slope = float(values['line/kernel'].item())

  def add(self, client_id='eve/1', **options):
    clients = toy.Clients({client_id: toy.examples(_XS, _YS)})
    task = self.task.with_clients(train=clients, test=clients)
    return onboard.add(
        str(self.folder), client_id, task, onboard.Options(**options)
    )

  def stored(self, *client_ids):
    """The offsets that clients have in the store."""
    default = tff.learning.models.ModelWeights([np.zeros(1, np.float32)], [])
    with personal_store.PersonalStore(
        default, str(self.folder), read_only=True
    ) as store:
      ids = client_ids or list(store)
      return [float(v.trainable[0].item()) for v in store.read(ids)]

  def descended(self, offset, steps):
    """The offset after steps of gradient descent on all of the examples."""
    for _ in range(steps):
      offset -= _RATE * np.mean(self.slope * _XS + offset - _YS)
    return offset

  def error(self, offset):
    return np.mean((self.slope * _XS + offset - _YS) ** 2)

  def test_trains_from_the_initial_values_and_keeps(self):
    self.train()
    before = programs.results(self.folder)
    report = self.add(epochs=2)
    [offset] = self.stored('eve/1')
    expected = self.descended(0.0, 2)
    self.assertAlmostEqual(offset, expected, places=6)
    found = json.loads((self.folder / 'added' / 'eve%2F1.json').read_text())
    self.assertEqual(found['client'], 'eve/1')
    for model, value in (('shared', 0.0), ('personalized', expected)):
      self.assertAlmostEqual(
          found['models'][model]['squared_error'], self.error(value), places=5
      )
    self.assertEqual(found['settings']['gradient_steps'], 2)
    self.assertEqual(found['headline'], report.headline)
    page = onboard.path_of(self.folder, 'eve/1').read_text()
    self.assertIn('<bdi>eve/1</bdi>', page)
    # All else is as it was, so that the run can go on.
    after = programs.results(self.folder)
    new = [row for row in after['clients'] if row not in before['clients']]
    self.assertEqual([row[:2] for row in new], [('eve/1', 0)])
    self.assertLen(after['clients'], 6)
    self.assertEqual(after['state'], before['state'])
    self.train(total_rounds=2)
    # By default, the epochs of fine-tuning; whoever was added is added again.
    self.add()
    [offset] = self.stored('eve/1')
    self.assertAlmostEqual(offset, self.descended(0.0, 5), places=6)

  def test_person_who_trained_the_model_to_start_from(self):
    self.train()
    earlier_clients.write(self.folder, ['eve/1'])
    report = self.add(epochs=0)
    self.assertIn('not those of a newcomer', report.notes[0])
    self.assertEmpty(self.add('ann', epochs=0).notes)

  def test_trains_from_the_mean(self):
    self.train()
    mean = np.mean(self.stored())
    report = self.add(onboarding='mean', epochs=0)
    self.assertAlmostEqual(self.stored('eve/1')[0], mean, places=6)
    self.assertIn('variables of 5 clients, which the', report.notes[0])

  def test_mean_of_too_few(self):
    self.train(clients_per_round=4)
    with self.assertRaisesRegex(
        errors.SettingsError, 'at least 5 clients .* found 4'
    ):
      self.add(onboarding='mean')

  def test_mean_of_a_private_run(self):
    private = dict(noise_multiplier=3.0, dp_clip=1.0, client_sampling='cyclic')
    self.train(**private)
    with self.assertRaisesRegex(
        errors.SettingsError, "other than 'mean' for a run with differential"
    ):
      self.add(onboarding='mean')
    self.add(onboarding='initial', epochs=0)

  def test_unfinished_run(self):
    self.train()
    plan = plan_lib.build(
        self.task,
        config_lib.create(
            total_rounds=3,
            pretrain_rounds=0,
            clients_per_round=5,
            learning_rate=_RATE,
            rounds_per_evaluation=0,
        ),
    )
    with run_folder.claim(
        str(self.folder), plan.settings, overwrite=False
    ) as claimed:
      claimed.change_rounds()
      with self.assertRaisesRegex(errors.SettingsError, 'a run going on'):
        self.add()
    report = self.add(epochs=1)
    self.assertAlmostEqual(
        self.stored('eve/1')[0], self.descended(0.0, 1), places=6
    )
    self.assertIn('after round 1 of 3', report.notes[0])

  def test_refusals(self):
    with self.assertRaisesRegex(errors.SettingsError, 'onboarding` of '):
      self.add(onboarding='finetune')
    with self.assertRaisesRegex(errors.SettingsError, 'epochs` of at least 0'):
      self.add(epochs=-1)
    with self.assertRaisesRegex(errors.MissingFileError, 'Expected a run in'):
      self.add()
    self.train()
    with self.assertRaisesRegex(errors.SettingsError, "found 'client_1', who"):
      self.add('client_1')
    key = self.folder / 'private.key'
    key.write_bytes(bytes(32))
    with self.assertRaisesRegex(errors.SettingsError, 'Finish the run first'):
      self.add()
    key.unlink()
    self.assertFalse((self.folder / 'added').exists())

  def test_run_in_which_all_clients_have_the_same_model(self):
    self.train(algorithm='fed_avg')
    with self.assertRaisesRegex(errors.SettingsError, 'have the same model'):
      self.add()


if __name__ == '__main__':
  absltest.main()
