# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command that adds a person to a run of a task with a vocabulary."""

import json
import pathlib
import tempfile

from absl.testing import absltest

import tasks
from tasks import add_client
from tasks import export_client
from tasks.stackoverflow import vocabulary
from tests.helpers import commands
from tests.helpers import stackoverflow_data
from tff_partial.experiments import config as config_lib
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import task as task_lib
from tff_partial.experiments import task_choice
from tff_partial.runtime import local
from tff_partial.training import store_summary


class AddClientTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def write(self, name, **people):
    folder = self.folder / name
    folder.mkdir()
    stackoverflow_data.write_folder(str(folder), **people)
    return folder

  def test_adds_reports_and_exports(self):
    sentences = stackoverflow_data.SENTENCES
    data = self.write('data', **{f'user_{i}': sentences for i in range(3)})
    run = self.folder / 'run'
    task = task_lib.create(
        task_choice.TaskChoice('stackoverflow', str(data)),
        registered=tasks.TASKS,
    )
    config = config_lib.create(
        total_rounds=1,
        pretrain_rounds=0,
        clients_per_round=2,
        rounds_per_evaluation=0,
    )
    with local.local_worker():
      run_lib.run(plan_lib.build(task, config), str(run), progress=False)
    # The person's own vocabulary is another one, which must not matter.
    person = self.write('person', eve=sentences)
    vocabulary.save(str(person), vocabulary.Vocabulary(('other', 'words')))
    code, out, said = commands.call(
        add_client,
        f'--run={run}',
        f'--data={person}',
        '--epochs=1',
        f'--export_dir={self.folder / "eve"}',
    )
    self.assertEqual((code, said), (0, ''))
    self.assertRegex(
        out, r'^eve: accuracy goes from .* on \d+ test examples?\n'
    )
    self.assertIn(f'Report: {run}/added/eve.html\n', out)
    exported = json.loads((self.folder / 'eve' / 'export.json').read_text())
    self.assertEqual(exported['client'], 'eve')
    self.assertNotIn('eve', store_summary.trained_clients(run))
    code, out, said = commands.call(
        export_client,
        f'--run={run}',
        '--client=eve',
        f'--export_dir={self.folder / "again"}',
    )
    self.assertEqual((code, said), (0, ''), out)
    self.assertTrue((self.folder / 'again' / 'personal.safetensors').exists())
    for others, message in (
        ((f'--data={data}',), 'Expected --client with a folder of 3 people'),
        ((f'--data={data}', '--client=ann'), "Expected 'ann' in .*user_0"),
        ((f'--data={person}', '--onboarding=all'), 'Expected --onboarding of'),
    ):
      code, _, said = commands.call(add_client, f'--run={run}', *others)
      self.assertEqual(code, 1)
      self.assertRegex(said, message)


if __name__ == '__main__':
  absltest.main()
