# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Claiming, resuming, refusing and emptying the folder of a run."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from tests.helpers import paths
from tff_partial import errors
from tff_partial.experiments import client_names
from tff_partial.experiments import finished_run
from tff_partial.experiments import run_folder

_SETTINGS = {'task': 'emnist', 'seed': 0, 'clip_norm': None}
_HOLD = """
import sys
from tff_partial.experiments import run_folder
with run_folder.claim(sys.argv[1], {}, overwrite=False):
  print('claimed', flush=True)
  sys.stdin.read()
"""


class RunFolderTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.base = pathlib.Path(folder.name)
    self.folder = self.base / 'new' / 'run'

  def claim(self, settings=None, *, path=None, overwrite=False):
    """Claims the folder and releases it."""
    with run_folder.claim(
        str(path or self.folder),
        _SETTINGS if settings is None else settings,
        overwrite=overwrite,
    ) as folder:
      folder.start_over()
      return folder

  def trained(self):
    """Makes a folder in which training has begun."""
    self.claim()
    (self.folder / 'personal_store.sqlite').write_text('precious')
    (self.folder / 'tensorboard').mkdir()

  def config(self):
    return json.loads((self.folder / 'config.json').read_text())

  def test_new_folder_records_settings_and_versions(self):
    folder = self.claim()
    self.assertEqual(folder.path, self.folder)
    self.assertFalse(folder.finished)
    config = self.config()
    self.assertEqual(config['settings'], _SETTINGS)
    self.assertEqual(config['versions']['tensorflow-federated'], '0.87.0')
    self.assertContainsSubset(['python', 'numpy'], config['versions'])
    self.assertIn('commit', config)

  def test_same_settings_resume(self):
    self.trained()
    before = self.config()
    self.claim()
    self.assertEqual(self.config(), before)
    self.assertTrue((self.folder / 'personal_store.sqlite').exists())

  @parameterized.parameters('numpy', 'keras', 'tensorflow-federated')
  def test_private_run_goes_on_with_what_computes_its_rounds(self, name):
    self.trained()
    config = self.config()
    config['versions'][name] = '1.0.0'
    (self.folder / 'config.json').write_text(json.dumps(config))
    self.claim()
    (self.folder / 'private.key').write_bytes(bytes(32))
    with self.assertRaisesRegex(
        errors.SettingsError,
        f'Expected {name} 1.0.0, with which the private run',
    ):
      self.claim()

  def test_model_to_start_from_that_was_moved(self):
    before, now = (str(self.folder / n / 'pretrained' / 'abc') for n in 'ab')
    self.claim({**_SETTINGS, 'init_from': before})
    (self.folder / 'personal_store.sqlite').write_text('precious')
    pathlib.Path(before).mkdir(parents=True)
    with self.assertRaisesRegex(errors.SettingsError, '--init_from'):
      self.claim({**_SETTINGS, 'init_from': now})
    shutil.move(self.folder / 'a', self.folder / 'b')
    with self.assertRaisesRegex(errors.SettingsError, '--init_from'):
      self.claim({**_SETTINGS, 'init_from': str(self.folder / 'other')})
    self.claim({**_SETTINGS, 'init_from': now})
    self.assertEqual(self.config()['settings']['init_from'], now)

  def test_damaged_key_of_pseudonyms(self):
    self.claim()
    names = client_names.load(self.folder, 'hashed')
    self.assertRegex(names.of(['ann'])[0], '^[0-9a-f]{16}$')
    for text in ('', 'ann'):
      (self.folder / '.report_key').write_text(text)
      with self.assertRaisesRegex(errors.FileError, 'key of pseudonyms'):
        client_names.load(self.folder, 'hashed')

  def test_other_settings_are_refused_by_name(self):
    self.trained()
    before = self.config()
    with self.assertRaisesRegex(
        ValueError,
        "others: --clip_norm: None there, 2.0 now; --model: None there, 'x'"
        ' now; --seed: 0 there, 1 now. .*--overwrite',
    ):
      self.claim({**_SETTINGS, 'seed': 1, 'model': 'x', 'clip_norm': 2.0})
    with self.assertRaisesRegex(ValueError, '--seed: 0 there, None now'):
      self.claim({'task': 'emnist', 'clip_norm': None})
    self.assertEqual(self.config(), before)

  def test_settings_may_change_before_training(self):
    self.claim({**_SETTINGS, 'task': 'mistaken'})
    (self.folder / 'worker.log').write_text('')
    self.claim()
    self.assertEqual(self.config()['settings'], _SETTINGS)

  def test_overwrite_empties_the_folder(self):
    self.trained()
    (self.folder / 'tensorboard' / 'events').write_text('')
    elsewhere = self.base / 'elsewhere'
    elsewhere.mkdir()
    (elsewhere / 'mine').write_text('')
    (self.folder / 'link').symlink_to(elsewhere)
    self.claim({'seed': 9}, overwrite=True)
    self.assertCountEqual(os.listdir(self.folder), ['.lock', 'config.json'])
    self.assertEqual(self.config()['settings'], {'seed': 9})
    self.assertTrue((elsewhere / 'mine').exists())

  def test_overwritten_run_is_left_until_the_new_one_starts(self):
    self.trained()
    (self.folder / 'report.html').write_text('')
    before = self.config()
    with run_folder.claim(
        str(self.folder), {'seed': 9}, overwrite=True
    ) as folder:
      self.assertFalse(folder.finished)
    self.assertEqual(self.config(), before)
    self.assertTrue((self.folder / 'report.html').exists())

  def test_overwrite_keeps_the_model_to_start_from(self):
    self.trained()
    for start in (self.folder, self.folder / 'pretrain'):
      with self.assertRaisesRegex(
          errors.SettingsError, '`init_from` outside of .*run, which `overwrite'
      ):
        self.claim({'init_from': str(start)}, overwrite=True)
    self.assertTrue((self.folder / 'personal_store.sqlite').exists())
    self.claim({'init_from': f'{self.folder}_before'}, overwrite=True)

  def test_search_over_the_number_of_rounds(self):
    self.claim({'total_rounds': 100})
    self.trained()
    for rounds in ('several', 50):
      with run_folder.claim(
          str(self.folder),
          {**_SETTINGS, 'total_rounds': rounds},
          overwrite=False,
      ) as folder:
        folder.change_rounds()
      self.assertEqual(self.config()['settings']['total_rounds'], rounds)

  def test_report_with_other_names_of_clients(self):
    folder = self.claim()
    report = {'headline': '', 'lists_clients': True}
    (self.folder / 'report.json').write_text(json.dumps(report))
    client_names.check_finished(folder, 'full')
    with self.assertRaisesRegex(errors.SettingsError, 'found hashed'):
      client_names.check_finished(folder, 'hashed')
    client_names.load(self.folder, 'hashed')
    client_names.check_finished(folder, 'hashed')
    for mode in ('full', 'none'):
      with self.assertRaisesRegex(errors.SettingsError, f'found {mode}'):
        client_names.check_finished(folder, mode)

  @parameterized.parameters(False, True)
  def test_folder_with_other_files_is_left_alone(self, overwrite):
    self.folder.mkdir(parents=True)
    (self.folder / 'thesis.tex').write_text('precious')
    with self.assertRaisesRegex(
        ValueError, 'with thesis.tex and no config.json. Use another'
    ):
      self.claim(overwrite=overwrite)
    self.assertEqual(os.listdir(self.folder), ['thesis.tex'])

  def test_program_that_was_killed_while_it_wrote_the_config(self):
    self.folder.mkdir(parents=True)
    (self.folder / '.config.json.partial-0a1b2c3d.json').write_text('{"sett')
    self.claim()
    self.assertEqual(self.config()['settings'], _SETTINGS)
    self.assertCountEqual(os.listdir(self.folder), ['.lock', 'config.json'])

  @parameterized.parameters(
      '',
      '{"settings": ',
      '[]',
      '{}',
      '{"settings": {}}',
      '{"settings": [1], "versions": {}}',
      '{"settings": {}, "versions": 3}',
  )
  def test_damaged_config(self, text):
    self.trained()
    (self.folder / 'config.json').write_text(text)
    with self.assertRaisesRegex(ValueError, 'a damaged file. .*--overwrite'):
      self.claim()
    self.claim(overwrite=True)

  def test_run_is_finished_if_the_last_file_of_its_report_is_there(self):
    folder = self.claim()
    (self.folder / 'report.json').write_text('{"headline": "All are better."}')
    self.assertFalse(folder.finished)
    (self.folder / 'report.html').write_text('')
    self.assertTrue(folder.finished)
    self.assertEqual(folder.headline, 'All are better.')
    for text in ('{"head', '{}', '[]'):
      (self.folder / 'report.json').write_text(text)
      with self.assertRaisesRegex(
          errors.DataError, 'report.json, found a file'
      ):
        _ = folder.headline

  @parameterized.parameters(
      '{"settings": ', '[]', '{}', '{"settings": {}}', '{"settings": [1]}'
  )
  def test_damaged_config_of_a_finished_run(self, text):
    self.folder.mkdir(parents=True)
    (self.folder / 'config.json').write_text(text)
    with self.assertRaisesRegex(errors.DataError, 'config.json, found a file'):
      finished_run.read_settings(str(self.folder))

  @parameterized.parameters(
      ({'epochs': 'x'}, "config.json, .* cannot be read: .*'str'"),
      ({'algorithm': 3}, '`algorithm` to be one of .*, found 3'),
      (
          {'onboarding': 1, 'unseen_clients': 1},
          "config.json, .* cannot be read: 'int'",
      ),
  )
  def test_settings_of_other_types(self, settings, message):
    with self.assertRaisesRegex(errors.UserError, message):
      finished_run.config_of(settings)

  def test_another_run_going_on(self):
    holder = subprocess.Popen(
        [sys.executable, '-c', _HOLD, str(self.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=paths.ROOT,
    )
    try:
      self.assertEqual(holder.stdout.readline(), b'claimed\n')
      for overwrite in (False, True):
        with self.assertRaisesRegex(ValueError, 'found one going on'):
          self.claim({}, overwrite=overwrite)
    finally:
      holder.communicate()
    self.claim({})  # The lock ended with the program.

  @parameterized.parameters('file', 'file/below')
  def test_file_in_the_place_of_a_folder(self, name):
    file = self.base / 'file'
    file.write_text('precious')
    with self.assertRaisesRegex(
        OSError, 'a folder to write in at .*/file.*, found: .*--output_dir'
    ):
      self.claim(path=self.base / name)
    self.assertEqual(file.read_text(), 'precious')


if __name__ == '__main__':
  absltest.main()
