# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command that adds a person to a run of a task with a vocabulary."""

import contextlib
import gc
import json
import pathlib
import sqlite3
import tempfile
from unittest import mock

from absl.testing import absltest

import tasks
from tasks import add_client
from tasks import export_client
from tasks import forget_client
from tasks.stackoverflow import vocabulary
from tests.helpers import commands
from tests.helpers import small_networks
from tests.helpers import stackoverflow_data
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.exports import export_forms
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import task_choice
from tff_partial.runtime import local
from tff_partial.training import store_summary


class AddClientTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    self.enter_context(small_networks.of_all_tasks())

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
    person = self.write('person', eve_smith=sentences)
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
        out, r'^eve_smith: accuracy goes from .* on \d+ test examples?\n'
    )
    self.assertIn(f'Report: {run}/added/eve_smith.html\n', out)
    exported = json.loads((self.folder / 'eve' / 'export.json').read_text())
    self.assertEqual(exported['client'], 'eve_smith')
    self.assertNotIn('eve_smith', store_summary.trained_clients(run))
    # Without the whole model, which the first export has.
    with mock.patch.object(
        export_forms, 'write', return_value=export_forms.Forms()
    ):
      code, out, said = commands.call(
          export_client,
          f'--run={run}',
          '--client=eve_smith',
          f'--export_dir={run / "exports" / "again"}',
      )
    self.assertEqual((code, said), (0, ''), out)
    personal = run / 'exports' / 'again' / 'personal.safetensors'
    self.assertTrue(personal.exists())
    for others, message in (
        ((f'--data={data}',), 'Expected --client with a folder of 3 people'),
        ((f'--data={data}', '--client=ann'), "Expected 'ann' in .*user_0"),
        ((f'--data={person}', '--onboarding=all'), 'Expected --onboarding of'),
    ):
      code, _, said = commands.call(add_client, f'--run={run}', *others)
      self.assertEqual(code, 1)
      self.assertRegex(said, message)
    self.forget(run)

  def forget(self, run):
    """Who was added can be forgotten, with the report and the export."""
    gc.collect()  # The exports read the store until then.
    with contextlib.closing(
        sqlite3.connect(run / 'personal_store.sqlite')
    ) as connection:
      [(*_, values)] = connection.execute(
          "SELECT * FROM clients WHERE client_id = 'eve_smith'"
      )
    self.assertGreater(len(values), 1000)
    needles = [b'eve_smith', values[:64], values[-64:]]
    left = lambda: [
        path
        for path in run.rglob('*')
        if path.is_file()
        and (
            'eve_smith' in path.name
            or any(map(path.read_bytes().count, needles))
        )
    ]
    # The store, a report in two forms, and an export.
    self.assertGreaterEqual(len(left()), 4)
    code, out, said = commands.call(
        forget_client, f'--run={run}', '--client=eve_smith'
    )
    self.assertEqual((code, said), (0, ''), out)
    self.assertEmpty(left())


if __name__ == '__main__':
  absltest.main()
