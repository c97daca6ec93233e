# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of people and files beyond ASCII, from an import to an export."""

import json
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image
import soundfile

from tests.helpers import programs
from tff_partial.experiments import run_folder

# BUILD: deps = ["//:run_experiment", "//tasks:import_client_data"]
# BUILD: deps = ["//tasks:export_client"]
# BUILD: deps = ["//tests/helpers:small_networks"]
# BUILD: shard_count = 2

PEOPLE = ('Frédéric', 'Zoë O’Hara', '李 明', 'Ωμέγα')


def _write_photos(folder):
  rows = ['file,label,person']
  for i in range(16):
    name = f'été {i}.png'
    Image.new('RGB', (64, 64), (i, 99, 9)).save(folder / name)
    label = 'château' if i % 8 < 4 else 'église'
    rows.append(f'{name},{label},{PEOPLE[i % 4]}')
  (folder / 'tableau é.csv').write_text('\n'.join(rows), encoding='utf-8')
  return ['images', str(folder), f'--csv={folder}/tableau é.csv', '--size=32']


def _write_letters(folder):
  path = folder / 'lettres é.npz'
  rng = np.random.default_rng(0)
  np.savez(
      path,
      pixels=rng.integers(0, 256, [16, 28, 28], np.uint8),
      label=np.arange(16) % 4,
      person=np.array(4 * PEOPLE),
  )
  return ['npz', str(path)]


def _write_text(folder):
  path = folder / 'textes é.jsonl'
  path.write_text(
      '\n'.join(
          json.dumps(
              {'person': PEOPLE[i % 4], 'text': f'Élève {i} à l’école.'},
              ensure_ascii=False,
          )
          for i in range(16)
      ),
      encoding='utf-8',
  )
  return ['jsonl', str(path), '--min_people_per_word=1']


def _write_speech(folder):
  for i in range(16):
    chapter = folder / PEOPLE[i % 4] / 'été'
    chapter.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(i).integers(-99, 99, 16_000, np.int16)
    soundfile.write(str(chapter / f'é{i}.flac'), noise, 16_000)
    with open(chapter / 'é.trans.txt', 'a', encoding='utf-8') as f:
      f.write(f'é{i} YES\n')
  return ['librispeech', str(folder)]


class NamesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name) / 'données 学'
    self.folder.mkdir()

  @parameterized.named_parameters(
      (
          'in_one_process',
          {
              'emnist': _write_letters,
              'stackoverflow': _write_text,
              'speech': _write_speech,
          },
      ),
      # Its examples are sent to other processes.
      (
          'on_a_cluster',
          {'landmarks': _write_photos},
          '--cluster=local',
          '--task_arg=image_size=28',
      ),
  )
  def test_import_run_and_export(self, tasks, *arguments):
    commands = [['tests.helpers.small_networks']]
    for task, write_fn in tasks.items():
      folder = self.folder / task
      source, data, run = (
          folder / name for name in ('source é', 'data é', 'run é')
      )
      source.mkdir(parents=True)
      commands += [
          [
              *('tasks.import_client_data', *write_fn(source)),
              f'--output_dir={data}',
          ],
          [
              *('run_experiment', f'--task={task}', f'--data={data}'),
              *(f'--output_dir={run}', '--total_rounds=1'),
              *('--pretrain_rounds=0', '--clients_per_round=4'),
              *('--unseen_clients=0', '--max_steps=1'),
              '--rounds_per_evaluation=0',
              *arguments,
          ],
          [
              *('tasks.export_client', f'--run={run}', '--client=Frédéric'),
              f'--export_dir={folder}/Frédéric',
          ],
      ]
    # Not every machine has a UTF-8 locale.
    done = programs.run_all(*commands, env={**os.environ, 'LC_ALL': 'C'})
    self.assertEqual(done.returncode, 0, done.stderr.decode(errors='replace'))
    for task in tasks:
      with self.subTest(task):
        self.check_run(self.folder / task, task)

  def check_run(self, folder, task):
    table = (folder / 'run é' / 'clients.csv').read_text(encoding='utf-8')
    for name in PEOPLE:
      self.assertIn(name, table)
    page = folder / 'run é' / run_folder.REPORT_PAGE
    self.assertTrue(
        f'données 学/{task}/data é' in page.read_text(encoding='utf-8')
    )
    self.assertTrue((folder / 'Frédéric' / 'saved_model').exists())


if __name__ == '__main__':
  absltest.main()
