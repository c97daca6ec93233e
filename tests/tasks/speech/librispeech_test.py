# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""LibriSpeech from TensorFlow Datasets, read by its own loader."""

import contextlib
import os
import sqlite3
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow_datasets as tfds
import tensorflow_federated as tff

from tasks.speech import import_speech
from tasks.speech import librispeech
from tests.helpers import paths
from tff_partial.data import client_data
from tff_partial.data import example_protos


def prepare(data_dir, utterances):
  """Writes a corpus of (speaker, samples, transcript) as TFDS prepares it."""
  builder = tfds.builder('librispeech', data_dir=data_dir)
  os.makedirs(builder.data_dir)
  writer = tfds.core.SequentialWriter(builder.info, max_examples_per_shard=7)
  writer.initialize_splits(['test_other'])
  writer.add_examples(
      {
          'test_other': [
              {
                  'speech': audio,
                  'text': transcript,
                  'speaker_id': speaker,
                  'chapter_id': 1,
                  'id': f'{speaker}-1-{i}',
              }
              for i, (speaker, audio, transcript) in enumerate(utterances)
          ]
      }
  )
  writer.close_all()


def made_up():
  """18 utterances of three speakers in turn; one has no words."""
  rng = np.random.default_rng(0)
  return [
      (
          int(speaker),
          rng.integers(-999, 999, 8000 + i, np.int16),
          'YES' if i else '',
      )
      for i, speaker in enumerate(6 * [5, 105, 20])
  ]


class LibrispeechTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.data_dir = os.path.join(folder.name, 'tfds')
    self.cache_dir = os.path.join(folder.name, 'cache')

  def create(self):
    return librispeech.create_librispeech(
        self.cache_dir, splits=['test_other'], data_dir=self.data_dir
    )

  def test_each_speaker_is_a_client(self):
    utterances = made_up()
    prepare(self.data_dir, utterances)
    folder = self.create()
    train, test = client_data.open_folder(folder)
    self.assertEqual(list(train.client_ids), ['5', '20', '105'])
    self.assertEqual(
        [train.num_examples(c) for c in train.client_ids], [4, 5, 5]
    )
    found = [
        audio.tobytes()
        for part in (train, test)
        for audio in part.read('105')['audio']
    ]
    self.assertCountEqual(
        found, [a.tobytes() for speaker, a, _ in utterances if speaker == 105]
    )
    # No other files are left, and the second call makes nothing.
    self.assertEqual(os.listdir(self.cache_dir), [os.path.basename(folder)])
    self.assertEqual(self.create(), folder)

  def test_tff_reads_the_same_files(self):
    prepare(self.data_dir, made_up())
    parse_fn = example_protos.parse_fn(import_speech.AUDIO_FEATURES)
    train = tff.simulation.datasets.SqlClientData(
        os.path.join(self.create(), 'train.sqlite')
    ).preprocess(lambda dataset: dataset.map(parse_fn))
    self.assertCountEqual(train.client_ids, ['5', '20', '105'])
    examples = list(train.create_tf_dataset_for_client('20'))
    self.assertLen(examples, 5)
    self.assertEqual(examples[0]['transcript'], b'YES')
    self.assertGreaterEqual(len(examples[0]['audio']), 8000)

  def test_continues_an_interrupted_copy(self):
    prepare(self.data_dir, made_up())
    builder = tfds.builder('librispeech', data_dir=self.data_dir)
    everything = 'SELECT * FROM utterances ORDER BY number'
    with contextlib.closing(sqlite3.connect(':memory:')) as connection:
      stage = lambda: librispeech.stage(builder, ['test_other'], connection)
      stage()
      whole = connection.execute(everything).fetchall()
      self.assertLen(whole, 18)
      # The state after an interruption at 10 records.
      connection.execute('DELETE FROM utterances WHERE number >= 10')
      connection.execute("UPDATE utterances SET transcript = 'WAS THERE'")
      stage()
      resumed = connection.execute(everything).fetchall()
    self.assertEqual(resumed[10:], whole[10:])
    self.assertEqual([row[3] for row in resumed[:10]], 10 * ['WAS THERE'])

  def test_unknown_parts(self):
    prepare(self.data_dir, made_up())
    with self.assertRaisesRegex(ValueError, r"\['test_other'\], found 'dev'"):
      librispeech.create_librispeech(
          self.cache_dir, splits=['dev'], data_dir=self.data_dir
      )

  def test_real_speech(self):
    people = import_speech.read_librispeech(
        paths.real_data(self, 'speech', 'LibriSpeech', 'test-other')
    )
    utterances = [
        (int(speaker), audio, transcript)
        for speaker, examples in people.examples
        for audio, transcript in zip(
            examples['audio'], examples['transcript'], strict=True
        )
    ]
    prepare(self.data_dir, utterances)
    train, test = client_data.open_folder(self.create())
    self.assertLen(train.client_ids, 10)
    self.assertEqual([test.num_examples(c) for c in test.client_ids], 10 * [2])
    samples = sum(
        len(audio)
        for part in (train, test)
        for c in part.client_ids
        for audio in part.read(c)['audio']
    )
    self.assertEqual(samples, sum(len(audio) for _, audio, _ in utterances))


if __name__ == '__main__':
  absltest.main()
