# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFF's Stack Overflow: the users of the paper's task, in a small folder.

TFF's file holds the sentences of 342,477 users. The paper's task samples 1,000
users with at least 100 sentences for training and 10 later ones for testing,
and uses at most 1,000 sentences of each [1, Section 4]. They are sampled once
and copied, so that later runs do not read the large file.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Callable, Sequence
import os
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff
import tqdm

from tff_partial import errors
from tff_partial.data import cached_folder
from tff_partial.data import sql_clients
from tff_partial.data import sql_writer

from . import vocabulary

_VERSION = 1  # Must be raised with any change to the files.
_MIN_TRAIN, _MIN_TEST, _MAX_EXAMPLES = 100, 10, 1000
_WORDS = 10_000


def create_stackoverflow(
    cache_dir: Optional[str] = None,
    *,
    num_clients: int = 1000,
    seed: int = 0,
    tff_cache_dir: Optional[str] = None,
    keras_cache_dir: Optional[str] = None,
) -> str:
  """Copies a sample of TFF's Stack Overflow, unless the cache holds it.

  `tff.simulation.datasets.stackoverflow` downloads the files that are missing.

  Args:
    cache_dir: Where to keep the folder; see `cached_folder.cached_folder`.
    num_clients: Number of users; fewer if fewer have enough sentences.
    seed: Determines the sample.
    tff_cache_dir: Where TFF keeps the sentences; `None` means `~/.tff`.
    keras_cache_dir: Where TFF keeps the words; `None` means `~/.keras`.

  Returns:
    A folder with `train.sqlite`, `test.sqlite` and `vocabulary.txt`.

  Raises:
    errors.FileError: If a file cannot be downloaded, saying which file to put
      where.
    errors.DataError: If a file is damaged, or no user has enough sentences.
    OSError: If the folder cannot be written.
  """

  def make(folder: str) -> None:
    words = _load_words(keras_cache_dir)
    train, test = _draw_clients(tff_cache_dir, num_clients, seed)
    for name, clients in (('train', train), ('test', test)):
      path = os.path.join(folder, f'{name}.sqlite')
      with sql_writer.SqlWriter(path, vocabulary.FEATURES) as writer:
        for client_id in tqdm.tqdm(
            clients.client_ids, f'Copying users to {name}', leave=False
        ):
          stored = clients.read(client_id)['tokens']
          tokens = [sentence for sentence in stored if sentence.strip()]
          writer.write(client_id, {'tokens': tokens[:_MAX_EXAMPLES]})
    vocabulary.save(folder, vocabulary.Vocabulary(tuple(words)))

  name = f'stackoverflow-{_VERSION}-{num_clients}-{seed}'
  return cached_folder.cached_folder(name, make, cache_dir=cache_dir)


def _draw_clients(
    cache_dir: Optional[str], num_clients: int, seed: int
) -> tuple[sql_clients.SqlClients, sql_clients.SqlClients]:
  """Samples users with enough sentences, whom SQLite finds."""
  cache_dir = cache_dir or os.path.join(os.path.expanduser('~'), '.tff')
  path = os.path.join(cache_dir, 'stackoverflow.sqlite')
  if not os.path.exists(path):
    load = tff.simulation.datasets.stackoverflow.load_data
    try:
      _download(path, lambda: load(cache_dir))
    except BaseException:
      # The next time, TFF would take half a file for a complete one.
      if os.path.exists(path):
        os.remove(path)
      raise
  train, test = (
      sql_clients.SqlClients(
          path, split_name=name, features=vocabulary.FEATURES
      )
      for name in ('train', 'test')
  )
  rows = train.rows_shared_with(
      test, min_examples=_MIN_TRAIN, min_other_examples=_MIN_TEST
  )
  if not len(rows):
    raise errors.DataError(
        f'Expected users with {_MIN_TRAIN} sentences for training and'
        f' {_MIN_TEST} for testing in {path}, found none.'
    )
  size = min(num_clients, len(rows))
  drawn = rows[np.random.default_rng(seed).choice(len(rows), size, False)]
  return train.select(drawn[:, 0]), test.select(drawn[:, 1])


def _load_words(cache_dir: Optional[str]) -> Sequence[str]:
  """Reads the words that most users use in their training sentences."""
  cache_dir = cache_dir or os.path.join(os.path.expanduser('~'), '.keras')
  path = os.path.join(cache_dir, 'datasets', 'stackoverflow.word_count')
  if not os.path.isfile(path):
    load = tff.simulation.datasets.stackoverflow.load_word_counts
    return list(_download(path, lambda: load(cache_dir, _WORDS)))
  with open(path, encoding='utf-8') as f:
    return [line.split()[0] for _, line in zip(range(_WORDS), f)]


def _download(path: str, load_fn: Callable[[], Any]) -> Any:
  try:
    return load_fn()
  except Exception as e:  # The network, archives, SQLite all raise their own.
    raise errors.FileError(
        f"Expected TFF's Stack Overflow in {path}, found no such file, and"
        f' downloading it failed: {e}. Put the unpacked file there, or use the'
        ' embedded data.'
    ) from e
