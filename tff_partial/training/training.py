# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training program: rounds, sampling, metrics, checkpoints, resume.

The loop around a `PartialProcess`. TFF's own (`tff.learning.programs`) wants a
`LearningProcess` and a context that refuses client-placed results; its parts,
release managers, are used here.

A checkpoint is one transaction of the personal store that holds the personal
variables and the server's state after the same round. All randomness is a
function of (seed, round, client id), so a run that was killed at any moment and
started again ends with the same bits as one that was not.
"""

import asyncio
import collections
from collections.abc import Callable, Iterable, Mapping
import concurrent.futures
import dataclasses
import functools
import time
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tqdm

from tff_partial import errors
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import process as process_lib
from tff_partial.runtime import dispatcher as dispatcher_lib
from tff_partial.training import personal_store
from tff_partial.training import sharded_round

# (round, state) -> numbers by name, to be released with the round's metrics.
EvaluationFn = Callable[[int, Any], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Settings:
  """How long to train, and with how many.

  Attributes:
    total_rounds: Rounds after which training is done.
    clients_per_round: Size of a cohort.
    seed: Of sampling and of clients' shuffling.
    rounds_per_evaluation: Call the evaluation function after each so many
      rounds and after the last; 0 is never.
    seconds_per_checkpoint: Commit when so much time has passed since the last
      commit; the last round is always committed. 0 commits every round.
    clients_per_shard: Compute so many clients of a cohort at a time, which
      bounds memory; None for the whole cohort in one computation.
  """

  total_rounds: int
  clients_per_round: int
  seed: int = 0
  rounds_per_evaluation: int = 0
  seconds_per_checkpoint: float = 30.0
  clients_per_shard: Optional[int] = None

  def __post_init__(self):
    for name, least in (('total_rounds', 0), ('clients_per_round', 1)):
      if getattr(self, name) < least:
        raise errors.SettingsError(
            f'Expected {name} of at least {least}, found'
            f' {getattr(self, name)}.'
        )
    if self.clients_per_shard is not None and self.clients_per_shard < 1:
      raise errors.SettingsError(
          'Expected clients_per_shard of at least 1, found'
          f' {self.clients_per_shard}.'
      )


def train(
    process: process_lib.PartialProcess,
    clients: clients_lib.Clients,
    store: personal_store.PersonalStore,
    settings: Settings,
    *,
    client_examples: examples_lib.ClientExamples,
    initial_state: Any,
    initial_personal: Any,
    dispatcher: Optional[dispatcher_lib.Dispatcher] = None,
    release_managers: Iterable[tff.program.ReleaseManager] = (),
    evaluation_fn: Optional[EvaluationFn] = None,
    progress: bool = True,
) -> Any:
  """Trains until `total_rounds`, from the store's last checkpoint if any.

  Args:
    process: What a round is.
    clients: Whose training examples.
    store: Where personal variables and checkpoints are kept.
    settings: How long and with how many.
    client_examples: The form in which the process takes examples.
    initial_state: The server's state before round 1.
    initial_personal: What a client starts each round from if the algorithm is
      not stateful.
    dispatcher: Computes shards if there are any; by default this thread's
      context, one after the other.
    release_managers: Receive each round's metrics; the key is the number of the
      round, from 1.
    evaluation_fn: Adds to the metrics of some rounds.
    progress: Whether to show a progress bar.

  Returns:
    The server's state after the last round.

  Raises:
    ValueError: If there are fewer clients than `clients_per_round`.
    errors.StoreError: If a checkpoint cannot be read or written.
    OSError: If metrics cannot be written.
  """

  def read(round_num, client_ids):
    if process.algorithm.stateful:
      personal = store.read(client_ids)
    else:
      personal = [initial_personal] * len(client_ids)
    examples = [
        client_examples.value(
            clients.read(client_id),
            clients_lib.seed_for(settings.seed, round_num, client_id),
        )
        for client_id in client_ids
    ]
    return personal, examples

  def run_round(round_num, state, cohort):
    write = functools.partial(store.write, version=round_num + 1)
    if settings.clients_per_shard is None:
      personal, examples = read(round_num, cohort)
      state, personal, metrics = process.next(state, personal, examples)
      write(cohort, personal)
      return state, metrics
    return sharded_round.run_round(
        process,
        state,
        cohort,
        clients_per_shard=settings.clients_per_shard,
        dispatcher=dispatcher or dispatcher_lib.Dispatcher(),
        read_fn=functools.partial(read, round_num),
        write_fn=write,
    )

  version, state = store.restore(initial_state)
  release = _Releases(release_managers)
  committed_at = time.monotonic()
  bar = tqdm.tqdm(
      total=settings.total_rounds,
      initial=min(version, settings.total_rounds),
      desc=process.algorithm.name,
      unit='round',
      disable=not progress or version >= settings.total_rounds,
  )
  with bar, release:
    for round_num in range(version, settings.total_rounds):
      started_at = time.monotonic()
      cohort = clients_lib.sample(
          clients.client_ids,
          settings.clients_per_round,
          seed=settings.seed,
          round_num=round_num,
      )
      state, metrics = run_round(round_num, state, cohort)
      row = _flatten(metrics)
      row['seconds'] = time.monotonic() - started_at
      done = round_num + 1
      is_last = done == settings.total_rounds
      every = settings.rounds_per_evaluation
      if evaluation_fn and every and (done % every == 0 or is_last):
        row.update(evaluation_fn(done, state))
      release(row, done)
      due = time.monotonic() - committed_at >= settings.seconds_per_checkpoint
      if is_last or due:
        store.commit(done, state)
        committed_at = time.monotonic()
      bar.set_postfix(_postfix(row), refresh=False)
      bar.update()
  return state


def _flatten(metrics: Any) -> collections.OrderedDict[str, float]:
  """Scalars by name, such as `train/loss` and `counts/steps`."""
  flat = collections.OrderedDict()

  def visit(prefix, value):
    if hasattr(value, '_asdict'):
      value = value._asdict()
    if isinstance(value, Mapping):
      for name, part in value.items():
        visit(f'{prefix}/{name}' if prefix else name, part)
    elif np.ndim(value) == 0 and not isinstance(value, tuple):
      flat[prefix] = np.asarray(value).item()

  visit('', metrics)
  return flat


def _postfix(row: Mapping[str, float]) -> dict[str, str]:
  """What the progress bar says after a round."""
  shown = {}
  if 'train/loss' in row:
    shown['loss'] = f'{row["train/loss"]:.4f}'
  shown['examples/s'] = f'{row["counts/examples"] / row["seconds"]:,.0f}'
  for name in ('non_finite', 'empty'):
    if row[f'counts/{name}']:
      shown[name] = f'{row[f"counts/{name}"]:.0f}'
  return shown


class _Releases:
  """Calls asynchronous release managers from a program that is not.

  In a thread with an event loop of its own, because a notebook's is running.
  """

  def __init__(self, managers: Iterable[tff.program.ReleaseManager]):
    self._managers = list(managers)

  def __enter__(self):
    self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
    self._loop = self._thread.submit(asyncio.new_event_loop).result()
    return self

  def __call__(self, value: Any, key: int) -> None:
    for manager in self._managers:
      try:
        self._thread.submit(
            self._loop.run_until_complete, manager.release(value, key)
        ).result()
      except tf.errors.OpError as e:  # TensorFlow's word for a full disk.
        raise errors.FileError(
            f"Cannot write round {key}'s metrics: {e.message}. Check that the"
            ' folder is writable and not full.'
        ) from e

  def __exit__(self, *unused_exception):
    self._thread.submit(self._loop.close).result()
    self._thread.shutdown()
