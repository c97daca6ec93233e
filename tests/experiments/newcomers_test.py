# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What newcomers are evaluated with, computed by hand."""

import tempfile

from absl.testing import absltest
import numpy as np

from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial.experiments import finished_run
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.learning import weights

setUpModule, tearDownModule = worker.start, worker.stop

RATE = 0.1


class NewcomersTest(absltest.TestCase):

  def test_policies_by_hand(self):
    task = toy_task.create_task('x', batch_size=100)
    config = config_lib.create(
        personal='output',
        total_rounds=2,
        pretrain_rounds=0,
        clients_per_round=4,
        unseen_clients=1,
        rounds_per_evaluation=0,
        learning_rate=RATE,
        personal_epochs=2,
        finetune_epochs=3,
        onboarding=','.join(config_groups.ONBOARDING),
        min_clients_for_mean=4,
    )
    plan = plan_lib.build(task, config)
    [new] = plan.unseen
    with tempfile.TemporaryDirectory() as folder:
      table = run_lib.run(plan, folder, progress=False)
      saved = weights.load(f'{folder}/{run_folder.WEIGHTS}')
      run = finished_run.FinishedRun(folder, plan.model_fn)
      offsets = [
          run.model(c).personal.trainable[0].numpy()
          for c in task.train.client_ids
          if c != new
      ]
    w, start = saved['line/kernel'], saved['line/bias']
    train, test = task.train.read(new), task.test.read(new)

    def trained(epochs):
      b = start
      for _ in range(epochs):  # Of one step with all examples.
        b = b - RATE * np.mean(w * train['x'] + b - train['y'])
      return b

    expected = {
        'new_initial': start,
        'new_mean': np.mean(offsets, axis=0),
        'new_reconstruct': trained(2),
        'new_finetune': trained(3),
    }
    errors = [
        np.mean((w * test['x'] + b - test['y']) ** 2) for b in expected.values()
    ]
    self.assertLen(set(np.round(errors, 3)), len(errors))
    place = table.client_ids.index(new)
    np.testing.assert_allclose(
        [table.values(model, 'squared_error')[place] for model in expected],
        errors,
        rtol=1e-4,
    )


if __name__ == '__main__':
  absltest.main()
