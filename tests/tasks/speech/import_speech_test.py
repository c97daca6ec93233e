# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Importing speech: LibriSpeech's layout, features, and unusable utterances."""

import os
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import soundfile

from tasks import import_client_data
from tasks.speech import import_speech
from tests.helpers import commands
from tests.helpers import paths
from tff_partial.data import client_data
from tff_partial.data import people as people_lib


def noise(samples, seed=0):
  rng = np.random.default_rng([samples, seed])
  return rng.integers(-99, 99, samples, np.int16)


class ImportSpeechTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def path(self, *names):
    path = os.path.join(self.folder, *names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path

  def write_chapter(self, speaker, utterances, rate=16_000):
    """Utterances are (samples or None for broken audio, transcript)."""
    lines = []
    for i, (samples, transcript) in enumerate(utterances):
      name = f'{speaker}-1-{i:04}'
      lines.append(f'{name} {transcript}\n')
      path = self.path('source', speaker, '1', name + '.flac')
      if samples is None:
        with open(path, 'wb') as f:
          f.write(b'fLaC and no more')
      else:
        soundfile.write(path, noise(samples, i), rate)
    path = self.path('source', speaker, '1', f'{speaker}-1.trans.txt')
    with open(path, 'w', encoding='utf-8') as f:
      f.writelines(lines)

  def import_librispeech(self):
    people = import_speech.read_librispeech(self.path('source'))
    return people_lib.write_folder(people, self.path('out'))

  def test_librispeech(self):
    self.write_chapter('19', 5 * [(16_000, "it's  fine")])
    self.write_chapter('7', 2 * [(8_000, 'YES')])
    summary = self.import_librispeech()
    self.assertIn('2 people, 7 examples', summary)
    train, test = client_data.open_folder(self.path('out'))
    self.assertCountEqual(train.client_ids, ['19', '7'])
    found = train.read('19')
    self.assertEqual(found['transcript'].tolist(), 4 * [b"IT'S FINE"])
    recordings = [noise(16_000, i).tobytes() for i in range(5)]
    self.assertIn(found['audio'][0].tobytes(), recordings)
    self.assertEqual(test.num_examples('7'), 1)

  def test_copies_are_on_one_side(self):
    self.write_chapter('1', 4 * [(16_000, 'YES')])
    for i in range(2):
      for suffix in ('flac', 'trans.txt'):
        name = f'1-1-{i:04}.flac' if suffix == 'flac' else '1-1.trans.txt'
        other = self.path('source', '1', '2', name)
        shutil.copy(self.path('source', '1', '1', name), other)
    summary = self.import_librispeech()
    self.assertRegex(summary, 'copies, for .* 2  YES repeats YES')
    sides = [
        {audio.tobytes() for audio in clients.read('1')['audio']}
        for clients in client_data.open_folder(self.path('out'))
    ]
    self.assertEmpty(sides[0] & sides[1])

  def test_unusable_utterances_are_counted(self):
    # 0.1 s are 8 windows, of which the encoder makes 2: enough for 'AB', not
    # for 'AA', which takes a blank between. 300 samples are not one window.
    self.write_chapter(
        '1',
        [
            (16_000, 'GOOD'),
            (16_000, 'GOOD'),
            (None, 'BROKEN'),
            (16_000, ''),
            (16_000, 'ROOM 12'),
            (1_600, 'AA'),
            (1_600, 'AB'),
            (300, 'I'),
        ],
    )
    os.remove(self.path('source', '1', '1', '1-1-0001.flac'))
    with open(self.path('source', '1', '1', '1-1.trans.txt'), 'a') as f:
      f.write('\n../../1/1/1-1-0000 ELSEWHERE\n')
    summary = self.import_librispeech()
    self.assertIn('1 person, 2 examples', summary)
    for reason, count, first in (
        ('too short for their transcript', 2, "1-1-0005: 'AA'"),
        ('with audio that cannot be read', 1, 'Expected audio in .*0002.flac'),
        ('without an audio file', 2, '.*1-1-0001'),
        (
            'with digits, which must be written as words',
            1,
            "1-1-0004: 'ROOM 12'",
        ),
        ('without words', 1, "1-1-0003: ''"),
    ):
      self.assertRegex(
          summary, f'left out  utterances {reason} +{count}  {first}'
      )

  def test_nobody_is_left(self):
    self.write_chapter('1', 3 * [(16_000, 'ROOM 12')])
    self.write_chapter('2', 2 * [(None, 'A')])
    with self.assertRaisesRegex(
        ValueError,
        r'none among 2\. Left out: .*audio that cannot be read \(2, the first:'
        r" .*digits.* \(3, the first: 1-1-0000: 'ROOM 12'\)",
    ):
      self.import_librispeech()

  def test_other_files_next_to_transcripts(self):
    self.write_chapter('1', 3 * [(16_000, 'GOOD')])
    path = self.path('source', '1', '1', '1-1-0001')
    os.remove(path + '.flac')
    soundfile.write(path + '.wav', noise(8_000), 8_000)
    transcripts = self.path('source', '1', '1', '1-1.trans.txt')
    with open(transcripts, 'r+', encoding='utf-8') as f:
      text = f.read()
      f.seek(0)
      f.write(text.replace(' ', '\t'))
    summary = self.import_librispeech()
    self.assertIn('1 person, 3 examples', summary)
    self.assertRegex(
        summary, 'changed +recordings at 8,000 Hz, resampled +1  .*0001.wav'
    )

  def test_folder_with_another_layout(self):
    with self.assertRaisesRegex(ValueError, 'whose subfolders are speakers'):
      import_speech.read_librispeech(self.folder)
    with self.assertRaisesRegex(OSError, 'Expected a folder .*none'):
      import_speech.read_librispeech(self.path('none'))

  def read_npz(self, **changes):
    arrays = {
        'mfcc': np.arange(400, dtype=np.float32).reshape(200, 2),
        'frames': np.array([50, 100, 50]),
        'said': np.array(['go', 'stop', 'go']),
        'by': np.array(['b', 'a', 'b']),
        **changes,
    }
    np.savez(self.path('a.npz'), **arrays)
    return import_speech.read_npz(
        self.path('a.npz'),
        examples='mfcc',
        lengths='frames',
        label='said',
        person='by',
    )

  def test_features(self):
    people = dict(self.read_npz().examples)
    self.assertEqual(list(people), ['a', 'b'])
    self.assertEqual(people['a']['transcript'], ['STOP'])
    np.testing.assert_array_equal(
        people['a']['features'][0], np.arange(100, 300).reshape(100, 2)
    )
    self.assertLen(people['b']['features'], 2)

  def test_features_that_are_not_numbers_are_counted(self):
    mfcc = np.zeros([200, 2], np.float32)
    mfcc[60] = np.nan
    people = self.read_npz(mfcc=mfcc)
    self.assertEqual(dict(people.examples)['a']['transcript'], [])
    self.assertEqual(
        people.left_out, {'utterances with features that are not finite': 1}
    )

  @parameterized.parameters(
      ({'frames': np.array([50, 100, 60])}, 'add up to 200, .*sum of 210'),
      ({'frames': np.array([250, -100, 50])}, 'that add up'),
      (
          {'frames': np.array(['50', '100', '50'])},
          r"integers \[utterances\] in array 'frames', found <U3 \[3\]",
      ),
      (
          {'said': np.array(['go', 'stop'])},
          "as many values in 'said'.* found 2",
      ),
      ({'mfcc': np.zeros([4])}, r"floats \[frames, features\] in array 'mfcc'"),
      (
          {'by': np.array([0.5, 1, 1])},
          "integers or text .* 'by', found float64",
      ),
  )
  def test_other_arrays_are_refused(self, changes, message):
    with self.assertRaisesRegex(ValueError, message):
      self.read_npz(**changes)

  def test_command_line(self):
    for kind, source, options, found in (
        (
            'librispeech',
            ('LibriSpeech', 'test-other'),
            [],
            '10 people, 100 examples',
        ),
        (
            'npz',
            ('an4_by_speaker.npz',),
            [
                *('--examples=mfcc', '--lengths=num_frames'),
                *('--label=transcript', '--person=speaker'),
            ],
            '84 people, 1,078 examples',
        ),
    ):
      status, out, said = commands.call(
          import_client_data,
          kind,
          paths.real_data(self, 'speech', *source),
          *options,
          '--output_dir=' + self.path(kind),
      )
      self.assertEqual((status, said), (0, ''))
      self.assertIn(found, out)


if __name__ == '__main__':
  absltest.main()
