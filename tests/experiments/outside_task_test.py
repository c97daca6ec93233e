# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task from outside supports everything that the package's tasks do."""

import json

from absl.testing import absltest
import numpy as np
import safetensors.numpy

from tests.helpers import programs
from tests.helpers import toy_task
from tff_partial.experiments import run_folder

_FILE = """
from tests.helpers.toy_task import create_task
"""


class OutsideTaskTest(programs.FolderTest):

  def setUp(self):
    super().setUp()
    self.file = self.folder / 'line.py'
    self.file.write_text(_FILE)

  def arguments(self, name, *others):
    return (
        f'--task={self.file}:create_task',
        '--task_arg=num_clients=6',
        '--data=points',
        f'--output_dir={self.folder / name}',
        '--total_rounds=2',
        '--pretrain_rounds=1',
        '--clients_per_round=2',
        '--learning_rate=0.01',
        '--rounds_per_evaluation=0',
        *others,
    )

  def test_runtimes_agree_up_to_rounding(self):
    learned = []
    for runtime in ('worker', 'in_process'):
      code, out, said = self.call(
          *self.arguments(
              runtime, f'--runtime={runtime}', '--pretrain_rounds=0'
          )
      )
      self.assertEqual((code, said), (0, []), out)
      folder = self.folder / runtime
      self.assertEqual((folder / 'worker.log').exists(), runtime == 'worker')
      learned.append(safetensors.numpy.load_file(folder / run_folder.WEIGHTS))
    self.assertEqual(*map(set, learned))
    for name, expected in learned[0].items():
      np.testing.assert_allclose(learned[1][name], expected, rtol=1e-5)

  def test_run_export_and_resume(self):
    code, out, said = self.call(
        *self.arguments('run', '--gate=0.3', '--finetune_epochs=1')
    )
    self.assertEqual((code, said), (0, []), out)
    self.assertIn('line: a line', out)
    report = json.loads((self.folder / 'run' / 'report.json').read_text())
    self.assertEqual(report['settings']['task_arg'], ['num_clients=6'])
    self.assertIn('gated', report['groups']['participated']['models'])
    client_id = programs.results(self.folder / 'run')['clients'][0][0]
    with self.subTest('finished, and exported by another call'):
      code, out, _ = self.call(
          *self.arguments('run', '--gate=0.3', '--finetune_epochs=1'),
          f'--export_client={client_id}',
          '--export_model=finetuned',
          f'--export_dir={self.folder / "exported"}',
      )
      self.assertEqual(code, 0)
      self.assertStartsWith(out, 'Finished before: ')
      described = json.loads(
          (self.folder / 'exported' / 'export.json').read_text()
      )
      self.assertEqual(described['client'], client_id)
      self.assertEqual(described['tested_as'], 'finetuned')
      self.assertIn(f'(the finetuned model of {client_id})', out)
    with self.subTest('evaluated again, without the metrics of round 1'):
      metrics = self.folder / 'run' / 'metrics.csv'
      head, _, row = metrics.read_text().splitlines()
      metrics.write_text(f'{head}\n{row}\n')
      (self.folder / 'run' / 'report.html').unlink()
      self.assertNotIn('are missing', ' '.join(report['notes']))
      code, _, _ = self.call(
          *self.arguments('run', '--gate=0.3', '--finetune_epochs=1')
      )
      self.assertEqual(code, 0)
      report = json.loads((self.folder / 'run' / 'report.json').read_text())
      self.assertIn('of 1 round of 2 are missing', ' '.join(report['notes']))
    with self.subTest('another file'):
      self.file.write_text(_FILE + '# Changed.\n')
      self.assertRefused(
          'Expected the file of .*line.py:create_task that the run in .*/run'
          ' began with, found that it has changed since',
          *self.arguments('run', '--gate=0.3', '--finetune_epochs=1'),
      )

  def test_comparison(self):
    code, out, said = self.call(
        *self.arguments('compared', '--algorithm=fed_avg,ditto'),
        '--seeds=0',
        '--pretrain_rounds=0',
    )
    self.assertEqual((code, said), (0, []), out)
    found = json.loads(
        (self.folder / 'compared' / 'comparison.json').read_text()
    )
    self.assertEqual(
        [s['name'] for s in found['schemes']],
        ['fed_avg, none', 'ditto, a copy of all'],
    )

  def test_mistakes(self):
    for message, *others in (
        ('takes .*num_clients.* found .clients.', '--task_arg=clients=1'),
        ('name=value, found', '--task_arg=clients'),
        ('found none', f'--task={self.folder}/no.py:create_task'),
        ('found 20', '--clients_per_round=20'),
    ):
      with self.subTest(message):
        self.assertRefused(message, *self.arguments('mistakes', *others))
    self.assertLen(toy_task.create_task('x').train.client_ids, 5)


if __name__ == '__main__':
  absltest.main()
