# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run whose store is in parts: from the command to export and forgetting."""

import pathlib

from absl.testing import absltest

from tasks import merge_store
from tests.helpers import programs
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import forget
from tff_partial.training import store_layout
from tff_partial.training import store_summary

setUpModule, tearDownModule = worker.start, worker.stop

TASK = '--task=tests/helpers/toy_task.py:create_task'


class StorePartsTest(programs.FolderTest):

  def run_in(self, name, *arguments):
    return self.call(
        TASK,
        f'--output_dir={self.folder / name}',
        '--pretrain_rounds=0',
        '--total_rounds=2',
        '--clients_per_round=3',
        '--rounds_per_evaluation=0',
        *arguments,
    )

  def test_same_results_as_in_one_file(self):
    one, parts = self.folder / 'one', self.folder / 'parts'
    for name, *flags in (('one',), ('parts', '--store_parts=3')):
      code, out, said = self.run_in(name, *flags)
      self.assertEqual((code, said), (0, []), out)
    for name in ('model.safetensors', 'clients.csv'):
      self.assertEqual((one / name).read_bytes(), (parts / name).read_bytes())
    self.assertLen(store_layout.part_folders(parts), 3)
    trained = list(store_summary.trained_clients(parts))
    self.assertEqual(trained, list(store_summary.trained_clients(one)))

    with self.subTest('goes on with the parts that it has'):
      code, _, said = self.run_in('parts', '--total_rounds=3')
      self.assertEqual((code, said), (0, []))
      self.assertEqual(store_summary.num_rounds(parts), 3)
    with self.subTest('refuses another number of parts'):
      code, _, [line] = self.run_in(
          'parts', '--total_rounds=4', '--store_parts=2'
      )
      self.assertEqual(code, 1)
      self.assertIn('Expected --store_parts 3', line)
    trained = list(store_summary.trained_clients(parts))
    with self.subTest('forgets'):
      forget.forget(trained[:1], runs=[str(parts)])
      found = list(store_summary.trained_clients(parts))
      self.assertEqual(found, trained[1:])
      self.assertEmpty(_that_have(parts, trained[0].encode()))
    with self.subTest('is merged'):
      merge_store.main(merge_store.parse(['merge_store', f'--run={parts}']))
      found = list(store_summary.trained_clients(parts))
      self.assertEqual(found, trained[1:])

  def test_folder_on_machines_needs_a_cluster(self):
    code, _, [line] = self.run_in('run', '--store_folder=parts')
    self.assertEqual(code, 1)
    self.assertIn('Expected --cluster and --store_parts', line)

  def test_merge_refuses_what_is_no_run(self):
    with self.assertRaisesRegex(errors.MissingFileError, 'Expected a run'):
      merge_store.main(merge_store.parse(['', f'--run={self.folder}']))


def _that_have(folder: pathlib.Path, text: bytes):
  return [
      path
      for path in folder.rglob('*')
      if path.is_file() and text in path.read_bytes()
  ]


if __name__ == '__main__':
  absltest.main()
