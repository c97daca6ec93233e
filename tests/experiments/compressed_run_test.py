# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run with compression, and the bytes of its report."""

import json
import pathlib
import tempfile

from absl.testing import absltest

from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.training import history

setUpModule, tearDownModule = worker.start, worker.stop


class CompressedRunTest(absltest.TestCase):

  def test_bytes_of_the_report(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    path = pathlib.Path(folder.name)
    config = config_lib.create(
        algorithm='fed_avg',
        pretrain_rounds=0,
        total_rounds=2,
        clients_per_round=3,
        rounds_per_evaluation=0,
        compression='quantize',
        compression_bits=4,
        broadcast_bits=16,
    )
    plan = plan_lib.build(toy_task.create_task(''), config)
    run_lib.run(plan, str(path), progress=False)
    cost = json.loads((path / 'report.json').read_text())['cost']
    rows = history.read(path / 'metrics.csv')
    # Two tensors of one number each, which is the largest: 7 steps of 7. They
    # have a header of 33 bits and 4 bits, fewer than the gamma code of 15 has.
    self.assertEqual([r['aggregator/bytes_up'] for r in rows], [30, 30])
    self.assertEqual((cost['bytes_up'], cost['bytes_up_per_client']), (60, 10))
    self.assertEqual(cost['bytes_down_per_client'], 2 * 2)
    self.assertEqual(cost['bytes_down'], 2 * 3 * 2 * 2)


if __name__ == '__main__':
  absltest.main()
