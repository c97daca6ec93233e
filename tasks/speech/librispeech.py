# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""LibriSpeech [1] from TensorFlow Datasets, with a client for each speaker.

The corpus does not fit in memory, and its records are not sorted by speaker.
They are read once and copied to a staging file, where an interrupted run is
continued. Then one speaker after the other is written to the files that
training reads. Each speaker's utterances are split for training and testing,
because the corpus's own test sets hold other speakers.

[1] Panayotov et al. ICASSP 2015. https://www.openslr.org/12
"""

from collections.abc import Iterator, Sequence
import contextlib
import os
import sqlite3
from typing import Optional

from absl import logging
import numpy as np
import tensorflow_datasets as tfds
import tqdm

from tff_partial import errors
from tff_partial.data import cached_folder
from tff_partial.data import people as people_lib
from tff_partial.data import tally

from . import import_speech

# 921 speakers, which is close to the paper's number.
SPLITS = ('train_clean360',)

_VERSION = 1  # Must be raised with any change to the files.
_COMMIT_EVERY = 200  # Records, of about 0.4 MB.
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS utterances (
        split TEXT NOT NULL,
        number INTEGER NOT NULL,
        speaker INTEGER NOT NULL,
        transcript TEXT NOT NULL,
        audio BLOB NOT NULL,
        PRIMARY KEY (split, number));
"""


def create_librispeech(
    cache_dir: Optional[str] = None,
    *,
    splits: Sequence[str] = SPLITS,
    data_dir: Optional[str] = None,
) -> str:
  """Writes the speakers' utterances, unless the cache holds them.

  Args:
    cache_dir: Where to keep them, with room for a second copy while they are
      made; see `cached_folder.cached_folder`.
    splits: Parts of the corpus, by the names of TensorFlow Datasets.
    data_dir: Where TensorFlow Datasets keeps the prepared corpus; `None` means
      its default. If the corpus is not there, 60 GB are downloaded and
      prepared, which requires ffmpeg.

  Returns:
    A folder with `train.sqlite` and `test.sqlite`, of the same speakers.

  Raises:
    errors.FileError: If the corpus cannot be downloaded or prepared.
    errors.SettingsError: If there is no such part.
    OSError: If the folder cannot be written.
  """
  name = f'librispeech-{_VERSION}-{"-".join(splits)}'
  staging = os.path.join(
      cached_folder.cache_root(cache_dir), f'.{name}.staging'
  )

  def make(folder: str) -> None:
    with contextlib.closing(sqlite3.connect(staging)) as connection:
      stage(_prepared(data_dir), splits, connection)
      logging.info(
          '%s', people_lib.write_folder(_by_speaker(connection), folder)
      )
    os.remove(staging)

  return cached_folder.cached_folder(name, make, cache_dir=cache_dir)


def stage(
    builder: tfds.core.DatasetBuilder,
    splits: Sequence[str],
    connection: sqlite3.Connection,
) -> None:
  """Copies records in their order, from the first that is not there yet.

  Args:
    builder: The builder of the prepared corpus.
    splits: Parts of the corpus.
    connection: The staging file.

  Raises:
    errors.SettingsError: If there is no such part.
  """
  connection.executescript(_SCHEMA)
  for split in splits:
    if split not in builder.info.splits:
      raise errors.SettingsError(
          f'Expected parts of LibriSpeech in {sorted(builder.info.splits)},'
          f' found {split!r}.'
      )
    (done,) = connection.execute(
        'SELECT COUNT(*) FROM utterances WHERE split = ?', [split]
    ).fetchone()
    total = builder.info.splits[split].num_examples
    if done == total:
      continue
    records = builder.as_dataset(
        split=f'{split}[{done}:]',
        shuffle_files=False,
        # One file after the other, in the order in which `done` counts.
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    for number, record in enumerate(
        tqdm.tqdm(
            records.as_numpy_iterator(), split, total, initial=done, leave=False
        ),
        start=done,
    ):
      connection.execute(
          'INSERT INTO utterances VALUES (?, ?, ?, ?, ?)',
          (
              split,
              number,
              int(record['speaker_id']),
              record['text'].decode(),
              record['speech'].astype('<i2').tobytes(),
          ),
      )
      if number % _COMMIT_EVERY == 0:
        connection.commit()
    connection.commit()


def _prepared(data_dir: Optional[str]) -> tfds.core.DatasetBuilder:
  """Returns the corpus, after preparing it if it is not there."""
  builder = tfds.builder('librispeech', data_dir=data_dir)
  if not builder.info.splits:
    logging.warning('Downloading LibriSpeech, 60 GB, to %s.', builder.data_dir)
    try:
      builder.download_and_prepare()
    except Exception as e:  # The network, ffmpeg and disk all raise their own.
      raise errors.FileError(
          f'Expected LibriSpeech in {builder.data_dir}, found none, and'
          f' preparing it failed: {e}. Prepare it with TensorFlow Datasets, or'
          ' import a folder of the original corpus with "python -m'
          ' tasks.import_client_data librispeech".'
      ) from e
  return builder


def _by_speaker(connection: sqlite3.Connection) -> people_lib.ClientSource:
  """Returns the staged utterances, speaker by speaker."""
  connection.execute(
      'CREATE INDEX IF NOT EXISTS by_speaker ON utterances (speaker)'
  )
  speakers = [
      speaker
      for speaker, in connection.execute(
          'SELECT DISTINCT speaker FROM utterances ORDER BY speaker'
      )
  ]
  left_out = tally.Tally()
  return people_lib.ClientSource(
      features=import_speech.AUDIO_FEATURES,
      num_people=len(speakers),
      examples=(
          (
              str(speaker),
              import_speech.keep_usable(
                  _utterances(connection, speaker), left_out
              ),
          )
          for speaker in speakers
      ),
      left_out=left_out,
  )


def _utterances(
    connection: sqlite3.Connection, speaker: int
) -> Iterator[tuple[str, np.ndarray, str]]:
  for split, number, audio, transcript in connection.execute(
      'SELECT split, number, audio, transcript FROM utterances WHERE speaker ='
      ' ? ORDER BY split, number',
      [speaker],
  ):
    yield f'{split} {number}', np.frombuffer(audio, '<i2'), transcript
