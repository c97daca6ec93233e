# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Importing speech that a table lists."""

import os
import tempfile

from absl.testing import absltest
import numpy as np
import soundfile

from tasks import import_client_data
from tasks.speech import import_table
from tests.helpers import commands
from tff_partial.data import client_data


class ImportTableTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def path(self, *names):
    path = os.path.join(self.folder, *names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path

  def write_audio(self, name, seed, rate=16_000, channels=1):
    noise = np.random.default_rng(seed).normal(0, 0.05, [rate, channels])
    soundfile.write(self.path(name), noise, rate)

  def write_table(self, name, *lines):
    with open(self.path(name), 'w', encoding='utf-8') as f:
      f.write('\n'.join(lines))
    return self.path(name)

  def test_csv(self):
    self.write_audio('a.wav', 0)
    self.write_audio('b.wav', 1, rate=44_100, channels=2)
    self.write_audio('c.mp3', 2, rate=22_050)
    self.write_audio('d.wav', 0)  # A copy of a.wav.
    outside = self.enterContext(tempfile.NamedTemporaryFile()).name
    table = self.write_table(
        'table.csv',
        'path,transcript,speaker',
        'a.wav,"Yes, it is.",ann ',
        'b.wav,NO,ann',
        'c,maybe,ann',
        'd.wav,yes it is,ann',
        'none.wav,yes,ann',
        f'{outside},yes,ann',
        'b.wav,room 12,ann',
        'a.wav,yes,',
    )
    status, out, said = commands.call(
        import_client_data,
        *('speech', table, '--output_dir=' + self.path('out')),
    )
    self.assertEqual((status, said), (0, ''))
    self.assertIn('1 person, 4 examples', out)
    for line in (
        'left out +rows without a speaker +1  row 8 of .*table.csv',
        "left out +utterances with digits, .* 1  b.wav: 'room 12'",
        'left out +utterances without an audio file +1  none.wav',
        f'left out +utterances outside of the folder +1  {outside}',
        'changed +copies, .* 1  YES IT IS repeats YES IT IS',
        'changed +recordings at 22,050 Hz, resampled +1  .*c.mp3',
        'changed +recordings at 44,100 Hz, resampled +1  .*b.wav',
        'changed +recordings with 2 channels, averaged +1  .*b.wav',
        "changed +transcripts with punctuation, .* 1  a.wav: 'Yes, it is.'",
    ):
      self.assertRegex(out, line)
    found = {}
    for clients in client_data.open_folder(self.path('out')):
      examples = clients.read('ann')
      for transcript, audio in zip(examples['transcript'], examples['audio']):
        found[transcript.decode()] = len(audio)
    self.assertEqual(list(sorted(found)), ['MAYBE', 'NO', 'YES IT IS'])
    self.assertEqual((found['NO'], found['YES IT IS']), (16_000, 16_000))

  def test_layout_of_common_voice(self):
    for i in range(2):
      self.write_audio(f'clips/{i}.mp3', i, rate=32_000)
    table = self.write_table(
        'validated.tsv',
        'client_id\tpath\tsentence\tup_votes',
        'abc\t0.mp3\t"Yes" he said\t2',
        'abc\t1.mp3\tNo, not "you.\t2',
    )
    ((speaker, examples),) = import_table.read(table).examples
    self.assertEqual(speaker, 'abc')
    self.assertEqual(examples['transcript'], ['YES HE SAID', 'NO NOT YOU'])

  def test_named_columns_and_folder(self):
    self.write_audio('audio/x.wav', 0)
    table = self.write_table('t.csv', 'f;t;who', 'x.wav;yes;bob')
    source = import_table.read(
        table,
        folder=self.path('audio'),
        path='f',
        transcript='t',
        person='who',
    )
    ((speaker, examples),) = source.examples
    self.assertEqual((speaker, examples['transcript']), ('bob', ['YES']))

  def test_mistakes(self):
    table = self.write_table('t.csv', 'path,transcript,who', 'x.wav,yes,bob')
    with self.assertRaisesRegex(
        ValueError, "column 'speaker' in .*found .*'who'.*`person`"
    ):
      import_table.read(table)
    with self.assertRaisesRegex(OSError, 'Expected a folder .*none'):
      import_table.read(table, person='who', folder=self.path('none'))
    with self.assertRaisesRegex(OSError, 'Expected a table .*none.csv'):
      import_table.read(self.path('none.csv'))
    table = self.write_table('t.csv', 'path,transcript,speaker', 'x.wav,yes,')
    with self.assertRaisesRegex(ValueError, "Expected speakers in .*'speaker'"):
      import_table.read(table)


if __name__ == '__main__':
  absltest.main()
