# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole runs of methods that need more than phases: what is evaluated."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run
from tff_partial.experiments.settings import config as config_lib

setUpModule, tearDownModule = worker.start, worker.stop

# One batch each, and the same number of examples.
DATA = {
    'ann': toy.examples([1.0, 2.0], [2.0, 3.0]),
    'ben': toy.examples([1.0, -1.0], [0.0, 4.0]),
}


class MethodsRunTest(absltest.TestCase):

  def run_once(self, algorithm, **settings):
    """A run of one round with both clients: the table, and the folder."""
    folder = self.enterContext(tempfile.TemporaryDirectory())
    config = config_lib.create(
        **{
            'algorithm': algorithm,
            'clients_per_round': 2,
            'total_rounds': 1,
            'pretrain_rounds': 0,
            'rounds_per_evaluation': 1,
            'learning_rate': 0.1,
            'personal_learning_rate': 0.2,
            **settings,
        }
    )
    task = toy_task.create_task('here', with_loss=True)
    people = toy.Clients(DATA)
    task = task.with_clients(train=people, test=people)
    table = run.run(plan_lib.build(task, config), folder, progress=False)
    return table, pathlib.Path(folder)

  def test_fed_babu_fine_tunes_after_training(self):
    table, _ = self.run_once('fed_babu', finetune_epochs=1)
    # Gradients of w at 0: (-2 - 6) / 2 and (0 + 4) / 2. Their mean is -1.
    w = 0.1
    self.assertEqual([*table.scores], ['shared', 'finetuned'])
    for i, name in enumerate(table.client_ids):
      x, y = (np.squeeze(DATA[name][key], -1) for key in 'xy')
      b = -0.2 * np.mean(w * x - y)
      for model_name, offset in (('shared', 0), ('finetuned', b)):
        self.assertAlmostEqual(
            table.values(model_name, 'squared_error')[i],
            np.mean(np.square(w * x + offset - y)),
            places=4,
        )


if __name__ == '__main__':
  absltest.main()
