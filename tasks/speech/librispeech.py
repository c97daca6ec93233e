# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""LibriSpeech [1] from TensorFlow Datasets, one client a speaker.

The corpus does not fit in memory, and its records are in no order of speakers.
It is gone through once: each record goes to a staging file in which an
interrupted run is continued, then speaker after speaker to the files that
training reads. Each speaker's utterances are split into those to train and
those to test on; the corpus's own test sets hold other speakers.

[1] Panayotov et al. ICASSP 2015. https://www.openslr.org/12
"""

import collections
from collections.abc import Iterator, Sequence
import contextlib
import os
import sqlite3
from typing import Optional

from absl import logging
import numpy as np
import tensorflow_datasets as tfds
import tensorflow_federated as tff
import tqdm

from tff_partial import errors
from tff_partial.data import cached_folder
from tff_partial.data import example_protos
from tff_partial.data import people as people_lib

from . import import_speech

# 921 speakers, close to the number that the paper has.
SPLITS = ('train_clean360',)

_VERSION = 1  # Of the files made.
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
  """Writes the speakers' utterances, or finds them written.

  Args:
    cache_dir: Where to keep them, and for a time as much again; see
      `cached_folder.cached_folder`.
    splits: The corpus's parts, as TensorFlow Datasets calls them.
    data_dir: Where TensorFlow Datasets keeps the prepared corpus; `None` is its
      own place. If it is not there it is downloaded, 60 GB, and prepared, which
      takes ffmpeg.

  Returns:
    A folder with `train.sqlite` and `test.sqlite`, of the same speakers.

  Raises:
    OSError: If it cannot be downloaded or written.
    ValueError: If there is no such part.
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


def load_client_data(
    folder: str,
) -> tuple[
    tff.simulation.datasets.ClientData, tff.simulation.datasets.ClientData
]:
  """The training and test utterances of a folder, as TFF's own class."""
  parse_fn = example_protos.parse_fn(import_speech.AUDIO_FEATURES)
  train, test = (
      tff.simulation.datasets.SqlClientData(
          os.path.join(folder, name)
      ).preprocess(lambda dataset: dataset.map(parse_fn))
      for name in ('train.sqlite', 'test.sqlite')
  )
  return train, test


def stage(
    builder: tfds.core.DatasetBuilder,
    splits: Sequence[str],
    connection: sqlite3.Connection,
) -> None:
  """Copies records in their order, from the first that is not there.

  Args:
    builder: Of the prepared corpus.
    splits: Its parts.
    connection: To the staging file.

  Raises:
    ValueError: If there is no such part.
  """
  connection.executescript(_SCHEMA)
  for split in splits:
    if split not in builder.info.splits:
      raise errors.DataError(
          f'Expected a part of LibriSpeech of {sorted(builder.info.splits)},'
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
        # One file after the other: `done` counts in this order.
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
  """The corpus, downloaded and prepared if it is not there."""
  builder = tfds.builder('librispeech', data_dir=data_dir)
  if not builder.info.splits:
    logging.warning('Downloading LibriSpeech, 60 GB, to %s.', builder.data_dir)
    try:
      builder.download_and_prepare()
    except Exception as e:  # Whatever network, ffmpeg and disk come up with.
      raise errors.FileError(
          f'Expected LibriSpeech prepared in {builder.data_dir}, found none,'
          f' and preparing it failed: {e}. Prepare it with TensorFlow Datasets,'
          ' or use "python -m tasks.import_client_data librispeech" on a folder'
          ' of the original.'
      ) from e
  return builder


def _by_speaker(connection: sqlite3.Connection) -> people_lib.ClientSource:
  """The staged utterances, speaker by speaker."""
  connection.execute(
      'CREATE INDEX IF NOT EXISTS by_speaker ON utterances (speaker)'
  )
  speakers = [
      speaker
      for speaker, in connection.execute(
          'SELECT DISTINCT speaker FROM utterances ORDER BY speaker'
      )
  ]
  left_out = collections.Counter()
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
) -> Iterator[tuple[np.ndarray, str]]:
  for audio, transcript in connection.execute(
      'SELECT audio, transcript FROM utterances WHERE speaker = ?'
      ' ORDER BY split, number',
      [speaker],
  ):
    yield np.frombuffer(audio, '<i2'), transcript
