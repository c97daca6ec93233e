# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Forgetting clients: no byte of theirs is left, and runs go on."""

import contextlib
import gc
import json
import shutil
import sqlite3

from absl.testing import absltest

from tasks import forget_client
from tests.helpers import commands
from tests.helpers import programs
from tff_partial import files
from tff_partial.data import sql_clients
from tff_partial.experiments import client_names
from tff_partial.experiments import forget
from tff_partial.training import personal_store

# BUILD: deps = ["//:run_experiment"]

GONE = 'writer_3'


def rows(path, table, client_id=GONE):
  with contextlib.closing(sqlite3.connect(path)) as connection:
    return connection.execute(
        f'SELECT * FROM {table} WHERE client_id = ?', [client_id]
    ).fetchall()


class ForgetTest(programs.FolderTest):

  def settings(self, name, *others):
    return [
        f'--task={programs.TASK}',
        f'--data={self.data}',
        f'--output_dir={self.folder / name}',
        '--pretrain_rounds=2',
        '--clients_per_round=7',
        '--rounds_per_evaluation=0',
        '--batch_size=4',
        *others,
    ]

  def train(self, name, *others):
    code, out, said = self.call(*self.settings(name, *others))
    self.assertEqual((code, said), (0, []), out)
    return self.folder / name

  def files_with(self, needles):
    return [
        str(path.relative_to(self.folder))
        for path in self.folder.rglob('*')
        if path.is_file()
        and any(needle in path.read_bytes() for needle in needles)
    ]

  def test_a_person_who_is_called_like_a_file(self):
    (self.folder / 'added').mkdir()
    names = ('model.safetensors', 'config.json', 'added/model.html')
    for name in names:
      (self.folder / name).write_text('{}')
    with personal_store.PersonalStore([], str(self.folder)) as store:
      store.write(['model', 'other'], [[], []])
      store.commit(1)
    (self.folder / 'private.key').write_bytes(bytes(32))
    lines = forget.forget(['model'], runs=[str(self.folder)]).lines
    self.assertEqual(
        [(self.folder / name).exists() for name in names], [True, True, False]
    )
    # The run could otherwise compute a round again without the person.
    self.assertFalse((self.folder / 'private.key').exists())
    self.assertIn('private.key: removed; this run', ' '.join(lines))

  def test_nothing_is_left_and_runs_go_on(self):
    self.data = programs.write_data(self.folder / 'data')
    options = ('--total_rounds=2', '--control', '--report_client_ids=hashed')
    run = self.train('run', *options)
    # A run of three rounds that stopped after two.
    stopped = self.train('stopped', '--total_rounds=3')
    for name in ('personal_store.sqlite', 'metrics.csv'):
      shutil.copy(run / name, stopped)
    for name in ('model.safetensors', 'report.html', 'report.json'):
      (stopped / name).unlink()
    compared = self.folder / 'compared'
    shutil.copytree(run, compared / 'fed_alt_output-0')
    names = client_names.load(run, 'hashed')
    [pseudonym] = names.of([GONE])
    self.assertIn(pseudonym, (run / 'clients.csv').read_text())
    shutil.copytree(run / 'pretrain', compared / 'pretrained' / 'abc')
    (compared / 'comparison.html').write_text(GONE)
    (run / 'added').mkdir()
    (run / 'added' / f'{GONE}.html').write_text('A page of its own.')
    shutil.copy(run / 'report.json', run / 'added' / f'{GONE}.json')
    self.call(
        *self.settings('run', *options),
        f'--export_client={GONE}',
        f'--export_dir={run}/exports/one',
    )
    self.assertTrue((run / 'exports/one/model.keras').exists())
    gc.collect()  # The export reads the store until then.
    needles = [GONE.encode(), pseudonym.encode()]
    for name, size in (('train', 6), ('test', 4)):
      examples = rows(self.data / f'{name}.sqlite', 'examples')
      self.assertLen(examples, size)
      needles += [example[-1] for example in examples]
    [client] = rows(run / 'personal_store.sqlite', 'clients')
    # Some of its variables still have their initial values.
    initial = (run / 'model.safetensors').read_bytes()
    parts = [client[-1][i : i + 64] for i in range(0, len(client[-1]) - 63, 64)]
    needles += [part for part in parts if part not in initial][:5]
    self.assertLen(needles, 17)
    before = self.files_with(needles)
    self.assertGreater(len(before), 12)
    self.assertIn('run/control/personal_store.sqlite', before)

    folders = ['--run', str(run), '--run', str(stopped), '--run', str(compared)]
    folders += ['--data', str(self.data)]
    with self.subTest('refused'):
      for message, *arguments in (
          ("found no 'writer_30' there", '--client=writer_30', *folders),
          ('Expected a run in .*none', '--client=a', '--run=/none'),
          ('Expected data in .*run', '--client=a', f'--data={run}'),
          ('a folder to forget it in. Give --client', '--client=a'),
      ):
        code, _, said = commands.call(forget_client, *arguments)
        self.assertEqual(code, 1)
        self.assertRegex(said, message)
      with files.lock(run / '.lock'):
        code, _, said = commands.call(
            forget_client, f'--client={GONE}', *folders
        )
      self.assertEqual(code, 1)
      self.assertRegex(said, 'nobody to write to .*run, .*Nothing was removed')
      self.assertEqual(self.files_with(needles), before)
    code, out, said = commands.call(forget_client, f'--client={GONE}', *folders)
    self.assertEqual((code, said), (0, ''))
    self.assertRegex(out, 'run/personal_store.sqlite: 1 of the clients removed')
    self.assertRegex(out, 'The shared models were trained with what these')
    self.assertEmpty(self.files_with(needles))
    self.assertNotIn('look at it', out)

    self.assertEmpty(list(self.folder.rglob(f'*{GONE}*')))

    with self.subTest('the rest is as it was'):
      for name, size in (('train', 6), ('test', 4)):
        clients = sql_clients.SqlClients(self.data / f'{name}.sqlite')
        left = [f'writer_{i}' for i in range(8) if i != 3]
        self.assertEqual(list(clients.client_ids), left)
        self.assertIsInstance(clients._rows, range)  # They are counted.
        self.assertEqual(clients.num_examples('writer_7'), size)
        self.assertLen(clients.read('writer_7')['label'], size)
    with self.subTest('the same commands go on'):
      for folder, others in ((run, options), (stopped, ['--total_rounds=3'])):
        self.train(folder.name, *others)
        report = json.loads((folder / 'report.json').read_text())
        self.assertEqual(report['groups']['participated']['clients'], 7)
      self.assertEmpty(self.files_with(needles))
    with self.subTest('twice'):
      code, _, said = commands.call(forget_client, f'--client={GONE}', *folders)
      self.assertEqual(code, 1)
      self.assertRegex(said, 'or it is forgotten already')


if __name__ == '__main__':
  absltest.main()
